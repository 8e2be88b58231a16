"""How a batch is pushed through the network fast on this machine: precision, memory layout, batch size, threads.

The passes run the network's own `forward`, with other weights put in its modules' places for the moment: batch norms
folded into the convolutions before them, and, for the rough kind of pass, bfloat16.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .capture import Fold
from .norms import fused, remainder

BATCH_SECONDS = 0.12  # a batch is the grain of a stop: aim at half of the 0.25 s that may pass
SIZES = {"cpu": (1, 4, 8, 16), "cuda": (1, 16, 64, 128)}  # small batches stay in a CPU's caches; few shapes to plan for
TRIES = 2  # of each size: the first one pays for planning
LARGE_BLOCK = 2**25 - 2**13  # bytes; just below the largest threshold
GAIN = 2.0  # of rough passes over precise ones, where it may not be measured
RETRY = 16  # batches after which each size is tried once more, then after twice as many, and so on

Swap = tuple[dict[str, Any], str, Any]  # a dictionary of a module, a name in it, and what to put there


def has_bf16(device: torch.device | str) -> bool:
    """Whether bfloat16 arithmetic pays on the device (on a CPU: AVX-512 BF16 or AMX; `ISCAM_NO_BF16=1` denies it)."""
    if os.environ.get("ISCAM_NO_BF16") == "1":
        return False
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def set_threads() -> None:
    """Use as many threads as `ISCAM_THREADS` says, if it is set. Raises ValueError if it is no number."""
    if threads := os.environ.get("ISCAM_THREADS"):
        if not threads.isdecimal() or int(threads) < 1:
            raise ValueError(f"ISCAM_THREADS must be a whole number of threads, not {threads!r}.")
        torch.set_num_threads(int(threads))


def require_device(device: str) -> None:
    """Raises ValueError, one sentence, if the device is not `cpu` or a CUDA device that is there."""
    if device not in ("cpu", "cuda"):
        raise ValueError(f"The device must be cpu or cuda, not {device!r}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("There is no CUDA device that torch can use here: choose the device cpu.")


class Pace:
    """How many rows go into the next batch: the size that has taken the least time per row, of those that fit in time.

    Every size is tried on the work itself, and again each time twice as much work has been done, because a busy machine may
    have spoilt a try.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = tuple(sizes)
        self._best: dict[int, float] = {}  # seconds per row, by size
        self._tries = dict.fromkeys(self._sizes, 0)

    @property
    def seconds_per_row(self) -> float:
        """Of the best size so far; infinite before the first batch."""
        return min(self._best.values(), default=float("inf"))

    def rows(self, left: int) -> int:
        """The next batch's rows, when `left` rows are left to run."""
        smallest, *larger = self._sizes
        in_time = [size for size in larger if size <= left and size * self._expected(size) <= BATCH_SECONDS]
        tries = TRIES + int(math.log2(1 + sum(self._tries.values()) / RETRY))
        for size in (smallest, *in_time):
            if self._tries[size] < tries:
                return size
        return min((smallest, *in_time), key=self._best.__getitem__)

    def _expected(self, size: int) -> float:
        """Seconds per row in batches of that size, which are taken to gain nothing before they have been tried."""
        return self._best[size] if self._tries[size] >= TRIES else self.seconds_per_row

    def learn(self, rows: int, seconds: float) -> None:
        """Take note of a batch."""
        if rows in self._tries:
            self._tries[rows] += 1
            self._best[rows] = min(seconds / rows, self._best.get(rows, float("inf")))


