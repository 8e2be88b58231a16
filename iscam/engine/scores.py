"""The only loop over perturbed forward passes, and the store of every class score it has seen.

A probe says how the input row of a channel is made: the photo times the channel's mask times a multiplier, perhaps with
noise added (SS-CAM), or the plain photo with the channel silenced in the network (Ablation-CAM). Scores are kept per
(probe, channel), so a pair that has been run is not run again, for any class, method or number of steps.
Which pairs are run is decided here for the exact engine, and in `fast.py` for the fast one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from .backend import Backend
from .capture import ForwardPass, ablated_logits
from .masks import flat_channels, make_masks

STORE_BYTES = 256 * 2**20
FEWEST_CLASSES = 16  # a store narrower than this forgets what the present request does not need instead


@dataclass(frozen=True)
class Probe:
    """One kind of perturbed pass; `noise` is (seed, sample number) of the noise field added to the masked photo.

    A `rough` one is run in bfloat16.
    """

    multiplier: float = 1.0
    noise: tuple[int, int] | None = None
    silence: bool = False
    rough: bool = False

    def roughly(self) -> Probe:
        """The same pass in bfloat16."""
        return replace(self, rough=True)


class ScoreTable:
    """Logits of every class for every evaluated (probe, channel), bounded by `limit` bytes.

    While all classes fit they are all kept. When they do not (ResNet-50 with 50 steps would be 410 MB), the classes that
    the photo itself scores highest are kept beside the wanted ones; log-sum-exp over all classes is always kept, so that
    the probabilities of the kept classes stay exact.
    """

    def __init__(self, photo_logits: Tensor, channels: int, limit: int = STORE_BYTES) -> None:
        self._ranking = photo_logits.argsort(descending=True)  # (K,)
        self._channels = channels
        self._limit = limit
        self._classes = torch.arange(len(photo_logits), device=photo_logits.device)  # the kept columns
        self._blocks: dict[Probe, Tensor] = {}  # (C, kept classes + 1), the last column being log-sum-exp
        self._evaluated: dict[Probe, Tensor] = {}  # bool (C,)
        self.photo = photo_logits  # (K,)
        self.blank: Tensor | None = None  # logits (K,) of a photo of which nothing is shown
        self.passes = 0

    @property
    def bytes_used(self) -> int:
        return sum(block.nbytes for block in self._blocks.values())

    def reserve(self, probes: Sequence[Probe], wanted: Sequence[int]) -> None:
        """Make room for probes and for the wanted classes, keeping what is known where the bound allows it."""
        if not bool(torch.isin(torch.tensor(wanted, device=self._classes.device), self._classes).all()):
            self._forget(keep=())
            self._keep_classes(wanted, len(self._classes))
        while True:
            blocks = len(self._blocks.keys() | set(probes))
            width = self._limit // (4 * self._channels * blocks) - 1
            if width >= min(len(self._classes), FEWEST_CLASSES) or self._blocks.keys() <= set(probes):
                break
            self._forget(keep=probes)
        if width < len(self._classes):
            self._keep_classes(wanted, width)
        for probe in probes:
            if probe not in self._blocks:
                shape = (self._channels, len(self._classes) + 1)
                self._blocks[probe] = torch.zeros(shape, device=self._classes.device)
                self._evaluated[probe] = torch.zeros(self._channels, dtype=torch.bool, device=self._classes.device)

    def missing(self, probes: Sequence[Probe]) -> Tensor:
        """Which pairs have not been run: bool (n, C)."""
        return ~torch.stack([self._evaluated[probe] for probe in probes])

    def put(self, probes: Sequence[Probe], channels: Tensor, logits: Tensor) -> None:
        """Keep logits (B, K) of rows (probes[i], channels[i])."""
        values = self.columns(logits)
        for row, probe in enumerate(probes):
            self._blocks[probe][channels[row]] = values[row]
            self._evaluated[probe][channels[row]] = True
        self.passes += len(probes)

    def read(self, probes: Sequence[Probe], class_index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (n, C) and probabilities (n, C) of one class, and for which channels (C,) all n are known."""
        column = self.column(class_index)
        logits = torch.stack([self._blocks[probe][:, column] for probe in probes])
        totals = torch.stack([self._blocks[probe][:, -1] for probe in probes])
        return logits, (logits - totals).exp(), ~self.missing(probes).any(0)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """The probes for which there is room, run or not."""
        return tuple(self._blocks)

    def evaluated(self, probe: Probe) -> Tensor:
        """For which channels a probe has been run: bool (C,)."""
        if probe in self._evaluated:
            return self._evaluated[probe]
        return torch.zeros(self._channels, dtype=torch.bool, device=self._classes.device)

    def distributions(self, probe: Probe, channels: Tensor, precise: bool) -> Tensor:
        """Logits (n, W) of passes that have been run, roughly if they have been and need not be `precise`; see `condensed`."""
        values, rough = self._blocks.get(probe), self._blocks.get(probe.roughly())
        if values is None or (rough is not None and not precise):
            assert rough is not None
            run = self._evaluated[probe.roughly()][channels, None]
            values = rough[channels] if values is None else torch.where(run, rough[channels], values[channels])
        else:
            values = values[channels]
        return self.condensed(values)

    def condensed(self, values: Tensor) -> Tensor:
        """Logits (n, W) whose softmax gives the probabilities of the kept classes, from kept logits and log-sum-exp
        (n, kept + 1); if some classes are not kept, the last column stands for all of them."""
        kept, total = values[:, :-1], values[:, -1:]
        if len(self._classes) == len(self._ranking):
            return kept
        share = (kept - total).exp().sum(1, keepdim=True).clamp_max(1 - 1e-6)
        return torch.cat([kept, total + torch.log1p(-share)], dim=1)

    def columns(self, logits: Tensor) -> Tensor:
        """Kept logits and log-sum-exp (n, kept + 1) from all logits (n, K)."""
        return torch.cat([logits[:, self._classes], logits.logsumexp(1, keepdim=True)], dim=1)

    def column(self, class_index: int) -> int:
        """Where a kept class stands among the columns."""
        return int((self._classes == class_index).nonzero())

    def _forget(self, keep: Sequence[Probe]) -> None:
        for probe in self._blocks.keys() - set(keep):
            del self._blocks[probe], self._evaluated[probe]

    def _keep_classes(self, wanted: Sequence[int], width: int) -> None:
        ranked = [index for index in self._ranking.tolist() if index not in wanted]
        kept = sorted([*wanted, *ranked[: max(0, width - len(wanted))]])
        positions = {index: position for position, index in enumerate(self._classes.tolist())}
        columns = [positions[index] for index in kept if index in positions]
        self._blocks = {probe: block[:, [*columns, -1]] for probe, block in self._blocks.items()}
        self._classes = torch.tensor(kept, device=self._classes.device)


