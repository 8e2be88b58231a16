"""The fast engine: which passes to run next, until the map is known to within a tolerance.

Some channels are seen once, roughly. A few climb the whole ladder (`ladder.py`) and teach it how an average follows from
less. From these all others are foreseen (`foresight.py`), and how far the map may be off (`assessment.py`, both with formulas).
Then, block after block, those passes are run that lower the error of the map most for their time (`choice.py`). Channels are
numbered here among the live ones, which are those that have a mask. `docs/fast-engine.md` tells it with a picture.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence

import torch
from torch import Tensor

from .aim import PROFILES, Aim, Side
from .assessment import FLOOR, Assessment, assess
from .blend import profile
from .capture import ForwardPass
from .choice import Option, Task, choose, sample
from .foresight import CLIMB, DOUBLE, ROUND, Foresight, Step
from .ladder import NOTHING, Rung, averaged, doubled, ladder, learnt, normed_weights
from .masks import flat_channels
from .passes import Passes, Probe
from .scores import Scorer, strongest_first
from .standing import AUDIT, Channels, Known, SideScores, Standing
from .streams import single_threaded
from .table import Answer

# Whom to ask first
FIRST = 0.15  # this share of the channels is seen at once, the strongest; the others if they turn out to matter
PILOTS = 6  # channels that climb the whole ladder at first:
STRONG = 3  # these because they carry the map, the others spread over the rest;
AUDITED = 4  # of them are run once in both kinds
NEAR = 2.5  # passes of another path serve as the first rung within this factor of its multiplier
# How much to run between two estimates
BLOCK = 16  # rough passes, or what takes as long,
GROWTH = 0.08  # or this share of what has been run so far
ENOUGH = 0.97  # of the tolerance: what a block may promise to reach at most
# When not to
FEW_CHANNELS = 24  # are better run exactly
FUTILE = 0.5  # of the exact passes: after so many that refine, all are run precisely,
ALMOST_ALL = 0.8  # or, where none is rough, the rest of them after so many: of a last few, an estimate says nothing
PAYS = 1.2  # a rough pass must be so many times as fast as a precise one, because some must be run in both kinds

PRECISE, ROUGH, EITHER = "precise", "rough", "either"  # kinds of passes to run: the third if neither is known


def can_spare(forward: ForwardPass, passes: Passes, tolerance: float) -> bool:
    """Whether some passes can be spared: many channels mask the photo, are averaged evenly, and something is tolerated."""
    masked = passes.probes and not passes.probes[0].silence and len(set(passes.shares)) == 1
    return bool(masked) and tolerance > FLOOR and int((~flat_channels(forward.activations)).sum()) > FEW_CHANNELS


class Refinement:
    """One request to the fast engine, for a class or for what sets it apart from its rivals.

    `error` estimates max |E - E_exact|, None before there is an estimate. `total` is how many rows it may take in all. Of
    `sides` that are not the aim's it tells what is foreseen in the end; nothing is run for them.
    """

    def __init__(self, scorer: Scorer, passes: Passes, aim: Aim, tolerance: float, sides: Sequence[Side] = ()) -> None:
        self.error: float | None = None
        self._scorer, self._table = scorer, scorer.table
        self._probes, self._scale, self._aim = passes.probes, passes.scale, aim
        self._tolerance = tolerance
        self._kept = [index for side in (*aim.sides, *sides) for index in side]
        activations = scorer.forward.activations  # (C, h, w)
        self._layer_channels = len(activations)
        self._channels = Channels.of(activations)
        live = self._channels.places
        self._first = strongest_first(activations[live])[: math.ceil(FIRST * len(live))]
        # with one pass per channel, those that carry the map would be run in both kinds, and be most of all passes; unless
        # the rough ones of another request tell what to expect of them
        pays = scorer.backend.has_rough and (scorer.backend.gain or PAYS) >= PAYS
        self._has_rough = pays and (len(self._probes) > 1 or any(probe.rough for probe in self._table.probes))
        self._z: list[Tensor] = []  # (C,) of each side, with what is missing foreseen
        self._expected = len(self._first) + len(live) // 2
        self._climb_on(ladder(self._probes))

    @property
    def rows(self) -> int:
        return self._scorer.rows

    @property
    def total(self) -> int:
        return max(self.rows, self._expected)

    def batches(self) -> Iterator[None]:
        """Run passes until the error is within the tolerance. A question that has been answered to within it costs nothing."""
        question = self._aim, self._probes, self._scale, self._has_rough
        answer = self._table.answers.get(question)
        if answer is None or answer.error >= self._tolerance:
            self._table.answers[question] = yield from self._answered()
        else:
            self._climb_on(answer.rungs, answer.finer)
            self.error, self._z = answer.error, answer.z
        self._expected = self.rows

    def _answered(self) -> Generator[None, None, Answer]:
        if at_hand := self._base_at_hand():
            self._climb_on(ladder(self._probes, at_hand))
        base = self._known.rungs[1].probes
        first = [(base, channel) for channel in self._first.tolist()]
        yield from self._send(EITHER, first, blank=len(self._probes) > 1)
        yield from self._send_pilots()
        before = self.rows
        while (error := (found := self._assess()).error) >= self._tolerance:
            yield from self._refine(found, self.rows - before)
            refined = self.rows - before
            ahead = min(refined * max(0.0, error / self._tolerance - 1), self._exact)
            self._expected = self.rows + math.ceil(ahead)
        rungs, full = self._known.rungs, self._known.full
        return Answer(error, self._z, rungs[: full + 1], rungs[full + 1 :])

    @property
    def _exact(self) -> int:
        """How many passes the exact answer takes."""
        return len(self._channels) * len(self._probes)

    def averages(self, side: Side) -> Tensor:
        """The average scores of all channels of the layer for one of the aim's sides: (C,), NaN where nothing has been run
        yet."""
        if side not in self._aim.sides:
            return self._everywhere(self._foreseen(Standing(self._known), SideScores(self._known, side, self._scale)).z)
        number = self._aim.sides.index(side)
        if self._z:
            z = self._z[number]
        else:
            self._look()
            z = torch.full((len(self._channels),), torch.nan)
            for found in self._scores[number].low[1:]:  # the higher the rung, the better
                z = found.where(~found.isnan(), z)
        return self._everywhere(z)

    def _everywhere(self, z: Tensor) -> Tensor:
        """The average scores (C,) of all channels of the layer, from z of the live ones."""
        found = torch.full((self._layer_channels,), torch.nan)
        found[self._channels.places] = averaged(z, self._scale)
        return found

    # The ladder

    def _climb_on(self, rungs: Sequence[Rung], finer: Sequence[Rung] = ()) -> None:
        """Take other rungs, and `finer` ones above them for a longer path; make room for the scores of their probes."""
        every = (*rungs, *finer)
        probes = dict.fromkeys(probe for rung in every for probe in rung.probes)
        kinds = [probe.roughly() for probe in probes] if self._has_rough else []
        self._table.reserve([*probes, *kinds], self._kept)
        self._known = Known(self._table, self._channels, every, len(rungs) - 1, self._has_rough)
        self._scores = [SideScores(self._known, side, self._scale) for side in self._aim.sides]

    def _base_at_hand(self) -> Probe | None:
        """A pass of another path that all channels seen at first have had, if it is near enough to this path's own."""
        own = self._known.rungs[1].probes[0]
        first = self._channels.places[self._first]
        found: dict[Probe, float] = {}
        for probe in self._table.probes:
            plain = Probe(probe.multiplier)
            kinds = (plain, plain.roughly()) if self._has_rough else (plain,)
            if own.noise is None and probe in kinds and self._table.evaluated(probe)[first].all():
                found[plain] = abs(math.log(probe.multiplier / own.multiplier))
        nearest = min(found, key=lambda probe: found[probe], default=own)
        return nearest if found.get(nearest, math.inf) <= math.log(NEAR) else None

    def _look(self) -> None:
        """Take in what has been run."""
        standing = Standing(self._known)
        for scores in self._scores:
            scores.update(standing)

    @single_threaded()
    def _assess(self) -> Assessment:
        """Foresee what is missing, and estimate the map's error from how uncertain that is."""
        standing = Standing(self._known)
        foreseen = [self._foreseen(standing, scores) for scores in self._scores]
        found = assess(self._channels, foreseen, self._scale, self._aim)
        self._z, self.error = [each.z for each in foreseen], found.error
        return found

    def _foreseen(self, standing: Standing, scores: SideScores) -> Foresight:
        scores.update(standing)
        return Foresight(self._known, standing, scores, self._probes)

    # What to run

    def _refine(self, found: Assessment, refined: int) -> Iterator[None]:
        """Run what an assessment calls for, after so many refining passes."""
        known = self._known
        if found.between_points > self._tolerance / 2:
            finer = (*known.rungs[known.full + 1 :], doubled(known.rungs[-1], self._probes))
            self._climb_on(known.rungs[: known.full + 1], finer)
            yield from self._send_pilots()
        elif self._is_hard(refined) and not Standing(known).fine[known.full].all():
            yield from self._finish()
        else:
            yield from self._improve(found)

    def _is_hard(self, refined: int) -> bool:
        """Whether the exact answer is the shorter way by now, or hardly a longer one."""
        return refined > FUTILE * self._exact if self._has_rough else self.rows > ALMOST_ALL * self._exact

    def _send_pilots(self) -> Iterator[None]:
        """Let a few channels climb the whole ladder, and learn from them."""
        self._look()
        pilots, known = self._pilots(), self._known
        probes = [probe for rung in known.rungs[: known.full + 1] for probe in rung.probes]
        finer = [probe for rung in known.rungs[known.full :] for probe in rung.probes]
        yield from self._send(EITHER, [(probes, channel) for channel in pilots])
        if len(known.rungs) > known.full + 1:
            yield from self._send(PRECISE, [(finer, channel) for channel in pilots])
        if self._has_rough and not Standing(known).fine[AUDIT].all():
            for kind in (ROUGH, PRECISE):
                yield from self._send(kind, [(known.rungs[AUDIT].probes, channel) for channel in pilots[:AUDITED]])
        self._learn(torch.tensor(pilots))

    def _pilots(self) -> list[int]:
        """The channels that seem to carry the map, and some of the others, each for the same part of what is left."""
        maps = self._channels.maps
        size = torch.zeros(len(maps), dtype=torch.double)  # (C,)
        for scores in self._scores:
            z = scores.low[1].where(~scores.low[1].isnan(), -torch.inf)
            weights = normed_weights(z, self._scale)
            share = profile(weights) if self._aim.by == PROFILES and len(self._scores) > 1 else weights
            size = size.maximum(share * maps.abs().amax(1))
        return sample(size, STRONG, PILOTS - STRONG)

    @single_threaded()
    def _learn(self, pilots: Tensor) -> None:
        """Fit the mixes of the lower rungs to the pilots."""
        known = self._known
        points = known.logits(known.rungs[known.full].probes, pilots)  # (M, c, W)
        blank, head = self._table.blank_distribution(), self._table.head  # the first (W,)
        between = [
            learnt(rung, blank, known.logits(rung.probes, pilots), points, head) for rung in known.rungs[1 : known.full]
        ]
        self._climb_on((NOTHING, *between, known.rungs[known.full]), known.rungs[known.full + 1 :])

    def _improve(self, found: Assessment) -> Iterator[None]:
        """Run a block of the passes that promise most for their time; all that is left if none promises anything."""
        standing = Standing(self._known)
        options = {step: self._option(step, standing) for step in found.steps}
        with single_threaded():
            kind, block = choose(found, options, max(BLOCK, GROWTH * self.rows), ENOUGH * self._tolerance)
        yield from self._send(kind, block) if block else self._finish()

    def _option(self, step: Step, standing: Standing) -> Option:
        (what, rung), known = step, self._known
        exact, probes = standing.fine[known.full], known.rungs[rung].probes
        if what == CLIMB:
            able, kind = standing.has[rung - 1] & ~standing.has[rung] & ~exact, EITHER
        elif what == DOUBLE:
            able, kind = ~standing.fine[rung], PRECISE  # the points below are among those of a finer rung
        elif what == ROUND:
            able, kind = standing.has[rung] & ~standing.fine[rung], PRECISE
        else:
            able, kind = standing.has[rung] & standing.fine[AUDIT] & ~exact, PRECISE
        return Option(able, self._cost(kind, probes), kind, probes)

    def _cost(self, kind: str, probes: Sequence[Probe]) -> Tensor:
        """What it takes (C,), in rough passes, to run the probes of the channels that have not been run; at least 1."""
        places = self._channels.places
        missing = torch.zeros(len(places))
        for probe in probes:
            run = self._table.evaluated(probe)[places]
            if kind == EITHER and self._has_rough:
                run = run | self._table.evaluated(probe.roughly())[places]
            missing += ~run
        if kind == EITHER or not self._has_rough:
            return missing.clamp_min(1)
        return missing.clamp_min(1) * (self._scorer.backend.gain or PAYS)

    def _finish(self) -> Iterator[None]:
        """Run all that the first unfinished full rung lacks, precisely."""
        known, fine = self._known, Standing(self._known).fine
        rung = next((i for i in range(known.full, len(known.rungs)) if not fine[i].all()), known.full)
        yield from self._send(PRECISE, [(known.rungs[rung].probes, channel) for channel in range(len(self._channels))])

    def _send(self, kind: str, work: Sequence[Task], blank: bool = False) -> Iterator[None]:
        """Run probes for channels, unless they have been run; with `blank` the blank photo too."""
        pairs: dict[tuple[int, Probe], None] = {}
        run = {probe: self._table.evaluated(probe).tolist() for probe in self._table.probes}
        for probes, channel in work:
            place = int(self._channels.places[channel])
            for probe in probes:
                wanted = probe if kind == PRECISE or not self._has_rough else probe.roughly()
                if not run[wanted][place] and not (kind == EITHER and run[probe][place]):
                    pairs[place, wanted] = None
        kinds = list(dict.fromkeys(probe for _, probe in pairs))
        places = [(place, kinds.index(probe)) for place, probe in pairs]
        yield from self._scorer.run(kinds, torch.tensor(places, dtype=torch.long).reshape(len(places), 2), blank)
