"""How values of options are read: numbers within bounds, and names of files."""

from __future__ import annotations

import argparse
import math
from pathlib import Path


class whole:
    """A whole number within bounds, both included."""

    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    def __call__(self, text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = self._low - 1
        if not self._low <= value <= self._high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {self._low} to {self._high}")
        return value


def html_file(text: str) -> Path:
    """A page's name; of anything else it is likely that a photo was meant, which must not be overwritten."""
    if not text.lower().endswith((".html", ".htm")):
        raise argparse.ArgumentTypeError(f"{text!r} is not called .html: name the photos before --sheet")
    return Path(text)


def fraction(text: str) -> float:
    value = share(text)
    if value in (0, 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def three(text: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError:
        red = green = blue = math.nan
    if not all(math.isfinite(value) for value in (red, green, blue)):
        raise argparse.ArgumentTypeError(f"{text!r} is not three numbers with commas between")
    return red, green, blue


def three_positive(text: str) -> tuple[float, float, float]:
    values = three(text)
    if min(values) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: photos are divided by these numbers, so each must be above 0")
    return values
