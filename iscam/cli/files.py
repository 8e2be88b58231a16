"""Files and words of the command line: what is there, where results go, and what a terminal can show."""

from __future__ import annotations

import glob
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from iscam.notes import trouble_of


def present(named: Sequence[Path]) -> tuple[list[Path], bool]:
    """The photos that are there, and whether that is all: the others are named.

    A pattern such as *.jpg, which not every shell expands, and none does in quotes, means the files that match it.
    """
    photos: list[Path] = []
    whole = True
    for photo in named:
        found = [photo] if os.path.lexists(photo) else [Path(match) for match in sorted(glob.glob(str(photo)))]
        files = [file for file in found if os.path.isfile(file)]  # Path.is_file raises on an overlong name
        photos += files
        if not files:
            complain(f"{photo}: {_absent(photo)}.")
            whole = False
    return photos, whole


def _absent(photo: Path) -> str:
    if os.path.isdir(photo):
        return "this is a folder: name the photos in it"
    return "no file matches this pattern" if glob.has_magic(str(photo)) else "there is no such file"


def make_folder(folder: Path) -> None:
    """Make the folder of the results and see that files can be made in it, before hours are spent on maps."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError as error:
        raise OSError(f"{folder} is a file: name a folder with --out.") from error
    except OSError as error:
        raise OSError(f"Nothing can be written into {folder} ({error.strerror}): name another --out.") from error


def one_line(text: str) -> str:
    """Text fit for a terminal: names of files and classes may hold line breaks, control codes, or no Unicode at all."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


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
