"""The folder of an evaluation, which keeps what has been found whatever is killed.

Each process appends what it has found of a photo as one line to a file of its own. Whole lines stay; a later run, of any
number of processes, reads them and does the rest.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from iscam.show import write_whole

from .dataset import Item
from .plan import Conditions

Row = dict[str, Any]  # a line of rows.csv


class Store:
    """The folder of an evaluation: settings.json, and a file of lines for each process in `parts`."""

    def __init__(self, folder: Path) -> None:
        self._settings = folder / "settings.json"
        self._parts = folder / "parts"

    def claim(self, conditions: Conditions) -> None:
        """Begin, or go on with, an evaluation under these conditions. Raises ValueError if the folder holds one of others."""
        wanted = json.loads(json.dumps(conditions.record()))
        if self._settings.exists():
            try:
                held = dict(json.loads(self._settings.read_text(encoding="utf-8"))["settings"])
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{self._settings} is not an evaluation's: name another --out.") from error
            if differing := [key for key in wanted if wanted[key] != held.get(key)]:
                key = differing[0]
                raise ValueError(
                    f"{self._settings.parent} holds rows of another evaluation ({key}: {held.get(key)}, now "
                    f"{wanted[key]}): name another --out."
                )
        self._parts.mkdir(parents=True, exist_ok=True)
        if not self._settings.exists():
            write_whole(self._settings, json.dumps({"settings": wanted}, indent=2) + "\n")

    def add(self, rank: int, line: dict[str, Any]) -> None:
        """Append a line by a single write, so that a process that is killed leaves it whole or not at all.

        Raises OSError, a sentence, if it cannot be written.
        """
        file = self._parts / f"{rank}.jsonl"
        text = json.dumps(line, allow_nan=False).encode() + b"\n"
        try:
            with file.open("a+b", buffering=0) as part:
                if part.tell() and not _ends_whole(part):
                    text = b"\n" + text  # of a machine that was switched off, or a disk that was full
                if part.write(text) != len(text):
                    raise OSError(errno.ENOSPC, "there is no room for all of it")
        except OSError as error:
            raise OSError(
                f"{file} cannot be written ({error.strerror}): mend that, and the same command goes on where it was."
            ) from error

    def lines(self) -> Iterator[dict[str, Any]]:
        """All whole lines of all processes; what is no file, and may have no end, is not read."""
        for part in filter(Path.is_file, sorted(self._parts.glob("*.jsonl"))):
            for text in part.read_bytes().split(b"\n"):
                try:
                    line = json.loads(text)
                except ValueError:
                    continue
                if isinstance(line, dict) and "file" in line:
                    yield line

    def rows(self, items: Sequence[Item]) -> dict[str, list[Row]]:
        """The rows that are there, by photo; not those of another photo of the same name, or with another label or box."""
        states = {item.name: state(item) for item in items}
        found: dict[str, list[Row]] = {}
        for line in self.lines():
            name = line["file"]
            if "rows" in line and name in states and line.get("photo") == states[name]:
                found.setdefault(name, line["rows"])
        return found


def state(item: Item) -> list[Any]:
    """What the rows of a photo depend on beside the settings, as far as it can be told without reading it."""
    if item.parts:
        return [state(part) for part in item.parts]
    try:
        size = item.file.stat().st_size
    except (OSError, ValueError):  # no such file, or no name of a file
        size = None
    return [size, item.label, item.box and list(item.box)]


def _ends_whole(part: Any) -> bool:
    part.seek(-1, os.SEEK_END)
    return bool(part.read(1) == b"\n")
