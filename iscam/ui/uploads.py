"""The folder where uploads and what is made of them lie: of each run its own, and gone with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "iscam-uploads-"
PLACE = "GRADIO_TEMP_DIR"  # where Gradio is told


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Have uploads put into a folder that nobody else may read, and that is deleted in the end.

    It is made where GRADIO_TEMP_DIR says, or where temporary files usually are. What runs have left there that were killed is
    deleted as well: a run holds a lock beside its folder for as long as it lives.

    Raises:
        OSError: no folder can be made there; one sentence.
    """
    parent = Path(os.environ.get(PLACE) or tempfile.gettempdir())
    mine = parent / f"{PREFIX}{uuid.uuid4().hex}"
    lock = FileLock(mine.with_suffix(".lock"))
    try:
        parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)  # first, so that no run that begins takes the folder for one that was left
        mine.mkdir(mode=0o700)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"Uploads cannot be put into {parent} ({reason}): name a folder with {PLACE}.") from error
    for other in parent.glob(f"{PREFIX}*"):
        if other.suffix != ".lock" and other != mine:
            _delete_left(other)
    before = os.environ.get(PLACE)
    os.environ[PLACE] = str(mine)
    try:
        yield mine
    finally:
        os.environ.pop(PLACE)
        if before is not None:
            os.environ[PLACE] = before
        _delete(mine, lock)


def _delete_left(other: Path) -> None:
    """Delete the folder of a run that lives no more, if it is ours to delete."""
    lock = FileLock(other.with_suffix(".lock"))
    with contextlib.suppress(OSError, Timeout):
        lock.acquire(timeout=0)
        _delete(other, lock)


def _delete(mine: Path, lock: FileLock) -> None:
    shutil.rmtree(mine, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.remove(lock.lock_file)
    lock.release()
