"""Kriging against a slow direct formula and against its own model; the influence of weights against finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from iscam.engine.estimate import (
    CONSTANT,
    REACH,
    SHARES,
    SLOPE,
    SMOOTH,
    Covariance,
    influence,
    krige,
    likeness,
    standardised,
    widening,
)

CHANNELS, PLACES = 40, 16


def model(seed: int, channels: int = CHANNELS) -> tuple[Tensor, Tensor]:
    """The random field's correlation and the features of channels with random masks."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(channels, PLACES, dtype=torch.double, generator=generator)
    return likeness(masks), standardised(*torch.randn(2, channels, generator=generator))


def whole(covariance: Covariance) -> Tensor:
    """(u, u)."""
    return covariance.times(torch.eye(len(covariance.channels)).to(covariance.field))


def covariance_of(field: Tensor, features: Tensor, share: float) -> Tensor:
    """Covariance (C, C) of values of the model, with residuals of variance 1: one pair of channels at a time."""
    size, variances = len(field), [CONSTANT] + [SLOPE] * (features.shape[1] - 1)
    found = torch.zeros(size, size, dtype=torch.double)
    for i in range(size):
        for j in range(size):
            trend = sum(v * float(features[i, f] * features[j, f]) for f, v in enumerate(variances))
            found[i, j] = share * field[i, j] + trend + (1 - share) * (i == j)
    return found


def drawn(seed: int, field: Tensor, features: Tensor, share: float, scale: float = 1.0) -> Tensor:
    """Values (C,) that follow the model, whose residuals have the standard deviation `scale`."""
    generator = torch.Generator().manual_seed(seed)
    slopes = SLOPE**0.5 * torch.randn(features.shape[1], dtype=torch.double, generator=generator)
    slopes[0] *= (CONSTANT / SLOPE) ** 0.5
    smooth, rough = torch.randn(2, len(field), dtype=torch.double, generator=generator)
    smooth = torch.linalg.cholesky(field + 1e-9 * torch.eye(len(field))) @ smooth
    return scale * (features @ slopes + share**0.5 * smooth + (1 - share) ** 0.5 * rough)


def some(seed: int, count: int, channels: int = CHANNELS) -> Tensor:
    """bool (C,), `count` of them True."""
    chosen = torch.zeros(channels, dtype=torch.bool)
    chosen[torch.randperm(channels, generator=torch.Generator().manual_seed(seed))[:count]] = True
    return chosen


def conditional(covariance: Tensor, values: Tensor, here: list[int], there: list[int]) -> tuple[Tensor, Tensor]:
    """Mean and covariance of normal values (C,) of mean 0 at `there`, given those at `here`."""
    weights = covariance[there][:, here] @ torch.linalg.inv(covariance[here][:, here])
    return weights @ values[here], covariance[there][:, there] - weights @ covariance[here][:, there]


