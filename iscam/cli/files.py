"""Files and words of the command line: what is there, where results go, and what a terminal can show."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def present(named: Sequence[Path]) -> list[Path]:
    """The photos that are there; the others are named."""
    photos = []
    for photo in named:
        if os.path.isfile(photo):  # Path.is_file raises on an overlong name
            photos.append(photo)
        else:
            problem = "this is a folder: name the photos in it" if os.path.isdir(photo) else "there is no such file"
            complain(f"{photo}: {problem}.")
    return photos


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


def complain(text: str) -> None:
    print(one_line(text), file=sys.stderr)
