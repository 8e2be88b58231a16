"""Which channels are run first, and in which blocks the others: those that promise most for their time, until they promise
enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .assessment import Assessment
from .foresight import Step
from .passes import Probe

Task = tuple[Sequence[Probe], int]  # probes that a channel lacks


class Option(NamedTuple):
    """A step: which channels can take it, bool (C,), what it costs each (C,), and the kind and the probes of its passes."""

    able: Tensor
    cost: Tensor
    kind: str
    probes: Sequence[Probe]


def sample(sizes: Tensor, strong: int, others: int) -> list[int]:
    """The channels of the largest `sizes` (C,), and others from all over the rest, each for the same part of its sum."""
    first = sizes.topk(strong).indices.tolist()
    order = [channel for channel in sizes.argsort(descending=True).tolist() if channel not in first]
    reached = sizes[order].cumsum(0)
    steps = (torch.arange(others).to(reached) + 0.5) / others * reached[-1]
    return [*first, *(order[int(place)] for place in torch.searchsorted(reached, steps).clamp_max(len(order) - 1))]


def choose(found: Assessment, options: Mapping[Step, Option], budget: float, enough: float) -> tuple[str, list[Task]]:
    """A kind of passes, and a block of them, none if no step promises anything.

    It costs about the `budget`, or less where the map's error would be below `enough` after it. A block is of one kind, so
    that its batches are full. In `found` the chosen steps count as taken then.
    """
    able = {step: option.able.clone() for step, option in options.items()}

    def worth(step: Step) -> Tensor:
        return (found.gain(step) * able[step]).div_(options[step].cost)  # (C,)

    kind = options[max(options, key=lambda step: float(worth(step).max()))].kind
    alike = [step for step, option in options.items() if option.kind == kind]
    block: list[Task] = []
    while budget > 0 and (not block or found.error >= enough):
        promised = {step: worth(step) for step in alike}
        step = max(alike, key=lambda step: float(promised[step].max()))
        channel = int(promised[step].argmax())
        if promised[step][channel] <= 0:
            break
        block.append((options[step].probes, channel))
        budget -= float(options[step].cost[channel])
        able[step][channel] = False
        found.take(step, channel)
    return kind, block