def slow_krige(
    field: Tensor, features: Tensor, values: Tensor, known: Tensor, wanted: Tensor, share: float, guess: float
) -> tuple[Tensor, Tensor]:
    """The same by leaving out every known value in turn, predicting it from the others, and comparing."""
    covariance = covariance_of(field, features, share)
    here, there = known.nonzero()[:, 0].tolist(), wanted.nonzero()[:, 0].tolist()
    squares = []
    for left_out in here:
        mean, variance = conditional(covariance, values, [i for i in here if i != left_out], [left_out])
        squares.append(float((values[left_out] - mean[0]) ** 2 / variance[0, 0]))
    if guess:
        squares += [guess**2, guess**2]
    mean, apart = conditional(covariance, values, here, there)
    return mean, sum(squares) / len(squares) * apart


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("guess", [0.0, 0.7])
def test_kriging_equals_its_slow_twin(share: float, guess: float) -> None:
    """Means, covariance and scale for a given share, for channels known, wanted, or neither; what is given stays as it is."""
    for seed in range(3):
        field, features = model(seed, 20)
        values = drawn(seed, field, features, 0.5, 0.3)
        known, rest = some(seed, 8, 20), some(seed + 50, 12, 20)
        wanted = rest & ~known
        values = values.where(known, torch.nan)
        given = [part.clone() for part in (field, features, values)]
        found = krige(field, features, values, known, wanted, (share,), guess)
        for part, before in zip((field, features, values), given, strict=True):
            torch.testing.assert_close(part, before, rtol=0, atol=0, equal_nan=True)
        mean, apart = slow_krige(field, features, values, known, wanted, share, guess)
        torch.testing.assert_close(found[0], mean, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(whole(found[1]), apart, rtol=1e-8, atol=1e-10)
        single = krige(field.float(), features, values, known, wanted, (share,), guess)[1]
        torch.testing.assert_close(whole(single).double(), apart, rtol=0, atol=1e-5 * float(apart.diagonal().max()))


def test_the_likeliest_share_is_taken() -> None:
    """Of several, that under which the known values, at the scale that suits them best, have the greatest density."""
    taken = set()
    for seed in range(12):
        field, features = model(seed)
        values = drawn(seed, field, features, SHARES[seed % len(SHARES)], 0.3)
        known = some(seed, 25)
        densities = {}
        for share in SHARES:
            covariance = covariance_of(field, features, share)[known][:, known]
            scale = values[known] @ torch.linalg.inv(covariance) @ values[known] / known.sum()
            at_mean = torch.zeros(len(covariance), dtype=torch.double)
            densities[share] = float(MultivariateNormal(at_mean, scale * covariance).log_prob(values[known]))
        best = max(densities, key=lambda share: densities[share])
        taken.add(best)
        found = krige(field, features, values, known, ~known)
        alone = krige(field, features, values, known, ~known, (best,))
        torch.testing.assert_close(found[0], alone[0])
        torch.testing.assert_close(whole(found[1]), whole(alone[1]))
    assert taken == set(SHARES)


def test_a_larger_scale_of_values_scales_means_and_errors() -> None:
    """Kriging knows no unit: values c times as large give means c times and a covariance c squared times as large."""
    field, features = model(0)
    values, known = drawn(0, field, features, 0.5), some(0, 15)
    for guess in (0.0, 0.3):
        mean, covariance = krige(field, features, values, known, ~known, guess=guess)
        larger = krige(field, features, 1000 * values, known, ~known, guess=1000 * guess)
        torch.testing.assert_close(larger[0], 1000 * mean)
        torch.testing.assert_close(whole(larger[1]), 1e6 * whole(covariance))


def test_a_guess_keeps_some_doubt() -> None:
    """Known values that are all 0 are predicted to be 0 everywhere: surely without a guess, with doubt beside one."""
    field, features = model(0)
    known = some(0, 6)
    mean, covariance = krige(field, features, torch.zeros(CHANNELS).double(), known, ~known)
    assert not mean.any() and not whole(covariance).any()
    mean, covariance = krige(field, features, torch.zeros(CHANNELS).double(), known, ~known, guess=0.1)
    assert not mean.any() and (covariance.diagonal > 0).all()


def test_values_on_the_trend_are_predicted() -> None:
    """To within 3 % of their spread from half of them, and the better from more."""
    field, features = model(0, 120)
    values = features @ torch.tensor([2.0, -1.0, 0.5], dtype=torch.double)
    errors = []
    for count in (6, 20, 60):
        known = some(0, count, 120)
        mean, covariance = krige(field, features, values, known, ~known)
        errors.append(float((mean - values[~known]).abs().max() / values.std()))
        assert covariance.diagonal.max().sqrt() < values.std() / 2
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.03


def test_a_covariance_is_the_sum_of_its_terms() -> None:
    """Its products, columns and diagonal are those of the matrix (u, u), which is never made: here it is, term by term."""
    field, features = model(0)
    channels = some(1, 9).nonzero()[:, 0]
    trend, known = features[channels], 0.3 * torch.randn(4, 9, dtype=torch.double)
    for given in (
        Covariance(channels, field, 0.7, 0.4, trend, known),
        Covariance.of(field, channels, 0.7, 0.4),
        Covariance.of(field, channels, 0.7, 0),
    ):
        wanted = given.share * field[channels][:, channels] + (1 - given.share) * torch.eye(9).double()
        wanted = 0.7 * (wanted + given.trend @ given.trend.T - given.known.T @ given.known)
        torch.testing.assert_close(whole(given), wanted)
        torch.testing.assert_close(given.diagonal, wanted.diagonal())
        torch.testing.assert_close(torch.stack([given.column(place) for place in range(9)]), wanted)
        values = torch.randn(9, 3, dtype=torch.double)
        before = values.clone()
        torch.testing.assert_close(given.times(values), wanted @ values)
        assert torch.equal(values, before)


@pytest.mark.parametrize("guess", [0.0, 0.5])
def test_the_covariance_is_one(guess: float) -> None:
    """Symmetric and positive semidefinite, also where masks are equal."""
    for seed in range(5):
        masks = torch.rand(CHANNELS, PLACES, dtype=torch.double)[torch.randint(CHANNELS, (CHANNELS,))]
        field, features = likeness(masks), model(seed)[1]
        known = some(seed, 6)
        found = krige(field, features, drawn(seed, *model(seed), 0.95), known, ~known, guess=guess)[1]
        covariance, scale = whole(found), float(found.diagonal.max())
        torch.testing.assert_close(covariance, covariance.T)
        assert torch.linalg.eigvalsh(covariance).min() > -1e-10 * scale


def test_a_mask_like_a_known_one_leaves_less_doubt() -> None:
    """Of two wanted channels, the one with a known channel's mask takes more of its value, with a smaller error."""
    masks = torch.rand(12, PLACES, dtype=torch.double)
    masks[10], masks[11] = masks[3], 1 - masks[3]
    values, known = (torch.arange(12) == 3).double(), torch.arange(12) < 10
    constant = torch.ones(12, 1, dtype=torch.double)
    mean, covariance = krige(likeness(masks), constant, values, known, ~known, (0.9,))
    assert mean[0] > 0.5 > abs(mean[1])
    assert covariance.diagonal[0] < covariance.diagonal[1] / 2


@pytest.mark.parametrize(("share", "shares"), [(0.05, (0.05,)), (0.5, (0.5,)), (0.95, (0.95,)), (0.5, SHARES)])
def test_errors_are_as_large_as_they_are_said_to_be(share: float, shares: tuple[float, ...]) -> None:
    """Values drawn from the model: the predictions' squared errors are as large as their variances, in the mean.

    Each error in units of its own estimate is a little larger: the scale is known from a few values only.
    """
    for count, tolerance in ((15, 0.25), (30, 0.15)):
        squares, variances, alone, together = [], [], [], []
        for seed in range(300):
            field, features = model(seed)
            values, known = drawn(1000 + seed, field, features, share, 0.2), some(seed, count)
            mean, covariance = krige(field, features, values, known, ~known, shares)
            errors = values[~known] - mean
            squares.append(errors.square())
            variances.append(covariance.diagonal)
            alone.append((errors.square() / covariance.diagonal).mean())
            together.append(errors @ torch.linalg.solve(whole(covariance), errors) / len(errors))
        assert float(torch.cat(squares).mean() / torch.cat(variances).mean()) == pytest.approx(1, abs=0.06)
        if len(shares) == 1:  # the choice among several adds to the doubt about the scale
            assert float(torch.stack(alone).mean()) == pytest.approx(1, abs=tolerance)
            assert float(torch.stack(together).mean()) == pytest.approx(1, abs=tolerance)


def heat(maps: Tensor, weights: Tensor, signed: bool) -> Tensor:
    """The heat map (h * w) of weighted maps: from 0 to 1 behind a ReLU, or signed with a peak of 1."""
    raw = weights @ maps
    if signed:
        return raw / raw.abs().max()
    raw = raw.clamp_min(0)
    return (raw - raw.min()) / (raw.max() - raw.min())


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0])
def test_influence_is_the_derivative_of_the_heat_map(signed: bool, shift: float) -> None:
    """By central differences, with weights that are all positive (the ReLU cuts nothing) and with weights of both signs."""
    step = 1e-6
    for _ in range(20):
        maps = torch.rand(6, PLACES, dtype=torch.double)
        weights = torch.rand(6, dtype=torch.double) - shift * torch.rand(6, dtype=torch.double)
        weights[0] = 1  # so that something is left of the map
        raw = weights @ maps
        moves, below = influence(maps, raw, signed)
        shown = torch.ones_like(raw, dtype=torch.bool) if signed else raw > 0
        assert torch.equal(below > 0, ~shown)
        for k in range(6):
            more, less = weights.clone(), weights.clone()
            more[k] += step
            less[k] -= step
            wanted = (heat(maps, more, signed) - heat(maps, less, signed)) / (2 * step)
            torch.testing.assert_close(moves[k, shown], wanted[shown], rtol=1e-5, atol=1e-5)
        span = raw.clamp_min(0).max() - raw.clamp_min(0).min()
        torch.testing.assert_close(moves[:, ~shown], maps[:, ~shown] / span)
        torch.testing.assert_close(below[~shown], -raw[~shown] / span)