def noise_field(seed: int, sample: int, image: Tensor) -> Tensor:
    """Standard normal noise of the image's shape (1, 3, H, W), the same for the same seed and sample number.

    One field serves all channels: their noise then differs only by its strength, which keeps the comparison between
    channels free of noise of its own and the result independent of the channels' order.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + sample)
    return torch.randn(image.shape, generator=generator).to(image.device)


def masked_rows(
    forward: ForwardPass, probes: Sequence[Probe], channels: Tensor, fields: dict[tuple[int, int], Tensor]
) -> Tensor:
    """Input rows (B, 3, H, W): the image under the mask of channels[i], made as probes[i] says.

    SS-CAM's noise (arXiv 2006.14255, the authors' code) has the standard deviation (2 / (max - min))^2 of the row.
    """
    image = forward.image.contiguous(memory_format=torch.channels_last)  # and so are the rows then
    distinct, inverse = torch.unique_consecutive(channels, return_inverse=True)
    masks = make_masks(forward.activations[distinct], (image.shape[2], image.shape[3]))  # (u, H, W)
    multipliers = torch.tensor([probe.multiplier for probe in probes], device=image.device)
    rows: Tensor = image * (masks[inverse] * multipliers[:, None, None])[:, None]  # (B, 3, H, W)
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


class Scorer:
    """Runs (probe, channel) pairs of one photo and keeps their scores.

    A set `stop` is answered before the next batch, which takes about `backend.BATCH_SECONDS`; what has been run stays in
    the table. `report(rows)` is called after every batch, with the rows run so far.
    """

    def __init__(
        self,
        backend: Backend,
        layer: str,
        forward: ForwardPass,
        table: ScoreTable,
        stop: threading.Event | None = None,
    ) -> None:
        self.backend = backend
        self.forward = forward
        self.table = table
        self.report: Callable[[int], None] | None = None
        self.rows = 0
        self._layer = layer
        self._stop = stop

    @property
    def stopped(self) -> bool:
        return self._stop is not None and self._stop.is_set()

    def show_blank(self) -> Tensor:
        """Logits (K,) of a photo of which nothing is shown: the start of every path."""
        if self.table.blank is None:
            self.table.blank = finite(self.backend.logits(torch.zeros_like(self.forward.image)))[0]
            self.rows += 1
        return self.table.blank

    def run(self, probes: Sequence[Probe], pairs: Tensor) -> bool:
        """Run pairs (rows, 2) of a channel and the place of a probe in `probes`, which are all of one kind.

        Returns whether they have all been run. Raises ValueError as `finite` does.
        """
        if not len(pairs):
            return True
        kind = "silence" if probes[0].silence else "rough" if probes[0].rough else "precise"
        image, pace = self.forward.image, self.backend.pace(kind)
        fields = {probe.noise: noise_field(*probe.noise, image) for probe in probes if probe.noise is not None}
        done = 0
        while done < len(pairs) and not self.stopped:
            batch = pairs[done : done + pace.rows(len(pairs) - done)]
            channels, chosen = batch[:, 0], [probes[i] for i in batch[:, 1].tolist()]
            if kind == "silence":
                run = partial(ablated_logits, self.backend.network, self._layer, channels=channels)
                logits = self.backend.timed(kind, run, image.expand(len(chosen), -1, -1, -1))
            else:
                logits = self.backend.logits(masked_rows(self.forward, chosen, channels, fields), kind == "rough")
            self.table.put(chosen, channels, finite(logits))
            done += len(chosen)
            self.rows += len(chosen)
            if self.report is not None:
                self.report(self.rows)
        return done == len(pairs)


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
