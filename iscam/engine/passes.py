"""What is run for a map, as data: kinds of perturbed passes, and how their scores are averaged. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

Noise = tuple[int, int]  # the seed and the number of a noise field


@dataclass(frozen=True)
class Probe:
    """One kind of perturbed pass, by which a channel is asked what it is worth.

    The input row is the photo times the channel's mask times `multiplier`, with `noise` added if there is any; with
    `silence` it is the photo as it is, and the channel is silenced in the network. A `rough` one is run in bfloat16.
    """

    multiplier: float = 1.0
    noise: Noise | None = None
    silence: bool = False
    rough: bool = False

    def roughly(self) -> Probe:
        """The same pass in bfloat16."""
        return replace(self, rough=True)


@dataclass(frozen=True)
class Passes:
    """What a map needs of the network, beside the pass over the photo itself.

    Args:
        probes: (n) that are run for every channel.
        shares: (n) with which a channel's scores are averaged; none is negative, and they sum to 1.
        scale: what is averaged: the "probability" of the class, or its "logit".
        gradients: the noise of each photo at which gradients are taken, which are averaged; None is the photo as it is.
        cells: whether every cell of the layer is run alone.

    Raises:
        ValueError: shares that do not average the probes.

    >>> Passes((Probe(0.5), Probe(1.0)), (0.5, 0.5)).scale
    'probability'
    """

    probes: tuple[Probe, ...] = ()
    shares: tuple[float, ...] = ()
    scale: str = "probability"
    gradients: tuple[Noise | None, ...] = ()
    cells: bool = False

    def __post_init__(self) -> None:
        whole = not self.probes or math.isclose(sum(self.shares), 1)
        if len(self.shares) != len(self.probes) or min(self.shares, default=0) < 0 or not whole:
            raise ValueError(
                f"{len(self.probes)} probes have as many shares, none of them negative, that sum to 1, not {self.shares}."
            )
