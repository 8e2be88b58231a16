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
from iscam.trust import (
    CEILINGS,
    CONTROLS,
    DEFAULT_METRICS,
    LABELS,
    METRICS,
    boxes,
    correlation,
    curves,
    imputation,
    masked,
    metrics,
    patches,
)
from iscam.trust.boxes import Box
from iscam.trust.curves import Curve, Score
from iscam.trust.metrics import Measurement
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


def little(size: int = SIZE) -> tuple[Tensor, Tensor, Score]:
    """A photo (1, 3, S, S), a map with equal places, and a network, in float64."""
    generator = torch.Generator().manual_seed(5)
    image = torch.randn((1, 3, size, size), generator=generator).double()
    heatmap = torch.rand((size, size), generator=generator).mul(9).round().div(9).double()
    return image, heatmap, wavy(torch.randn((3, size, size), generator=generator).double() / 9)


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
    assert masked.average_drop(0.8, 0.2) == pytest.approx(0.75) and masked.average_drop(0.2, 0.8) == 0
    assert masked.increase(0.2, 0.8) == 1 and masked.increase(0.8, 0.2) == masked.increase(0.5, 0.5) == 0
    assert masked.average_gain(0.2, 0.6) == pytest.approx(0.5) and masked.average_gain(0.8, 0.2) == 0
    assert masked.average_gain(1.0, 1.0) == 0 == masked.average_drop(0.0, 0.0)


def test_arcc_by_hand() -> None:
    """Terms 1/2, 1/2 and 1/2; what ROAD has beyond 1/2 does not count, and one term that is nothing leaves nothing."""
    half = torch.tensor([[0.0, 1.0]])
    assert masked.arcc(0.5, half, 0.25) == pytest.approx(0.5)
    assert masked.arcc(0.5, half, 0.5) == pytest.approx(3 / (2 + 2 + 1)) == masked.arcc(0.5, half, 0.7)
    assert masked.arcc(0.5, half, 0.0) == masked.arcc(0.5, half, -0.3) == masked.arcc(0.0, half, 0.25) == 0
    assert masked.arcc(0.5, torch.ones(1, 2), 0.25) == 0


def test_steps_of_a_sum_are_correlated_as_by_hand() -> None:
    """Pixels worth what the map says: each step changes the sum by what it takes, whatever the size of the steps."""
    heatmap = torch.arange(1.0, 26).view(5, 5).double()
    image = heatmap.expand(1, 3, 5, 5)
    score = total(torch.full((5, 5), 1 / 325).double())
    curve = curves.deletion(score, image, heatmap, steps=7)
    assert curves.step_correlation(-curve.rises, heatmap) == pytest.approx(1)
    assert curves.step_correlation(curve.rises, heatmap) == pytest.approx(-1)
    # 1, 2, 6 and 7 removed by a map of 4, 3, 0 and 0: drops 1, 2, 6, 7 against sums 4, 3, 0, 0
    image = torch.tensor([[1.0, 2.0], [6.0, 7.0]]).expand(1, 3, 2, 2)
    heatmap = torch.tensor([[4.0, 3.0], [0.0, 0.0]])
    curve = curves.deletion(total(torch.full((2, 2), 1 / 16)), image, heatmap, steps=4)
    wanted = np.corrcoef([1, 2, 6, 7], [4, 3, 0, 0])[0, 1]
    assert curves.step_correlation(-curve.rises, heatmap) == pytest.approx(wanted)


def test_the_area_passes_over_what_the_correlation_sees() -> None:
    """Two maps of the same order have the same curve; the one of which half is nearly equal fits it less."""
    image, heatmap, _ = little()
    score = total(heatmap / 50)
    image = heatmap.expand_as(image)
    steep = heatmap**9
    fine, coarse = (curves.deletion(score, image, each, 12) for each in (heatmap, steep))
    assert fine.area == coarse.area
    assert curves.step_correlation(-fine.rises, heatmap) > curves.step_correlation(-coarse.rises, steep) + 0.1


