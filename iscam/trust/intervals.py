"""How far means over photos can be trusted: intervals of 95 %, as functions of numbers."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000  # of the bootstrap
CHUNK = 100  # resamples at once
TAILS = (0.025, 0.975)  # where the intervals end


def resampled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means (1 + RESAMPLES, ...) of values (n, questions, ...): of the n themselves, and of n drawn from them with replacement.

    NaN is a value that is not known; a mean of none is NaN. A photo or grid that is drawn comes with all questions about it.
    All columns are of the same draws, and the same n always gives the same draws, so that columns can be compared.
    """
    count, shape = len(values), values.shape[2:]
    totals = np.nan_to_num(values).sum(1).reshape(count, -1)
    known = np.isfinite(values).sum(1, dtype=float).reshape(count, -1)
    generator = np.random.default_rng(0)

    def means(times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of one that is drawn so many times (resamples, n)."""
        total = times @ known
        found: NDArray[np.float64] = np.divide(times @ totals, total, np.full(total.shape, np.nan), where=total > 0)
        return found

    found = [means(np.ones((1, count)))]
    for start in range(0, RESAMPLES, CHUNK):
        drawn = generator.integers(0, count, (min(CHUNK, RESAMPLES - start), count))
        found.append(means(np.stack([np.bincount(row, minlength=count) for row in drawn]).astype(float)))
    return np.concatenate(found).reshape(-1, *shape)


def percentiles(means: NDArray[np.float64]) -> tuple[float, float]:
    """The bootstrap's percentile interval of a mean: between which 95 % of its resamples (RESAMPLES,) lie, NaN left out."""
    low, high = np.quantile(means[np.isfinite(means)], TAILS)
    return float(low), float(high)


def wilson(count: int, of: int) -> tuple[float, float]:
    """Wilson's score interval of a share, `count` of so many photos, none of which depends on another; in [0, 1].

    Unlike the bootstrap's it has a width where all photos agree: 0 of 10 is 0 to 0.28 (Wilson, "Probable Inference, the Law of
    Succession, and Statistical Inference", 1927).
    """
    z = NormalDist().inv_cdf(TAILS[1])
    share, widened = count / of, 1 + z**2 / of
    middle = (share + z**2 / (2 * of)) / widened
    half = z / widened * sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    return max(0.0, middle - half), min(1.0, middle + half)
