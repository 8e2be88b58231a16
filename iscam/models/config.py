"""What a network's config.json says, taken field by field: numbers in sane ranges, plain words and names of classes, nothing
else. No torch here."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from iscam.images import INTERPOLATIONS

from .hub import LARGEST_CONFIG
from .loaded import LONGEST_NAME, numbered

MOST_CLASSES = 100_000
SIDES = 16, 1024  # of the input, in pixels
CROPS = 0.1, 1.0  # shares
LARGEST_NUMBER = 10_000  # of an architecture's arguments: channels, blocks, pixels
LONGEST_LIST = 64
MOST_ARGUMENTS = 64
ARGUMENT = re.compile(r"[a-z][a-z0-9_]{0,39}")
WORD = re.compile(r"[A-Za-z0-9_]{0,40}")  # no dot, slash or colon: it can be no path, no address and no module


@dataclass(frozen=True)
class Feed:
    """How photos become the input: as timm says it in `pretrained_cfg`."""

    channels: int
    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_pct: float
    crop_mode: str
    interpolation: str


def read_json(file: Path) -> dict[str, Any]:
    """The mapping in a JSON file.

    Raises:
        OSError: there is no such file.
        ValueError: it is too large, or no JSON mapping; one sentence.
    """
    where = f"{file.name} in {file.parent}"
    if not file.is_file():
        raise OSError(f"There is no {where}: the folder must be as the Hugging Face Hub stores a network.")
    if file.stat().st_size > LARGEST_CONFIG:
        raise ValueError(f"{where} has more than {LARGEST_CONFIG / 1e6:.0f} MB, so it is not read.")
    try:
        found = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:  # also what is no UTF-8, and numbers of thousands of digits
        raise ValueError(f"{where} is no JSON that can be read: fetch it again.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{where} holds no mapping from names to values: fetch it again.")
    return found


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no number")


def mapping(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The mapping of a name, empty if there is none. Raises ValueError, one sentence, if it is something else."""
    found = values.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"In the network's config {name} must be a mapping.")
    return found


def number(values: Mapping[str, Any], name: str, low: float, high: float, default: float) -> float:
    """The number of a name, within bounds, both included. Raises ValueError, one sentence."""
    found = values.get(name)
    found = default if found is None else found
    if not _is_number(found) or not low <= found <= high:
        raise ValueError(f"In the network's config {name} must be a number from {low:g} to {high:g}.")
    return float(found)


def whole(values: Mapping[str, Any], name: str, low: int, high: int, default: int) -> int:
    """The same of a whole number."""
    found = number(values, name, low, high, default)
    if found != int(found):
        raise ValueError(f"In the network's config {name} must be a whole number.")
    return int(found)


def choice(values: Mapping[str, Any], name: str, among: Collection[str], default: str) -> str:
    """The word of a name. Raises ValueError, one sentence, if it is none of those."""
    found = values.get(name)
    found = default if found is None else found
    if not isinstance(found, str) or found not in among:
        raise ValueError(
            f"In the network's config {name} must be one of {', '.join(among)}, as others are not known here."
        )
    return found


def numbers(values: Mapping[str, Any], name: str, count: int, low: float, high: float, default: Any) -> Any:
    """As many numbers. Raises ValueError, one sentence."""
    found = values.get(name)
    found = list(default)[:count] if found is None else found
    if not isinstance(found, list) or len(found) != count or not all(_is_number(v) and low <= v <= high for v in found):
        raise ValueError(f"In the network's config {name} must be {count} numbers from {low:g} to {high:g}.")
    return tuple(found)


