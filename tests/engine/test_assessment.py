"""What steps promise and what a block is made of, against matrices that are conditioned in full."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from iscam.engine.aim import WEIGHTS, Aim
from iscam.engine.assessment import FLOOR, MARGIN, WORST, Assessment, _Stake, assess
from iscam.engine.choice import Option, choose
from iscam.engine.estimate import Covariance, likeness
from iscam.engine.foresight import CLIMB, INTERPOLATE, ROUND, Gap, Step
from iscam.engine.ladder import ladder
from iscam.engine.passes import Probe
from iscam.engine.standing import Channels, Known, SideScores, Standing
from iscam.engine.table import ScoreTable

CHANNELS, PLACES = 30, 12
FIRST, SECOND, LAST = (CLIMB, 1), (ROUND, 1), (INTERPOLATE, 2)
FIELD = likeness(torch.rand(CHANNELS, PLACES, dtype=torch.double, generator=torch.Generator().manual_seed(0))).float()
FLAT = torch.zeros(PLACES)  # nowhere below zero
SLOPES = torch.randn(2, CHANNELS, PLACES, generator=torch.Generator().manual_seed(1))


class Whole:
    """The same with whole covariances: a gap's matrix (u, u) is conditioned on each channel that has taken its step."""

    def __init__(self) -> None:
        self.parts: list[tuple[Step, list[int], Tensor, Tensor]] = []  # step, channels, covariance (u, u), slope (u, P)

    def add(self, gap: Gap, slope: Tensor) -> None:
        covariance = gap.covariance.times(torch.eye(len(slope))).double()
        self.parts.append((gap.step, gap.channels.tolist(), covariance, slope.double()))

    @property
    def variance(self) -> Tensor:
        """(P,)."""
        return torch.stack([torch.einsum("up,uv,vp->p", g, s, g) for _, _, s, g in self.parts]).sum(0)

    def after(self, step: Step, channel: int) -> Whole:
        found = Whole()
        for at, channels, covariance, slope in self.parts:
            if at == step and channel in channels:
                column = covariance[:, channels.index(channel)]
                covariance = covariance - column[:, None] * column / column[channels.index(channel)]
            found.parts.append((at, channels, covariance, slope))
        return found


def gaps() -> list[tuple[Gap, Tensor]]:
    """Two sides that lack the first step of many channels and the second of fewer; and the points of a path."""
    many, few = torch.arange(0, CHANNELS, 2), torch.arange(3, 12)
    found = [
        (Gap(step, Covariance.of(FIELD, channels, variance, share)), SLOPES[side][channels])
        for side in (0, 1)
        for step, channels, variance, share in ((FIRST, many, 0.04, 0.9), (SECOND, few, 0.01, 0.05))
    ]
    known = Covariance.of(FIELD, torch.arange(CHANNELS), 0.001, 0.95)
    return [*found, (Gap(LAST, known), SLOPES[0])]


def both() -> tuple[Assessment, Whole]:
    whole, given = Whole(), gaps()
    for gap, slope in given:
        whole.add(gap, slope)
    return Assessment(CHANNELS, FLAT, [_Stake(gap, slope) for gap, slope in given]), whole


def assert_alike(found: Assessment, whole: Whole) -> None:
    """The error, and the gain of every channel where the variance is largest; what has been taken promises nothing more."""
    variance = whole.variance
    assert found.error == pytest.approx(MARGIN * math.sqrt(float(variance.max())), rel=1e-4)
    worst = variance.topk(WORST).indices
    for step in (FIRST, SECOND):
        gain = found.gain(step)
        for channel in range(CHANNELS):
            open_to_it = any(
                at == step and channel in channels and float(s.diagonal()[channels.index(channel)]) > 1e-6
                for at, channels, s, _ in whole.parts
            )
            lowered = (variance - whole.after(step, channel).variance)[worst].mean() if open_to_it else 0.0
            assert float(gain[channel]) == pytest.approx(float(lowered), rel=1e-3, abs=1e-6)


def test_gains_are_what_the_steps_take_away() -> None:
    """One step after the other, of both kinds, and of two sides at once where both lack it."""
    found, whole = both()
    assert found.steps == (FIRST, SECOND)
    assert_alike(found, whole)
    for step, channel in ((FIRST, 4), (SECOND, 4), (FIRST, 20), (SECOND, 11), (FIRST, 6)):
        found.take(step, channel)
        whole = whole.after(step, channel)
        assert_alike(found, whole)


