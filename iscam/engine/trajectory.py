"""How channels' scores of a class go along a path, from the passes that happen to have been run."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence

import torch
from torch import Tensor

from .estimate import krige, standardised
from .ladder import CHANNELS_AT_ONCE, LEAST, MOST, Rung, learnt
from .passes import Probe
from .scores import Scorer
from .standing import Channels
from .table import ScoreTable


class Trajectories:
    """The scores of a photo along a path, at `points` of which some channels, the `teachers` (T,), are run.

    Other channels are known at one or two points perhaps: what they score elsewhere is learnt from the teachers. Rough
    passes are read only if `rough`.
    """

    def __init__(self, table: ScoreTable, rough: bool, points: Sequence[float], teachers: Tensor) -> None:
        self._table, self._rough, self._points, self._teachers = table, rough, tuple(points), teachers

    def reserve(self, class_index: int) -> None:
        """Make room for the points, forgetting whatever is on no path if need be."""
        probes = [*(probe for probe in self._table.probes if _on_a_path(probe)), *map(Probe, self._points)]
        self._table.reserve(probes, [class_index])

    def missing(self) -> Tensor:
        """Which teachers have not been run at which points: pairs (rows, 2) of channel and point."""
        todo = torch.stack([~self._known(point)[self._teachers] for point in self._points]).nonzero()  # (rows, 2)
        return torch.stack([self._teachers[todo[:, 1]], todo[:, 0]], dim=1)

    def batches(self, scorer: Scorer) -> Generator[None, None, None]:
        """Run the teachers at the points at which they have not been run, and the blank photo."""
        yield from scorer.run([Probe(point) for point in self._points], self.missing(), blank=True)

    def probabilities(self, class_index: int) -> Tensor:
        """Of the class, of the teachers at multiplier 0, the blank photo, and at the points: (1 + P, T), NaN where not run."""
        column, logits = self._table.column(class_index), self._logits(self._points, self._teachers)  # (P, T, W)
        head = self._table.head
        blank = logits.new_tensor(torch.nan)
        if self._table.blank is not None:
            blank = head.probabilities(self._table.blank_distribution())[column]
        return torch.cat([blank.expand(1, len(self._teachers)), head.probabilities(logits)[..., column]])

    def curves(self, multipliers: Sequence[float], class_index: int, scale: str) -> Tensor:
        """Log-probabilities, or logits, of the class along the path (N, C); NaN where a channel has never been run.

        Channels that have been run at the same multipliers are treated alike. What lies between these is learnt from the
        teachers, or is on a line where there are none that have been run at all points.
        """
        everywhere = sorted({probe.multiplier for probe in self._table.probes if _on_a_path(probe)})
        runs = torch.stack([self._known(multiplier) for multiplier in everywhere])  # (m, C)
        patterns, members = runs.unique(dim=1, return_inverse=True)  # type: ignore[no-untyped-call]
        blank, column = self._table.blank_distribution(), self._table.column(class_index)
        curves = torch.full((len(multipliers), len(members)), torch.nan)
        for number, pattern in enumerate(patterns.T.tolist()):
            known = [multiplier for multiplier, run in zip(everywhere, pattern, strict=True) if run]
            if not known:
                continue
            mix = self._mix(known, multipliers, blank)  # (N, 1 + n)
            for part in (members == number).nonzero()[:, 0].split(CHANNELS_AT_ONCE):
                given = self._logits(known, part)  # (n, c, W)
                mixed = torch.einsum("mn,ncw->mcw", mix[:, 1:], given) + (mix[:, :1] * blank)[:, None]  # (N, c, W)
                scores = mixed[..., [column]]  # (N, c, 1)
                if scale == "probability":
                    scores = self._table.head.log_probabilities(scores, mixed.logsumexp(-1, keepdim=True))
                curves[:, part] = scores[..., 0]
        return curves

    def _mix(self, known: Sequence[float], multipliers: Sequence[float], blank: Tensor) -> Tensor:
        """The mix (N, 1 + n) that makes logits along the path from those of a blank photo (W,) and at the known points."""
        points = self._points
        shown = self._logits([*known, *points], self._teachers)  # (n + P, T, W)
        shown = shown[:, shown[..., 0].isfinite().all(0)]
        if set(points) <= set(known) or not shown.shape[1]:
            return lines(known, multipliers)
        rung = Rung(tuple(Probe(multiplier) for multiplier in known), lines(known, points))
        rung = learnt(rung, blank, shown[: len(known)], shown[len(known) :], self._table.head)
        start = torch.eye(1, 1 + len(known))  # the blank photo, from which the lines between the points begin
        return lines(points, multipliers) @ torch.cat([start, rung.mix])

    def _known(self, multiplier: float) -> Tensor:
        """Which channels have been run at a multiplier, precisely or, if that will do, roughly: bool (C,)."""
        probe = Probe(multiplier)
        run = self._table.evaluated(probe)
        return run | self._table.evaluated(probe.roughly()) if self._rough else run

    def _logits(self, multipliers: Sequence[float], channels: Tensor) -> Tensor:
        """Logits (n, c, W), the precise ones where there are both kinds; NaN where there is none."""
        table, found = self._table, []
        width = len(table.blank_distribution())
        for multiplier in multipliers:
            probe = Probe(multiplier)
            logits = torch.full((len(channels), width), torch.nan)  # (c, W)
            for kind in (probe.roughly(), probe) if self._rough else (probe,):
                if kind in table.probes:
                    run = table.evaluated(kind)[channels]
                    logits[run] = table.distributions(kind, channels[run], precise=True)
            found.append(logits)
        return torch.stack(found)


def _on_a_path(probe: Probe) -> bool:
    return probe.noise is None and not probe.silence


def lines(known: Sequence[float], multipliers: Sequence[float]) -> Tensor:
    """The mix (M, 1 + n) that interpolates in a line between multiplier 0 and the known ones, and beyond them."""
    nodes, wanted = torch.tensor([0.0, *known]).double(), torch.tensor(multipliers).double()
    right = torch.searchsorted(nodes, wanted).clamp(1, len(known))
    share = (wanted - nodes[right - 1]) / (nodes[right] - nodes[right - 1])
    rows = torch.arange(len(wanted))
    mix = torch.zeros(len(wanted), len(nodes)).double()
    mix[rows, right], mix[rows, right - 1] = share, 1 - share
    return mix.float()


def partial_weights(curves: Tensor, final: Tensor, scale: str, activations: Tensor) -> Tensor:
    """Weights (N, C) of the first n steps from curves (N, C), moved so that the last are the final weights (C,).

    Channels are moved on the scale of `ladder.py`, on which predictions err alike everywhere along the path. One that was
    never run moves as those do that end where it does and whose masks, from activations (C, h, w), are like its own.
    """
    counts = torch.arange(1, len(curves) + 1)[:, None]  # (N, 1)
    ran = ~curves[-1].isnan()  # (C,)
    if scale == "logit":
        z = curves.double().cumsum(0) / counts  # (N, C)
        z, wanted = z - z[-1, ran].logsumexp(0), final.double().log()
    else:
        mean = (curves.double().logcumsumexp(0) - counts.log()).clamp_max(math.log(MOST))
        z, wanted = mean - torch.log1p(-mean.exp()), final.double().clamp_max(MOST).logit()
    sure = final > LEAST  # (C,)
    moved = z + torch.where(sure, wanted - z[-1], 0)
    z = torch.where(ran, moved, -torch.inf)
    if (left := sure & ~ran).any() and ran.any():
        z[:, left] = wanted[left] + _alike(activations, wanted, moved - moved[-1], ran, left)
    weights = z.softmax(1).nan_to_num() if scale == "logit" else z.sigmoid()
    weights[-1] = final
    return weights.float()


def _alike(activations: Tensor, ends: Tensor, shifts: Tensor, ran: Tensor, left: Tensor) -> Tensor:
    """By how much what is `left` is shifted (N, u), from the shifts (N, C) of what `ran`, and where each ends (C,)."""
    channels = Channels.of(activations)
    places = channels.places
    features = standardised(ends[places].nan_to_num(neginf=torch.nan), channels.coverage)
    rows = [krige(channels.field, features, row[places], ran[places], left[places])[0] for row in shifts]
    return torch.stack(rows)
