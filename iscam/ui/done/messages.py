"""What the server and the compute process say to each other. No message needs torch to be read."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from iscam.images import Photo
from iscam.models import ModelSpec

from .order import Order

# From the server; `number` is that of the job


@dataclass(frozen=True, eq=False)
class Begin:
    """Carry out an order, whose photo has no pixels: they are sent if they are asked for. `trouble` is why what it needs
    could not be fetched, if so; the order may have an answer to that."""

    number: int
    order: Order
    background: bool = False
    trouble: str | None = None


@dataclass(frozen=True)
class Fetch:
    """Fetch the weights of a model, beside whatever is being carried out."""

    number: int
    row: ModelSpec


@dataclass(frozen=True)
class Stop:
    """Come to an end with what is known."""

    number: int


@dataclass(frozen=True)
class GiveWay:
    """Stop with what is known, which is to be taken up again when others have had their turn."""

    number: int


@dataclass(frozen=True, eq=False)
class Sent:
    """The photo of an order, in full size."""

    number: int
    photo: Photo


@dataclass(frozen=True)
class Rendered:
    """A page has shown the latest preview, which took so many seconds."""

    number: int
    seconds: float


# From the compute process


@dataclass(frozen=True)
class Ready:
    """The libraries are loaded: orders can be carried out."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What is to be remembered, under its key, with about how many bytes it takes."""

    key: Hashable
    answer: Any
    size: int


@dataclass(frozen=True, eq=False)
class Told:
    """News of a job, and the answers found on the way. What is in both is one object on either side."""

    number: int
    news: object
    answers: tuple[Answer, ...] = ()


@dataclass(frozen=True, eq=False)
class Previewed:
    """A preview, which takes the place of the one before."""

    number: int
    preview: object


@dataclass(frozen=True)
class Wanted:
    """The photo of an order is needed in full size."""

    number: int


@dataclass(frozen=True)
class Fetched:
    """What was to be fetched is here, or there is a sentence why not."""

    number: int
    trouble: str | None = None


@dataclass(frozen=True)
class Ended:
    """An order has come to its end; or has given way, when so many of its news had been told."""

    number: int
    told: int | None = None
