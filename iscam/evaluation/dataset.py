"""Photos to be evaluated: a folder of photos, class folders, or a CSV; in an order that depends on a seed alone.

Importing this module does not load torch.
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from iscam.images import find_photos
from iscam.models import LoadedModel
from iscam.project import ASSETS

SYNSETS = ASSETS / "imagenet_wnids.txt"  # line i: ImageNet's class i
CLASS_COLUMNS = ("class", "category", "label", "index")  # of a CSV, the first that is there
FIGURES = (".iscam.png", ".sanity.png")  # what explain and sanity write
BOX_COLUMNS = ("left", "top", "right", "bottom")  # pixels of the upright photo


@dataclass(frozen=True)
class Item:
    """A photo: its name in tables, its file, its class as it is called there, and a box (l, t, r, b), if known.

    A grid of photos has them as its `parts`.
    """

    name: str
    file: Path
    label: str | None = None
    box: tuple[float, float, float, float] | None = None
    parts: tuple[Item, ...] = ()


def find_items(source: Path) -> list[Item]:
    """The photos of a folder, of the class folders in it, or of a CSV (file, class, and perhaps left, top, right, bottom).

    Raises:
        ValueError: there is no such folder or CSV, nothing in it, or it cannot be read; one sentence.
    """
    if os.path.isfile(source):  # Path.is_file raises on an overlong name
        items = _of_csv(source)
    elif os.path.isdir(source):
        items = [Item(path.name, path) for path in _photos(source)]
        for folder in sorted(path for path in source.iterdir() if path.is_dir()):
            items += [Item(f"{folder.name}/{path.name}", path, folder.name) for path in _photos(folder)]
    else:
        raise ValueError(f"There is no {source}: name a folder of photos, of class folders, or a CSV (file, class).")
    if not items:
        raise ValueError(f"There are no photos in {source}.")
    return items


def _photos(folder: Path) -> list[Path]:
    """The photos in a folder, but for the figures that a command of ours has left there."""
    marks = (("parts", "figure.png"), ("benchmark.md", "benchmark.png"))
    own = [figure for mark, figure in marks if (folder / mark).exists()]
    return [path for path in find_photos(folder) if path.name not in own and not path.name.endswith(FIGURES)]


def _of_csv(file: Path) -> list[Item]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, skipinitialspace=True, strict=True)
            heads = set(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} is no CSV in UTF-8: {error}.") from error
    column = next((name for name in CLASS_COLUMNS if name in heads), None)
    if rows and "file" not in heads:
        raise ValueError(f"{file} has no column `file`: the first line names the columns `file` and `class`.")
    items: dict[str, Item] = {}
    for number, row in rows:
        name = row["file"] or ""
        if not name or name in items:
            raise ValueError(f"{file}, line {number}: {f'{name!r} is there twice' if name else 'no file is named'}.")
        label = (row[column] or "").strip() if column else ""
        items[name] = Item(name, file.parent / name, label or None, _box(file, number, row))
    return list(items.values())


def _box(file: Path, number: int, row: dict[str, str]) -> tuple[float, float, float, float] | None:
    given = [row.get(name) or "" for name in BOX_COLUMNS]
    if not any(given):
        return None
    try:
        left, top, right, bottom = (float(value) for value in given)
    except ValueError:
        left = top = right = bottom = 0.0
    if not (-math.inf < left < right < math.inf and -math.inf < top < bottom < math.inf and right > 0 and bottom > 0):
        raise ValueError(f"{file}, line {number}: {', '.join(given)} is no box: left, top, right, bottom in pixels.")
    return max(0.0, left), max(0.0, top), right, bottom  # some tools begin at -1


def sample(items: Sequence[Item], limit: int | None, seed: int) -> list[Item]:
    """`limit` of the items (all by default) in an order by seed and name: a larger sample begins with the smaller one."""

    def place(item: Item) -> bytes:
        return hashlib.sha256(f"{seed}/{item.name}".encode(errors="surrogateescape")).digest()

    return sorted(items, key=place)[:limit]


def class_index(label: str, model: LoadedModel) -> int:
    """The model's class of a label: a class's name, which may be made of digits, an ImageNet synset, or an index.

    Raises:
        ValueError: there is none; one sentence.
    """
    if model.categories.count(label) == 1:
        return model.categories.index(label)
    synsets = SYNSETS.read_text(encoding="utf-8").split()
    if label in synsets:
        from iscam.models import imagenet_categories

        label = imagenet_categories()[synsets.index(label)]
    return model.find_class(label)