@pytest.mark.parametrize("signed", [False, True])
def test_the_scale_of_weights_and_maps_is_nothing_to_the_heat_map(signed: bool) -> None:
    """All weights moved in proportion move no place; maps in another unit move it as much; larger weights move it less."""
    maps = torch.rand(6, PLACES, dtype=torch.double)
    weights = torch.randn(6, dtype=torch.double)
    moves, below = influence(maps, weights @ maps, signed)
    torch.testing.assert_close(weights @ moves, -below)
    for found, wanted in zip(influence(7 * maps, 7 * (weights @ maps), signed), (moves, below), strict=True):
        torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(influence(maps, 7 * (weights @ maps), signed)[0], moves / 7)


def test_a_map_that_shows_nothing_may_come_to_show_all() -> None:
    """Where the ReLU leaves nothing, what a weight lifts above zero becomes the peak: in that proportion all moves."""
    maps = torch.rand(6, PLACES, dtype=torch.double)
    moves, below = influence(maps, -maps.sum(0), signed=False)
    torch.testing.assert_close(below / moves, (maps.sum(0) / maps))
    assert (below > 1e6).all()


def test_likeness_is_a_correlation() -> None:
    """1 for a channel with itself and for equal masks, less for others, symmetric, and positive semidefinite."""
    masks = torch.rand(CHANNELS, PLACES, dtype=torch.double)
    masks[7] = masks[2]
    found = likeness(masks)
    ones = torch.ones(CHANNELS, dtype=torch.double)
    torch.testing.assert_close(found.diagonal(), ones, rtol=0, atol=1e-6)
    assert float(found[2, 7]) == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(found, found.T)
    others = found[~torch.eye(CHANNELS, dtype=torch.bool)]
    assert ((others > 0.99999).sum(), others.min() > 0) == (2, True)
    assert torch.linalg.eigvalsh(found).min() > -1e-6