def test_what_is_between_points_is_told_apart() -> None:
    """And no step lowers it: with all steps taken it is all that is left."""
    found, _ = both()
    gap, slope = gaps()[-1]
    alone = Whole()
    alone.add(gap, slope)
    assert found.between_points == pytest.approx(MARGIN * math.sqrt(float(alone.variance.max())), rel=1e-4)
    assert found.error > 2 * found.between_points
    for step, channels in ((FIRST, range(0, CHANNELS, 2)), (SECOND, range(3, 12))):
        for channel in channels:
            found.take(step, channel)
    assert found.error == pytest.approx(found.between_points, rel=0.01)
    assert Assessment(CHANNELS, FLAT, [_Stake(*gaps()[0])]).between_points == 0
    assert Assessment(CHANNELS, FLAT, []).error == FLOOR


def test_of_an_error_below_zero_shows_what_reaches_above_it() -> None:
    """Places that the ReLU cuts off are not forgotten: of one just below zero nearly all shows, of one far below nothing."""
    gap, slope = gaps()[0]
    open_, unit = Assessment(CHANNELS, FLAT, [_Stake(gap, slope)]), 2.0
    worst = int(_Stake(gap, slope).variance.argmax())
    below = torch.full((PLACES,), 100.0)
    assert Assessment(CHANNELS, below, [_Stake(gap, slope)], unit).error == FLOOR
    for depth in (0.0, 0.1, 0.5):
        below[worst] = depth
        found = Assessment(CHANNELS, below, [_Stake(gap, slope)], unit)
        assert found.error == pytest.approx(unit * (open_.error - depth), rel=1e-5)
    before, best = found.error, int(found.gain(FIRST).argmax())
    found.take(FIRST, best)
    assert found.error < before  # where it shows, steps are judged


def test_steps_are_judged_where_the_error_shows() -> None:
    """Places with the largest variance count for nothing if they lie far below zero."""
    gap, slope = gaps()[0]
    whole = Whole()
    whole.add(gap, slope)
    order = whole.variance.argsort(descending=True)
    below = FLAT.clone()
    below[order[: PLACES - WORST]] = 100
    gain = Assessment(CHANNELS, below, [_Stake(gap, slope)]).gain(FIRST)
    for channel in gap.channels.tolist():
        lowered = (whole.variance - whole.after(FIRST, channel).variance)[order[PLACES - WORST :]].mean()
        assert float(gain[channel]) == pytest.approx(float(lowered), rel=1e-3)


def test_what_is_no_number_is_no_small_error() -> None:
    """A slope that is infinite, or not known, is not taken for a map that cannot move."""
    gap, slope = gaps()[0]
    for odd in (math.nan, math.inf):
        given = slope.clone()
        given[3, 5] = odd
        assert Assessment(CHANNELS, FLAT, [_Stake(gap, given)]).error == math.inf


class Told(NamedTuple):
    """What is foreseen of one side."""

    z: Tensor
    variances: Tensor
    gaps: list[Gap]


def blank_contrast(depth: float, doubt: float) -> Assessment:
    """A contrast whose rivals' weights are larger than the class's everywhere, by a share, and both of them in doubt."""
    maps = torch.rand(CHANNELS, PLACES, dtype=torch.double, generator=torch.Generator().manual_seed(2))
    channels = Channels(torch.arange(CHANNELS), maps, maps)
    everywhere = Covariance.of(FIELD, channels.places, doubt, 0.5)
    weights = torch.full((2, CHANNELS), 0.2)
    weights[1] *= 1 + depth
    sides = [Told(weight.logit(), torch.full((CHANNELS,), doubt), [Gap(FIRST, everywhere)]) for weight in weights]
    return assess(channels, sides, "probability", Aim(0, (1,), by=WEIGHTS))  # type: ignore[arg-type]


def test_a_map_that_is_foreseen_to_be_blank_is_not_known_to_be() -> None:
    """Where a channel or two may lift it above zero it may be anything; only of one far below zero it is certain."""
    for doubt in (1e-4, 1e-2):
        found = blank_contrast(0.01, doubt)
        assert 1 < found.error < math.inf
        assert float(found.gain(FIRST).max()) > 0
    assert blank_contrast(3.0, 1e-4).error == FLOOR


