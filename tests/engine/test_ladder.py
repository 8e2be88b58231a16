"""The ladder: which passes its rungs run, and their averages against a slow loop over channels and points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from iscam.engine import ladder as rungs
from iscam.engine.ladder import (
    GRID,
    NOTHING,
    Rung,
    average,
    averaged,
    doubled,
    halved,
    ladder,
    learnt,
    normed_weights,
    standing_for,
)
from iscam.engine.passes import Probe
from iscam.path import MAX_STEPS, PATHS, integration_path
from iscam.settings import WEIGHTINGS

CHANNELS, CLASSES, COLUMN = 7, 6, 2


def on_path(steps: int, path: str = "linear") -> list[Probe]:
    return [Probe(multiplier) for multiplier in integration_path(path, steps).multipliers]


def noisy(samples: int) -> list[Probe]:
    return [Probe(noise=(11, j)) for j in range(samples)]


def z_of(rung: Rung, blank: Tensor, logits: Tensor, column: int, scale: str) -> Tensor:
    """z (C,) of the class in one column."""
    return standing_for(average(rung, blank, logits, [column], scale)[:, 0], scale)


def slow_average(logits: Tensor, column: int, weighting: str) -> Tensor:
    """z (C,) of logits (M, C, K) at all points, one channel and one point at a time, in float64."""
    z = []
    for channel in range(logits.shape[1]):
        scores = []
        for point in range(len(logits)):
            row = logits[point, channel].double().tolist()
            scores.append(row[column] if weighting == "logit" else 1 / sum(math.exp(x - row[column]) for x in row))
        mean = sum(scores) / len(scores)
        z.append(mean if weighting == "logit" else math.log(mean / (1 - mean)))
    return torch.tensor(z, dtype=torch.double)


class Straight:
    """Logits that are linear in the multiplier from those of a blank photo on, each channel and class at its own slope."""

    def __init__(self) -> None:
        self.blank, self.slopes = torch.randn(CLASSES), 2 * torch.randn(CHANNELS, CLASSES)

    def logits(self, probes: Sequence[Probe]) -> Tensor:
        """(n, C, K)."""
        rows = [self.blank + probe.multiplier * self.slopes for probe in probes]
        return torch.stack(rows) if rows else torch.empty(0, CHANNELS, CLASSES)

    def average(self, rung: Rung, weighting: str) -> Tensor:
        return z_of(rung, self.blank, self.logits(rung.probes), COLUMN, weighting)


def assert_equal(found: Tensor, wanted: Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize("path", PATHS)
def test_rungs_lead_from_nothing_to_all_that_counts(path: str) -> None:
    """All probes, or GRID of a longer path, its end among them; every rung runs other passes, and more of them."""
    for steps in range(1, MAX_STEPS + 1):
        probes = on_path(steps, path)
        found = ladder(probes)
        assert found[0] is NOTHING
        last = found[-1].probes
        assert last[-1] == probes[-1]
        assert last == tuple(probes) if steps <= GRID else len(last) == GRID
        assert [probe for probe in probes if probe in last] == list(last)
        counts = [len(rung.probes) for rung in found]
        assert counts == {1: [0, 1], 2: [0, 1, 2]}.get(steps, [0, 1, 2, len(last)])
        assert all(len(set(rung.probes)) == len(rung.probes) and set(rung.probes) <= set(last) for rung in found)


@pytest.mark.parametrize("samples", [1, 2, 3, 8, 30])
def test_noise_samples_are_all_run(samples: int) -> None:
    """They are on no path: none stands for a longer row of them on the last rung, and no two rungs are the same."""
    found = ladder(noisy(samples))
    assert found[0] is NOTHING
    assert found[-1].probes == tuple(noisy(samples))
    counts = [len(rung.probes) for rung in found]
    assert counts == {1: [0, 1], 2: [0, 1, 2]}.get(samples, [0, 1, 2, samples])


def test_points_of_the_guesses_lie_where_they_tell_most() -> None:
    """One pass at four fifths of the path; two at two and four fifths."""
    one, two = ladder(on_path(5))[1:3]
    assert [probe.multiplier for probe in one.probes] == [0.8]
    assert [probe.multiplier for probe in two.probes] == [0.4, 0.8]


def test_the_base_replaces_the_one_pass() -> None:
    """A pass that has been run already stands for the average of another path; the other rungs stay as they are."""
    base = Probe(1.5)
    plain, found = ladder(on_path(10)), ladder(on_path(10), base=base)
    assert [rung.probes for rung in found] == [(), (base,), *(rung.probes for rung in plain[2:])]
    assert [rung.probes for rung in ladder(on_path(1), base=base)] == [(), (base,), tuple(on_path(1))]
    assert [rung.probes for rung in ladder(on_path(1), base=on_path(1)[0])] == [(), tuple(on_path(1))]


@pytest.mark.parametrize("probes", [on_path(1), on_path(2), on_path(10), on_path(50, "cumulative"), noisy(2), noisy(8)])
def test_mixes_keep_what_all_logits_have_in_common(probes: list[Probe]) -> None:
    """Every row mixes a blank photo and each of the rung's probes, and sums to 1; the known points are themselves."""
    base = None if probes[0].noise else Probe(1.7)
    found = [*ladder(probes), *ladder(probes, base=base)]
    for rung in [*found, *filter(None, [halved(found[-1], probes)])]:
        assert rung.mix.shape[1] == 1 + len(rung.probes)
        torch.testing.assert_close(rung.mix.sum(1), torch.ones(len(rung.mix)))
    last = ladder(probes)[-1]
    places = [probes.index(probe) for probe in last.probes]
    torch.testing.assert_close(last.mix[places, 1:], torch.eye(len(places)))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("steps", [1, 2, 3, GRID])
