"""RefineCAM: the product of the maps of several layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from iscam import Explainer, Explanation, refine_cam
from tests import reference
from tests.cases import CHELSEA, SIDE, photo11

LAYERS = ("layer3", "layer2", "layer1")


def maps(method: str = "grad-cam", engine: str = "exact", target: int = 1, **settings: object) -> list[Explanation]:
    explainer = Explainer(photo11(SIDE), engine)
    return [explainer.explain(explainer.analyse(CHELSEA, layer), method, target, **settings) for layer in LAYERS]


@pytest.mark.parametrize("rivals", [None, "nearest:3"])
def test_it_is_the_product_brought_to_the_unit_interval(rivals: str | None) -> None:
    each = maps(rivals=rivals)
    found = refine_cam(each)
    wanted = reference.refine_cam([torch.from_numpy(one.heatmap).double() for one in each])
    np.testing.assert_allclose(found.heatmap, wanted.numpy(), atol=1e-6)
    assert found.heatmap.min() == 0 and found.heatmap.max() == 1 and found.raw is found.heatmap
    assert found.forward_passes == 3 and found.complete and found.estimated_error == 0
    assert found.seconds == pytest.approx(sum(one.seconds for one in each))
    theirs = reference.refine_cam([torch.from_numpy(one.yardstick.heatmap).double() for one in each])
    if theirs.any():
        assert found.specificity == pytest.approx(1 - np.corrcoef(wanted.ravel(), theirs.ravel())[0, 1], abs=1e-5)
    else:
        assert rivals and found.specificity is None
    mean = reference.refine_cam([torch.from_numpy(one.yardstick.mean).double() for one in each])
    assert found.likeness == pytest.approx(np.corrcoef(wanted.ravel(), mean.ravel())[0, 1], abs=1e-5)


def test_the_order_of_the_layers_means_nothing_and_one_layer_is_its_map() -> None:
    each = maps()
    np.testing.assert_allclose(refine_cam(each[::-1]).heatmap, refine_cam(each).heatmap, atol=1e-6)
    np.testing.assert_allclose(refine_cam(each[:1]).heatmap, each[0].heatmap, atol=1e-6)


def test_a_place_that_one_layer_does_not_show_is_not_shown() -> None:
    each = maps()
    left, right = each[0].heatmap.copy(), each[1].heatmap.copy()
    left[:, SIDE // 2 :], right[:, : SIDE // 2] = 0, 0
    found = refine_cam([replace(each[0], heatmap=left), each[2]])
    assert not found.heatmap[:, SIDE // 2 :].any() and found.heatmap[:, : SIDE // 2].any()
    blank = refine_cam([replace(each[0], heatmap=left), replace(each[1], heatmap=right)])
    assert not blank.heatmap.any() and "blank" in blank.note


def test_what_is_not_known_of_a_layer_is_not_known_of_the_product() -> None:
    fast = maps("is-cam", "fast", steps=2)
    assert max(one.estimated_error for one in fast) > 0 and refine_cam(fast).estimated_error is None
    each = maps()
    assert refine_cam([*each[:2], replace(each[2], yardstick=None)]).specificity is None
    one = refine_cam(maps("eigen-cam"))
    assert one.specificity is None and one.likeness is not None
    alike = [replace(one, yardstick=replace(one.yardstick, heatmap=one.heatmap)) for one in each]
    assert "This map is 1.00 like the one for" in refine_cam(alike).note and not refine_cam(each).note


def test_maps_that_belong_to_different_questions_are_refused() -> None:
    each = maps()
    for others in ([], [each[0], *maps(target=2)], [each[0], *maps("layer-cam")], maps(rivals="2", signed=True)):
        with pytest.raises(ValueError, match=r"^RefineCAM multiplies .*\.$"):
            refine_cam(others)
