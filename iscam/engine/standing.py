"""What is known of each channel, rung by rung of the ladder. Channels are numbered among the live ones, as in `fast.py`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .ladder import Rung, average
from .scores import Probe, ScoreTable


class Standing:
    """Which channels stand on which rung: roughly or precisely (`has`), roughly (`rough`), precisely (`fine`); bool (C,)."""

    def __init__(self, table: ScoreTable, rungs: Sequence[Rung], live: Tensor, has_rough: bool) -> None:
        def every(rung: Rung, *kinds: bool) -> Tensor:
            known = torch.ones(len(live), dtype=torch.bool, device=live.device)
            for probe in rung.probes:
                runs = [table.evaluated(probe.roughly() if rough else probe)[live] for rough in kinds]
                known &= torch.stack(runs).any(0)
            return known

        self.fine = [every(rung, False) for rung in rungs]
        self.rough = [every(rung, True) for rung in rungs]
        self.has = [every(rung, True, False) for rung in rungs] if has_rough else self.fine


class ClassScores:
    """What is known of one class: `z` of each channel on each rung, as it is known (`low`) and precisely (`high`).

    Each is worked out once, when a channel has reached the rung; NaN before.
    """

    def __init__(
        self,
        table: ScoreTable,
        rungs: Sequence[Rung],
        live: Tensor,
        has_rough: bool,
        class_index: int,
        weighting: str,
    ) -> None:
        self._table, self._rungs, self._live, self._has_rough = table, rungs, live, has_rough
        self._class, self._weighting = class_index, weighting
        self.low = torch.full((len(rungs), len(live)), torch.nan, device=live.device)
        self.high = self.low.clone()

    def update(self, standing: Standing, precise: Sequence[int]) -> None:
        """Work out what has become known, precisely on these rungs only."""
        for place, rung in enumerate(self._rungs):
            self._fill(self.low[place], rung, standing.has[place], precise=False)
            if place in precise:
                self._fill(self.high[place], rung, standing.fine[place], precise=True)

    def _fill(self, z: Tensor, rung: Rung, known: Tensor, precise: bool) -> None:
        fresh = (known & z.isnan()).nonzero()[:, 0]
        if len(fresh):
            z[fresh] = self.average(rung, fresh, precise)

    def average(self, rung: Rung, channels: Tensor, precise: bool = False) -> Tensor:
        """z (c,) of channels that stand on a rung."""
        logits = self.logits(rung.probes, channels, precise)
        return average(rung, self.blank(), logits, self._table.column(self._class), self._weighting)

    def logits(self, probes: Sequence[Probe], channels: Tensor, precise: bool = False) -> Tensor:
        """Logits (n, c, W) of probes that have been run for the channels."""
        found = [
            self._table.distributions(probe, self._live[channels], precise or not self._has_rough) for probe in probes
        ]
        return torch.stack(found) if found else self.blank().expand(0, len(channels), -1)

    def blank(self) -> Tensor:
        """Logits (W,) of a blank photo; of the whole photo while no path has led through the blank one."""
        table = self._table
        return table.condensed(table.columns((table.photo if table.blank is None else table.blank)[None]))[0]
