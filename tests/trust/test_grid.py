"""Known evidence: four photos in a grid, and the share of a map on the right one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from iscam import Explainer
from iscam.project import EXAMPLES
from iscam.trust import CONTROLS, assess, cells, control, grid_of, is_sure
from tests.cases import photo11

NAMES = ("chelsea", "coffee", "rocket", "astronaut")


def test_a_grid_shows_each_photo_at_half_its_size_in_its_cell() -> None:
    explainer = Explainer(photo11())
    analyses = [explainer.analyse(EXAMPLES / f"{name}.jpg") for name in NAMES]
    grid = grid_of(explainer, analyses)
    image = grid.forward.image
    assert image.shape == analyses[0].forward.image.shape and grid.layer == analyses[0].layer
    for each, (left, top, right, bottom) in zip(analyses, cells(grid), strict=True):
        half = interpolate(each.forward.image, scale_factor=0.5, mode="bilinear", antialias=True)
        torch.testing.assert_close(image[:, :, top:bottom, left:right], half)
    assert [is_sure(each) for each in analyses] == [True, True, True, False]
    assert grid.photo.name == "chelsea.jpg + coffee.jpg + rocket.jpg + astronaut.jpg"


def test_a_map_of_no_class_lies_on_each_photo_as_on_any_other() -> None:
    """Of the four questions about a grid it has one in all, so a quarter in the mean."""
    explainer = Explainer(photo11())
    analyses = [explainer.analyse(EXAMPLES / f"{name}.jpg") for name in NAMES]
    grid = grid_of(explainer, analyses)

    def share(explanation: object, place: int) -> float:
        found = assess(explainer, grid, explanation, ("grid-pointing",), box=cells(grid)[place])  # type: ignore[arg-type]
        return found.values["grid-pointing"]

    for key in CONTROLS:
        assert sum(share(control(grid, key, 0, "x"), place) for place in range(4)) == pytest.approx(1, abs=1e-5)
    mine = [analysis.predictions[0].index for analysis in analyses]
    plain, held = (
        np.mean([share(explainer.explain(grid, "grad-cam", index, **asked), i) for i, index in enumerate(mine)])
        for asked in ({}, {"rivals": "nearest:5"})
    )
    assert plain > 0.4 and held > 0.4
    heatmap = explainer.explain(grid, "grad-cam", mine[0]).heatmap
    assert share(explainer.explain(grid, "grad-cam", mine[0]), 0) == pytest.approx(
        heatmap[:64, :64].sum() / heatmap.sum(), abs=1e-5
    )
