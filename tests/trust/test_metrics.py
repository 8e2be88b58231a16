"""Metrics, curves and imputation: made by hand, against slow twins, and the table that says all about them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from iscam.methods import METHODS
from iscam.trust import CONTROLS, LABELS, METRICS, curves, imputation, metrics
from iscam.trust.curves import Score
from iscam.trust.metrics import Box
from tests import reference
from tests.conftest import ROOT

SIZE = 12  # of the little photos


def total(weights: Tensor) -> Score:
    """A network whose probability is a weighted sum of the pixels of the first colour."""
    return lambda images: (images[:, 0] * weights).sum((1, 2))


def wavy(weights: Tensor) -> Score:
    """A network of all colours that is nowhere straight."""
    return lambda images: ((images * weights).sum((1, 2, 3)).sin() + 1) / 2.5 + 0.1


def twin_of(score: Score) -> Callable[[Any], float]:
    return lambda image: float(score(torch.from_numpy(image)[None])[0])


def little() -> tuple[Tensor, Tensor, Score]:
    """A photo (1, 3, S, S), a map with equal places, and a network, in float64."""
    generator = torch.Generator().manual_seed(5)
    image = torch.randn((1, 3, SIZE, SIZE), generator=generator).double()
    heatmap = torch.rand((SIZE, SIZE), generator=generator).mul(9).round().div(9).double()
    return image, heatmap, wavy(torch.randn((3, SIZE, SIZE), generator=generator).double() / 9)


# By hand


def test_curves_of_a_sum_are_those_made_by_hand() -> None:
    """Four pixels 1, 2, 3, 4, taken in the order 4, 1, 2, 3 that the map gives them: what is left, and what is there."""
    image = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(1, 3, 2, 2)
    heatmap = torch.tensor([[0.5, 0.5], [0.0, 1.0]])  # of the equal ones the upper left comes first
    curve = curves.deletion(total(torch.full((2, 2), 0.1)), image, heatmap, steps=4)
    assert curve.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert curve.scores == pytest.approx([1.0, 0.6, 0.5, 0.3, 0.0])
    assert curve.area == pytest.approx((0.5 * 1.0 + 0.6 + 0.5 + 0.3) / 4)
    assert curves.taken_at(heatmap, 4).tolist() == [[2, 3], [4, 1]]
    assert curves.taken_at(heatmap, 2).tolist() == [[1, 2], [2, 1]]


def test_insertion_begins_with_the_blurred_photo_and_ends_with_the_photo() -> None:
    """A lone bright pixel is spread by a Gaussian of sigma 5 over 11 x 11 pixels."""
    image = torch.zeros(1, 3, 31, 31)
    image[:, :, 15, 15] = 1
    heatmap = torch.zeros(31, 31)
    heatmap[15, 15] = 1
    curve = curves.insertion(total(heatmap), image, heatmap, steps=961)
    spread = np.exp(-((np.arange(11) - 5) ** 2) / 50)
    assert curve.scores[0] == pytest.approx((1 / spread.sum()) ** 2, rel=1e-5)
    assert curve.scores[1] == curve.scores[-1] == 1
    assert curve.area == pytest.approx(((curve.scores[0] + 1) / 2 + 960) / 961)
    assert torch.equal(curves.inserted(image, heatmap, [1.0]), image)


def test_drop_increase_and_gain_by_hand() -> None:
    assert metrics.average_drop(0.8, 0.2) == pytest.approx(0.75) and metrics.average_drop(0.2, 0.8) == 0
    assert metrics.increase(0.2, 0.8) == 1 and metrics.increase(0.8, 0.2) == metrics.increase(0.5, 0.5) == 0
    assert metrics.average_gain(0.2, 0.6) == pytest.approx(0.5) and metrics.average_gain(0.8, 0.2) == 0
    assert metrics.average_gain(1.0, 1.0) == 0 == metrics.average_drop(0.0, 0.0)


def test_boxes_by_hand() -> None:
    heatmap = torch.tensor([[0.0, 1.0, 0.5], [0.5, 1.0, 0.0]])
    assert metrics.pointing(heatmap, (1, 0, 2, 1)) == 1 and metrics.pointing(heatmap, (1, 1, 2, 2)) == 0
    assert metrics.energy(heatmap, (1, 0, 3, 1)) == pytest.approx(1.5 / 3)
    assert metrics.pointing(torch.zeros(2, 3), (0, 0, 3, 2)) == 0 == metrics.energy(torch.zeros(2, 3), (0, 0, 3, 2))
    assert metrics.area_share(heatmap, (1, 0, 3, 1)) == pytest.approx(2 / 6)
    assert metrics.energy(torch.zeros(4, 4), (0, 0, 2, 2)) == 0


def test_pixels_are_taken_by_height_and_equal_ones_in_raster_order() -> None:
    """Sixteen pixels worth 1 to 16, of which the last row is higher than the rest: 13 to 16 go first, then 1 to 12."""
    image = torch.arange(1.0, 17).view(1, 1, 4, 4).expand(1, 3, 4, 4)
    heatmap = torch.zeros(4, 4)
    heatmap[3] = 1
    curve = curves.deletion(total(torch.full((4, 4), 1 / 136)), image, heatmap, steps=4)
    left = [136, 136 - 58, 136 - 58 - 10, 136 - 58 - 10 - 26, 0]
    assert curve.scores * 136 == pytest.approx(left, abs=1e-4)
    assert curve.area == pytest.approx((136 / 2 + 78 + 68 + 42) / 4 / 136)


# Slow twins


def test_figures_equal_their_slow_twins() -> None:
    image, heatmap, score = little()
    twin, photo, place = twin_of(score), image[0].numpy(), heatmap.numpy()
    p, q = metrics.confidences(score, image, heatmap)
    wanted = reference.confidence_figures(twin, photo, place)
    assert metrics.average_drop(p, q) == pytest.approx(wanted["average-drop"])
    assert metrics.increase(p, q) == wanted["increase"]
    assert metrics.average_gain(p, q) == pytest.approx(wanted["average-gain"])
    other = torch.rand((SIZE, SIZE), generator=torch.Generator().manual_seed(1)).double()
    found = metrics.adcc(
        p, q, lambda masked: other if torch.equal(masked, image * heatmap) else heatmap, image, heatmap
    )
    assert found == pytest.approx(reference.harmonic_adcc(p, q, place, other.numpy()))
    box = (2.4, 3.0, 9.6, 11.0)
    figures = reference.box_figures(place, box)
    assert metrics.pointing(heatmap, box) == figures["pointing"]
    assert metrics.energy(heatmap, box) == pytest.approx(figures["energy"])
    assert metrics.area_share(heatmap, box) == pytest.approx(figures["area"])


@pytest.mark.parametrize("steps", [1, 7, SIZE * SIZE])
def test_curves_equal_their_slow_twins(steps: int) -> None:
    """Equal places of the map are taken in raster order."""
    image, heatmap, score = little()
    photo, place, twin = image[0].numpy(), heatmap.numpy(), twin_of(score)
    deletion, insertion = (curve(score, image, heatmap, steps) for curve in (curves.deletion, curves.insertion))
    scores, area = reference.curve_area(twin, photo, np.zeros_like(photo), place, steps)
    assert deletion.scores == pytest.approx(scores) and deletion.area == pytest.approx(area)
    scores, area = reference.curve_area(twin, reference.blurred(photo), photo, place, steps)
    assert insertion.scores == pytest.approx(scores) and insertion.area == pytest.approx(area)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_imputation_equals_a_dense_solution(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Solved by iterations to a relative residual of 1e-4, which leaves less than a hundredth of the photo's range."""
    monkeypatch.setattr(imputation, "IMPUTED_NOISE", 0.0)
    image, _, _ = little()
    removed = torch.rand((2, SIZE, SIZE), generator=torch.Generator().manual_seed(2)) < share
    found = imputation.imputed(image, removed)
    for number in range(2):
        wanted = reference.imputed(image[0].numpy(), removed[number].numpy())
        assert np.abs(found[number].numpy() - wanted).max() < 1e-3
        assert torch.equal(found[number][:, ~removed[number]], image[0][:, ~removed[number]])


