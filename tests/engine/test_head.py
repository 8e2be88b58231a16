"""What outputs mean: the sigmoid as f_c in every formula, against slow twins in float64, and the laws that hold of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import iscam
from iscam import Explainer, LoadedModel
from iscam.__main__ import main
from iscam.drawing import as_heatmap
from iscam.engine import HEADS, make_masks
from iscam.engine.scores import noise_field
from iscam.path import PATHS
from iscam.settings import WEIGHTINGS
from iscam.show import integrate
from iscam.trust import METRICS, assess, ceiling
from tests import reference, tiny_models
from tests.cases import CHELSEA, Wide, analysed, difference, photo_of
from tests.models.networks import build

Tiny = Callable[..., LoadedModel]


def several(model: LoadedModel) -> LoadedModel:
    """The model, whose classes do not exclude each other."""
    return replace(model, spec=replace(model.spec, head="sigmoid"))


def test_each_class_alone_has_the_sigmoid_of_its_logit() -> None:
    logits = torch.tensor([[0.0, 3.0, -200.0, 90.0]], dtype=torch.double)
    found = HEADS["sigmoid"].probabilities(logits)
    torch.testing.assert_close(found, 1 / (1 + (-logits).exp()))
    torch.testing.assert_close(HEADS["softmax"].probabilities(logits), logits.softmax(1))
    torch.testing.assert_close(HEADS["sigmoid"].log_probabilities(logits, logits)[0, 2], logits[0, 2])


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["TinyPooled", "TinyTokens"])
def test_maps_equal_their_slow_twins(tiny: Tiny, name: str, path: str, weighting: str) -> None:
    model = several(tiny(name))
    explainer, analysis = analysed(model)
    twin = reference.Findings(copy.deepcopy(model.network).double())
    x = analysis.forward.image.double()
    for c in (0, 3):
        wanted = {
            "is-cam": reference.is_cam(twin, f"network.{model.layer}", x, c, 4, path, weighting),
            "score-cam": reference.score_cam(twin, f"network.{model.layer}", x, c, weighting),
        }
        for method, (weights, raw) in wanted.items():
            found = explainer.explain(analysis, method, c, steps=4, path=path, weighting=weighting)
            np.testing.assert_allclose(found.weights, weights.numpy(), atol=1e-5)
            np.testing.assert_allclose(found.heatmap, reference.heatmap(raw, analysis.forward.size).numpy(), atol=1e-4)


def test_other_average_scores_equal_their_slow_twins(tiny: Tiny) -> None:
    model = several(tiny("TinyPooled"))
    explainer, analysis = analysed(model)
    twin, x = reference.Findings(copy.deepcopy(model.network).double()), analysis.forward.image.double()
    noise = torch.cat([noise_field((0, j), analysis.forward.image) for j in range(3)]).double()
    weights, _ = reference.ss_cam(twin, "network.features", x, 2, noise)
    np.testing.assert_allclose(explainer.explain(analysis, "ss-cam", 2, samples=3).weights, weights.numpy(), atol=1e-5)
    _, raw = reference.recipro_cam(twin, "network.features", x, 2)
    np.testing.assert_allclose(explainer.explain(analysis, "recipro-cam", 2).raw, raw.numpy(), atol=1e-5)


class Column(nn.Module):
    """The logit of one class alone."""

    def __init__(self, network: nn.Module, c: int) -> None:
        super().__init__()
        self.network, self.c = network, c

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)[:, self.c : self.c + 1]


def test_a_class_of_several_is_a_network_of_its_own() -> None:
    """Column c of a sigmoid head: maps, probabilities and metrics are those of a network with that one logit."""
    torch.manual_seed(0)
    whole = Wide()
    model = iscam.adopt(whole, input_size=16, head="sigmoid")
    explainer = Explainer(model, "exact")
    analysis = explainer.analyse(photo_of(model))
    for c in (1, 4):
        single = iscam.adopt(Column(whole, c), input_size=16)
        alone = Explainer(single, "exact")
        seen = alone.analyse(photo_of(single))
        assert analysis.probabilities[c] == pytest.approx(seen.probabilities[1], abs=1e-6)
        for method in ("is-cam", "ss-cam", "score-cam", "recipro-cam", "grad-cam", "grad-cam++", "ablation-cam"):
            one, other = explainer.explain(analysis, method, c, samples=2), alone.explain(seen, method, 1, samples=2)
            np.testing.assert_allclose(one.heatmap, other.heatmap, atol=1e-5, err_msg=method)
        keys = [key for key, row in METRICS.items() if row.needs in ("masked", "curve", "patches", "impute")]
        one, other = (
            assess(e, a, e.explain(a, "grad-cam", index), keys).values
            for e, a, index in ((explainer, analysis, c), (alone, seen, 1))
        )
        assert one == pytest.approx(other, abs=1e-5)
        top, highest = (ceiling(e, a, "opti-cam", i) for e, a, i in ((explainer, analysis, c), (alone, seen, 1)))
        np.testing.assert_allclose(top.heatmap, highest.heatmap, atol=1e-4)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_another_class_changes_nothing_for_a_class_of_several(weighting: str) -> None:
    """Of a softmax it would take its share."""
    torch.manual_seed(0)
    network = Wide()
    louder = copy.deepcopy(network)
    with torch.no_grad():
        louder.fc.bias[0] += 3
    for head, same in (("sigmoid", True), ("softmax", weighting == "logit")):
        maps = []
        for each in (network, louder):
            explainer = Explainer(iscam.adopt(each, input_size=16, head=head), "exact")
            analysis = explainer.analyse(photo_of(explainer.model))
            maps.append(explainer.explain(analysis, "score-cam", 3, weighting=weighting).weights)
        assert np.allclose(*maps, atol=1e-6) == same


@pytest.mark.parametrize("path", PATHS)
def test_the_fast_engine_stays_within_its_tolerance(path: str) -> None:
    """And how a map comes about ends at it."""
    torch.manual_seed(3)
    model = iscam.adopt(Wide(), input_size=16, head="sigmoid")
    fast, exact = Explainer(model), Explainer(model, "exact")
    for c in range(3):
        photo = photo_of(model, c)
        quick = fast.explain(fast.analyse(photo), "is-cam", c, path=path, steps=20)
        whole = exact.explain(exact.analyse(photo), "is-cam", c, path=path, steps=20)
        assert difference(quick.heatmap, whole.heatmap) <= (quick.estimated_error or 0) <= 0.01
    seen = integrate(exact, exact.analyse(photo), c, path=path)
    found = exact.explain(exact.analyse(photo), "is-cam", c, path=path)
    np.testing.assert_allclose(seen.heatmaps[-1], found.heatmap, atol=1e-5)


def test_how_a_map_of_findings_comes_about() -> None:
    """What the carriers have at each point, and the map of the first step, by sigmoids of this test's own."""
    torch.manual_seed(3)
    model = iscam.adopt(Wide(), input_size=16, head="sigmoid")
    explainer = Explainer(model, "exact")
    analysis = explainer.analyse(photo_of(model))
    activations, image = analysis.forward.activations, analysis.forward.image
    seen = integrate(explainer, analysis, 2, steps=3, path="linear")
    masked = image * make_masks(activations, (16, 16))[:, None]

    def sigmoids(multiplier: float) -> Tensor:
        with torch.no_grad():
            return model.network(multiplier * masked)[:, 2].sigmoid()

    wanted = torch.stack([sigmoids(point) for point in seen.carriers.points])[:, list(seen.carriers.channels)]
    np.testing.assert_allclose(seen.carriers.probabilities, wanted.numpy(), atol=1e-5)
    raw = (sigmoids(1 / 3)[:, None, None] * activations).sum(0).relu()
    np.testing.assert_allclose(seen.heatmaps[0], as_heatmap(raw, (16, 16)).numpy(), atol=1e-4)


