"""From what is known of some channels to all of them, and how far the map may then be off. Pure functions of tensors.

What separates two rungs of the ladder, or a rough pass from a precise one, is known for the channels that stand on both
and predicted for the others by kriging: a linear trend in what is known of a channel, plus a random field over the
channels in which those with similar masks differ alike. The covariance of the predictions gives the error of the map.
(Krige 1951; Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, sections 2.2, 2.7 and 5.4.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor

from .ladder import LEAST, MOST

SHARES = (0.05, 0.5, 0.95)  # of the variance that may belong to the random field; the likeliest is taken
CONSTANT, SLOPE = 3.0, 1.0  # prior variances of the trend's coefficients, in units of the residual variance
NODES = 15  # at which a normal distribution is looked at
SURE = 1e-8  # a variance that is not lost in rounding
REACH = 1.5  # correlation length of the random field, in median distances between masks
SMOOTH = 1.5  # power of the distance by which it falls: between an exponential field (1) and a Gaussian one (2)


def standardised(*columns: Tensor) -> Tensor:
    """Features (C, 1 + F): a constant, and each column with mean 0 and variance 1; NaN (unknown) becomes the mean."""
    features = [torch.ones_like(columns[0], dtype=torch.double)]
    for column in columns:
        known = column[~column.isnan()].double()
        features.append(((column.double() - known.mean()) / known.std().clamp_min(1e-6)).nan_to_num(0.0))
    return torch.stack(features, dim=1)


def likeness(masks: Tensor) -> Tensor:
    """The random field's correlation (C, C) of channels with masks (C, h * w), a powered exponential."""
    distances = torch.cdist(masks, masks)
    return torch.exp(-((distances / (REACH * distances.median()).clamp_min(1e-6)) ** SMOOTH))


@dataclass(frozen=True, eq=False)
class Covariance:
    """What predictions for some channels (u,) may be off together, as the terms of the covariance (u, u), which is not made:
    of C channels it would take C x C numbers and as many times the channels that are known,

        variance * (share * field + (1 - share) * I + trend @ trend.T - known.T @ known)

    with the correlation `field` (C, C) of all channels, `trend` (u, F) and `known` (n, u), all of one precision.
    """

    channels: Tensor
    field: Tensor
    variance: float
    share: float
    trend: Tensor
    known: Tensor

    @classmethod
    def of(cls, field: Tensor, channels: Tensor, variance: float, share: float) -> Covariance:
        """Of channels about which nothing is known, and that follow no trend."""
        nothing = field.new_zeros(0, len(channels))
        return cls(channels, field, variance, share, nothing.T, nothing)

    @cached_property
    def diagonal(self) -> Tensor:
        """(u,)."""
        return self.variance * (1 + self.trend.square().sum(1) - self.known.square().sum(0))

    def column(self, place: int) -> Tensor:
        """(u,)."""
        found = self.share * self.field[self.channels[place], self.channels]
        found += self.trend @ self.trend[place] - self.known[:, place] @ self.known
        found[place] += 1 - self.share
        return self.variance * found

    def times(self, values: Tensor) -> Tensor:
        """The product (u, n) with values (u, n)."""
        everywhere = values.new_zeros(len(self.field), values.shape[1]).index_copy_(0, self.channels, values)  # (C, n)
        found = (self.field[self.channels] @ everywhere).mul_(self.share).add_(values, alpha=1 - self.share)
        found += self.trend @ (self.trend.T @ values)
        return found.sub_(self.known.T @ (self.known @ values)).mul_(self.variance)


def krige(
    field: Tensor,
    features: Tensor,
    values: Tensor,
    known: Tensor,
    wanted: Tensor,
    shares: Sequence[float] = (),
    guess: float = 0.0,
) -> tuple[Tensor, Covariance]:
    """Predict `values` (C,) where they are `wanted` from where they are `known` (bool (C,)): means (u,), their covariance.

    `field` (C, C) is the correlation of the random part, `features` (C, F) carry the trend. Its scale is that of the errors
    with which each known value is predicted from the others; `guess` is a standard deviation that counts as two more. The
    means are worked out in float64, the covariance is in the precision of the field.
    """
    scales = features.new_full((features.shape[1],), SLOPE)
    scales[0] = CONSTANT
    trend = features * scales.sqrt()  # (C, F)
    here, there = known.nonzero()[:, 0], wanted.nonzero()[:, 0]
    found = values[here]
    field_here, trend_here = field[here][:, here].double(), trend[here] @ trend[here].T
    best = None
    for share in shares or SHARES:
        among = trend_here.add(field_here, alpha=share)
        among.diagonal().add_(1 - share)
        factor = torch.linalg.cholesky(among)
        solved = torch.cholesky_solve(found[:, None], factor)[:, 0]
        fit = 0.5 * len(here) * (found @ solved).clamp_min(1e-12).log() + factor.diagonal().log().sum()
        if best is None or fit < best[0]:
            best = fit, share, factor, solved
    assert best is not None
    _, share, factor, solved = best
    precision = torch.cholesky_inverse(factor).diagonal()  # 1 / variance of each value given the others
    variance = ((solved.square() / precision).sum() + 2 * guess**2) / (len(here) + (2 if guess else 0))
    across = (trend[there] @ trend[here].T).add_(field[there][:, here], alpha=share)  # (u, n)
    half = torch.linalg.solve_triangular(factor, across.T, upper=False)  # (n, u)
    return across @ solved, Covariance(there, field, float(variance), share, trend[there].to(field), half.to(field))


def widening(weights: Tensor, variances: Tensor) -> Tensor:
    """By how much more weights (C,) in [0, 1] may be off than their slopes say, when their logits may be off by `variances`.

    A weight is the sigmoid of its logit: where that is far from sure, a small weight may well be a large one. This is the
    standard deviation of the sigmoid of a normal logit, over that of its line at the mean; 1 where the logit is known.
    """
    places, shares = (torch.from_numpy(found).to(weights) for found in hermegauss(NODES))  # (NODES,)
    shares = shares / shares.sum()
    logits, spread = weights.clamp(LEAST, MOST).logit(), variances.clamp_min(SURE).sqrt()
    values = (logits[:, None] + spread[:, None] * places).sigmoid()  # (C, NODES)
    moved = (values - (shares * values).sum(1, keepdim=True)).square() @ shares  # (C,)
    line = logits.sigmoid() * (1 - logits.sigmoid()) * spread
    return (moved.sqrt() / line).clamp_min(1)


def influence(maps: Tensor, raw: Tensor, signed: bool) -> tuple[Tensor, Tensor]:
    """By how much each value of the heat map (h * w) moves when a weight moves by 1: (C, h * w). And how far below zero each
    lies (h * w,), from where the ReLU shows no move: what is told of such places is told of them as they are before it.

    `maps` (C, h * w) are the activations, `raw` (h * w) their weighted sum before its ReLU, which `signed` maps do not have.
    """
    if signed:
        peak = raw.abs().argmax()
        scale = raw[peak].abs().clamp_min(1e-12)
        return (maps - (raw / scale) * raw[peak].sign() * maps[:, peak, None]) / scale, torch.zeros_like(raw)
    positive = raw.relu()
    low, high = positive.argmin(), positive.argmax()
    span = (positive[high] - positive[low]).clamp_min(1e-12)
    heat = (positive - positive[low]) / span
    lowest, highest = (torch.where(raw[place] > 0, maps[:, place, None], 0) for place in (low, high))
    return (maps - lowest - heat * (highest - lowest)) / span, (-raw).relu() / span
