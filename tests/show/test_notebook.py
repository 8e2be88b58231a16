"""What a notebook shows: maps as pictures, comparisons as figures, and the notebook among the documents."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from docs import notebook
from iscam import Explainer, LoadedModel
from iscam.show import draw_map
from tests.conftest import ROOT

MAX_BYTES = 1_000_000


@pytest.fixture
def explainer(tiny: Callable[..., LoadedModel]) -> Explainer:
    return Explainer(tiny("TinyPooled"), "exact")


@pytest.fixture
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))


def shown(png: bytes | None) -> Image.Image:
    assert png is not None
    return Image.open(io.BytesIO(png))


def test_a_map_is_shown_on_its_photo(explainer: Explainer, photo: Image.Image) -> None:
    """As the page shows it; what has been subtracted is blue there as well."""
    analysis = explainer.analyse(photo)
    for options in ({}, {"rivals": 1, "signed": True}):
        found = explainer.explain(analysis, "grad-cam", target=0, **options)  # type: ignore[arg-type]
        wanted = draw_map(analysis.photo, analysis.crop, found.heatmap, signed=found.signed)
        assert found.signed is bool(options)
        np.testing.assert_array_equal(np.asarray(shown(found._repr_png_())), np.asarray(wanted))
    assert replace(found, ground=None)._repr_png_() is None  # then a notebook shows its words
    assert "ground" not in repr(found)


def test_methods_are_compared_in_a_line(explainer: Explainer, photo: Image.Image) -> None:
    found = explainer.compare(photo, ["score-cam", "grad-cam"], target="class 1")
    assert list(found.explanations) == ["score-cam", "grad-cam"]
    for method, each in found.explanations.items():
        alone = explainer.explain(explainer.analyse(photo), method, target=1)
        np.testing.assert_allclose(each.heatmap, alone.heatmap, atol=1e-5)  # batches of two sizes
        assert shown(each._repr_png_()).size == found.ground.photo.image.size
    figure = shown(found._repr_png_())
    np.testing.assert_array_equal(np.asarray(figure), np.asarray(found.figure()))
    assert figure.width > 2 * shown(alone._repr_png_()).width


def test_what_cannot_be_compared_is_said_before_anything_is_run(
    explainer: Explainer, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Explainer, "answer", lambda *_: pytest.fail("something was run"))
    with pytest.raises(ValueError, match="sorcery"):
        explainer.compare(photo, ["score-cam", "sorcery"])


def test_results_load_no_pictures() -> None:
    code = "import sys, iscam.results; assert not {'matplotlib', 'torch'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_the_notebook_is_what_its_cells_give() -> None:
    """Each cell gives today what lies in the file: the same words but for numbers, and pictures of the same size."""
    text = notebook.FILE.read_text(encoding="utf-8")
    kept = json.loads(text)
    assert len(text.encode()) < MAX_BYTES and str(ROOT) not in text
    fresh = notebook.notebook()
    assert (kept["nbformat"], kept["nbformat_minor"]) == (4, 5)
    for old, new in zip(kept["cells"], fresh["cells"], strict=True):
        assert (old["cell_type"], old["id"], old["source"]) == (new["cell_type"], new["id"], new["source"])
        assert kinds(old) == kinds(new)
    assert sum("figure" in str(each) for cell in fresh["cells"] for each in kinds(cell)) == 3


def kinds(cell: dict[str, object]) -> list[object]:
    """What a cell's outputs are: how many lines, or that it is a picture of a height."""
    found: list[object] = []
    for output in cell.get("outputs", []):  # type: ignore[attr-defined]
        if output["output_type"] == "stream":
            found.append(("lines", len(output["text"])))
        else:
            found.append(("figure", shown(base64.b64decode(output["data"]["image/png"])).width))
    return found
