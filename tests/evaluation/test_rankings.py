"""Whether photos agree on a ranking: textbook definitions, worked examples, and laws that hold whatever the numbers."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy import stats

from iscam.evaluation.rankings import agreement, mean_spearman, ordinal_alpha, ranks, tallies
from tests import reference

Array = np.ndarray[Any, Any]
NAN = float("nan")


def rough(seed: int, photos: int, methods: int, kinds: int) -> Array:
    """Random whole values (photos, methods) of so many kinds, so that some are equal; some methods are better than others."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, kinds, (photos, methods)) + np.linspace(0, kinds / 2, methods).round()


@pytest.mark.parametrize("kinds", [2, 5, 1000])
def test_both_equal_their_twins(kinds: int) -> None:
    """Every pair of coders in every unit, every pair of photos; with many ties, some, and none."""
    for seed in range(5):
        values = rough(seed, 7, 5, kinds)
        places = stats.rankdata(values, axis=1)
        assert agreement(values) == pytest.approx((reference.ordinal_alpha(places), reference.mean_spearman(values)))


def test_alpha_gives_the_figure_of_krippendorffs_own_example() -> None:
    """Four observers, twelve units, some not rated, one rated once: ordinal alpha 0.815 ("Computing Krippendorff's Alpha-
    Reliability", 2011)."""
    observers = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
            [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
        ]
    )
    counts = np.stack([(observers == value).sum(0) for value in range(1, 6)], axis=1).astype(float)  # (units, values)
    assert ordinal_alpha(counts) == pytest.approx(0.815, abs=0.0005)
    assert reference.ordinal_alpha(observers) == pytest.approx(0.815, abs=0.0005)


def test_ranks_and_correlations_are_scipys() -> None:
    values = rough(1, 9, 6, 4)
    np.testing.assert_array_equal(ranks(values), stats.rankdata(values, axis=1))
    pairs = [stats.spearmanr(one, other).statistic for one, other in combinations(values, 2)]
    assert mean_spearman(ranks(values)) == pytest.approx(np.mean(pairs))


def test_ranks_are_counted_by_method() -> None:
    """Ranks 1, 1.5, 2, 2.5, 3 of three methods, of which the first two are equal on the second photo."""
    counts = tallies(ranks(np.array([[0.1, 0.2, 0.3], [0.1, 0.1, 0.3]])))
    np.testing.assert_array_equal(counts, [[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 2]])


def test_the_same_ranking_everywhere_is_one() -> None:
    """Whatever the values; two methods that are equal on every photo are ranked alike too."""
    for row in ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 2.0, 4.0]):
        values = np.array([row, np.square(row), np.sqrt(row)])
        assert agreement(values) == pytest.approx((1, 1))


def test_opposite_rankings_are_minus_one() -> None:
    """Of two photos; alpha, which expects less than all from two, is a little above."""
    assert agreement(np.array([[1.0, 2, 3, 4], [4, 3, 2, 1]])) == pytest.approx((-1 + 2 / 8, -1))


def test_random_rankings_are_about_nothing() -> None:
    """Of 400 photos and 6 methods the mean r strays by sqrt(2 / (400 x 399 x 5)) = 0.0016: four times as far is allowed."""
    found = agreement(np.random.default_rng(0).random((400, 6)))
    assert found == pytest.approx((0, 0), abs=0.0064)


def test_without_ties_both_say_the_same() -> None:
    """1 - alpha = (1 - r) (1 - 1 / (photos x methods))."""
    values = np.random.default_rng(2).random((8, 5)) + np.linspace(0, 1, 5)
    found = agreement(values)
    assert found is not None and 0.2 < found[1] < 0.9
    assert 1 - found[0] == pytest.approx((1 - found[1]) * (1 - 1 / 40))


def test_only_the_order_counts() -> None:
    """Not the scale, nor which way is better, nor how photos and methods are ordered."""
    values = rough(3, 8, 5, 4) + 1
    generator = np.random.default_rng(0)
    for other in (
        values**3,
        -values,
        values[generator.permutation(8)],
        values[:, generator.permutation(5)],
    ):
        assert agreement(other) == pytest.approx(agreement(values))


def test_a_photo_that_ties_all_methods_correlates_with_none() -> None:
    """Of four photos three agree: 3 of the 6 pairs are 1, the others 0."""
    values = np.array([[1.0, 2, 3]] * 3 + [[0, 0, 0]])
    assert mean_spearman(ranks(values)) == pytest.approx(3 / 6)


def test_noise_of_the_machine_is_no_order() -> None:
    """Values that differ by 1e-6 are tied; a hundredth of a per cent is a difference."""
    np.testing.assert_array_equal(ranks(np.array([[0.5, 0.500001, 0.5001]])), [[1.5, 1.5, 3]])


def test_where_nothing_can_be_ranked_there_is_no_agreement() -> None:
    """One photo, one method, none, or photos that tie all methods."""
    for shape in ((1, 5), (5, 1), (0, 5), (5, 0)):
        assert agreement(np.random.default_rng(0).random(shape)) is None
    assert agreement(np.ones((4, 3))) is None
    assert agreement(np.array([[1.0, 1], [1, 2]])) is not None
