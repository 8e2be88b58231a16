"""The path of integration: pure numbers against the recursion they come from."""

from __future__ import annotations

import pytest
import torch

from iscam.path import PATHS, integration_path
from tests import reference


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("steps", [1, 2, 10, 37, 100])
def test_multipliers_are_those_of_the_recursion(path: str, steps: int) -> None:
    """The closed form equals the definition, run step by step."""
    found = integration_path(path, steps)
    assert found.multipliers == pytest.approx(reference.multipliers(steps, path), rel=1e-12)
    assert sum(found.weights) == pytest.approx(1)
    assert len(found.weights) == steps


def test_the_authors_ten_steps() -> None:
    assert integration_path("cumulative", 10).multipliers == (0.1, 0.3, 0.6, 1.0, 1.5, 2.1, 2.8, 3.6, 4.5, 5.5)
    assert integration_path("linear", 10).multipliers[-1] == 1.0


def test_equal_fractions_are_equal_numbers() -> None:
    """Paths of different N share the scores of equal multipliers: i/N and 2i/2N must be the same float."""
    for steps in range(1, 51):
        assert set(integration_path("linear", steps).multipliers) <= set(
            integration_path("linear", 2 * steps).multipliers
        )


@pytest.mark.parametrize(("path", "steps"), [("quadratic", 10), ("linear", 0), ("linear", 101), ("linear", -1)])
def test_bad_settings_are_refused(path: str, steps: int) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        integration_path(path, steps)


@pytest.mark.parametrize("steps", [2.5, float("nan"), "10", True])
def test_steps_must_be_a_whole_number(steps: object) -> None:
    with pytest.raises(ValueError, match="whole number"):
        integration_path("linear", steps)  # type: ignore[arg-type]


def test_a_linear_path_integrates_a_square_as_its_sum_of_squares() -> None:
    """The mean of t^2 over i/N is (N+1)(2N+1)/(6N^2), an exact fraction."""
    path = integration_path("linear", 20)
    mean = sum(w * t**2 for w, t in zip(path.weights, path.multipliers, strict=True))
    assert mean == pytest.approx(21 * 41 / (6 * 400))
    assert torch.tensor(path.multipliers).diff().std() < 1e-7
