"""The only loop over perturbed forward passes, and how their input rows are made.

Which pairs of channel and probe are run is decided here for the exact engine (`Sweep`), and in `fast.py` for the fast one.
Work is a generator that gives control back before every batch: whoever drives it (`carry_out`) can report, and stop it by
not coming back. What has been run stays in the table.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Protocol

import torch
from torch import Tensor

from .aim import PROFILES, Side
from .backend import Backend
from .blend import blended, totals
from .capture import ForwardPass
from .masks import flat_channels, make_masks
from .passes import Noise, Passes, Probe
from .table import ScoreTable
from .tail import Copies, silencing


class Work(Protocol):
    """What is to be run for a map: `rows` input rows so far, of `total`, as far as can be told.

    `error` bounds how far the map made of it may be from the exact one; None while nothing is known about that.
    """

    error: float | None

    @property
    def rows(self) -> int: ...
    @property
    def total(self) -> int: ...
    def batches(self) -> Iterator[None]:
        """Run it, giving control back before every batch."""


def carry_out(batches: Generator[None, None, None], stop: threading.Event | None, report: Callable[[], None]) -> bool:
    """Run to the end, or until `stop` is set, which is looked at before every batch; `report` after every batch.

    Returns whether the end was reached; what was on its way by then is through. A batch takes about `pace.BATCH_SECONDS`.
    """
    begun = False
    with closing(batches):
        for _ in batches:
            if begun:
                report()
            if stop is not None and stop.is_set():
                return False
            begun = True
    if begun:
        report()
    return True


class Scorer:
    """Runs (probe, channel) pairs of one photo and keeps their scores in its table. `rows` counts the input rows."""

    def __init__(self, backend: Backend, copies: Copies, forward: ForwardPass, table: ScoreTable) -> None:
        self.backend = backend
        self.copies = copies
        self.forward = forward
        self.table = table
        self._masked = 0  # rows

    @property
    def rows(self) -> int:
        return self._masked + self.copies.rows

    def run(self, probes: Sequence[Probe], pairs: Tensor, blank: bool = False) -> Iterator[None]:
        """Run pairs (rows, 2) of a channel and the place of a probe in `probes`, which are all of one kind.

        With `blank` the photo of which nothing is shown is run as well, if it has not been. Raises ValueError as `finite`
        does.
        """
        image = self.forward.image  # (1, 3, H, W)
        if blank and self.table.blank is None:
            yield from self.backend.passes(1, lambda start, stop: torch.zeros_like(image), self._keep_blank)
        if probes and probes[0].silence:
            yield from self._silence(probes[0], pairs[:, 0])
        elif len(pairs):
            yield from self._mask(probes, pairs)

    def _keep_blank(self, start: int, logits: Tensor) -> None:
        self.table.blank = finite(logits)[0]
        self._masked += 1

    def _mask(self, probes: Sequence[Probe], pairs: Tensor) -> Iterator[None]:
        """Pairs (rows, 2) of a channel and a probe whose mask it has."""
        image = self.forward.image
        fields = {probe.noise: noise_field(probe.noise, image) for probe in probes if probe.noise is not None}
        channels, chosen = pairs[:, 0], [probes[place] for place in pairs[:, 1].tolist()]

        def make(start: int, stop: int) -> Tensor:
            return masked_rows(self.forward, chosen[start:stop], channels[start:stop], fields)

        def keep(start: int, logits: Tensor) -> None:
            stop = start + len(logits)
            self._masked += len(logits)
            self.table.put(chosen[start:stop], channels[start:stop], finite(logits))

        yield from self.backend.passes(len(pairs), make, keep, probes[0].rough)

    def _silence(self, probe: Probe, channels: Tensor) -> Iterator[None]:
        """Channels (n,) of copies of the layer's output."""
        while len(channels):
            yield
            logits = self.copies.run(silencing, channels)  # (B, K)
            self.table.put([probe] * len(logits), channels[: len(logits)], finite(logits))
            channels = channels[len(logits) :]


