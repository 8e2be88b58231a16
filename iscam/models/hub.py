"""Files of the Hugging Face Hub, from its cache or fetched into it: within limits of size and time, and until it is stopped.

The cache is huggingface_hub's own (`HF_HOME`); `HF_HUB_OFFLINE` is heeded. Nobody's token is sent, so only what is public is
had. No torch here.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

from .download import Progress

FETCH_SECONDS = 300.0  # for all files of a network
SPARE_BYTES = 10**9  # that are left on the disk
ASK_SECONDS = 30.0  # for their sizes
LARGEST_WEIGHTS = 2 * 10**9  # bytes
LARGEST_CONFIG = 5 * 10**6  # bytes; ImageNet's 21,841 names take 2 million
CONFIG, WEIGHTS, PREPROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
LIMITS = {CONFIG: LARGEST_CONFIG, WEIGHTS: LARGEST_WEIGHTS, PREPROCESSOR: LARGEST_CONFIG}
TICK = 0.25  # seconds after which progress is told again, so that it may stop what stands still
GRACE = 5.0  # seconds for the program that fetches to end by itself

News = dict[str, str | int]


def fetch(repo: str, files: tuple[str, ...], progress: Progress | None = None) -> Path:
    """The folder of the cache that has these files of a public repository, fetched if it lacks some.

    Args:
        repo: `ORG/NAME`.
        files: keys of LIMITS.
        progress: called with the bytes that have arrived and those that are needed, at least every quarter of a second; what it
            raises stops the download, of which nothing is left.

    Raises:
        ValueError: there is no such repository, it lacks a file, or one is too large; one sentence.
        OSError: they could not be fetched within FETCH_SECONDS; one sentence.
    """
    done, total = 0, 0
    with closing(_ask(repo, files, True, FETCH_SECONDS)) as heard:
        for news in heard:
            if "folder" in news:
                return Path(str(news["folder"]))
            done, total = int(news.get("done", done)), int(news.get("total", total))
            if progress is not None and total:
                progress(done, total)
    raise _failed(repo, "it ended early")


def missing(repo: str, files: tuple[str, ...]) -> int | None:
    """How many bytes of these files would be fetched; None if they are here. Raises as `fetch` does."""
    with closing(_ask(repo, files, False, ASK_SECONDS)) as heard:
        for news in heard:
            if "folder" in news:
                return None
            if "total" in news:
                return int(news["total"])
    raise _failed(repo, "it ended early")


def _ask(repo: str, files: tuple[str, ...], wanted: bool, seconds: float) -> Generator[News, None, None]:
    """What the program that fetches tells, and nothing at each tick; it has ended when this is closed.

    Raises:
        ValueError, OSError: what it tells of a problem; it took too long.
    """
    asked = {"repo": repo, "files": {file: LIMITS[file] for file in files}, "fetch": wanted, "spare": SPARE_BYTES}
    switched = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}  # Xet's downloads could not be counted
    give_up = time.monotonic() + seconds
    program = subprocess.Popen(
        [sys.executable, "-P", str(Path(__file__).with_name("courier.py")), json.dumps(asked)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | switched,
    )
    told: queue.Queue[bytes] = queue.Queue()
    listener = threading.Thread(target=_listen, args=(program, told), daemon=True)
    listener.start()
    try:
        while True:
            if time.monotonic() > give_up:
                raise _failed(repo, f"it took longer than {seconds:.0f} s")
            try:
                line = told.get(timeout=max(0.0, min(TICK, give_up - time.monotonic())))
            except queue.Empty:
                yield {}
                continue
            if not line:
                return
            news = json.loads(line)
            if "problem" in news:
                raise _problem(repo, news["problem"], news["about"])
            yield news
    finally:
        assert program.stdin is not None and program.stdout is not None
        program.stdin.close()
        try:
            program.wait(GRACE)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
        listener.join()
        program.stdout.close()


def _listen(program: subprocess.Popen[bytes], told: queue.Queue[bytes]) -> None:
    """Hand on the lines of a program, and an empty one when it has ended."""
    assert program.stdout is not None
    for line in program.stdout:
        told.put(line)
    told.put(b"")


def _problem(repo: str, kind: str, about: str) -> ValueError | OSError:
    """A problem in a sentence."""
    if kind == "absent":
        return ValueError(
            f"There is no public repository {repo} on the Hugging Face Hub: check the name, or download it yourself "
            "and name the folder as local-dir:FOLDER."
        )
    if kind == "lacks" and about == WEIGHTS:
        return ValueError(
            f"{repo} has no {WEIGHTS}, and weights in other files, such as pickles, are not opened: choose another network."
        )
    if kind == "lacks":
        return ValueError(f"{repo} has no {about}, so it does not say what its network is: choose another one.")
    if kind == "large":
        file, size, most = about.split(":")
        return ValueError(
            f"{file} of {repo} has {int(size) / 1e6:,.0f} MB, and at most {int(most) / 1e6:,.0f} MB are fetched: "
            "choose a smaller network."
        )
    return _failed(repo, about)


def _failed(repo: str, reason: str) -> OSError:
    return OSError(
        f"The network {repo} is not in the cache of the Hugging Face Hub and could not be fetched ({reason}): try again "
        "when the Hub can be reached, or use the bundled model photo11."
    )
