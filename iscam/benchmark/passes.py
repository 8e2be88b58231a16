"""How long a single pass of a network takes: as it is built, precise, and rough."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from iscam.engine import Backend
from iscam.models import LoadedModel

from .figures import PassTime

SIZES = (0.5, 1.0, 1.5)  # of a network's input, in its own side
PASSES = 16  # rows of the batch by which a pass is timed
REPEATS = 5


def time_passes(model: LoadedModel, trained: bool) -> Iterator[PassTime]:
    plain, backend = contiguous(model), Backend(model.network, model.folds)
    kinds: list[Callable[[Tensor], Tensor]] = [plain, backend.logits]
    if backend.has_rough:
        kinds.append(partial(backend.logits, rough=True))
    for size in SIZES:
        side = round(size * model.geometry.input_size)
        try:
            times = _in_turn(kinds, torch.randn(PASSES, 3, side, side).to(backend.device))
        except AssertionError:  # torchvision's vision transformers accept one size alone
            continue
        yield PassTime(
            model.key,
            trained,
            side,
            size == 1,
            backend.description,
            times[0],
            times[1],
            times[2] if len(times) > 2 else None,
        )


def contiguous(model: LoadedModel) -> nn.Module:
    """A copy of the network in the layout in which it is built."""
    return copy.deepcopy(model.network).to(memory_format=torch.contiguous_format)


def _in_turn(kinds: Sequence[Callable[[Tensor], Tensor]], images: Tensor) -> list[float]:
    """The least milliseconds per image of each kind, of some rounds in which each has its turn."""
    least = [float("inf")] * len(kinds)
    with torch.no_grad():
        for _ in range(REPEATS):
            for place, run in enumerate(kinds):
                started = time.perf_counter()
                run(images).cpu()  # waits for the device
                least[place] = min(least[place], time.perf_counter() - started)
    return [1000 * seconds / PASSES for seconds in least]