def test_patches_of_a_sum_are_ranked_as_by_hand() -> None:
    """Patches of 2 x 2 pixels worth 0 to 15: a map that has their order, the reverse, or that of the rows alone."""
    worth = torch.arange(16.0).view(4, 4).double()
    image = worth.repeat_interleave(2, 0).repeat_interleave(2, 1).expand(1, 3, 8, 8)
    heatmap = image[0, 0]
    score = total(torch.full((8, 8), 1 / 480).double())
    assert patches.single_deletion(score, image, heatmap**3) == pytest.approx(1)
    assert patches.single_deletion(score, image, 15 - heatmap) == pytest.approx(-1)
    rows = (heatmap / 4).floor()
    ranks = [2.5] * 4 + [6.5] * 4 + [10.5] * 4 + [14.5] * 4
    assert patches.single_deletion(score, image, rows) == pytest.approx(np.corrcoef(range(16), ranks)[0, 1])


def test_a_patch_is_removed_alone_and_shows_the_mean_colour() -> None:
    """Every other pixel of the sixteen photos is as it was."""
    image, heatmap, _ = little()
    seen: list[Tensor] = []

    def score(images: Tensor) -> Tensor:
        seen.append(images)
        return images.sum((1, 2, 3))

    patches.single_deletion(score, image, heatmap)
    (rows,) = seen
    assert len(rows) == 16
    for row, place in zip(rows, patches.patches(SIZE, SIZE), strict=True):
        wanted = image[0].clone()
        wanted[:, place[0], place[1]] = 0
        assert torch.equal(row, wanted)


def test_patches_cover_any_photo_once() -> None:
    for size in ((8, 8), (9, 15), (17, 6)):
        covered = torch.zeros(size)
        for place in patches.patches(*size):
            covered[place] += 1
        assert len(patches.patches(*size)) == 16 and (covered == 1).all()


@pytest.mark.parametrize("size", [8, 9])
def test_what_is_the_same_everywhere_is_correlated_with_nothing(size: int) -> None:
    """A map of one value, though patches and steps of uneven sizes have uneven sums of it; and a network that sees nothing."""
    image = torch.randn((1, 3, size, size), generator=torch.Generator().manual_seed(4)).double()
    flat, heatmap = torch.full((size, size), 0.1).double(), image[0, 0].sigmoid()

    def blind(images: Tensor) -> Tensor:
        return torch.full((len(images),), 0.3).double()

    for score, shown in ((wavy(image[0] / 9), flat), (blind, heatmap)):
        case = Measurement(score, lambda _: heatmap, image, shown, steps=7)
        for key in ("insertion-correlation", "deletion-correlation", "single-deletion"):
            assert METRICS[key].measure(case) == 0
    assert correlation.pearson(flat, heatmap) == correlation.spearman(heatmap, flat) == 0


def test_boxes_by_hand() -> None:
    heatmap = torch.tensor([[0.0, 1.0, 0.5], [0.5, 1.0, 0.0]])
    assert boxes.pointing(heatmap, (1, 0, 2, 1)) == 1 and boxes.pointing(heatmap, (1, 1, 2, 2)) == 0
    assert boxes.energy(heatmap, (1, 0, 3, 1)) == pytest.approx(1.5 / 3)
    assert boxes.pointing(torch.zeros(2, 3), (0, 0, 3, 2)) == 0 == boxes.energy(torch.zeros(2, 3), (0, 0, 3, 2))
    assert boxes.area_share(heatmap, (1, 0, 3, 1)) == pytest.approx(2 / 6)
    assert boxes.energy(torch.zeros(4, 4), (0, 0, 2, 2)) == 0


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
    p, q = masked.confidences(score, image, heatmap)
    wanted = reference.confidence_figures(twin, photo, place)
    assert masked.average_drop(p, q) == pytest.approx(wanted["average-drop"])
    assert masked.increase(p, q) == wanted["increase"]
    assert masked.average_gain(p, q) == pytest.approx(wanted["average-gain"])
    other = torch.rand((SIZE, SIZE), generator=torch.Generator().manual_seed(1)).double()
    coherency = masked.coherency(
        lambda shown: other if torch.equal(shown, image * heatmap) else heatmap, image, heatmap
    )
    assert masked.adcc(p, q, coherency, heatmap) == pytest.approx(reference.harmonic_adcc(p, q, place, other.numpy()))
    for road in (0.3, 0.01, 0.0, -0.2):
        wanted_arcc = reference.harmonic_arcc(place, other.numpy(), road)
        assert masked.arcc(coherency, heatmap, road) == pytest.approx(wanted_arcc)
    box = (2.4, 3.0, 9.6, 11.0)
    figures = reference.box_figures(place, box)
    assert boxes.pointing(heatmap, box) == figures["pointing"]
    assert boxes.energy(heatmap, box) == pytest.approx(figures["energy"])
    assert boxes.area_share(heatmap, box) == pytest.approx(figures["area"])