def test_of_several_rivals_what_has_not_been_run_weighs_nothing() -> None:
    """Each one's profile is over the channels that have been run, whatever a blank photo would score."""
    classes, ran, side = 5, [2, 3, 7, 11], (1, 4)
    logits = torch.randn(CHANNELS, classes)
    found = []
    for blank in (torch.zeros(classes), torch.tensor([0.0, 9.0, 0.0, 0.0, -9.0])):
        table, probes = ScoreTable(torch.zeros(classes), CHANNELS), (Probe(1.0),)
        table.reserve(probes, side)
        table.blank = blank
        table.put(probes * len(ran), torch.tensor(ran), logits[ran])
        masks = torch.rand(CHANNELS, PLACES, dtype=torch.double)
        known = Known(table, Channels(torch.arange(CHANNELS), masks, masks), ladder(probes), 1, False)
        scores = SideScores(known, side, "probability")
        scores.update(Standing(known))
        assert scores.low[1].isnan().tolist() == [channel not in ran for channel in range(CHANNELS)]
        found.append(scores.low[1][ran].sigmoid())
    alone = logits[ran].softmax(1)[:, side]  # (c, D)
    torch.testing.assert_close(found[0], (alone / alone.sum(0)).mean(1))
    torch.testing.assert_close(found[1], found[0])


def options(able: Sequence[int] = range(CHANNELS), cost: float = 1.0, second: str = "precise") -> dict[Step, Option]:
    allowed = torch.zeros(CHANNELS, dtype=torch.bool)
    allowed[list(able)] = True
    costs = torch.full((CHANNELS,), cost)
    return {
        FIRST: Option(allowed, costs, "rough", (Probe(1.0),)),
        SECOND: Option(allowed, 3 * costs, second, (Probe(2.0),)),
    }


def test_a_block_takes_what_promises_most_one_after_the_other() -> None:
    """Each step as if those before it had been run; what it costs stays within the budget but for the last step."""
    found, whole = both()
    kind, block = choose(found, options(), budget=5, enough=0)
    assert (kind, len(block)) == ("rough", 5)
    for _, channel in block:
        variance = whole.variance
        worst = variance.topk(WORST).indices
        gains = [float((variance - whole.after(FIRST, at).variance)[worst].mean()) for at in range(0, CHANNELS, 2)]
        assert gains[channel // 2] == pytest.approx(max(gains), rel=1e-3)
        whole = whole.after(FIRST, channel)
    assert len({channel for _, channel in block}) == 5


def test_a_block_ends_where_it_promises_enough() -> None:
    """But it has one step at least: a block that is asked for is run."""
    found, _ = both()
    before = found.error
    _, block = choose(found, options(), budget=100, enough=0.6 * before)
    assert 1 < len(block) < 15
    assert found.error < 0.6 * before
    again, _ = both()
    _, shorter = choose(again, options(), budget=len(block) - 1, enough=0)
    assert shorter == block[:-1]
    assert again.error >= 0.6 * before
    assert len(choose(both()[0], options(), budget=100, enough=2 * before)[1]) == 1


def test_of_two_channels_that_tell_the_same_one_is_run() -> None:
    """With equal masks and equal weights, before all others but not one after the other."""
    masks = torch.rand(CHANNELS, PLACES, dtype=torch.double)
    masks[1] = masks[0]
    slope = torch.rand(CHANNELS, PLACES)
    slope[:2] = 3
    gap = Gap(FIRST, Covariance.of(likeness(masks).float(), torch.arange(CHANNELS), 0.01, 0.999))
    found = Assessment(CHANNELS, FLAT, [_Stake(gap, slope)])
    assert set(found.gain(FIRST).topk(2).indices.tolist()) == {0, 1}
    _, block = choose(found, {FIRST: options()[FIRST]}, budget=8, enough=0)
    chosen = [channel for _, channel in block]
    assert (chosen[0] in (0, 1), len({0, 1} & set(chosen))) == (True, 1)


def test_a_block_is_of_one_kind_and_of_channels_that_can_take_it() -> None:
    """Steps of the same kind may mix, others wait; the dearer of two equal promises is put off."""
    found, _ = both()
    kind, block = choose(found, options(able=(4, 6, 7)), budget=100, enough=0)
    assert kind == "rough"
    assert sorted(channel for _, channel in block) == [4, 6]
    mixed = choose(both()[0], options(second="rough"), budget=200, enough=0)[1]
    assert {probes[0].multiplier for probes, _ in mixed} == {1.0, 2.0}
    dear = choose(both()[0], options() | {FIRST: options(cost=1e4)[FIRST]}, budget=1, enough=0)
    assert dear[0] == "precise"


def test_a_block_is_empty_where_nothing_is_promised() -> None:
    assert choose(both()[0], options(able=()), budget=100, enough=0)[1] == []
