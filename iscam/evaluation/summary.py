"""What the rows of an evaluation say in the mean: of each method, of it beside another, and of how methods are ranked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from iscam.trust import KINDS, METRICS, percentiles, resampled, wilson

from .rankings import agreement

if TYPE_CHECKING:
    from .plan import Measures
    from .run import Evaluation

HELD_AGAINST = "is-cam"
FEWEST = 6  # photos; below, by chance all differ to the same side more often than once in twenty times: 2 / 2^5 > 0.05


@dataclass(frozen=True)
class Difference:
    """The mean of a method less that of the one it is held against, over the photos or grids on which both were measured, with
    the bootstrap 95 % interval of their own differences; as fractions."""

    mean: float
    low: float
    high: float
    photos: int

    @property
    def is_clear(self) -> bool:
        """Whether 0 lies outside the interval, as far as the tables' digits show it, and there are photos enough to say so."""
        low, high = (round(100 * bound, 1) for bound in (self.low, self.high))
        return self.photos >= FEWEST and (low > 0 or high < 0)


@dataclass(frozen=True)
class Line:
    """A mean over n photos, or four questions about each grid, with its 95 % interval, as fractions; and its difference.

    There is no difference of the method that the others are held against, nor where no photo has both.
    """

    method: str
    metric: str
    mean: float
    low: float
    high: float
    n: int
    difference: Difference | None = None


@dataclass(frozen=True)
class Ranking:
    """How far photos (or grids) agree on the ranking of methods by a metric: Krippendorff's alpha, and the mean of Spearman's r
    over all pairs of photos."""

    metric: str
    alpha: float
    spearman: float
    photos: int
    methods: int


@dataclass(frozen=True, eq=False)
class Measured:
    """All that was measured: (photos or grids, questions about each, methods, metrics), NaN where nothing was."""

    methods: list[str]
    metrics: Sequence[str]
    values: NDArray[np.float64]


def measured(evaluation: Evaluation) -> Measured:
    """The rows as one array; of each photo and method the rows stand in the order of the questions."""
    rows, metrics = evaluation.rows, evaluation.conditions.measures.metrics
    photos, methods = (
        {name: place for place, name in enumerate(dict.fromkeys(row[column] for row in rows))}
        for column in ("file", "method")
    )
    asked: Counter[tuple[int, int]] = Counter()
    places = []
    for row in rows:
        pair = photos[row["file"]], methods[row["method"]]
        places.append((pair[0], asked[pair], pair[1]))
        asked[pair] += 1
    values = np.full((len(photos), max(asked.values(), default=1), len(methods), len(metrics)), np.nan)
    for place, row in zip(places, rows, strict=True):
        values[place] = [np.nan if row[key] is None else row[key] for key in metrics]
    return Measured(list(methods), metrics, values)


def held_against(methods: Sequence[str]) -> str:
    """The method to which all others are held: IS-CAM, else the first of its kin, else the first of all."""
    kin = [method for method in methods if method.startswith(HELD_AGAINST)]
    return HELD_AGAINST if HELD_AGAINST in methods else (*kin, *methods)[0]


def is_share(metric: str, measures: Measures) -> bool:
    """Whether the mean is the share of photos that have it, none of which depends on another; the questions about a grid do."""
    return METRICS[metric].binary and not measures.grid


def summarise(evaluation: Evaluation) -> list[Line]:
    """The mean of every metric for every method, and its difference to the method that the others are held against.

    Intervals are the bootstrap's, of photos or of whole grids, but for Wilson's of shares of photos. All methods are resampled
    together, which is what makes their differences paired, and the same evaluation always gives the same intervals.
    """
    if not evaluation.rows:
        return []
    found = measured(evaluation)
    reference = found.methods.index(held_against(found.methods))
    differences = found.values - found.values[:, :, [reference]]
    means = resampled(np.stack([found.values, differences], axis=2))  # (1 + RESAMPLES, 2, methods, metrics)
    counts, pairs = np.isfinite(found.values).sum((0, 1)), np.isfinite(differences).any(1).sum(0)
    lines = []
    for i, method in enumerate(found.methods):
        for j, metric in enumerate(found.metrics):
            if n := int(counts[i, j]):
                mean, share = float(means[0, 0, i, j]), is_share(metric, evaluation.conditions.measures)
                low, high = wilson(round(mean * n), n) if share else percentiles(means[1:, 0, i, j])
                difference = None
                if i != reference and pairs[i, j]:
                    bounds = percentiles(means[1:, 1, i, j])
                    difference = Difference(float(means[0, 1, i, j]), *bounds, int(pairs[i, j]))
                lines.append(Line(method, metric, mean, low, high, n, difference))
    return lines


def rank(evaluation: Evaluation) -> list[Ranking]:
    """How far photos agree on the ranking of the methods, for each metric by which some can be ranked.

    A grid gives one ranking, by the means of its four questions. Controls are left out: they differ from the methods in much
    the same way on every photo, and would lend them an agreement that is not theirs. So is a method of which the metric is
    never known, and a photo of which it is not known for all the others.
    """
    found = measured(evaluation)
    methods = [place for place, name in enumerate(found.methods) if name not in KINDS]
    rankings = []
    for j, metric in enumerate(found.metrics):
        values = found.values[:, :, methods, j]
        values = values[:, :, np.isfinite(values).any((0, 1))]  # (photos, questions, methods)
        whole = np.isfinite(values).all((1, 2))
        means = values[whole].mean(1)
        if (found_agreement := agreement(means)) is not None:
            rankings.append(Ranking(metric, *found_agreement, *means.shape))
    return rankings
