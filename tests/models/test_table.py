"""Every row of MODELS, and what is special about its architecture. Networks are built without weights."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from iscam import MODELS, Analysis, Explainer, Explanation, Progress, load_model
from iscam.engine import capture
from iscam.engine.backend import SIZES
from iscam.images import Geometry
from iscam.methods import METHODS
from iscam.models import architectures
from iscam.models.checkpoint import fill
from iscam.models.describe import describe
from iscam.models.photo11 import BUNDLED_WEIGHTS
from iscam.models.preprocessing import MEAN, STD, make_transforms
from iscam.notes import WHOLE
from iscam.settings import DEFAULT_SETTINGS
from tests.conftest import ROOT
from tests.models.networks import SMALL, assert_sentence, build, loaded, noise_photo

ENOUGH = 6  # rows after which a test stops a method that would run one per channel
VIT_LAYER = MODELS["vit_b_16"].layer


# The table


@pytest.mark.parametrize("key", MODELS)
def test_a_row_finds_its_layers_and_its_head(key: str) -> None:
    """At the native input size: the map sizes of the table, and CAM where the network has the head for it."""
    spec, model = MODELS[key], loaded(key)
    assert model.layers == spec.layers
    assert model.layer == spec.layer == next(iter(spec.layers))
    assert model.head_layer == spec.head_layer
    assert (model.head_weight is None) == (spec.head_layer is None)
    if model.head_weight is not None:
        channels = len(capture.forward_pass(model.network, model.layer, torch.zeros(1, 3, SMALL, SMALL)).activations)
        assert model.head_weight.shape == (len(model.categories), channels)


@pytest.mark.parametrize("key", MODELS)
def test_a_row_runs_every_method(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods with a pass per channel are stopped early: their partial maps are finite, from the rows that were run."""
    monkeypatch.setitem(SIZES, "cpu", (1, 2))
    model = loaded(key, None if key == "vit_b_16" else SMALL)
    explainer = Explainer(model)
    analysis = explainer.analyse(noise_photo())
    side, size = model.geometry.input_size, model.layers[model.layer]
    for method, row in METHODS.items():
        if reason := explainer.refusal(method):
            assert_sentence(reason, row.label, model.label)
            with pytest.raises(ValueError, match=re.escape(reason)):
                explainer.explain(analysis, method)
            continue
        passes = row.passes(DEFAULT_SETTINGS)
        many = passes.probes or passes.cells
        fresh = explainer.analyse(noise_photo()) if many else analysis  # so that nothing is known from another method
        explanation, rows, total = run_briefly(explainer, fresh, method)
        assert explanation.raw.shape == size
        assert explanation.heatmap.shape == (side, side)
        assert np.isfinite(explanation.raw).all()
        assert explanation.raw.min() >= 0
        assert explanation.heatmap.min() >= 0
        assert explanation.heatmap.max() <= 1
        assert explanation.heatmap.any() or "blank" in explanation.note
        assert WHOLE not in explanation.note  # what follows the layer can be run alone
        if many:
            shown = explanation.raw if explanation.weights is None else explanation.weights
            assert min(ENOUGH, total) <= rows == explanation.forward_passes <= total
            assert rows < ENOUGH + max(SIZES["cpu"])  # a stop is answered before the next batch
            assert 1 <= (shown != 0).sum() <= rows, method
            assert explanation.complete == (rows == total) == ("Stopped" not in explanation.note)
        else:
            assert explanation.complete


def run_briefly(
    explainer: Explainer, analysis: Analysis, method: str, target: int | None = None
) -> tuple[Explanation, int, int]:
    """Two steps or two noisy photos, stopped by the progress callback after ENOUGH rows; the last rows and total reported."""
    stop, rows = threading.Event(), [(0, 0)]

    def progress(report: Progress) -> None:
        rows.append((report.done, report.total))
        if report.done >= ENOUGH:
            stop.set()

    explanation = explainer.explain(analysis, method, target, steps=2, samples=2, progress=progress, stop=stop)
    return explanation, *rows[-1]


@pytest.mark.parametrize("key", [key for key, spec in MODELS.items() if spec.head_layer])
def test_cam_is_refused_at_every_layer_but_the_last(key: str) -> None:
    """The pooled maps of an earlier layer do not enter the linear head."""
    spec, explainer = MODELS[key], Explainer(loaded(key, SMALL))
    assert explainer.refusal("cam", spec.layer) is None
    for layer in list(spec.layers)[1:]:
        assert_sentence(explainer.refusal("cam", layer), layer, spec.head_layer)
        with pytest.raises(ValueError, match="CAM needs the layer just before"):
            explainer.explain(explainer.analyse(noise_photo(), layer), "cam")


# What is special about an architecture


def test_vit_maps_are_the_patch_tokens_without_the_class_token() -> None:
    model = loaded("vit_b_16")
    image = model.transforms(noise_photo())[None]
    with torch.no_grad():
        tokens, _ = capture.record(model.network, VIT_LAYER, image)  # (1, 1 + 14 * 14, 768)
    maps = capture.forward_pass(model.network, VIT_LAYER, image).activations
    assert tokens.shape == (1, 197, 768)
    assert maps.shape == (768, 14, 14)
    for row, column in ((0, 0), (3, 7), (13, 13)):
        assert torch.equal(maps[:, row, column], tokens[0, 1 + 14 * row + column])


