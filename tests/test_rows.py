"""A new method or metric is a function and a row, a new model a row: nothing else has to know of it."""

from __future__ import annotations

import copy
import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from iscam import METHODS, Explainer, LoadedModel, cli
from iscam.__main__ import main
from iscam.engine import Passes, Probe
from iscam.evidence import Evidence, Method
from iscam.models import MODELS, load_untrained
from iscam.models.table import ModelSpec
from iscam.settings import DEFAULT_SETTINGS, Settings
from iscam.trust import METRICS
from iscam.trust.curves import Curve
from iscam.trust.metrics import Measurement, Metric
from tests import reference
from tests.cases import CHELSEA, SIDE, SMALL, RowCounter, analysed, difference, photo11, photo_of
from tests.conftest import ROOT

Tiny = Callable[..., LoadedModel]
LIGHTS = (0.25, 0.5, 0.75)


def in_the_dark(settings: Settings) -> Passes:
    """The masked photo at three lights, of which the brightest counts half."""
    return Passes(tuple(Probe(light) for light in LIGHTS), (0.25, 0.25, 0.5), settings.weighting)


def dark_cam(evidence: Evidence) -> Tensor:
    """The square of what a channel scores in the dark."""
    assert evidence.averages is not None
    return evidence.averages.nan_to_num(0).square()


def dark_twin(network: torch.nn.Module, layer: str, x: Tensor, c: int) -> reference.Pair:
    def rate(product: Tensor) -> float:
        quarter, half, most = (reference.score(network, light * product, c, "probability") for light in LIGHTS)
        return (quarter / 4 + half / 4 + most / 2) ** 2

    a, _ = reference.activations(network, layer, x)
    return reference.relu_sum(reference.masked_scores(a, x, "probability", rate), a)


DARK = Method("dark-cam", "Dark-CAM", "https://example.org", dark_cam, in_the_dark, ("weighting",))


@pytest.fixture
def dark(monkeypatch: pytest.MonkeyPatch) -> str:
    """The key of a method that needs masked passes of its own."""
    monkeypatch.setitem(METHODS, DARK.key, DARK)
    return DARK.key


@pytest.mark.parametrize("engine", ["exact", "fast"])
def test_a_method_of_ones_own_equals_its_twin(tiny: Tiny, dark: str, engine: str) -> None:
    model = tiny("TinyMlpHead")
    explainer = Explainer(model, engine)
    analysis = explainer.analyse(photo_of(model))
    for c in (0, 3):
        found = explainer.explain(analysis, dark, c)
        weights, raw = dark_twin(copy.deepcopy(model.network).double(), model.layer, analysis.forward.image.double(), c)
        assert weights is not None and found.weights is not None
        np.testing.assert_allclose(found.weights, weights.numpy(), atol=1e-5)
        wanted = reference.heatmap(raw, (20, 20)).numpy()
        np.testing.assert_allclose(found.heatmap, wanted, atol=1e-4)
        assert found.complete and found.estimated_error == 0


def test_its_passes_are_run_once_and_shared_with_others(tiny: Tiny, dark: str) -> None:
    model = tiny("TinyPooled")
    explainer, analysis = analysed(model)
    counter = RowCounter(model)
    assert explainer.explain(analysis, dark).forward_passes == counter.rows == 8 * 3
    assert explainer.explain(analysis, dark, target=2).forward_passes == 0
    assert explainer.explain(analysis, "is-cam", steps=4, path="linear").forward_passes == 8  # 1.0 alone is new
    counter.remove()


