"""What a configuration says that comes with a network: numbers in their ranges, and names of bounded length."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .architectures import imagenet_categories
from .loaded import LONGEST_NAME, numbered
from .names import CONFIG

MAX_CONFIG_BYTES = 5_000_000  # with the names of 21,841 classes


def read_json(file: Path) -> dict[str, Any]:
    """A mapping in a JSON file. Raises ValueError, a sentence, if it is none."""
    if file.stat().st_size > MAX_CONFIG_BYTES:
        raise ValueError(f"{file.name} has more than {MAX_CONFIG_BYTES // 10**6} MB: that is no configuration.")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file.name} cannot be read as JSON.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file.name} holds no settings by name.")
    return found


def number(config: Mapping[str, Any], name: str, least: float, most: float, usual: float | None = None) -> float:
    """A number in a configuration. Raises ValueError, a sentence, if it is none or out of range."""
    value = config.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ValueError(f"{name} in {CONFIG} must lie between {least:g} and {most:g}.")
    return value


def colours(config: Mapping[str, Any], name: str, least: float) -> tuple[float, ...]:
    """A number for each colour, or for a grey photo. Raises ValueError as `number`."""
    values = config.get(name)
    if not isinstance(values, (list, tuple)) or len(values) not in (1, 3):
        raise ValueError(f"{name} in {CONFIG} must have three numbers.")
    return tuple(number({name: value}, name, least, 10) for value in values)


def class_names(names: object, classes: int) -> tuple[str, ...]:
    """Names of classes, of bounded length; ImageNet's or numbers where there are none.

    Raises:
        ValueError: there are more or fewer than classes, or they are no words; one sentence.
    """
    if names is None:
        return imagenet_categories() if classes == 1000 else numbered(classes)
    if not isinstance(names, list) or len(names) != classes or not all(isinstance(name, str) for name in names):
        raise ValueError(f"The names of the classes in {CONFIG} are no list of {classes}.")
    return tuple(name[:LONGEST_NAME] for name in names)
