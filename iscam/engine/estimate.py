"""From what is known of some channels to all of them, and how far the map may then be off. Pure functions of tensors.

What separates two rungs of the ladder, or a rough pass from a precise one, is known for the channels that stand on both
and predicted for the others by kriging: a linear trend in what is known of a channel, plus a random field over the
channels in which those with similar masks differ alike. The covariance of the predictions gives the error of the map.
(Krige 1951; Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, sections 2.2, 2.7 and 5.4.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor

from .ladder import LEAST, MOST

SHARES = (0.05, 0.5, 0.95)  # of the variance that may belong to the random field; the likeliest is taken
CONSTANT, SLOPE = 3.0, 1.0  # prior variances of the trend's coefficients, in units of the residual variance
NODES = 15  # at which a normal distribution is looked at
SURE = 1e-8  # a variance that is not lost in rounding
REACH = 2.0  # correlation length of the random field, in median distances between masks


def standardised(*columns: Tensor) -> Tensor:
    """Features (C, 1 + F): a constant, and each column with mean 0 and variance 1; NaN (unknown) becomes the mean."""
    features = [torch.ones_like(columns[0], dtype=torch.double)]
    for column in columns:
        known = column[~column.isnan()].double()
        features.append(((column.double() - known.mean()) / known.std().clamp_min(1e-6)).nan_to_num(0.0))
    return torch.stack(features, dim=1)


def likeness(masks: Tensor) -> Tensor:
    """The random field's correlation (C, C) of channels with masks (C, h * w): exponential in their distance."""
    distances = torch.cdist(masks, masks)
    return torch.exp(-distances / (REACH * distances.median()).clamp_min(1e-6))


def krige(
    field: Tensor,
    features: Tensor,
    values: Tensor,
    known: Tensor,
    wanted: Tensor,
    shares: Sequence[float] = (),
    guess: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Predict `values` (C,) where they are `wanted` from where they are `known` (bool (C,)): means (u,), covariance (u, u).

    `field` (C, C) is the correlation of the random part, `features` (C, F) carry the trend. Its scale is that of the errors
    with which each known value is predicted from the others; `guess` is a standard deviation that counts as two more.
    """
    scales = features.new_full((features.shape[1],), SLOPE)
    scales[0] = CONSTANT
    here, there = known.nonzero()[:, 0], wanted.nonzero()[:, 0]
    found = values[here]
    field_here, trend_here = field[here][:, here], (features[here] * scales) @ features[here].T
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
    slopes = features[there] * scales
    across = (slopes @ features[here].T).add_(field[there][:, here], alpha=share)
    apart = (slopes @ features[there].T).add_(field[there][:, there], alpha=share)
    apart.diagonal().add_(1 - share)
    half = torch.linalg.solve_triangular(factor, across.T, upper=False)  # (known, u)
    return across @ solved, apart.addmm_(half.T, half, alpha=-1).mul_(variance)


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


def influence(maps: Tensor, raw: Tensor, signed: bool) -> Tensor:
    """By how much each value of the heat map (h * w) moves when a weight moves by 1: (C, h * w).

    `maps` (C, h * w) are the activations, `raw` (h * w) their weighted sum before its ReLU, which `signed` maps do not have.
    """
    if signed:
        peak = raw.abs().argmax()
        scale = raw[peak].abs().clamp_min(1e-12)
        return (maps - (raw / scale) * raw[peak].sign() * maps[:, peak, None]) / scale
    positive = raw.relu()
    low, high = positive.argmin(), positive.argmax()
    span = (positive[high] - positive[low]).clamp_min(1e-12)
    heat = (positive - positive[low]) / span
    moved = torch.where(raw > 0, maps, 0)
    return (moved - moved[:, low, None] - heat * (moved[:, high, None] - moved[:, low, None])) / span
