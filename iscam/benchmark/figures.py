"""What a benchmark finds: maps, growth, and times of single passes."""

from __future__ import annotations

from dataclasses import dataclass

TORCHCAM, WITHOUT_BF16 = "torchcam", "fast, without bfloat16"  # beside the engines of `settings.ENGINES`


@dataclass(frozen=True)
class MapOf:
    """Which map was made."""

    model: str
    method: str
    engine: str
    steps: int
    photo: str


@dataclass(frozen=True)
class Run:
    """One map: a row of benchmark.csv. `outside` is seconds beside the network; unknown for torch-cam, as the error is."""

    map: MapOf
    seconds: float
    forward_passes: int
    correlation: float | None
    max_difference: float | None
    peak_mb: float
    estimated_error: float | None = None
    outside: float | None = None


@dataclass(frozen=True)
class Growth:
    """One map of the fast engine with one setting moved: `steps`, or the layer and with it the channels."""

    model: str
    what: str
    value: int
    seconds: float
    forward_passes: int


@dataclass(frozen=True)
class PassTime:
    """Milliseconds per image of one network at an input side: as it is built, precise, and rough passes.

    `backend` says in words what makes the latter fast.
    """

    model: str
    trained: bool
    side: int
    native: bool
    backend: str
    plain: float
    precise: float
    rough: float | None


@dataclass(frozen=True)
class Report:
    """All that was measured, and on what machine."""

    machine: str
    runs: list[Run]
    growth: list[Growth]
    passes: list[PassTime]
