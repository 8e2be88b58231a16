"""The store of every class score that has been seen of a photo, bounded in bytes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .head import SOFTMAX, Head
from .ladder import Rung
from .passes import Passes, Probe

STORE_BYTES = 256 * 2**20
FEWEST_CLASSES = 16  # a store narrower than this forgets what the present request does not need instead


class Answer(NamedTuple):
    """What the fast engine has told: the map's error, z (C,) of each side, and by which rungs, the last `finer` ones of a
    longer path."""

    error: float
    z: list[Tensor]
    rungs: tuple[Rung, ...]
    finer: tuple[Rung, ...]


class ScoreTable:
    """Logits of every class for every evaluated (probe, channel): a pair that has been run is not run again, for any class,
    method or number of steps.

    While all classes fit into `limit` bytes they are all kept. When they do not (ResNet-50 with 50 steps would be 410 MB),
    the classes that the photo itself scores highest are kept beside the wanted ones; log-sum-exp over all classes is always
    kept, so that the probabilities of the kept classes stay exact. `head` says what probabilities the logits stand for.
    """

    def __init__(self, photo_logits: Tensor, channels: int, limit: int = STORE_BYTES, head: Head = SOFTMAX) -> None:
        self.head = head
        self._ranking = photo_logits.argsort(descending=True)  # (K,)
        self._channels = channels
        self._limit = limit
        self._classes = torch.arange(len(photo_logits))  # the kept columns
        self._blocks: dict[Probe, Tensor] = {}  # (C, kept classes + 1), the last column being log-sum-exp
        self._evaluated: dict[Probe, Tensor] = {}  # bool (C,)
        self.photo = photo_logits  # (K,)
        self.blank: Tensor | None = None  # logits (K,) of a photo of which nothing is shown
        self.cells: Tensor | None = None  # logits (h w, K) of single cells of the layer, NaN where not known
        self.passes = 0
        self.answers: dict[Hashable, Answer] = {}  # to the questions that have been asked

    @property
    def bytes_used(self) -> int:
        return sum(block.nbytes for block in self._blocks.values())

    # Room

    def reserve(self, probes: Sequence[Probe], wanted: Sequence[int]) -> None:
        """Make room for probes and for the wanted classes, keeping what is known where the bound allows it.

        What gives way: everything, if a wanted class has no column; then the probes that are not asked for, if room for all
        would leave fewer than FEWEST_CLASSES columns; then the classes that the photo scores lowest.

        Raises:
            ValueError: there are more wanted classes than there is room for, even if nothing else is kept; one sentence.
        """
        wanted = tuple(dict.fromkeys(wanted))  # a class may be asked for and be a rival as well
        fitting = self._limit // (4 * self._channels * max(1, len(set(probes)))) - 1
        if len(wanted) > max(fitting, FEWEST_CLASSES):
            raise ValueError(
                f"The scores of {len(wanted)} classes would take too much memory: hold the class against fewer rivals "
                "(nearest:20), or take fewer steps."
            )
        if not bool(torch.isin(torch.tensor(wanted), self._classes).all()):
            self._forget(self._blocks.keys())
            self._keep_classes(wanted, len(self._classes))
        if self._width(probes) < min(len(self._classes), FEWEST_CLASSES):
            self._forget(self._blocks.keys() - set(probes))
        if self._width(probes) < len(self._classes):
            self._keep_classes(wanted, self._width(probes))
        for probe in probes:
            if probe not in self._blocks:
                self._blocks[probe] = torch.zeros(self._channels, len(self._classes) + 1)  # (C, kept classes + 1)
                self._evaluated[probe] = torch.zeros(self._channels, dtype=torch.bool)

    def _width(self, probes: Sequence[Probe]) -> int:
        """How many classes fit beside log-sum-exp, when there is room for these probes and for the known ones."""
        blocks = len(self._blocks.keys() | set(probes))
        return self._limit // (4 * self._channels * blocks) - 1

    def _forget(self, probes: Iterable[Probe]) -> None:
        for probe in tuple(probes):
            del self._blocks[probe], self._evaluated[probe]

    def _keep_classes(self, wanted: Sequence[int], width: int) -> None:
        """Keep the wanted columns, and of the others those that the photo scores highest."""
        ranked = [index for index in self._ranking.tolist() if index not in wanted]
        kept = sorted([*wanted, *ranked[: max(0, width - len(wanted))]])
        positions = {index: position for position, index in enumerate(self._classes.tolist())}
        columns = [positions[index] for index in kept if index in positions]
        self._blocks = {probe: block[:, [*columns, -1]] for probe, block in self._blocks.items()}
        self._classes = torch.tensor(kept)

    # What is known

    @property
    def probes(self) -> tuple[Probe, ...]:
        """The probes for which there is room, run or not."""
        return tuple(self._blocks)

    def evaluated(self, probe: Probe) -> Tensor:
        """For which channels a probe has been run: bool (C,)."""
        if probe in self._evaluated:
            return self._evaluated[probe]
        return torch.zeros(self._channels, dtype=torch.bool)

    def missing(self, probes: Sequence[Probe]) -> Tensor:
        """Which pairs have not been run: bool (n, C)."""
        return ~torch.stack([self._evaluated[probe] for probe in probes])

    def put(self, probes: Sequence[Probe], channels: Tensor, logits: Tensor) -> None:
        """Keep logits (B, K) of rows (probes[i], channels[i])."""
        values = self.columns(logits)  # (B, kept classes + 1)
        for row, probe in enumerate(probes):
            self._blocks[probe][channels[row]] = values[row]
            self._evaluated[probe][channels[row]] = True
        self.passes += len(probes)

    def averages(self, passes: Passes, classes: Sequence[int]) -> Tensor:
        """The scores of some classes averaged over the probes: (C, D), NaN for channels that have not had all of them."""
        columns = [self.column(index) for index in classes]
        total = torch.zeros(self._channels, len(columns))
        for probe, share in zip(passes.probes, passes.shares, strict=True):
            block = self._blocks[probe]
            logits = block[:, columns]  # (C, D)
            if passes.scale == "probability":
                logits = self.head.log_probabilities(logits, block[:, -1:]).exp()
            total += share * logits
        return total.where(~self.missing(passes.probes).any(0)[:, None], torch.nan)

    # All classes at once

    def columns(self, logits: Tensor) -> Tensor:
        """Kept logits and log-sum-exp (n, kept + 1) from all logits (n, K)."""
        return torch.cat([logits[:, self._classes], logits.logsumexp(1, keepdim=True)], dim=1)

    def column(self, class_index: int) -> int:
        """Where a kept class stands among the columns."""
        return int((self._classes == class_index).nonzero())

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

    def blank_distribution(self) -> Tensor:
        """Logits (W,) of a blank photo, see `condensed`; of the whole photo while no path has led through the blank one."""
        return self.condensed(self.columns((self.photo if self.blank is None else self.blank)[None]))[0]

    def condensed(self, values: Tensor) -> Tensor:
        """Logits (n, W) that give the probabilities of the kept classes, from kept logits and log-sum-exp
        (n, kept + 1); if some classes are not kept, the last column stands for all of them."""
        kept, total = values[:, :-1], values[:, -1:]
        if len(self._classes) == len(self._ranking):
            return kept
        share = (kept - total).exp().sum(1, keepdim=True).clamp_max(1 - 1e-6)
        return torch.cat([kept, total + torch.log1p(-share)], dim=1)