def feed_of(said: Mapping[str, Any], mean: Sequence[float], std: Sequence[float]) -> Feed:
    """How photos become the input, as a `pretrained_cfg` of timm's says; by this mean and std where it says none.

    Raises:
        ValueError: something is missing, not sane, or not known here; one sentence.
    """
    channels, height, width = numbers(said, "input_size", 3, 1, SIDES[1], (3, 224, 224))
    if channels not in (1, 3) or height != width or height < SIDES[0] or int(height) != height:
        raise ValueError(
            f"In the network's config input_size must be [3 or 1, side, side], with {SIDES[0]} to {SIDES[1]} pixels."
        )
    crop = number(said, "crop_pct", *CROPS, 0.875)
    mode = choice(said, "crop_mode", ("center", "squash", "border"), "center")
    if mode != "center" and crop < 1:
        raise ValueError(
            f"Photos that are fitted by crop_mode {mode} and then cut (crop_pct {crop:g}) are not known here."
        )
    return Feed(
        channels=int(channels),
        side=int(height),
        mean=numbers(said, "mean", int(channels), -10, 10, mean),
        std=numbers(said, "std", int(channels), 1e-4, 1000, std),
        crop_pct=crop,
        crop_mode=mode,
        interpolation=choice(said, "interpolation", INTERPOLATIONS, "bicubic"),
    )


def arguments(given: Mapping[str, Any], forbidden: Collection[str], where: str) -> dict[str, Any]:
    """What is handed to the maker of a network: numbers, truths, plain words and lists of these, under plain names.

    Raises:
        ValueError: something else is among them; one sentence that names the first.
    """
    if len(given) > MOST_ARGUMENTS:
        raise ValueError(f"In the network's config {where} has more than {MOST_ARGUMENTS} entries.")
    for name, value in given.items():
        if not ARGUMENT.fullmatch(name) or name in forbidden:
            raise ValueError(f"In the network's config {where} holds {_shown(name)}, which no config may set.")
        if not is_plain(value):
            raise ValueError(
                f"In the network's config {name} of {where} is no number, plain word or short list of these."
            )
    return dict(given)


def is_plain(value: object, depth: int = 2) -> bool:
    """Whether a value is a number that an architecture may have, a truth, a plain word, or a short list of such."""
    if isinstance(value, list):
        return depth > 0 and len(value) <= LONGEST_LIST and all(is_plain(each, depth - 1) for each in value)
    if isinstance(value, str):
        return WORD.fullmatch(value) is not None
    return value is None or isinstance(value, bool) or (_is_number(value) and abs(value) <= LARGEST_NUMBER)


def labels(names: object, descriptions: object, classes: int) -> tuple[str, ...] | None:
    """What the classes are called: by their descriptions where there are some; None if nothing is said.

    Names are a list, or a mapping from indices, in which some may lack; what cannot be shown in a line is taken out of them.

    Raises:
        ValueError: they are not strings, or more or fewer than classes; one sentence.
    """
    if not names:
        return None
    told = descriptions if isinstance(descriptions, dict) else {}
    if isinstance(names, dict):
        unknown = [
            key for key in names if not (isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 7)
        ]
        if unknown or any(int(key) >= classes for key in names):
            raise ValueError(f"The class names in config.json are not those of classes 0 to {classes - 1}.")
        listed: Sequence[object] = _spread({int(key): name for key, name in names.items()}, classes)
    elif isinstance(names, list):
        listed = names
    else:
        raise ValueError("The class names in config.json are no list: leave them out.")
    if len(listed) != classes:
        raise ValueError(f"The class names in config.json are {len(listed)}, for {classes} classes.")
    if not all(isinstance(name, str) for name in listed):
        raise ValueError("The class names in config.json are not all strings: leave them out.")
    return tuple(_line(told.get(name) or name) or spare for name, spare in zip(listed, numbered(classes), strict=True))


def _spread(named: Mapping[int, object], classes: int) -> list[object]:
    return [named.get(i, "") for i in range(classes)]


def _line(name: object) -> str:
    """A name in a line of bounded length."""
    words = "".join(letter if letter.isprintable() else " " for letter in str(name)[: 4 * LONGEST_NAME]).split()
    text = " ".join(words)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def _is_number(value: object) -> TypeGuard[float]:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (isinstance(value, float) and math.isfinite(value))


def _shown(name: str) -> str:
    return repr(name[:40])