def test_likeness_falls_with_a_power_of_the_distance_of_masks() -> None:
    """At the median distance it is exp(-1 / REACH^SMOOTH); only distances count, and only in proportion to the median."""
    masks = torch.rand(21, PLACES, dtype=torch.double)
    found = likeness(masks)
    assert float(found.median()) == pytest.approx(math.exp(-1 / REACH**SMOOTH))
    apart = (masks[:, None] - masks).square().sum(2).sqrt()
    torch.testing.assert_close(-found.log() / found.median().log().abs(), (apart / apart.median()) ** SMOOTH)
    torch.testing.assert_close(likeness(5 - 3 * masks), found)


def test_likeness_does_not_see_the_order_of_channels() -> None:
    """Channels in another order have their correlations in that order."""
    masks, order = torch.rand(CHANNELS, PLACES, dtype=torch.double), torch.randperm(CHANNELS)
    torch.testing.assert_close(likeness(masks[order]), likeness(masks)[order][:, order])


def test_likeness_of_equal_masks_is_finite() -> None:
    """Where no two masks differ there is no distance to measure by: all are alike, and kriging works."""
    masks = torch.rand(1, PLACES, dtype=torch.double).expand(CHANNELS, -1)
    found = likeness(masks)
    assert found.isfinite().all()
    assert found.min() > 0.9
    known = some(0, 6)
    values = torch.randn(CHANNELS, dtype=torch.double)
    mean, covariance = krige(found, torch.ones(CHANNELS, 1, dtype=torch.double), values, known, ~known)
    assert mean.isfinite().all()
    assert whole(covariance).isfinite().all()