def test_fourteen_findings(tmp_path: Path) -> None:
    """All that are more probable than not are among the predictions, five at least; rivals are the other findings."""
    network = build("resnet18", classes=14)
    with torch.no_grad():
        network.fc.bias[:7], network.fc.bias[7:] = 4.0, -4.0
    names = [f"finding {letter}" for letter in "abcdefghijklmn"]
    model = iscam.adopt(network, categories=names, input_size=64, head="sigmoid")
    explainer = Explainer(model, "exact")
    analysis = explainer.analyse(photo_of(model))
    found = explainer.subject(analysis).found
    assert {row.category for row in found} == set(names[:7]) and analysis.predictions == found
    assert analysis.probabilities.sum() > 6
    np.testing.assert_allclose(analysis.probabilities, 1 / (1 + np.exp(-analysis.forward.logits.numpy())), atol=1e-6)
    held = explainer.explain(analysis, "grad-cam", 2, rivals="nearest:3")
    assert {rival.index for rival in held.rivals} <= set(range(7)) - {2}
    explained = explainer.explain(analysis, "grad-cam", 2)
    with torch.no_grad():
        masked = network(analysis.forward.image * torch.from_numpy(explained.heatmap))[0, 2].sigmoid().item()
    assert explainer.masked_probability(analysis, explained) == pytest.approx(masked, abs=1e-5)