class Backend:
    """Passes of one network without gradients, precise (float32) and, where `has_rough`, rough (bfloat16) and cheaper.

    `folds` are convolutions, each with the batch norm that alone reads it (see `capture.foldable`); those of another network
    are left out. The weights are read once, when a kind of pass is first used. `seconds` counts the time in the network.
    With a `batch`, all batches have so many rows, and rough passes are taken to be GAIN times as fast as precise ones, so
    that which passes are run does not depend on how long they take.
    """

    def __init__(self, network: nn.Module, folds: Sequence[Fold] = (), batch: int | None = None) -> None:
        self.network = network
        self.device = next(network.parameters()).device
        self._sizes = SIZES[self.device.type] if batch is None else (batch,)
        # glibc raises its thresholds to a large block that is freed, and from then on keeps the memory of the activations
        # instead of fetching it from the system again for every pass, which takes up to a fifth of a small network's time
        torch.empty(LARGE_BLOCK, dtype=torch.uint8)
        self.has_rough = has_bf16(self.device)
        self._timed = batch is None
        self.seconds = 0.0
        parts = set(network.modules())
        self._folds = tuple(fold for fold in folds if parts.issuperset(fold))
        self._swaps: dict[bool, list[Swap]] = {}
        self._paces: dict[str, Pace] = {}

    @property
    def description(self) -> str:
        """What makes the passes fast, in words."""
        kinds = ["bfloat16 and float32" if self.has_rough else "float32"]
        if self._folds:
            kinds.append(f"{len(self._folds)} batch norms folded")
        return ", ".join(kinds)

    def pace(self, kind: str) -> Pace:
        """The batch size of one kind of pass, learnt over all photos."""
        return self._paces.setdefault(kind, Pace(self._sizes))

    @property
    def gain(self) -> float | None:
        """How many times as long a precise pass takes as a rough one; None before both have been timed."""
        if not self._timed:
            return GAIN
        rough, precise = self.pace("rough").seconds_per_row, self.pace("precise").seconds_per_row
        return precise / rough if math.isfinite(rough) and math.isfinite(precise) else None

    def logits(self, images: Tensor, rough: bool = False) -> Tensor:
        """Logits (B, K) in float32 of images (B, 3, H, W)."""
        if rough not in self._swaps:
            self._swaps[rough] = _swaps(self.network, self._folds, rough)

        def run(images: Tensor) -> Tensor:
            with swapped(self._swaps[rough]), torch.autocast(self.device.type, torch.bfloat16, enabled=rough):
                logits: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
            return logits

        return self.timed("rough" if rough else "precise", run, images)

    def timed(self, kind: str, run: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """What `run` gives for images (B, 3, H, W), in float32; the time it takes sets the pace of its kind."""
        started = time.perf_counter()
        with torch.no_grad():
            logits = run(images).float()
            if images.is_cuda:
                torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        self.pace(kind).learn(len(images), seconds)
        self.seconds += seconds
        return logits


def _swaps(network: nn.Module, folds: Sequence[Fold], rough: bool) -> list[Swap]:
    swaps: list[Swap] = []
    places = [(parent._modules, name) for parent in network.modules() for name in parent._modules]
    for conv, norm in folds:
        weight, bias = fused(conv, norm)
        swaps += [(conv._parameters, "weight", _frozen(weight, rough)), (conv._parameters, "bias", _frozen(bias))]
        swaps += [(store, name, remainder(norm)) for store, name in places if store[name] is norm]
    if rough:
        folded = {module for fold in folds for module in fold}
        for module in network.modules():
            for name, parameter in module._parameters.items():
                if module not in folded and parameter is not None and parameter.is_floating_point():
                    swaps.append((module._parameters, name, _frozen(parameter, rough)))
    return swaps


def _frozen(values: Tensor, rough: bool = False) -> nn.Parameter:
    """A parameter without gradient; rough ones in bfloat16, but for the short vectors, which cost nothing."""
    kept = values.detach().bfloat16() if rough and values.ndim > 1 else values.detach()
    return nn.Parameter(kept, requires_grad=False)


@contextmanager
def swapped(swaps: Sequence[Swap]) -> Iterator[None]:
    """Put other things into modules while the body runs."""
    before = [store[name] for store, name, _ in swaps]
    try:
        for store, name, value in swaps:
            store[name] = value
        yield
    finally:
        for (store, name, _), value in zip(swaps, before, strict=True):
            store[name] = value
