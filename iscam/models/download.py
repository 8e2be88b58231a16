"""Weights from the network, into torch.hub's cache, within a time limit and checked by their hash."""

from __future__ import annotations

import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

from .digest import sha256

FETCH_SECONDS = 120.0  # for a whole download; torch.hub's own has no limit
CONNECT_SECONDS = 10.0  # between two signs of life
ANSWER_SECONDS = 30.0  # until the answer's headers are there

Progress = Callable[[int, int], None]  # bytes that are here, of how many, 0 if nobody knows


def fetch(url: str, file: Path, progress: Progress | None = None) -> None:
    """Download weights into torch.hub's cache; the file appears whole or not at all. `progress` may raise to stop that.

    Raises:
        OSError: it could not be done within FETCH_SECONDS; one sentence with file and folder.
    """
    give_up = time.monotonic() + FETCH_SECONDS
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _asked(url) as answer, part.open("wb") as out:
            while chunk := answer.read1(2**20):
                out.write(chunk)
                if progress is not None:
                    progress(out.tell(), int(answer.headers.get("Content-Length") or 0))
                if time.monotonic() > give_up:
                    raise TimeoutError(f"it took longer than {FETCH_SECONDS:.0f} s")
        verify_hash(part, file.name)
        os.replace(part, file)
    except (OSError, ValueError, HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        reason = getattr(cause, "strerror", None) or cause  # words without an error number
        if isinstance(error, HTTPException):
            reason = "the server's answer is broken"  # it would be quoted in full
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is also the open answer
        raise OSError(
            f"The weights {file.name} could not be downloaded ({reason}): put the file into {file.parent} by hand, "
            f"or use the bundled model photo11."
        ) from error
    finally:
        with suppress(OSError):  # nothing to remove, or the folder is no folder
            part.unlink()


def _asked(url: str) -> Any:
    """The open answer. Raises TimeoutError where its headers trickle, each letter of which is a sign of life for a socket."""
    answer: Future[Any] = Future()

    def ask() -> None:
        try:
            answer.set_result(urllib.request.urlopen(url, timeout=CONNECT_SECONDS))
        except Exception as error:  # it is raised where the answer is waited for
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    if not wait([answer], ANSWER_SECONDS).done:
        answer.add_done_callback(lambda late: late.exception() or late.result().close())
        raise TimeoutError(f"the server did not answer within {ANSWER_SECONDS:.0f} s")
    return answer.result()


def verify_hash(file: Path, name: str) -> None:
    """Compare a download with the first digits of its SHA-256 that torch.hub puts into the file's name."""
    wanted = re.search(r"-([0-9a-f]{8,})\.", name)
    if wanted and not sha256(file).startswith(wanted[1]):
        raise ValueError("what arrived is not the published file")