def test_vit_patches_have_gradients_at_the_default_layer_only_before_the_last_attention() -> None:
    """Behind it only the class token is read, so the table offers no layer there."""
    model = loaded("vit_b_16")
    image = model.transforms(noise_photo())[None]
    assert capture.gradients(model.network, VIT_LAYER, image, [[1]])[0].abs().amax((1, 2)).count_nonzero() == 768
    for unread in ("encoder.layers.encoder_layer_11", "encoder.ln"):
        assert not capture.gradients(model.network, unread, image, [[1]])[0].any()
        assert unread not in model.layers


def test_densenet_computes_what_torchvisions_does() -> None:
    """Our network ends its features in a module for torchvision's functional ReLU, under the same parameter names."""
    original = torchvision.models.densenet121(weights=None).eval()
    state = {
        name: tensor + 0.1 * torch.rand_like(tensor) if tensor.ndim == 1 else tensor  # the norms' numbers too
        for name, tensor in original.state_dict().items()
    }
    original.load_state_dict(state)
    ours = architectures.build("densenet121").eval()
    fill(ours, state, "state")
    image = torch.randn(2, 3, SMALL, SMALL)
    with torch.no_grad():
        assert torch.equal(ours(image), original(image))
        features, _ = capture.record(ours, "features", image)
        assert original.features(image).min() < 0
        assert torch.equal(features, original.features(image).relu())


@pytest.mark.parametrize("key", ["densenet121", "resnet18", "photo11"])
def test_cam_is_grad_cam_times_the_number_of_positions(key: str) -> None:
    """On global average pooling and one linear layer dS_c / dA_k is the same everywhere: head / (h w)."""
    explainer = Explainer(loaded(key, SMALL))
    analysis = explainer.analyse(noise_photo())
    height, width = explainer.model.layers[explainer.model.layer]
    cam, grad_cam = explainer.explain(analysis, "cam"), explainer.explain(analysis, "grad-cam")
    assert cam.weights.std() > 0
    np.testing.assert_allclose(cam.weights, height * width * grad_cam.weights, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(cam.heatmap, grad_cam.heatmap, atol=1e-4)


@pytest.mark.parametrize("key", ["squeezenet1_0", "squeezenet1_1"])
def test_squeezenets_silent_class_gives_a_blank_map_with_a_reason(key: str) -> None:
    """Its head ends in a ReLU: a class whose logit is 0 has neither gradients nor a relative drop."""
    silent = 7
    network = build(key, classes=10)
    with torch.no_grad():
        network.classifier[1].bias[silent] = -10.0
    transforms = make_transforms(Geometry(SMALL, SMALL), MEAN, STD)
    names = tuple("abcdefghij")
    explainer = Explainer(describe(network, MODELS[key], names, Geometry(SMALL, SMALL), transforms, None))
    analysis = explainer.analyse(noise_photo())
    assert analysis.forward.logits[silent] == 0
    for method, row in METHODS.items():
        passes = row.passes(DEFAULT_SETTINGS)
        if passes.gradients or method == "ablation-cam":
            explanation = run_briefly(explainer, analysis, method, target=silent)[0]
            assert not explanation.heatmap.any(), method
            reason = "gradients of the class score (0) are zero" if passes.gradients else "class score is 0"
            assert reason in explanation.note
    assert run_briefly(explainer, analysis, "is-cam", target=silent)[0].heatmap.any()  # its probability is not 0


# load_model


def test_wrong_names_are_answered_without_loading_torch() -> None:
    """One sentence each, in a fresh interpreter that has imported the tables of models and methods."""
    code = """
import sys
import iscam.models, iscam.methods
for options in (
    {"key": "resnet"}, {"arch": "resnet18"}, {"checkpoint": "weights.pth"}, {"labels": "labels.txt"},
    {"input_size": 64}, {"mean": (0.5, 0.5, 0.5)}, {"std": (1.0, 0.0, 1.0)}, {"mean": (0.5,)},
):
    try:
        iscam.models.load_model(**options)
    except ValueError as error:
        print(error)
print(sorted({"torch", "torchvision", "timm", "gradio"} & sys.modules.keys()))
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    *sentences, heavy = result.stdout.splitlines()
    assert heavy == "[]"
    unknown, *rest = sentences
    assert_sentence(unknown, "'resnet'", *MODELS)
    assert len(rest) == 7
    for sentence in rest:
        assert_sentence(sentence)


@pytest.mark.parametrize(
    "device",
    [
        "tpu",
        "cuda:x",
        "cuda:99",
        pytest.param("cuda", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")),
    ],
)
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match="cpu") as caught:
        load_model("photo11", device=device)
    assert_sentence(caught.value)


def test_the_bundled_model_needs_no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("nothing is fetched"))
    model = load_model("photo11")
    assert (model.key, len(model.categories), model.head_layer) == ("photo11", 11, "layer3")
    assert model.weights_sha256 == hashlib.sha256(BUNDLED_WEIGHTS.read_bytes()).hexdigest()
    assert not list(tmp_path.iterdir())