def test_the_fast_engine_predicts_it_once_its_row_says_that_its_weights_are_the_averages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not before: of other weights it could not tell how far the map is off; nor of uneven shares."""

    def evenly(settings: Settings) -> Passes:
        return Passes(tuple(Probe(light) for light in LIGHTS), (1 / 3,) * 3)

    explainer = Explainer(photo11(SIDE))
    weigh = METHODS["is-cam"].weigh
    spared = {}
    for passes, score_based in ((evenly, True), (evenly, False), (in_the_dark, True)):
        monkeypatch.setitem(METHODS, "dark-cam", Method("dark-cam", "", "", weigh, passes, score_based=score_based))
        found = explainer.explain(explainer.analyse(CHELSEA), "dark-cam")
        exact = explainer.using("exact").explain(explainer.analyse(CHELSEA), "dark-cam")
        spared[passes, score_based] = found.forward_passes < exact.forward_passes
        assert difference(found.heatmap, exact.heatmap) < 0.02
    assert spared == {(evenly, True): True, (evenly, False): False, (in_the_dark, True): False}


def test_commands_take_it_from_the_table(tmp_path: Path, dark: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Explained with its setting, evaluated by every value of it, and counted as dear as it is."""
    asked = ["--methods", dark, "--weighting", "logit", *SMALL, "--out", str(tmp_path / "maps")]
    assert main(["explain", str(CHELSEA), *asked]) == 0
    record = json.loads((tmp_path / "maps" / "chelsea.iscam.json").read_text())
    assert list(record["methods"]) == [dark]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(CHELSEA.read_bytes())
    asked = [
        "--methods",
        dark,
        "--steps",
        "2,5",
        "--weighting",
        "logit,probability",
        "--metrics",
        "average-drop",
        *SMALL,
    ]
    assert main(["evaluate", str(tmp_path / "photos"), *asked, "--out", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "rows.csv").open(newline="") as file:
        names = [row["method"] for row in csv.DictReader(file)]
    assert names[:2] == [f"{dark} logit", f"{dark} probability"]
    assert METHODS[dark].effort == METHODS["is-cam"].effort


LAID_OUT = """
from iscam.evidence import Method
from iscam.methods import METHODS
from iscam.needs import nothing

METHODS["dark-cam"] = Method("dark-cam", "Dark-CAM", "https://example.org", lambda evidence: evidence.head, nothing)
import gradio
from iscam.models import BUNDLED, MODELS
from iscam.ui.seen.figures import COLOURS
from iscam.ui.seen.layout import lay_out
from iscam.ui.tabs import TABS

assert len(COLOURS["Dark-CAM"]) == 7
with gradio.Blocks(analytics_enabled=False):
    page = lay_out([("photo11", BUNDLED)], MODELS[BUNDLED], {key: tab.face for key, tab in TABS.items()}, False)
assert ("Dark-CAM", "dark-cam") in page.ask["methods"].choices
"""


def test_the_page_has_it_too() -> None:
    """In a process of its own: its row is there before anything of the page is."""
    done = subprocess.run([sys.executable, "-c", LAID_OUT], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shares", [(), (1.0,), (0.4, 0.4), (1.5, -0.5), (0.5, 0.25, 0.25)])
def test_shares_that_are_no_average_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        Passes((Probe(0.5), Probe(1.0)), shares)


def test_what_a_method_heeds_is_what_changes_its_passes() -> None:
    """For every row: a setting that it does not name changes nothing, one that it names does."""
    others = {"steps": 7, "path": "linear", "weighting": "logit", "samples": 3, "seed": 9}
    for method in METHODS.values():
        plain = method.passes(DEFAULT_SETTINGS)
        heeded = {name for name, value in others.items() if method.passes(Settings(**{name: value})) != plain}
        assert heeded == set(method.heeds), method.key


# Metrics


def brightness(case: Measurement) -> float:
    """The mean of the map."""
    return float(case.heatmap.mean())


def dimming(case: Measurement) -> Curve:
    """The probability while the photo is dimmed by the map."""
    strengths = np.linspace(0, 1, case.steps + 1)
    rows = torch.cat([case.image * (1 - strength * case.heatmap) for strength in strengths.tolist()])
    return Curve(strengths, case.score(rows).double().numpy())


def test_a_metric_of_ones_own_is_measured_written_and_summed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A number and a curve, for methods and controls alike."""
    for key, measure in (("brightness", brightness), ("dimming", dimming)):
        row = Metric(key, key.title(), "lower", "masked", "as {steps} says", "https://example.org", measure)
        monkeypatch.setitem(METRICS, key, row)
    (tmp_path / "a.jpg").write_bytes(CHELSEA.read_bytes())
    asked = [
        "--methods",
        "cam",
        "--metrics",
        "brightness,dimming",
        "--curve-steps",
        "4",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(["evaluate", str(tmp_path), "--model", "photo11", *asked]) == 0
    with (tmp_path / "out" / "rows.csv").open(newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    explainer = Explainer(photo11())
    analysis = explainer.analyse(CHELSEA)
    heatmap = explainer.explain(analysis, "cam").heatmap
    assert float(rows["cam"]["brightness"]) == pytest.approx(float(heatmap.mean()), abs=1e-5)
    assert float(rows["fake-cam"]["brightness"]) > 0.99
    inputs = [analysis.forward.image * torch.from_numpy(1 - share * heatmap) for share in (0, 0.25, 0.5, 0.75, 1)]
    p = explainer.probability(torch.cat(inputs), analysis.predictions[0].index).tolist()
    assert float(rows["cam"]["dimming"]) == pytest.approx((p[0] / 2 + sum(p[1:4]) + p[4] / 2) / 4, abs=1e-4)
    said = capsys.readouterr().out
    assert "| method | Brightness % ↓ | Dimming % ↓ |" in said and "as 4 says" in said


def test_a_model_of_ones_own_is_listed_taken_and_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its row alone, which names a builder of torchvision; by CAM too, as the row has the layer before the head."""
    row = ModelSpec("shufflenet_v2_x0_5", "ShuffleNet", "conv5", {"conv5": (7, 7), "stage3": (14, 14)}, "conv5")
    monkeypatch.setitem(MODELS, row.key, row)
    assert main(["models", "--json"]) == 0
    (listed,) = [each for each in json.loads(capsys.readouterr().out) if each["key"] == row.key]
    assert listed["layers"] == {"conv5": [7, 7], "stage3": [14, 14]} and set(listed["methods"]) == set(METHODS)
    assert cli.make_parser().parse_args(["explain", "photo.jpg", "--model", row.key]).model == row.key
    explainer = Explainer(load_untrained(row, "cpu"))
    for layer, size in row.layers.items():
        analysis = explainer.analyse(CHELSEA, layer)
        assert explainer.explain(analysis, "grad-cam").raw.shape == size
    assert explainer.refusal("cam") is None
    assert explainer.refusal("cam", "stage3") is not None
