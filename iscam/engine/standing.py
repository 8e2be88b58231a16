"""What is known of each channel, rung by rung of the ladder. Channels are numbered among the live ones, as in `fast.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .aim import Side
from .blend import blended, totals
from .estimate import likeness
from .ladder import Rung, average, standing_for
from .masks import flat_channels
from .passes import Probe
from .table import ScoreTable

AUDIT = 1  # the rung on which rough passes are held against precise ones: one pass tells nearly as much as more


@dataclass(frozen=True, eq=False)
class Channels:
    """The live channels, which are those that have a mask: `places` (C,) in the layer, `maps` and `masks` (C, h * w)."""

    places: Tensor
    maps: Tensor
    masks: Tensor

    @classmethod
    def of(cls, activations: Tensor) -> Channels:
        """Those of a layer (C, h, w), in float64, whose sums are taken over thousands of terms."""
        places = (~flat_channels(activations)).nonzero()[:, 0]  # (C,)
        maps = activations[places].flatten(1).double()  # (C, h * w)
        low, high = maps.amin(1, keepdim=True), maps.amax(1, keepdim=True)
        return cls(places, maps, (maps - low) / (high - low))

    def __len__(self) -> int:
        return len(self.places)

    @property
    def coverage(self) -> Tensor:
        """How much of the photo each mask leaves visible: (C,)."""
        return self.masks.mean(1)

    @cached_property
    def field(self) -> Tensor:
        """How alike the masks are: correlations (C, C), in float32."""
        return likeness(self.masks).float()


@dataclass(frozen=True, eq=False)
class Known:
    """The scores of a photo as they are read for one ladder: `rungs`, of which `full` is the first that counts as all.

    `has_rough` says whether rough passes are read at all.
    """

    table: ScoreTable
    channels: Channels
    rungs: tuple[Rung, ...]
    full: int
    has_rough: bool

    def logits(self, probes: Sequence[Probe], channels: Tensor, precise: bool = False) -> Tensor:
        """Logits (n, c, W) of probes that have been run for the channels (c,)."""
        places = self.channels.places[channels]
        found = [self.table.distributions(probe, places, precise or not self.has_rough) for probe in probes]
        return torch.stack(found) if found else self.table.blank_distribution().expand(0, len(channels), -1)


class Standing:
    """Which channels stand on which rung: roughly or precisely (`has`), roughly (`rough`), precisely (`fine`); bool (C,)."""

    def __init__(self, known: Known) -> None:
        places = known.channels.places

        def every(rung: Rung, *kinds: bool) -> Tensor:
            stands = torch.ones(len(places), dtype=torch.bool)
            for probe in rung.probes:
                runs = [known.table.evaluated(probe.roughly() if rough else probe)[places] for rough in kinds]
                stands &= torch.stack(runs).any(0)
            return stands

        self.fine = [every(rung, False) for rung in known.rungs]
        self.rough = [every(rung, True) for rung in known.rungs]
        self.has = [every(rung, True, False) for rung in known.rungs] if known.has_rough else self.fine


class SideScores:
    """What is known of a class, or of several in the mean of their profiles: `z` of each channel on each rung, as it is known
    (`low`) and precisely (`high`), (R, C); NaN before.

    The average scores (R, C, D) of each of its classes are worked out once, when a channel has reached the rung.
    """

    def __init__(self, known: Known, side: Side, scale: str) -> None:
        self._known, self._scale = known, scale
        self._columns = [known.table.column(index) for index in side]
        places = known.channels.places
        self._low = torch.full((len(known.rungs), len(places), len(side)), torch.nan)  # (R, C, D)
        self._high = self._low.clone()  # (R, C, D)
        self._over = totals(self._low[0], scale)  # (D,)
        self.low, self.high = self._low[..., 0], self._high[..., 0]

    def update(self, standing: Standing) -> None:
        """Work out what has become known; precisely on the rungs that are ever compared precisely."""
        known = self._known
        for place, rung in enumerate(known.rungs):
            self._fill(self._low[place], rung, standing.has[place], precise=False)
            if place == AUDIT or place >= known.full:
                self._fill(self._high[place], rung, standing.fine[place], precise=True)
        best = torch.full_like(self._low[0], torch.nan)
        for found in (*self._low[1:], *self._high[known.full :]):  # the higher the rung, the better
            best = found.where(~found.isnan(), best)
        # a blank photo's scores, which stand for what has not been run, could be of one class alone
        self._over = totals(self._low[0] if best.isnan().all() else best, self._scale)
        self.low, self.high = (torch.stack([self._z(scores) for scores in rungs]) for rungs in (self._low, self._high))

    def average(self, rung: Rung, channels: Tensor, precise: bool = False) -> Tensor:
        """z (c,) of channels (c,) that stand on a rung."""
        return self._z(self._averages(rung, channels, precise))

    def _z(self, scores: Tensor) -> Tensor:
        return standing_for(blended(scores, self._over, self._scale), self._scale)

    def _fill(self, scores: Tensor, rung: Rung, stands: Tensor, precise: bool) -> None:
        fresh = (stands & scores[:, 0].isnan()).nonzero()[:, 0]  # (c,)
        if len(fresh):
            scores[fresh] = self._averages(rung, fresh, precise)

    def _averages(self, rung: Rung, channels: Tensor, precise: bool) -> Tensor:
        logits = self._known.logits(rung.probes, channels, precise)  # (n, c, W)
        table = self._known.table
        return average(rung, table.blank_distribution(), logits, self._columns, self._scale, table.head)
