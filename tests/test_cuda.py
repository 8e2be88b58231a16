"""The same maps and figures on a GPU as on the processor. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

import iscam
from iscam import Analysis, Explainer, Explanation
from iscam.methods import METHODS
from iscam.project import EXAMPLES
from iscam.trust import METRICS, assess, control, grid_of, randomisation
from tests.cases import CHELSEA

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CLOSE = 2e-3  # of a heat map: the sums of float32 convolutions are taken in another order there
BRIEF = {"steps": 3, "samples": 2}


@pytest.fixture(scope="module", autouse=True)
def coarse() -> Iterator[None]:
    """A program that allows TF32, as torch's own default does for convolutions: maps are as precise all the same."""
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.fixture(scope="module")
def both() -> list[Explainer]:
    """The processor's exact explainer, and the GPU's."""
    return [Explainer(iscam.load_model("photo11", device=device), "exact") for device in ("cpu", "cuda")]


@pytest.mark.parametrize("rivals", [None, "nearest:3"])
@pytest.mark.parametrize("method", METHODS)
def test_maps(both: list[Explainer], method: str, rivals: str | None) -> None:
    if rivals is not None and not METHODS[method].class_specific:
        rivals = None
    cpu, cuda = (each.explain(each.analyse(CHELSEA), method, rivals=rivals, **BRIEF) for each in both)
    np.testing.assert_allclose(cuda.heatmap, cpu.heatmap, atol=CLOSE)
    assert cuda.forward_passes == cpu.forward_passes and cuda.note == cpu.note
    if cpu.specificity is not None:
        assert cuda.specificity == pytest.approx(cpu.specificity, abs=CLOSE)


@pytest.mark.parametrize("rivals", [None, "nearest:20"])
@pytest.mark.parametrize("weighting", ["probability", "logit"])
def test_the_fast_engines_error_holds(both: list[Explainer], weighting: str, rivals: str | None) -> None:
    fast = both[1].using("fast")
    found = fast.explain(fast.analyse(CHELSEA), weighting=weighting, rivals=rivals)
    exact = both[1].explain(both[1].analyse(CHELSEA), weighting=weighting, rivals=rivals)
    assert found.forward_passes < exact.forward_passes
    assert np.abs(found.heatmap - exact.heatmap).max() <= found.estimated_error <= 0.03


def test_figures(both: list[Explainer]) -> None:
    metrics = [key for key, row in METRICS.items() if row.needs not in ("box", "grid")]
    values = []
    for explainer in both:
        analysis = explainer.analyse(CHELSEA)
        found = explainer.explain(analysis, "grad-cam")

        def again(masked: Analysis, explainer: Explainer = explainer, target: int = found.class_index) -> Explanation:
            return explainer.explain(masked, "grad-cam", target)

        values.append(assess(explainer, analysis, found, metrics, again, steps=8).values)
        blob = control(analysis, "lafam", found.class_index, found.category)
        values[-1] |= {"lafam": assess(explainer, analysis, blob, ["deletion"], steps=8).values["deletion"]}
    assert values[0].keys() == values[1].keys()
    assert values[1] == pytest.approx(values[0], abs=5e-3)


def test_grids_and_random_networks(both: list[Explainer]) -> None:
    photos = [EXAMPLES / f"{name}.jpg" for name in ("chelsea", "rocket", "coffee", "astronaut")]
    grids = [grid_of(explainer, [explainer.analyse(photo) for photo in photos]) for explainer in both]
    assert np.abs(grids[1].probabilities - grids[0].probabilities).max() < 1e-3

    def explain(other: Explainer, analysis: Analysis, steps: int | None) -> Explanation:
        return other.explain(analysis, "grad-cam", 1)

    rows = list(randomisation(both[1], both[1].analyse(CHELSEA), explain, stages=2))
    assert len(rows) == 2 and rows[-1].probability < 1