def test_every_rung_is_exact_for_logits_that_grow_linearly(steps: int, path: str, weighting: str) -> None:
    """From one pass on, where another path's pass is the base too; before any, all channels score as the blank photo."""
    straight, probes = Straight(), on_path(steps, path)
    wanted = slow_average(straight.logits(probes), COLUMN, weighting)
    found = [*ladder(probes)[1:], *ladder(probes, base=Probe(0.7))[1:]]
    for rung in found:
        assert_equal(straight.average(rung, weighting), wanted)
    nothing = straight.blank.expand(1, CHANNELS, -1)
    assert_equal(straight.average(NOTHING, weighting), slow_average(nothing, COLUMN, weighting))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("steps", [10, 15, 37, 50])
def test_points_of_a_longer_path_are_exact_for_logits_that_grow_linearly(steps: int, path: str, weighting: str) -> None:
    """The last rung, half of it and a finer one average over all probes of the path; the guesses over the grid's points."""
    straight, probes = Straight(), on_path(steps, path)
    found = ladder(probes)
    wanted = slow_average(straight.logits(probes), COLUMN, weighting)
    half = halved(found[-1], probes)
    assert half is not None
    for rung in (found[-1], half, doubled(found[-1], probes)):
        assert_equal(straight.average(rung, weighting), wanted)
    for guess in found[1:-1]:
        assert_equal(
            straight.average(guess, weighting),
            slow_average(straight.logits(found[-1].probes), COLUMN, weighting),
        )