class Sweep:
    """The exact engine: every probe for every channel, precisely, the strongest channels first."""

    def __init__(self, scorer: Scorer, passes: Passes, by: str, sides: Sequence[Side]) -> None:
        self.error: float | None = None
        self._scorer, self._passes, self._by = scorer, passes, by
        scorer.table.reserve(passes.probes, [index for side in sides for index in side])
        self._pairs = pending(scorer.forward, scorer.table, passes.probes)

    @property
    def rows(self) -> int:
        return self._scorer.rows

    @property
    def total(self) -> int:
        silence = self._passes.probes[0].silence
        return self._scorer.copies.total(self._pairs) if silence else len(self._pairs)

    def batches(self) -> Iterator[None]:
        yield from self._scorer.run(self._passes.probes, self._pairs)
        self.error = 0.0

    def averages(self, side: Side) -> Tensor:
        """The average scores (C,) of all channels for one of the sides, see `blended`; NaN where not all has been run."""
        scores, scale = self._scorer.table.averages(self._passes, side), self._passes.scale  # (C, D)
        return blended(scores, totals(scores, scale), scale) if self._by == PROFILES else scores.mean(1)


def strongest_first(activations: Tensor) -> Tensor:
    """Channels (C,) of (C, h, w) in the order of their total activation."""
    return activations.abs().sum((1, 2)).argsort(descending=True)


def pending(forward: ForwardPass, table: ScoreTable, probes: Sequence[Probe]) -> Tensor:
    """Pairs (rows, 2) of channel and probe that have not been run, the strongest channels first; flat ones have no mask."""
    todo = table.missing(probes)  # (n, C)
    if not probes[0].silence:
        todo &= ~flat_channels(forward.activations)
    order = strongest_first(forward.activations)
    places = todo.T[order].nonzero()  # (rows, 2): place in the order, probe number
    return torch.stack([order[places[:, 0]], places[:, 1]], dim=1)


def noise_field(noise: Noise, image: Tensor) -> Tensor:
    """Standard normal noise of the image's shape (1, 3, H, W), the same for the same seed and number.

    One field serves all channels: their noise then differs only by its strength, which keeps the comparison between
    channels free of noise of its own and the result independent of the channels' order.
    """
    seed, number = noise
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    return torch.randn(image.shape, generator=generator).to(image)


def masked_rows(forward: ForwardPass, probes: Sequence[Probe], channels: Tensor, fields: dict[Noise, Tensor]) -> Tensor:
    """Input rows (B, 3, H, W): the image under the mask of channels[i], made as probes[i] says.

    SS-CAM's noise (arXiv 2006.14255, the authors' code) has the standard deviation (2 / (max - min))^2 of the row.
    """
    image = forward.image.contiguous(memory_format=torch.channels_last)  # (1, 3, H, W), and so are the rows then
    distinct, inverse = torch.unique_consecutive(channels, return_inverse=True)  # (u,), (B,)
    masks = make_masks(forward.activations[distinct].to(image.device), forward.size)  # (u, H, W)
    multipliers = torch.tensor([probe.multiplier for probe in probes], device=image.device)  # (B,)
    rows: Tensor = image * (masks[inverse] * multipliers[:, None, None])[:, None].to(image)  # (B, 3, H, W)
    for row, probe in enumerate(probes):
        if probe.noise is not None:
            low, high = rows[row].aminmax()
            if high > low:  # a photo of one value has no scale to set the noise by
                rows[row] += (2 / (high - low)) ** 2 * fields[probe.noise][0]
    return rows


def finite(logits: Tensor) -> Tensor:
    """The same logits. Raises ValueError, one sentence, if some are no numbers: no map can be made of them."""
    if not logits.isfinite().all():
        raise ValueError("The network gives no finite scores for this photo where it is masked: check its weights.")
    return logits
