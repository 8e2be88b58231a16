"""The fast engine: which passes to run next, until the map is known to within a tolerance.

Nearly every channel is seen once, roughly. A few climb the whole ladder (`ladder.py`) and teach it how an average follows
from less (`estimate.py`). Then, block after block, those passes are run that lower the error of the map most for their
time. Channels are numbered here among the live ones, which are those that have a mask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .capture import ForwardPass
from .estimate import influence, krige, likeness, standardised
from .ladder import NOTHING, Rung, averaged, doubled, halved, ladder, learnt, normed_weights
from .masks import flat_channels
from .scores import Probe, Scorer, strongest_first
from .standing import ClassScores, Standing

FIRST = 0.7  # this share of the channels is seen at once, the strongest; the others if they turn out to matter
PILOTS = 6  # channels that climb the whole ladder at first:
STRONG = 3  # these because they carry the map, the others spread over the rest;
AUDITED = 4  # of them are run precisely too, where their rung is known for few points
FEW_CHANNELS = 24  # are better run exactly
MARGIN = 4.0  # standard deviations of the map at its worst place that its error is taken to stay within
FLOOR = 1e-5  # of the estimate: float32 itself
WORST = 8  # places of the map at which the gain of a pass is judged
BLOCK = 24  # rough passes, or what takes as long, between two estimates,
GROWTH = 0.08  # or this share of what has been run so far
FUTILE = 0.5  # of the exact passes: after so many, the rest is run exactly
NEAR = 2.5  # passes of another path serve as the first rung within this factor of its multiplier
PAYS = 1.2  # a rough pass must be so many times as fast as a precise one, because some must be run in both kinds
# What is expected of a step before anything is known of it, as a standard deviation of z that counts as two values:
CLIMB_GUESS = 0.08  # of the last climb
ROUND_GUESS = 0.06
LEFT_GUESS = 0.5  # of what is left of the rounding when the few points of a channel are precise, as a share of it
ROUNDING = (0.05,)  # rounding errors of channels have next to nothing to do with each other
BETWEEN_POINTS = 0.2  # which part of the change by halving the points of a path may be their error
MINGLED = 0.95  # share of the random field in that error

PRECISE, ROUGH, EITHER = "precise", "rough", "either"  # kinds of passes to run: the third if neither is known
CLIMB, ROUND, FINISH, DOUBLE, INTERPOLATE = "climb", "round", "finish", "double", "interpolate"


@dataclass(frozen=True, eq=False)
class Gap:
    """A step that some channels lack, and how far their `z` may be off because of it; `rung` is where the step leads."""

    step: str
    rung: int
    channels: Tensor  # (u,)
    covariance: Tensor  # (u, u)


def can_spare(forward: ForwardPass, tolerance: float) -> bool:
    """Whether some passes can be spared: there are many channels to mask the photo with, and something is tolerated."""
    return tolerance > FLOOR and int((~flat_channels(forward.activations)).sum()) > FEW_CHANNELS


class Refinement:
    """One request to the fast engine, for one class or for the contrast of two.

    `error` estimates max |E - E_exact|, None before there is an estimate. `total` is how many rows it may take in all.
    """

    def __init__(
        self, scorer: Scorer, probes: Sequence[Probe], weighting: str, classes: Sequence[int], tolerance: float
    ) -> None:
        self.error: float | None = None
        self._scorer, self._table = scorer, scorer.table
        self._probes, self._weighting, self._classes = tuple(probes), weighting, tuple(classes)
        self._tolerance = tolerance
        activations = scorer.forward.activations
        self._live = (~flat_channels(activations)).nonzero()[:, 0]
        self._maps = activations[self._live].flatten(1).double()  # (C, h * w)
        low, high = self._maps.amin(1, keepdim=True), self._maps.amax(1, keepdim=True)
        self._masks = (self._maps - low) / (high - low)
        self._seen = strongest_first(activations[self._live])[: math.ceil(FIRST * len(self._live))]
        self._channels = len(activations)
        # with one pass per channel, those that carry the map would be run in both kinds, and be most of all passes; unless
        # the rough ones of another request tell what to expect of them
        pays = scorer.backend.has_rough and (scorer.backend.gain or PAYS) >= PAYS
        self._has_rough = pays and (len(self._probes) > 1 or any(probe.rough for probe in self._table.probes))
        self._z: list[Tensor] | None = None
        self.total = len(self._seen) + len(self._live) // 2
        self._plan(ladder(self._probes))

    def run(self) -> bool:
        """Run passes until the error is within the tolerance. Returns whether it is; else the run was stopped."""
        if self._scorer.stopped:
            return False
        if len(self._probes) > 1:
            self._scorer.show_blank()
        if at_hand := self._base_at_hand():
            self._plan(ladder(self._probes, at_hand))
        base = self._rungs[1].probes
        if not self._send(EITHER, [(base, channel) for channel in self._seen.tolist()]) or not self._send_pilots():
            return False
        self._field = likeness(self._masks)
        before = self._scorer.rows
        while True:
            gains, between_points = self._assess()
            assert self.error is not None
            if self.error < self._tolerance:
                return True
            if between_points > self._tolerance / 2:
                finer = (*self._rungs[self._full + 1 :], doubled(self._rungs[-1], self._probes))
                self._plan(self._rungs[: self._full + 1], finer)
                sent = self._send_pilots()
            elif (
                self._has_rough
                and self._scorer.rows - before > self._futile()
                and not self._standing().fine[self._full].all()
            ):
                sent = self._finish()
            else:
                sent = self._improve(gains)
            if not sent:
                return False
            refined = self._scorer.rows - before
            ahead = min(refined * max(0.0, self.error / self._tolerance - 1), 2 * self._futile())
            self.total = self._scorer.rows + math.ceil(ahead)

    def _futile(self) -> float:
        """After how many refining passes it would have been as well to run the exact ones."""
        return FUTILE * len(self._live) * len(self._probes)

    def averages(self, number: int) -> Tensor:
        """The average scores (C,) of all channels for the class of that number; NaN where nothing has been run yet."""
        z = torch.full((len(self._live),), torch.nan, device=self._live.device)
        if self._z is not None:
            z = self._z[number]
        else:
            self._look()
            for found in self._scores[number].low[1:]:  # the higher the rung, the better
                z = found.where(~found.isnan(), z)
        everywhere = torch.full((self._channels,), torch.nan, device=z.device)
        everywhere[self._live] = averaged(z, self._weighting)
        return everywhere

    # The plan

    def _plan(self, rungs: Sequence[Rung], finer: Sequence[Rung] = ()) -> None:
        """Take other rungs, and `finer` ones above them for a longer path; make room for the scores of their probes."""
        self._rungs = (*rungs, *finer)
        self._full = len(rungs) - 1
        self._audit = max(1, self._full - 1)
        probes = dict.fromkeys(probe for rung in self._rungs for probe in rung.probes)
        kinds = [probe.roughly() for probe in probes] if self._has_rough else []
        self._table.reserve([*probes, *kinds], self._classes)
        known = self._table, self._rungs, self._live, self._has_rough
        self._scores = [ClassScores(*known, index, self._weighting) for index in self._classes]

    def _base_at_hand(self) -> Probe | None:
        """A pass of another path that all channels seen at first have had, if it is near enough to this path's own."""
        own = self._rungs[1].probes[0]
        seen = self._live[self._seen]
        found: dict[Probe, float] = {}
        for probe in self._table.probes:
            plain = Probe(probe.multiplier)
            kinds = (plain, plain.roughly()) if self._has_rough else (plain,)
            if own.noise is None and probe in kinds and self._table.evaluated(probe)[seen].all():
                found[plain] = abs(math.log(probe.multiplier / own.multiplier))
        nearest = min(found, key=lambda probe: found[probe], default=own)
        return nearest if found.get(nearest, math.inf) <= math.log(NEAR) else None

    def _standing(self) -> Standing:
        return Standing(self._table, self._rungs, self._live, self._has_rough)

    def _look(self) -> Standing:
        standing = self._standing()
        for scores in self._scores:
            scores.update(standing, (self._audit, *range(self._full, len(self._rungs))))
        return standing

    # Running passes

    def _send(self, kind: str, work: Sequence[tuple[Sequence[Probe], int]]) -> bool:
        """Run probes for channels, unless they have been run. Returns whether all is done, and not stopped."""
        pairs: dict[tuple[int, Probe], None] = {}
        run = {probe: self._table.evaluated(probe).tolist() for probe in self._table.probes}
        for probes, channel in work:
            place = int(self._live[channel])
            for probe in probes:
                wanted = probe if kind == PRECISE or not self._has_rough else probe.roughly()
                if not run[wanted][place] and not (kind == EITHER and run[probe][place]):
                    pairs[place, wanted] = None
        if not pairs:
            return not self._scorer.stopped
        kinds = list(dict.fromkeys(probe for _, probe in pairs))
        places = [(place, kinds.index(probe)) for place, probe in pairs]
        return self._scorer.run(kinds, torch.tensor(places, device=self._live.device))

    def _send_pilots(self) -> bool:
        """Let a few channels climb the whole ladder: those that seem to carry the map, and some of the others."""
        self._look()
        size = torch.zeros(len(self._live), dtype=torch.double, device=self._live.device)
        for scores in self._scores:
            z = scores.low[1].where(~scores.low[1].isnan(), -torch.inf)
            size = size.maximum(normed_weights(z, self._weighting) * self._maps.abs().amax(1))
        strong = size.topk(STRONG).indices.tolist()
        order = [channel for channel in size.argsort(descending=True).tolist() if channel not in strong]
        reached = size[order].cumsum(0)
        steps = (torch.arange(PILOTS - STRONG).to(reached) + 0.5) / (PILOTS - STRONG) * reached[-1]
        others = [order[int(place)] for place in torch.searchsorted(reached, steps).clamp_max(len(order) - 1)]
        pilots = [*strong, *others]
        probes = [probe for rung in self._rungs[: self._full + 1] for probe in rung.probes]
        finer = [probe for rung in self._rungs[self._full :] for probe in rung.probes]
        sent = self._send(EITHER, [(probes, channel) for channel in pilots])
        if len(self._rungs) > self._full + 1:
            sent = sent and self._send(PRECISE, [(finer, channel) for channel in pilots])
        if self._has_rough and not self._standing().fine[self._audit].all():
            audited = [(self._rungs[self._audit].probes, channel) for channel in pilots[:AUDITED]]
            sent = sent and self._send(ROUGH, audited) and self._send(PRECISE, audited)
        if sent:
            self._learn(torch.tensor(pilots, device=self._live.device))
        return sent

    def _learn(self, pilots: Tensor) -> None:
        """Fit the mixes of the lower rungs to the pilots."""
        scores = self._scores[0]
        points = scores.logits(self._rungs[self._full].probes, pilots)
        between = [
            learnt(rung, scores.blank(), scores.logits(rung.probes, pilots), points)
            for rung in self._rungs[1 : self._full]
        ]
        self._plan((NOTHING, *between, self._rungs[self._full]), self._rungs[self._full + 1 :])

    def _improve(self, gains: dict[tuple[str, int], Tensor]) -> bool:
        """Run a block of the passes that promise most for their time. Returns whether it was done, and not stopped."""
        standing = self._standing()
        exact = standing.fine[self._full]
        options = []  # (gain per cost (C,), cost (C,), kind, probes)
        for (step, rung), gain in gains.items():
            probes = self._rungs[rung].probes
            if step == CLIMB:
                able, kind = standing.has[rung - 1] & ~standing.has[rung] & ~exact, EITHER
            elif step == DOUBLE:
                able, kind = ~standing.fine[rung], PRECISE  # the points below are among those of a finer rung
            elif step == ROUND:
                able, kind = standing.has[rung] & ~standing.fine[rung], PRECISE
            else:
                able, kind = standing.has[rung] & standing.fine[self._audit] & ~exact, PRECISE
            cost = self._cost(kind, probes)
            options.append((torch.where(able, gain / cost, 0), cost, kind, probes))
        strongest = max(options, key=lambda option: float(option[0].max()))
        kind = strongest[2]  # a block is of one kind, so that its batches are full
        alike = [option for option in options if option[2] == kind]
        best, choice = torch.stack([worth for worth, *_ in alike]).max(0)
        budget = max(BLOCK, GROWTH * self._scorer.rows)
        work: list[tuple[Sequence[Probe], int]] = []
        for channel in best.argsort(descending=True).tolist():
            if budget <= 0 or best[channel] <= 0:
                break
            _, cost, _, probes = alike[int(choice[channel])]
            work.append((probes, channel))
            budget -= float(cost[channel])
        return self._send(kind, work) if work else self._finish()

    def _finish(self) -> bool:
        """Run all that the first unfinished full rung lacks, precisely. Returns whether it was done, and not stopped."""
        fine = self._standing().fine
        rung = next((i for i in range(self._full, len(self._rungs)) if not fine[i].all()), self._full)
        return self._send(PRECISE, [(self._rungs[rung].probes, channel) for channel in range(len(self._live))])

    def _cost(self, kind: str, probes: Sequence[Probe]) -> Tensor:
        """What it takes (C,), in rough passes, to run the probes of the channels that have not been run; at least 1."""
        missing = torch.zeros(len(self._live), device=self._live.device)
        for probe in probes:
            known = self._table.evaluated(probe)[self._live]
            if kind == EITHER and self._has_rough:
                known = known | self._table.evaluated(probe.roughly())[self._live]
            missing += ~known
        if kind == EITHER or not self._has_rough:
            return missing.clamp_min(1)
        return missing.clamp_min(1) * (self._scorer.backend.gain or PAYS)

    # What is known

    def _assess(self) -> tuple[dict[tuple[str, int], Tensor], float]:
        """Guess what is missing, and estimate the map's error from how uncertain the guesses are.

        Returns how much of the error's variance each step would take away, by step and rung (C,), and how much of the error
        comes from the points of the path alone.
        """
        standing = self._look()
        guesses = [self._guess(scores, standing) for scores in self._scores]
        self._z = [z for z, _ in guesses]
        weights = [normed_weights(z, self._weighting).double() for z in self._z]
        signed = len(weights) > 1
        largest = torch.stack(weights).max()  # of an improbable class all are tiny, but the map is as bright
        raw = ((weights[0] - weights[1] if signed else weights[0])[:, None] / largest * self._maps).sum(0)
        moves = influence(self._maps, raw, signed)  # (C, h * w)
        variance = torch.zeros_like(raw)
        between_points = torch.zeros_like(raw)
        felt = []
        for weight, (_, gaps) in zip(weights, guesses, strict=True):
            slope = (weight / largest * (1 - weight))[:, None] * moves
            for gap in gaps:
                spread = gap.covariance @ slope[gap.channels]  # (u, h * w)
                share = (spread * slope[gap.channels]).sum(0).clamp_min(0)
                variance += share
                felt.append((gap, spread))
                if gap.step == INTERPOLATE:
                    between_points += share
        worst = variance.topk(min(WORST, len(variance))).indices
        gains: dict[tuple[str, int], Tensor] = {}
        for gap, spread in felt:
            if gap.step != INTERPOLATE:
                gain = gains.setdefault((gap.step, gap.rung), variance.new_zeros(len(self._live)))
                gain[gap.channels] += (spread[:, worst].square() / gap.covariance.diagonal()[:, None]).mean(1)
        self.error = max(FLOOR, MARGIN * float(variance.max().sqrt()))
        return gains, MARGIN * float(between_points.max().sqrt())

    def _guess(self, scores: ClassScores, standing: Standing) -> tuple[Tensor, list[Gap]]:
        """z (C,) of one class, with what is missing predicted, and the gaps."""
        low, high, full, audit = scores.low, scores.high, self._full, self._audit
        exact = standing.fine[full]
        gaps = []
        z = low[0]
        for rung in range(1, full + 1):
            here, wanted = standing.has[rung], ~standing.has[rung] & ~exact
            climbed = low[rung]
            if wanted.any():
                features = self._features(scores, standing, z, rung)
                known = here & standing.has[rung - 1]
                mean, covariance = krige(
                    self._field,
                    features,
                    (low[rung] - low[rung - 1]).double(),
                    known,
                    wanted,
                    guess=CLIMB_GUESS if rung > 1 else 0.0,
                )
                climbed = climbed.masked_scatter(wanted, (z[wanted] + mean).float())
                gaps.append(Gap(CLIMB, rung, wanted.nonzero()[:, 0], covariance))
            z = climbed
        if self._has_rough:
            shift = high[audit] - low[audit]
            wanted = ~standing.fine[audit] & ~exact
            if wanted.any():
                constant = torch.ones(len(z), 1, dtype=torch.double, device=z.device)
                known = standing.rough[audit] & standing.fine[audit]
                mean, covariance = krige(self._field, constant, shift.double(), known, wanted, ROUNDING, ROUND_GUESS)
                shift = shift.masked_scatter(wanted, mean.float())
                gaps.append(Gap(ROUND, audit, wanted.nonzero()[:, 0], covariance))
            z = z + shift
            wanted = standing.fine[audit] & standing.has[full] & ~exact
            if wanted.any():
                left = (high[full] - low[full] - shift)[exact & standing.rough[full]].double()
                guess = LEFT_GUESS * shift[standing.rough[audit] & standing.fine[audit]].double().square().mean().sqrt()
                variance = (left.square().sum() + 2 * guess**2) / (len(left) + 2)
                channels = wanted.nonzero()[:, 0]
                gaps.append(Gap(FINISH, full, channels, variance * torch.eye(len(channels)).to(variance)))
        z = torch.where(exact, high[full], z)
        for rung in range(full + 1, len(self._rungs)):
            wanted = ~standing.fine[rung]
            finer = high[rung]
            if wanted.any():
                change, features = (high[rung] - high[rung - 1]).double(), self._features(scores, standing, z, 2)
                mean, covariance = krige(self._field, features, change, ~wanted, wanted)
                finer = finer.masked_scatter(wanted, (z[wanted] + mean).float())
                gaps.append(Gap(DOUBLE, rung, wanted.nonzero()[:, 0], covariance))
            z = finer
        last = len(self._rungs) - 1
        if coarser := halved(self._rungs[last], self._probes):
            known = (standing.has[last] if last == full else standing.fine[last]).nonzero()[:, 0]
            here = low[last] if last == full else high[last]
            change = (here[known] - scores.average(coarser, known, precise=last > full)).double()
            variance = (BETWEEN_POINTS * change.std()) ** 2
            field = MINGLED * self._field + (1 - MINGLED) * torch.eye(len(z)).to(self._field)
            gaps.append(Gap(INTERPOLATE, last, torch.arange(len(z), device=z.device), variance * field))
        return z, gaps

    def _features(self, scores: ClassScores, standing: Standing, z: Tensor, rung: int) -> Tensor:
        """What the climb to a rung may depend on (C, F): where a channel stands, its mask, what its first pass told."""
        coverage = self._masks.mean(1)
        if rung == 1:
            return standardised(coverage, coverage.square(), self._maps.amax(1).clamp_min(1e-9).log())
        return standardised(z, coverage) if rung == 2 else standardised(z, z - scores.low[1])
