"""News: what the compute process tells of its work. Pages keep their news, and they are sent, so nothing in them is heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iscam import Explanation
    from iscam.results import Subject


@dataclass(frozen=True)
class Loading:
    """A model is being loaded, which may include a download, of which `done` of `total` bytes are here; 0 if nobody knows."""

    label: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class Unavailable:
    """The model asked for cannot be had; the bundled one takes its place."""

    sentence: str


@dataclass(frozen=True, eq=False)
class Analysed:
    """The photo went through the network once."""

    subject: Subject


@dataclass(frozen=True, eq=False)
class Sharpening:
    """A preview: the map of a method so far, after `done` of `total` passes, with an estimate of the seconds left.

    `explanation` is None where only the progress is shown.
    """

    label: str
    done: int
    total: int
    seconds_left: float
    explanation: Explanation | None = None


@dataclass(frozen=True)
class Measuring:
    """A preview: the map that is being measured, after `done` of `total` turns."""

    label: str
    done: int
    total: int


@dataclass(frozen=True, eq=False)
class Mapped:
    """The map of a method, and the class probability in [0, 1] of the photo masked by it; None if it was stopped."""

    explanation: Explanation
    masked: float | None


@dataclass(frozen=True, eq=False)
class Contrasted:
    """What speaks for one class (positive) and what for another (negative), or for a class rather than its rivals."""

    explanation: Explanation


@dataclass(frozen=True)
class Refused:
    """A method cannot answer, and why."""

    method: str
    sentence: str


@dataclass(frozen=True, eq=False)
class Piece:
    """A map of a row of maps, under its title, with the probability of its class when the photo is masked by it."""

    title: str
    explanation: Explanation
    masked: float | None


@dataclass(frozen=True)
class Failed:
    """The job ended with this sentence."""

    sentence: str


def size(news: object) -> int:
    """About how many bytes it takes to keep a piece of news."""
    if isinstance(news, (Mapped, Contrasted, Piece)):
        explanation = news.explanation
        beside = 0 if explanation.yardstick is None else 2 * explanation.heatmap.nbytes
        return explanation.heatmap.nbytes + explanation.raw.nbytes + beside
    if isinstance(news, Analysed):
        image = news.subject.photo.image
        return image.width * image.height * 3
    return 1000
