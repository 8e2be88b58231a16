"""How a batch is pushed through the network fast on this machine: precision, memory layout, batch size, threads.

The passes run the network's own `forward`, with other weights put in its modules' places for the moment: batch norms
folded into the convolutions before them, and, for the rough kind of pass, bfloat16. Where OpenVINO is installed and there is
enough to do, the network is tried in its form as well, and run in it if that is faster.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .capture import Fold, undisturbed
from .converted import Converted, convert, has_openvino
from .devices import full_float32, has_bf16
from .memory import is_want_of_memory
from .norms import fused, remainder
from .outputs import ask
from .pace import Pace
from .streams import Batch, Crowd, held, started, stream_count, timed, unchanged

SIZES = {
    "cpu": (1, 4, 8, 16),
    "mps": (1, 8, 32, 64),
    "cuda": (1, 16, 64, 128),
}  # small batches stay in a CPU's caches; few shapes to plan for
LARGE_BLOCK = 2**25 - 2**13  # bytes; just below the largest threshold
GAIN = 2.0  # of rough passes over precise ones, where it may not be measured
WORTH = 3.0  # seconds of passes for which a conversion, which takes about half of that, is tried
RACE = 16  # rows by which the network and its converted form are compared, the better of
ROUNDS = 2  # rounds, because in the first all memory is fetched,
FASTER = 1.1  # which must be so many times as fast: a difference below could be chance

Make = Callable[[int, int], Tensor]  # rows from, up to -> (B, 3, H, W)
Keep = Callable[[int, Tensor], object]  # from which row on, their logits (B, K)
Swap = tuple[dict[str, Any], str, Any]  # a dictionary of a module, a name in it, and what to put there


class Backend:
    """Passes of one network without gradients, precise (float32) and, where `has_rough`, rough (bfloat16) and cheaper.

    `folds` are convolutions, each with the batch norm that alone reads it (see `capture.foldable`); those of another network
    are left out. The weights are read once, when a kind of pass is first used. `seconds` counts the time in the network, of a
    batch beside others its part.
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
        # autocast leaves float64 alone, and what is half already is no cheaper
        single = next(network.parameters()).dtype == torch.float32
        self.has_rough = single and has_bf16(self.device)
        self._timed = batch is None
        self.seconds = 0.0
        parts = set(network.modules())
        self._folds = tuple(fold for fold in folds if parts.issuperset(fold))
        self._swaps: dict[bool, list[Swap]] = {}
        self._paces: dict[str, Pace] = {}
        self._streams = stream_count(self.device)
        self._crowd = Crowd(self._streams)
        self._separable = self._streams == 1  # whether it is known that the network bears several passes at once
        self._converted: Converted | None = None
        self._convertible = single and has_openvino(self.device)  # whether that is still to be tried

    @property
    def description(self) -> str:
        """What makes the passes fast, in words."""
        kinds = ["bfloat16 and float32" if self.has_rough else "float32"]
        if self._folds:
            kinds.append(f"{len(self._folds)} batch norms folded")
        if self._streams > 1:
            kinds.append(f"{self._streams} batches at once")
        if self._converted is not None:
            kinds.append("by OpenVINO")
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
        """Logits (n, K) in float32 of images (n, 3, H, W)."""
        found: dict[int, Tensor] = {}
        for _ in self.passes(len(images), lambda start, stop: images[start:stop], found.__setitem__, rough):
            pass
        return torch.cat([found[start] for start in sorted(found)])

    def passes(self, total: int, make: Make, keep: Keep, rough: bool = False) -> Generator[None, None, None]:
        """Run rows 0 to `total`, as many batches at once as there are streams.

        `make(start, stop)` gives some of the rows (B, 3, H, W), on any thread; `keep(start, logits)` takes their logits (B, K)
        in float32, on the caller's. Control is given back before each batch that is waited for. What is on its way when the
        generator is closed is kept too. Until it ends, the network must not be used otherwise.
        """
        if self._convertible and total >= (RACE if self._timed else 1):
            yield from self._consider(total, make, rough)
        yield from self._run(total, make, keep, rough)

    def _run(self, total: int, make: Make, keep: Keep, rough: bool) -> Generator[None, None, None]:
        """See `passes`."""
        kind, converted = "rough" if rough else "precise", self._converted
        left = deque([(0, total)])  # rows that have not been run, from, up to
        on_the_way: dict[Future[Batch], tuple[int, int]] = {}  # and the rows of each
        if converted is not None:
            converted.prepare(rough)
        elif rough not in self._swaps:
            self._swaps[rough] = _swaps(self.network, self._folds, rough)

        def run(start: int, stop: int) -> Batch:
            images = make(start, stop)
            if converted is not None:
                return timed(partial(converted.run, images, rough), self._crowd)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=rough):
                return timed(
                    partial(ask, self.network, images.contiguous(memory_format=torch.channels_last)), self._crowd
                )

        def take(batch: Future[Batch]) -> None:
            start, stop = on_the_way.pop(batch)
            try:
                done = batch.result()
            except (RuntimeError, MemoryError) as error:
                if not is_want_of_memory(error) or not self.pace(kind).shrink(stop - start):
                    raise
                left.appendleft((start, stop))
            else:
                keep(start, self._learnt(kind, done, self._streams))

        with swapped(() if converted is not None else self._swaps[rough]), full_float32():
            try:
                while left or on_the_way:
                    yield
                    separable = self._separable or converted is not None
                    before = None if separable else held(self.network)
                    # one batch waits, so that no stream has to
                    room = self._streams + 1 if separable and self._streams > 1 else 1
                    while left and len(on_the_way) < room:
                        start, end = left.popleft()
                        rows = self.pace(kind).rows(math.ceil((end - start) / self._streams))
                        stop = min(start + rows, end)
                        if stop < end:
                            left.appendleft((stop, end))
                        on_the_way[started(self._streams, partial(run, start, stop))] = start, stop
                    for batch in wait(on_the_way, return_when=FIRST_COMPLETED).done:
                        take(batch)
                    if before is not None:
                        self._separable = True
                        if not unchanged(before, held(self.network)):
                            self._streams, self._crowd = 1, Crowd(1)
            except GeneratorExit:
                for batch in tuple(on_the_way):
                    if not batch.cancel():
                        take(batch)
                raise
            finally:
                wait([batch for batch in on_the_way if not batch.cancel()])

    def _consider(self, total: int, make: Make, rough: bool) -> Generator[None, None, None]:
        """Convert the network if so many rows are worth it, and keep what is faster."""
        row = make(0, 1)  # (1, 3, H, W)
        if self._timed:
            pace = self.pace("rough" if rough else "precise").seconds_per_row / self._streams
            if not math.isfinite(pace):
                pace = yield from self._raced(row, 1, rough)
            if self.seconds + total * pace < WORTH:
                return
        with torch.no_grad(), undisturbed(self.network):
            found = convert(self.network, torch.cat([row, row / 2, row.flip(3)]), self._streams)
        if found is not None and self._timed:
            plain = yield from self._raced(row, RACE, rough)
            paces, self._paces, self._converted, kept = self._paces, {}, found, False
            try:
                kept = FASTER * (yield from self._raced(row, RACE, rough)) <= plain
            finally:  # also where a stop ends the race, which is then run again
                if not kept:
                    found = self._converted = None
                    self._paces = paces
        self._converted, self._convertible = found, False

    def _raced(self, row: Tensor, total: int, rough: bool) -> Generator[None, None, float]:
        """The least seconds that so many rows take, all the same (1, 3, H, W)."""
        found = []
        for _ in range(ROUNDS):
            before = self.seconds
            yield from self._run(
                total, lambda start, stop: row.expand(stop - start, -1, -1, -1), lambda *_: None, rough
            )
            found.append(self.seconds - before)
        return min(found)

    def timed(self, kind: str, run: Callable[[], Tensor]) -> Tensor:
        """The logits (B, K) that `run` gives, in float32 and on the processor; its time sets the pace of its kind."""
        with full_float32():
            return self._learnt(kind, timed(run, Crowd(1)), 1)

    def _learnt(self, kind: str, batch: Batch, streams: int) -> Tensor:
        if batch.crowded:
            self.pace(kind).learn(len(batch.logits), batch.seconds)
        self.seconds += batch.seconds / streams
        return batch.logits


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
