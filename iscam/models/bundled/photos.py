"""Labelled photos from a folder or a zip with `train/<class>/` and `val/<class>/` inside."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from iscam.images import SUFFIXES

from .network import CATEGORIES


def read_labelled(source: Path, split: str) -> Iterator[tuple[str, int, bytes]]:
    """Yield (name, class index, file contents) for every photo of one split, in sorted order.

    A folder that holds the class folders themselves, without `train/` and `val/`, serves as any split.

    Raises:
        ValueError: `source` is neither a folder nor a zip, or holds no photo of a known class.
    """
    found = False
    for name, contents in _read_zip(source, split) if zipfile.is_zipfile(source) else _read_folder(source, split):
        found = True
        yield name, CATEGORIES.index(PurePosixPath(name).parent.name), contents
    if not found:
        raise ValueError(f"{source} holds no photo under {split}/<class>/ for the classes: {', '.join(CATEGORIES)}.")


def _is_photo(path: PurePosixPath) -> bool:
    return path.suffix.lower() in SUFFIXES and path.parent.name in CATEGORIES


def _read_zip(source: Path, split: str) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(source) as archive:
        photos = sorted(name for name in archive.namelist() if _is_photo(PurePosixPath(name)))
        in_split = [name for name in photos if split in PurePosixPath(name).parts]
        for name in in_split or photos:
            yield name, archive.read(name)


def _read_folder(source: Path, split: str) -> Iterator[tuple[str, bytes]]:
    if not source.is_dir():
        raise ValueError(f"{source} is neither a folder nor a zip file.")
    root = source / split if (source / split).is_dir() else source
    for path in sorted(path for path in root.glob("*/*") if _is_photo(PurePosixPath(path))):
        yield path.relative_to(root.parent).as_posix(), path.read_bytes()
