"""Fetches files of the Hugging Face Hub into its cache: a program of its own, so that it can be stopped whatever it waits for.

`python courier.py '{"repo": ..., "files": {name: largest size}, "fetch": true, "spare": bytes}'` writes news, JSON, a line
each: `total` and `done`, bytes; then `folder`, or `problem` with `about`. So many bytes are left on the disk. It ends,
and leaves no half of a file, when its input is closed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import constants, errors
from tqdm import tqdm

CHUNK = 2**18  # bytes, after which news are told; the Hub's own are too rare to stop by
BETWEEN = 0.1  # seconds between news, at least
GRACE = 3.0  # seconds to clean up in


class Problem(Exception):
    """Why a file cannot be had: a key of WORDS in `hub`, and what it is about."""


class Counted(tqdm):  # type: ignore[type-arg]
    """Tells how far downloads have come; ends one that brings more than was announced."""

    done, most, told = 0, 0, 0.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.pop("name", None)
        super().__init__(*arguments, **options | {"disable": True})

    def update(self, n: float | None = 1) -> None:
        """Count what has arrived."""
        Counted.done += int(n or 0)
        if Counted.done > Counted.most:
            raise Problem("failed", "more arrived than was announced")
        if time.monotonic() > Counted.told + BETWEEN:
            Counted.told = time.monotonic()
            tell(done=Counted.done)


def tell(**news: object) -> None:
    """Write a line."""
    print(json.dumps(news), flush=True)


def watch() -> None:
    """End when the input does: whoever asked has gone, or wants no more."""
    while os.read(0, 1):
        pass
    if hasattr(signal, "pthread_kill"):  # wakes it whatever it waits for; Windows has no such thing
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    time.sleep(GRACE)
    os._exit(1)


def in_cache(repo: str, files: dict[str, int]) -> str | None:
    """The folder of the cache that has all files, of one version."""
    try:
        folders = {
            str(Path(huggingface_hub.hf_hub_download(repo, file, local_files_only=True)).parent) for file in files
        }
    except errors.LocalEntryNotFoundError:
        return None
    return folders.pop() if len(folders) == 1 else None


def measure(repo: str, files: dict[str, int]) -> dict[str, tuple[int, str]]:
    """The bytes and the mark of each file, as the Hub tells them."""
    found = {}
    for file, most in files.items():
        about = huggingface_hub.get_hf_file_metadata(huggingface_hub.hf_hub_url(repo, file), token=False)
        if about.size is None or about.etag is None or about.commit_hash is None:
            raise Problem("failed", "its answer is not that of a Hub")
        if about.size > most:
            raise Problem("large", f"{file}:{about.size}:{most}")
        found[file] = about.size, about.etag
    return found


def fetch(repo: str, marks: dict[str, tuple[int, str]]) -> str:
    """The folder with all files, each of them what was published."""
    folders = set()
    for file, (_, mark) in marks.items():
        path = Path(huggingface_hub.hf_hub_download(repo, file, token=False, tqdm_class=Counted))
        if re.fullmatch("[0-9a-f]{64}", mark) and not _is(path, mark):
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            raise Problem("failed", "what arrived is not the published file")
        folders.add(str(path.parent))
    if len(folders) > 1:
        raise Problem("failed", "it was changed meanwhile")
    return folders.pop()


def _is(path: Path, digest: str) -> bool:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == digest


def room() -> int:
    """Bytes that are free where the cache is or will be."""
    place = Path(constants.HF_HUB_CACHE).absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def run(repo: str, files: dict[str, int], wanted: bool, spare: int) -> None:
    """Tell the folder that has the files; of one that is not whole the bytes that lack, and fetch them if that is wanted."""
    folder = in_cache(repo, files)
    if folder is None:
        marks = measure(repo, files)
        Counted.most = total = sum(size for size, _ in marks.values())
        if wanted and room() < total + spare:
            raise Problem("failed", "there is no room on the disk")
        tell(total=total)
        if not wanted:
            return
        folder = fetch(repo, marks)
        tell(done=total)
    tell(folder=folder)


def reason(error: BaseException) -> str:
    """Why the Hub was not reached, or a file not written, in words."""
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE forbids it"
    if isinstance(error, errors.HfHubHTTPError):
        return f"the Hub answers with the status {error.response.status_code}"
    kind = type(error).__name__
    if "Timeout" in kind:
        return "the Hub does not answer"
    if "Connect" in kind or "Proxy" in kind:
        return "the Hub cannot be reached"
    return (isinstance(error, OSError) and error.strerror) or "what arrived is not whole"


def main() -> None:
    """Do what the command line says; a problem is news too."""
    asked = json.loads(sys.argv[1])
    # a shell has it ignored by what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=watch, daemon=True).start()
    constants.DOWNLOAD_CHUNK_SIZE = CHUNK
    repo = asked["repo"]
    try:
        run(repo, asked["files"], asked["fetch"], asked["spare"])
    except Problem as problem:
        tell(problem=problem.args[0], about=problem.args[1])
    except errors.RemoteEntryNotFoundError as error:
        tell(problem="lacks", about=str(error.response.url).rpartition("/")[2])
    except errors.RepositoryNotFoundError:
        tell(problem="absent", about=repo)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # whatever a server makes the client stumble over, the one who asked gets a sentence
        tell(problem="failed", about=reason(error))


if __name__ == "__main__":
    main()