def test_logits_between_two_points_lie_on_the_line_between_them() -> None:
    """Logits with a bend at the one known point: the rows before it and behind it have the slope from the blank photo."""
    probes = on_path(4)
    mix = rungs._between([probes[1]], probes)
    torch.testing.assert_close(mix, torch.tensor([[0.5, 0.5], [0.0, 1.0], [-0.5, 1.5], [-1.0, 2.0]]))
    mix = rungs._between([probes[1], probes[3]], probes)
    wanted = torch.tensor([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(mix, wanted)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("probes", [on_path(1), on_path(GRID, "cumulative"), noisy(5)])
def test_the_last_rung_is_the_average_itself(probes: list[Probe], weighting: str) -> None:
    """Whatever the logits and the blank photo's are: a slow loop over channels and points gives the same."""
    logits, blank = 3 * torch.randn(len(probes), CHANNELS, CLASSES), 100 * torch.randn(CLASSES)
    for column in range(CLASSES):
        found = z_of(ladder(probes)[-1], blank, logits, column, weighting)
        assert_equal(found, slow_average(logits, column, weighting))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_known_noise_samples_stand_for_the_others(weighting: str) -> None:
    """A sample that has not been run is taken to give the mean logits of those that have; the blank photo plays no part."""
    probes = noisy(5)
    logits, blank = torch.randn(5, CHANNELS, CLASSES), 100 * torch.randn(CLASSES)
    for rung in ladder(probes)[1:]:
        known = [probes.index(probe) for probe in rung.probes]
        taken = logits[known].mean(0).repeat(5, 1, 1)
        taken[known] = logits[known]
        found = z_of(rung, blank, logits[known], COLUMN, weighting)
        assert_equal(found, slow_average(taken, COLUMN, weighting))


@pytest.mark.parametrize("at_once", [1, 3, 7])
def test_the_size_of_a_part_does_not_change_the_average(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Channels are averaged some at a time, and each by itself."""
    straight, rung = Straight(), ladder(on_path(50))[-1]
    wanted = straight.average(rung, "probability")
    monkeypatch.setattr(rungs, "CHANNELS_AT_ONCE", at_once)
    torch.testing.assert_close(straight.average(rung, "probability"), wanted)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_constant_on_all_logits_changes_only_mean_logits(weighting: str) -> None:
    """Mean probabilities do not see it; mean logits move by it, whatever the mix."""
    straight = Straight()
    for rung in ladder(on_path(50))[1:]:
        logits = straight.logits(rung.probes)
        moved = z_of(rung, straight.blank + 5, logits + 5, COLUMN, weighting)
        before = straight.average(rung, weighting)
        torch.testing.assert_close(moved, before + 5 if weighting == "logit" else before, rtol=1e-4, atol=1e-4)


def taught(rung: Rung, shares: Tensor, scale: float = 1.0) -> tuple[Rung, Tensor, Tensor, Tensor]:
    """A rung learnt from points that mix a blank photo and its probes by shares (M, n), and what it was learnt from."""
    blank = torch.randn(CLASSES)
    logits = blank + scale * torch.randn(len(rung.probes), CHANNELS, CLASSES)
    points = blank + torch.einsum("mn,nck->mck", shares, logits - blank)
    return learnt(rung, blank, logits, points), blank, logits, points


@pytest.mark.parametrize("count", [1, 2])
def test_a_mix_is_learnt_from_channels_that_follow_it(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Nearly, and the better the less faith there is in linear interpolation; the size of the logits does not matter."""
    rung = ladder(on_path(GRID))[count]
    shares = torch.randn(GRID, count)
    wanted = torch.cat([1 - shares.sum(1, keepdim=True), shares], dim=1)
    for scale in (1.0, 1e-3):
        found, *_ = taught(rung, shares, scale)
        assert found.probes == rung.probes
        torch.testing.assert_close(found.mix, wanted, rtol=0, atol=0.03)
        torch.testing.assert_close(found.mix.sum(1), torch.ones(GRID))
    monkeypatch.setattr(rungs, "FAITH", 1e-7)
    found, blank, logits, points = taught(rung, shares)
    torch.testing.assert_close(found.mix, wanted, rtol=0, atol=1e-4)
    for weighting in WEIGHTINGS:  # the average over the points, from the rung's probes alone
        z = z_of(found, blank, logits, COLUMN, weighting)
        assert_equal(z, slow_average(points, COLUMN, weighting), 1e-3)


def test_what_channels_do_not_tell_stays_interpolated() -> None:
    """Of two probes that look alike only the sum of the shares is learnt; their difference is that of the rung's own mix."""
    rung = ladder(on_path(GRID))[2]
    blank, logits = torch.randn(CLASSES), torch.randn(1, CHANNELS, CLASSES).expand(2, -1, -1)
    shares = torch.rand(GRID)
    found = learnt(rung, blank, logits, blank + shares[:, None, None] * (logits[0] - blank))
    torch.testing.assert_close(found.mix[:, 1:].sum(1), shares, rtol=0, atol=0.01)
    torch.testing.assert_close(found.mix[:, 1] - found.mix[:, 2], rung.mix[:, 1] - rung.mix[:, 2], rtol=0, atol=1e-3)


def test_channels_that_tell_nothing_leave_the_mix_as_it_is() -> None:
    """Where every pass gives the blank photo's logits, as a constant network does, the mix stays finite and unchanged."""
    rung = ladder(on_path(GRID))[2]
    blank = torch.randn(CLASSES)
    found = learnt(rung, blank, blank.expand(2, CHANNELS, -1), blank.expand(GRID, CHANNELS, -1))
    torch.testing.assert_close(found.mix, rung.mix)


def test_probable_classes_teach_more_than_others() -> None:
    """Where classes grow by different shares, the mix follows the class that takes all probability."""
    rung = ladder(on_path(GRID))[1]
    shares = torch.full((CLASSES,), 0.2)
    shares[COLUMN] = 0.7
    for height, wanted in ((10.0, 0.7), (0.0, float(shares.mean()))):  # of the blank photo's logit of that class
        blank = torch.zeros(CLASSES)
        blank[COLUMN] = height
        logits, points = blank + torch.ones(1, CHANNELS, CLASSES), blank + shares.expand(GRID, CHANNELS, -1)
        found = learnt(rung, blank, logits, points).mix[:, 1]
        torch.testing.assert_close(found, torch.full((GRID,), wanted), rtol=0, atol=0.1 if wanted < 0.5 else 0.01)


def test_a_rung_that_runs_all_probes_has_no_half() -> None:
    """Nothing is interpolated, so nothing can be coarser: short paths, noise, and a grid as fine as the path."""
    for probes in (on_path(1), on_path(GRID), noisy(30)):
        assert halved(ladder(probes)[-1], probes) is None
    longer = on_path(2 * GRID)
    assert halved(doubled(ladder(longer)[-1], longer), longer) is None


@pytest.mark.parametrize(("steps", "times"), [(50, 1), (50, 0), (11, 0), (100, 2)])
def test_half_of_a_rung_is_every_other_point(steps: int, times: int) -> None:
    """The end of the path is among them, and all probes of the path are interpolated from them; doubling keeps all."""
    probes = on_path(steps)
    last = ladder(probes)[-1]
    for _ in range(times):
        before, last = last, doubled(last, probes)
        assert set(before.probes) < set(last.probes)
        assert len(last.probes) == 2 * len(before.probes)
    half = halved(last, probes)
    assert half is not None
    assert half.probes == last.probes[1::2]
    assert half.probes[-1] == probes[-1]
    assert len(half.mix) == steps


def test_averaged_undoes_the_logit() -> None:
    """z of a mean probability gives that probability, z of a mean logit is that logit."""
    probabilities = torch.tensor([1e-12, 1e-3, 0.5, 0.9, 0.999])
    torch.testing.assert_close(averaged(probabilities.logit(), "probability"), probabilities, rtol=1e-5, atol=0)
    z = torch.randn(CHANNELS)
    assert torch.equal(averaged(z, "logit"), z)


def test_weights_are_mean_probabilities_or_shares_of_the_channels() -> None:
    """Probabilities come back as they are; of mean logits the softmax, which does not see a constant, sums to 1."""
    probabilities = torch.tensor([0.01, 0.5, 0.2])
    torch.testing.assert_close(normed_weights(probabilities.logit(), "probability"), probabilities)
    z = torch.randn(CHANNELS, dtype=torch.double)
    weights = normed_weights(z, "logit")
    torch.testing.assert_close(weights, z.exp() / z.exp().sum())
    torch.testing.assert_close(normed_weights(z + 300, "logit"), weights)


def test_very_improbable_classes_keep_their_proportions() -> None:
    """Mean probabilities of about 1e-12, in float32, differ between channels as they do in float64."""
    probes = on_path(GRID)
    logits, blank = torch.randn(GRID, 70, CLASSES), torch.randn(CLASSES)
    logits[..., COLUMN] = -28 + 0.01 * torch.randperm(70)
    weights = normed_weights(z_of(ladder(probes)[-1], blank, logits, COLUMN, "probability"), "probability")
    wanted = logits.double().softmax(-1)[..., COLUMN].mean(0)
    assert 1e-14 < float(wanted.min()) < 1e-12
    assert torch.equal(weights.argsort(), wanted.argsort())
    torch.testing.assert_close(weights.double(), wanted, rtol=1e-3, atol=0)


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_certain_and_impossible_classes_stay_finite(logit: float) -> None:
    """A probability that float32 rounds to 0 or 1 has a logit all the same."""
    logits = torch.zeros(1, CHANNELS, CLASSES)
    logits[..., COLUMN] = logit
    z = z_of(ladder(on_path(1))[-1], torch.zeros(CLASSES), logits, COLUMN, "probability")
    assert z.isfinite().all()
    assert (z.sign() == math.copysign(1, logit)).all()
