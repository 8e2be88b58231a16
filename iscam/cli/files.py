"""Files and words of the command line: what is there, where results go, and what a terminal can show."""

from __future__ import annotations

import glob
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from iscam import evaluation
from iscam.images import one_line
from iscam.notes import trouble_of


def present(named: Sequence[Path]) -> tuple[list[Path], dict[Path, str]]:
    """The photos that are there, and why others are not.

    A folder means the photos in it and in the folders of its classes, as to `evaluate`; a pattern such as *.jpg, which not
    every shell expands, and none does in quotes, the files that match it.
    """
    photos: list[Path] = []
    absent: dict[Path, str] = {}
    for photo in named:
        files = _meant(photo)
        photos += files
        if not files:
            absent[photo] = f"{_absent(photo)}."
    return photos, absent


def _meant(photo: Path) -> list[Path]:
    if os.path.isdir(photo):
        try:
            return [item.file for item in evaluation.find_items(photo)]
        except ValueError:  # there are none
            return []
    found = [photo] if os.path.lexists(photo) else [Path(match) for match in sorted(glob.glob(str(photo)))]
    return [file for file in found if os.path.isfile(file)]  # Path.is_file raises on an overlong name


def _absent(photo: Path) -> str:
    if os.path.isdir(photo):
        return "there are no photos in this folder"
    return "no file matches this pattern" if glob.has_magic(str(photo)) else "there is no such file"


def make_folder(folder: Path, option: str = "--out") -> None:
    """Make the folder that an option names and see that files can be made in it, before hours are spent on maps."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError as error:
        raise OSError(f"{folder} is a file: name a folder with {option}.") from error
    except OSError as error:
        raise OSError(f"Nothing can be written into {folder} ({error.strerror}): name another {option}.") from error


def sentence_of(error: Exception) -> str:
    """What to say of an error: a sentence for people, if it is theirs to mend; else a report for those who mend the program."""
    if said := trouble_of(error):
        return said
    last = traceback.extract_tb(error.__traceback__)[-1:]
    place = "".join(f", {Path(frame.filename).name} line {frame.lineno}" for frame in last)
    return (
        f"Something is wrong in this program ({type(error).__name__}: {error}{place}): please report this line and the "
        "command as SECURITY.md says, and what --debug shows."
    )


def complain(text: str) -> None:
    print(one_line(text), file=sys.stderr)