@pytest.mark.parametrize("steps", [1, 7, SIZE * SIZE])
def test_curves_equal_their_slow_twins(steps: int) -> None:
    """Equal places of the map are taken in raster order."""
    image, heatmap, score = little()
    photo, place, twin = image[0].numpy(), heatmap.numpy(), twin_of(score)
    case = Measurement(score, lambda _: heatmap, image, heatmap, steps=steps)
    for key, start, end, sign in (
        ("deletion", photo, np.zeros_like(photo), -1),
        ("insertion", reference.blurred(photo), photo, 1),
    ):
        curve = METRICS[key].measure(case)
        assert isinstance(curve, Curve)
        scores, area = reference.curve_area(twin, start, end, place, steps)
        assert curve.scores == pytest.approx(scores) and curve.area == pytest.approx(area)
        found = METRICS[f"{key}-correlation"].measure(case)
        assert found == pytest.approx(sign * reference.curve_correlation(scores, place), abs=1e-9)


@pytest.mark.parametrize("size", [8, 11, SIZE])
def test_single_deletion_equals_its_slow_twin(size: int) -> None:
    """Also of patches that differ in size."""
    image, heatmap, score = little(size)
    found = patches.single_deletion(score, image, heatmap)
    assert found == pytest.approx(reference.single_deletion(twin_of(score), image[0].numpy(), heatmap.numpy()))
    assert 0 < abs(found) < 1


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
        *("average-drop", "increase", "average-gain", "insertion", "deletion", "insertion-correlation"),
        *("deletion-correlation", "single-deletion", "adcc", "road", "arcc", "pointing", "energy", "specificity"),
        "grid-pointing",
    ]
    assert tuple(METRICS)[:5] == DEFAULT_METRICS
    assert {key for key, row in METRICS.items() if row.better == "lower"} == {"average-drop", "deletion"}
    assert all("{" not in metrics.protocol(key, 7) for key in METRICS) and "7 steps" in metrics.protocol("deletion", 7)
    assert list(CONTROLS) == ["random", "gaussian", "fake-cam", "lafam"] and not CONTROLS.keys() & METHODS.keys()
    assert list(CEILINGS) == ["opti-cam"] and list(LABELS) == [*METHODS, *CONTROLS, *CEILINGS]
    assert (LABELS["is-cam"], LABELS["fake-cam"], LABELS["opti-cam"]) == ("IS-CAM", "Fake-CAM", "Opti-CAM")


@pytest.mark.parametrize("box", [(0, 0, 7, 9), (1.2, 3.7, 5.5, 4.6), (-3, 2, 4, 99), (2, 2, 2, 2), (20, 20, 30, 30)])
def test_a_map_that_says_nothing_has_the_energy_of_the_boxs_area(box: Box) -> None:
    ones = torch.ones(9, 7)
    assert boxes.energy(ones, box) == pytest.approx(boxes.area_share(ones, box))


def test_the_tables_are_read_without_torch() -> None:
    """So that wrong arguments are answered at once."""
    lines = "from iscam.evaluation import find_items; from iscam.trust import CEILINGS, CONTROLS, METRICS"
    lines += "; import sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", lines], cwd=ROOT, check=True)
