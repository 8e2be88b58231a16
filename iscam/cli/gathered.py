"""The sheet on which `explain` gathers all photos, if it is asked for with `--sheet`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from iscam import show
from iscam.images import one_line

from .files import make_folder

if TYPE_CHECKING:
    from iscam import Explanation
    from iscam.results import Subject

NAME = "sheet.iscam.html"  # in the folder of the results, if it is given no other


@contextmanager
def gathering(options: argparse.Namespace, settings: Mapping[str, object]) -> Iterator[Gathered]:
    """What a run adds its photos to. A run that is interrupted leaves a sheet of those that were done, which says so."""
    with ExitStack() as stack:
        gathered = Gathered(options, settings, stack)
        try:
            yield gathered
        except KeyboardInterrupt:
            if said := gathered.finish(stopped=True):
                print(said)
            raise


class Gathered:
    """The photos of a run on one sheet; where none is asked for, nothing happens."""

    def __init__(self, options: argparse.Namespace, settings: Mapping[str, object], stack: ExitStack) -> None:
        self._file: Path | None = options.out / NAME if options.sheet == Path() else options.sheet
        self._settings, self._stack = settings, stack
        self._sheet: show.Sheet | None = None
        self._apart = False  # whether photos lie in several folders, and so are called by them too

    def begin(self, photos: Sequence[Path], taken: set[Path]) -> None:
        """See that the sheet can be written before there is work to lose. Raises ValueError or OSError, a sentence."""
        if self._file is None:
            return
        if os.path.isdir(self._file):
            raise ValueError(f"{self._file} is a folder: name a file with --sheet.")
        if show.real_path(self._file) in taken:
            raise ValueError(f"{self._file} would be overwritten: name another file with --sheet.")
        make_folder(self._file.parent, "--sheet")
        self._apart = len({photo.parent for photo in photos}) > 1
        self._sheet = self._stack.enter_context(show.new_sheet(self._file.parent, self._settings))

    def add(
        self,
        photo: Path,
        subject: Subject,
        explanations: Sequence[Explanation],
        contrast: Explanation | None,
        figure: Path,
    ) -> None:
        if self._sheet is not None:
            self._sheet.add(self._called(photo), subject, explanations, contrast, figure.name)

    def miss(self, photo: Path, sentence: str) -> None:
        if self._sheet is not None:
            self._sheet.miss(self._called(photo), sentence)

    def finish(self, taken: object = None, stopped: bool = False) -> str:
        """Write the sheet, and say where; empty if there is nothing to be written."""
        if self._file is None or self._sheet is None or not self._sheet.photos:
            return ""
        self._sheet.write(self._file, stopped)
        return one_line(f"All on one sheet: {self._file}")

    def _called(self, photo: Path) -> str:
        """A photo's name, never where on this machine it lies."""
        return f"{photo.parent.name}/{photo.name}" if self._apart and photo.parent.name else photo.name
