"""The same maps and figures on another device as on the processor: on one that is acted, which refuses what GPUs refuse, and on
CUDA and MPS where they are there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext

import numpy as np
import pytest
import torch

from iscam import Analysis, Explainer, Explanation
from iscam.engine import backend
from iscam.methods import METHODS
from iscam.models.checkpoint import load_checkpoint
from iscam.models.photo11 import BUNDLED_WEIGHTS
from iscam.project import EXAMPLES
from iscam.settings import DEFAULT_SETTINGS
from iscam.show import integrate
from iscam.trust import METRICS, assess, ceiling, control, grid_of, randomisation
from tests import elsewhere
from tests.cases import CHELSEA, SIDE

CLOSE = 2e-3  # of a heat map: the sums of float32 convolutions are taken in another order there
BRIEF = {"steps": 2, "samples": 1}
DEVICES = [
    elsewhere.NAME,
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")),
    pytest.param("mps", marks=pytest.mark.skipif(not torch.backends.mps.is_available(), reason="needs Apple's MPS")),
]


@pytest.fixture(scope="module", params=DEVICES)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """A device that is there, in a program that allows TF32: maps are as precise all the same."""
    torch.set_float32_matmul_precision("high")
    with ExitStack() as stack:
        if request.param == elsewhere.NAME:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setitem(backend.SIZES, elsewhere.NAME, (1, 16))
            own = torch.autocast  # knows no such device
            patch.setattr(
                torch, "autocast", lambda kind, *a, **k: own(kind, *a, **k) if kind == "cpu" else nullcontext()
            )
            stack.enter_context(elsewhere.there())
        yield request.param
    torch.set_float32_matmul_precision("highest")


@pytest.fixture(scope="module")
def both(device: str) -> list[Explainer]:
    """The processor's exact explainer, and the other device's."""
    side = SIDE if device == elsewhere.NAME else None  # a quarter of the work, where each step takes long
    models = [load_checkpoint("photo11", BUNDLED_WEIGHTS, None, side, None, None, place) for place in ("cpu", device)]
    return [Explainer(model, "exact") for model in models]


@pytest.fixture(scope="module")
def seen(both: list[Explainer]) -> dict[str, list[Analysis]]:
    """By layer."""
    return {layer: [each.analyse(CHELSEA, layer) for each in both] for layer in ("layer1", "layer3")}


@pytest.mark.parametrize("rivals", [None, "nearest:3"])
@pytest.mark.parametrize("method", METHODS)
def test_maps(both: list[Explainer], seen: dict[str, list[Analysis]], method: str, rivals: str | None) -> None:
    if rivals is not None and not METHODS[method].class_specific:
        rivals = None
    few_channels = METHODS[method].passes(DEFAULT_SETTINGS).probes  # where each of them is a pass
    analyses = seen["layer1" if few_channels else "layer3"]
    cpu, other = (
        each.explain(analysis, method, rivals=rivals, **BRIEF) for each, analysis in zip(both, analyses, strict=True)
    )
    np.testing.assert_allclose(other.heatmap, cpu.heatmap, atol=CLOSE)
    assert other.forward_passes == cpu.forward_passes and other.note == cpu.note
    if cpu.specificity is not None:
        assert other.specificity == pytest.approx(cpu.specificity, abs=CLOSE)


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


def test_ceilings_and_integration(both: list[Explainer]) -> None:
    climbed = [ceiling(each, each.analyse(CHELSEA), "opti-cam", 1).heatmap for each in both]
    np.testing.assert_allclose(climbed[1], climbed[0], atol=0.05)  # after 50 steps that depend on one another
    found = [integrate(each.using("fast"), each.analyse(CHELSEA), steps=3) for each in both]
    assert np.abs(found[1].heatmaps - found[0].heatmaps).max() < 0.03
    assert found[1].carriers.channels == found[0].carriers.channels