def test_photos_without_holes_or_with_nothing_else_are_imputed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside others: what lacks nothing stays as it is, what lacks all is the mean colour, and no number is lost."""
    monkeypatch.setattr(imputation, "IMPUTED_NOISE", 0.0)
    image, _, _ = little()
    removed = torch.zeros(3, SIZE, SIZE).bool()
    removed[1:, ::2], removed[2] = True, True
    none, half, whole = imputation.imputed(image, removed)
    assert torch.equal(none, image[0]) and half.isfinite().all() and not whole.any()


def test_road_equals_its_slow_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both without noise. The imputation's 1e-3 of the photo's range becomes less than 1e-3 of the probability."""
    monkeypatch.setattr(imputation, "IMPUTED_NOISE", 0.0)
    image, heatmap, score = little()
    wanted = reference.road(twin_of(score), image[0].numpy(), heatmap.numpy(), imputation.PERCENTILES)
    assert abs(wanted) > 0.01
    assert imputation.road(score, image, heatmap) == pytest.approx(wanted, abs=1e-3)


def test_imputed_pixels_bear_noise_of_their_seed() -> None:
    """It is Gaussian of standard deviation 0.01, the same for every set of holes, and nowhere else."""
    image, removed = torch.ones(1, 3, 64, 64), torch.ones(2, 64, 64).bool()
    removed[:, ::8, ::8] = False
    removed[1, :32] = False
    found = imputation.imputed(image, removed, seed=3)
    noise = (found - 1)[0, :, removed[0]]  # a plain photo is imputed as it is, to the solver's 1e-3
    assert float(noise.std()) == pytest.approx(0.01, rel=0.05) and float(noise.mean()) == pytest.approx(0, abs=1e-3)
    assert torch.equal(found[0][:, ~removed[0]], image[0][:, ~removed[0]])
    assert torch.allclose(found[0][:, removed[1]], found[1][:, removed[1]], atol=2e-3)
    assert torch.equal(found, imputation.imputed(image, removed, seed=3))
    assert not torch.equal(found, imputation.imputed(image, removed, seed=4))


