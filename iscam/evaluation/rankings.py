"""Whether photos agree on which method is better, as functions of numbers (Tomsett et al., arXiv 1912.01451)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DIGITS = 4  # behind the point, to which values are rounded first: rows found on other machines agree in no more

Array = NDArray[np.float64]


def agreement(values: Array) -> tuple[float, float] | None:
    """Krippendorff's alpha and the mean of Spearman's r of the rankings that photos give to methods; values (photos, methods).

    None if there are fewer than two photos or two methods, or if no photo tells any methods apart. Neither depends on whether
    high values are better. Where no photo has ties they say the same: 1 - alpha = (1 - r) (1 - 1 / (photos x methods)). Methods
    that are tied on every photo make alpha larger; photos on which all are tied make r smaller.
    """
    if min(values.shape) < 2:
        return None
    places = ranks(values)
    if not np.ptp(places):
        return None
    return ordinal_alpha(tallies(places)), mean_spearman(places)


def ranks(values: Array) -> Array:
    """The rank of each method within its photo, 1 the lowest value; equal ones share the mean of their ranks: as values."""
    rounded = values.round(DIGITS)
    found = np.full(values.shape, 0.5)
    for other in rounded.T:  # (photos,)
        found += (other[:, None] < rounded) + 0.5 * (other[:, None] == rounded)
    return found


def tallies(places: Array) -> Array:
    """How many photos give a method each of the ranks 1, 1.5, 2, ...: (methods, ranks), of ranks (photos, methods)."""
    methods = places.shape[1]
    steps = (2 * places - 2).astype(int)
    return np.stack([np.bincount(column, minlength=2 * methods - 1) for column in steps.T]).astype(float)


def ordinal_alpha(counts: Array) -> float:
    """Krippendorff's alpha of ordinal data, 1 - D_o / D_e: 1 if all coders agree, about 0 if they do no more than by chance.

    K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), part D, by the coincidences of values c and k,
    o_ck = sum_u (pairs of c and k by two coders in unit u) / (m_u - 1), with m_u the values in u:
    alpha = 1 - (n - 1) sum o_ck d_ck^2 / sum n_c n_k d_ck^2, d_ck = n_c / 2 + (n between c and k) + n_k / 2. The coders are
    photos here, the units methods, and the values ranks. Of unequal values there must be some.

    Args:
        counts: (units, values), how many coders gave a unit each value, values from low to high.
    """
    counts = counts[counts.sum(1) > 1]  # a value that stands alone can be held against none
    shares = counts / (counts.sum(1, keepdims=True) - 1)
    coincidences = shares.T @ counts  # o_ck (values, values); where c = k a value meets itself too, but d_cc is 0
    times = counts.sum(0)  # n_c
    middles = times.cumsum() - times / 2
    distances = (middles[:, None] - middles) ** 2  # d_ck^2
    observed, expected = (coincidences * distances).sum(), times @ distances @ times
    return float(1 - (times.sum() - 1) * observed / expected)


def mean_spearman(places: Array) -> float:
    """The mean of Spearman's r over all pairs of photos, of ranks (photos, methods); -1 / (photos - 1) to 1.

    r is Pearson's correlation of the ranks, tied ones at the mean of theirs; a photo on which all methods are tied correlates
    with none (0). With z_p a photo's ranks, centred and of length 1, the sum over pairs p != q of z_p z_q is
    |sum z_p|^2 - sum |z_p|^2, so that no pair need be looked at.
    """
    centred = places - places.mean(1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    directions = np.divide(centred, lengths, np.zeros_like(centred), where=lengths > 0)
    photos, total = len(places), directions.sum(0)
    return float((total @ total - (directions**2).sum()) / (photos * (photos - 1)))