def test_features_have_mean_0_and_variance_1_where_they_are_known() -> None:
    """Behind a constant 1; what is unknown is taken to be the mean, and the unit of a column does not matter."""
    column, gaps = 5 + 3 * torch.randn(CHANNELS), torch.randn(CHANNELS)
    unknown = some(0, 10)
    gaps[unknown] = torch.nan
    features = standardised(column, gaps)
    assert features.shape == (CHANNELS, 3)
    assert (features[:, 0] == 1).all()
    assert not features[unknown, 2].any()
    for found in (features[:, 1], features[~unknown, 2]):
        assert float(found.mean()) == pytest.approx(0, abs=1e-9)
        assert float(found.var()) == pytest.approx(1)
    torch.testing.assert_close(standardised(1000 * column - 7, gaps), features, rtol=1e-4, atol=1e-5)
    assert torch.equal(features[:, 1].argsort(), column.argsort())


def test_a_constant_column_tells_nothing() -> None:
    """A feature that is the same for all channels becomes 0, neither NaN nor the rounding of its mean made large."""
    for channels in range(2, 100):
        features = standardised(torch.full((channels,), 0.1, dtype=torch.double), torch.full((channels,), 0.7))
        torch.testing.assert_close(features[:, 1:], torch.zeros(channels, 2, dtype=torch.double), rtol=0, atol=1e-6)


def test_a_small_weight_that_is_far_from_sure_may_well_be_large() -> None:
    """The widening is the standard deviation of the sigmoid of a normal logit over that of its line, here by a fine sum."""
    weights = torch.tensor([1e-6, 0.003, 0.02, 0.2, 0.5, 0.9], dtype=torch.double)
    for variance in (1e-6, 0.01, 0.3, 1.0, 2.25):
        found = widening(weights, torch.full_like(weights, variance))
        for weight, factor in zip(weights.tolist(), found.tolist(), strict=True):
            places = torch.linspace(-9, 9, 20001, dtype=torch.double)
            shares = torch.exp(-places.square() / 2)
            shares = shares / shares.sum()
            values = torch.sigmoid(math.log(weight / (1 - weight)) + math.sqrt(variance) * places)
            spread = float((shares * (values - (shares * values).sum()).square()).sum().sqrt())
            wanted = max(1.0, spread / (weight * (1 - weight) * math.sqrt(variance)))
            assert factor == pytest.approx(wanted, rel=0.03)


def test_a_weight_that_is_known_is_not_widened() -> None:
    """Where the logit is sure, its line says all; nor is anything made narrower, or not a number at the ends."""
    weights = torch.tensor([0.0, 1e-30, 0.3, 1.0], dtype=torch.double)
    torch.testing.assert_close(
        widening(weights, torch.zeros_like(weights)), torch.ones_like(weights), rtol=0, atol=1e-5
    )
    wide = widening(weights, torch.full_like(weights, 4.0))
    assert wide.isfinite().all()
    assert (wide >= 1).all()