# The table


def test_the_table_is_the_contracts() -> None:
    assert list(METRICS) == [
        *("average-drop", "increase", "average-gain", "insertion", "deletion", "adcc", "road", "pointing", "energy"),
        *("specificity", "grid-pointing"),
    ]
    assert {key for key, row in METRICS.items() if row.better == "lower"} == {"average-drop", "deletion"}
    assert all("{" not in metrics.protocol(key, 7) for key in METRICS) and "7 steps" in metrics.protocol("deletion", 7)
    assert list(CONTROLS) == ["random", "gaussian", "fake-cam", "lafam"] and not CONTROLS.keys() & METHODS.keys()
    assert LABELS["is-cam"] == "IS-CAM" and LABELS["fake-cam"] == "Fake-CAM"


@pytest.mark.parametrize("box", [(0, 0, 7, 9), (1.2, 3.7, 5.5, 4.6), (-3, 2, 4, 99), (2, 2, 2, 2), (20, 20, 30, 30)])
def test_a_map_that_says_nothing_has_the_energy_of_the_boxs_area(box: Box) -> None:
    ones = torch.ones(9, 7)
    assert metrics.energy(ones, box) == pytest.approx(metrics.area_share(ones, box))


def test_the_tables_are_read_without_torch() -> None:
    """So that wrong arguments are answered at once."""
    lines = "from iscam.evaluation import find_items; from iscam.trust import CONTROLS, METRICS"
    lines += "; import sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", lines], cwd=ROOT, check=True)