def test_few_findings_are_five_predictions() -> None:
    torch.manual_seed(0)
    model = iscam.adopt(Wide(), input_size=16, head="sigmoid")
    explainer = Explainer(model)
    analysis = explainer.analyse(photo_of(model))
    probabilities = [row.probability for row in analysis.predictions]
    assert len(probabilities) >= 5 and probabilities == sorted(probabilities, reverse=True)
    assert [row.probability > 0.5 for row in analysis.predictions].count(True) == len(explainer.subject(analysis).found)


@pytest.mark.parametrize(("head", "named"), [("sigmoid", True), (None, False)])
def test_the_command_line_and_its_record_say_which_head(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], head: str | None, named: bool
) -> None:
    network = build("resnet18", classes=4)
    with torch.no_grad():
        network.fc.bias[:2] += 9
    save_file(network.state_dict(), tmp_path / "mine.safetensors")
    own = ["--arch", "resnet18", "--checkpoint", str(tmp_path / "mine.safetensors"), "--input-size", "64"]
    asked = [*own, *(("--head", head) if head else ()), "--methods", "grad-cam", "--out", str(tmp_path / "out")]
    assert main(["explain", str(CHELSEA), *asked]) == 0
    record = json.loads((tmp_path / "out" / "chelsea.iscam.json").read_text())
    assert record["head"] == (head or "softmax") and ("found" in record) == named
    total = sum(row["probability"] for row in record["predictions"])
    assert (total > 1.5) if named else total == pytest.approx(1)
    assert ("(found: " in capsys.readouterr().out) == named
    if named:
        assert {row["index"] for row in record["found"]} >= {0, 1}


def test_a_checkpoint_with_one_output_is_a_class_against_its_absence(tmp_path: Path) -> None:
    """Whatever it is said to be."""
    network = build("resnet18", classes=1)
    save_file(network.state_dict(), tmp_path / "mine.safetensors")
    for head in (None, "sigmoid"):
        own = {"arch": "resnet18", "checkpoint": tmp_path / "mine.safetensors", "input_size": 64, "head": head}
        model = iscam.load_model(**own)
        assert model.categories == ("not class", "class") and model.head.key == "softmax"
        analysis = Explainer(model).analyse(CHELSEA)
        with torch.no_grad():
            p = network(analysis.forward.image).sigmoid().item()
        assert analysis.probabilities[1] == pytest.approx(p, abs=1e-5)


def test_a_head_belongs_to_a_checkpoint() -> None:
    with pytest.raises(ValueError, match="belong to a checkpoint"):
        iscam.load_model("photo11", head="sigmoid")
    with pytest.raises(ValueError, match="softmax, sigmoid"):
        iscam.load_model(arch="resnet18", checkpoint="x.pth", head="relu")
    assert main(["explain", "a.jpg", "--head", "sigmoid"]) == 2


def test_rivals_are_held_against_each_other_by_profiles_of_sigmoids(tiny: Tiny) -> None:
    model = several(tiny("TinyPooled"))
    explainer, analysis = analysed(model)
    twin = reference.Findings(copy.deepcopy(tiny_models.build("TinyPooled")).double())
    x = analysis.forward.image.double()
    weights = [reference.score_cam(twin, "network.features", x, c, "probability")[0] for c in (1, 3)]
    wanted = reference.rather_than(weights[0], weights[1:], 1.0)
    found = explainer.explain(analysis, "score-cam", 1, rivals=3).weights
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)
