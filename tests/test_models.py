"""Every row of MODELS, a user's own checkpoint, and weights that are missing, damaged or out of reach.

Networks are built without weights, from a seed: nothing is downloaded. Each is built once and shared by its tests.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import pickle
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from iscam.engine import capture
from iscam.engine.backend import SIZES
from iscam.explain import Analysis, Explainer, Explanation, Progress
from iscam.images import Geometry
from iscam.methods import METHODS
from iscam.models import checkpoint as weights
from iscam.models.table import BUNDLED_WEIGHTS, MODELS, LoadedModel, load_model
from tests.conftest import ROOT

CNNS = [key for key in MODELS if key != "vit_b_16"]
SMALL = 80  # input side where the native one is of no interest: the coarsest maps are then 2x2 to 5x5
ENOUGH = 6  # rows after which a test stops a method that would run one per channel
VIT_LAYER = MODELS["vit_b_16"].layer


def build(arch: str, classes: int | None = None, seed: int = 0) -> nn.Module:
    """A seeded network whose last layer is random too (torchvision fills the ViT's with zeros)."""
    torch.manual_seed(seed)
    network = weights.build(arch, classes=classes).eval()
    if arch.startswith("vit"):
        nn.init.normal_(network.heads.head.weight, std=0.05)
    return network


@functools.cache
def network_of(key: str) -> nn.Module:
    return build(key)


def loaded(key: str, side: int | None = None) -> LoadedModel:
    """A row of MODELS without trained weights, with its own geometry or a smaller input."""
    network, geometry = network_of(key), weights.default_geometry(key) if side is None else Geometry(side, side)
    classes = weights.count_classes(key, network.state_dict())
    categories = tuple(f"class {i}" for i in range(classes))
    transforms = weights.make_transforms(geometry, weights.MEAN, weights.STD)
    return weights.describe(network, MODELS[key], categories, geometry, transforms, None)


def noise_photo(side: int = 256) -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def assert_sentence(error: object, *words: str) -> None:
    """One sentence for people that contains all words."""
    text = str(error)
    assert re.fullmatch(r"[A-Z\w].*\.", text), text  # `.` matches no line break
    assert len(text) < 320
    assert not re.search(r"Errno|Traceback|Error\b|\bNone\b", text), text
    for word in words:
        assert word in text


# The table


@pytest.mark.parametrize("key", MODELS)
def test_a_row_finds_its_layers_and_its_head(key: str) -> None:
    """At the native input size: the map sizes of the table, and CAM where the network has the head for it."""
    spec, model = MODELS[key], loaded(key)
    assert model.layers == spec.layers
    assert model.layer == spec.layer == next(iter(spec.layers))
    assert model.head_layer == spec.head_layer
    assert (model.head is None) == (spec.head_layer is None)
    if model.head is not None:
        channels = len(capture.forward_pass(model.network, model.layer, torch.zeros(1, 3, SMALL, SMALL)).activations)
        assert model.head.shape == (len(model.categories), channels)


@pytest.mark.parametrize("key", MODELS)
def test_a_row_runs_every_method(key: str) -> None:
    """Methods with a pass per channel are stopped early: their partial maps are finite, from the rows that were run."""
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
        explanation, rows, total = run_briefly(explainer, analysis, method)
        assert explanation.raw.shape == size
        assert explanation.heatmap.shape == (side, side)
        assert np.isfinite(explanation.raw).all()
        assert explanation.raw.min() >= 0
        assert explanation.heatmap.min() >= 0
        assert explanation.heatmap.max() <= 1
        assert explanation.heatmap.any() or "blank" in explanation.note
        if row.needs & {"scores", "ablation"}:
            assert ENOUGH <= rows == explanation.forward_passes <= total
            assert rows < ENOUGH + max(SIZES["cpu"])  # a stop is answered before the next batch
            assert 1 <= (explanation.weights != 0).sum() <= rows
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
    assert capture.gradients(model.network, VIT_LAYER, image, 1).abs().amax((1, 2)).count_nonzero() == 768
    for unread in ("encoder.layers.encoder_layer_11", "encoder.ln"):
        assert not capture.gradients(model.network, unread, image, 1).any()
        assert unread not in model.layers


def test_densenet_computes_what_torchvisions_does() -> None:
    """Our network ends its features in a module for torchvision's functional ReLU, under the same parameter names."""
    original = torchvision.models.densenet121(weights=None).eval()
    state = {
        name: tensor + 0.1 * torch.rand_like(tensor) if tensor.ndim == 1 else tensor  # the norms' numbers too
        for name, tensor in original.state_dict().items()
    }
    original.load_state_dict(state)
    ours = weights.build("densenet121").eval()
    weights.fill(ours, state, "state")
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
    transforms = weights.make_transforms(Geometry(SMALL, SMALL), weights.MEAN, weights.STD)
    names = tuple("abcdefghij")
    explainer = Explainer(weights.describe(network, MODELS[key], names, Geometry(SMALL, SMALL), transforms, None))
    analysis = explainer.analyse(noise_photo())
    assert analysis.forward.logits[silent] == 0
    for method, row in METHODS.items():
        if "gradients" in row.needs or method == "ablation-cam":
            explanation = run_briefly(explainer, analysis, method, target=silent)[0]
            assert not explanation.heatmap.any(), method
            reason = "gradients of the class score (0) are zero" if "gradients" in row.needs else "class score is 0"
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
print(sorted({"torch", "torchvision", "gradio"} & sys.modules.keys()))
"""
    started = time.monotonic()
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    *sentences, heavy = result.stdout.splitlines()
    assert heavy == "[]"
    assert time.monotonic() - started < 20
    unknown, *rest = sentences
    assert_sentence(unknown, "'resnet'", *MODELS)
    assert len(rest) == 7
    for sentence in rest:
        assert_sentence(sentence)


@pytest.mark.parametrize(
    "device", ["tpu", pytest.param("cuda", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU"))]
)
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match="cpu") as caught:
        load_model("photo11", device=device)
    assert_sentence(caught.value)


def test_the_bundled_model_needs_no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    model = load_model()
    assert (model.key, len(model.categories), model.head_layer) == ("photo11", 11, "layer3")
    assert model.weights_sha256 == hashlib.sha256(BUNDLED_WEIGHTS.read_bytes()).hexdigest()
    assert not list(tmp_path.iterdir())


# A user's own checkpoint


def save(network: nn.Module, file: Path, wrap: Callable[[dict[str, Tensor]], object] = dict) -> Path:
    torch.save(wrap(network.state_dict()), file)
    return file


def logits_of(model: LoadedModel) -> Tensor:
    with torch.no_grad():
        return model.network(model.transforms(noise_photo())[None])[0]


WRAPS = {
    "plain": dict,
    "wrapped": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}},
    "wrapped twice": lambda state: {"model": {"state_dict": state}},
    "data parallel": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "compiled": lambda state: {"state_dict": {f"module._orig_mod.{name}": t for name, t in state.items()}},
    "half precision": lambda state: {name: t.half() if t.is_floating_point() else t for name, t in state.items()},
    "without counters": lambda state: {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")},
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_checkpoint_is_read_out_of_its_wrapping(tmp_path: Path, wrap: str) -> None:
    network = build("resnet18", classes=4)
    file = save(network, tmp_path / "mine.pth", WRAPS[wrap])
    model = load_model(arch="resnet18", checkpoint=file, input_size=SMALL)
    assert model.categories == ("class 0", "class 1", "class 2", "class 3")
    assert model.label == "resnet18 (mine.pth)"
    assert model.head_layer == "layer4"
    assert model.weights_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    with torch.no_grad():
        expected = network(model.transforms(noise_photo())[None])[0]
    tolerance = 1e-2 if wrap == "half precision" else 1e-5
    torch.testing.assert_close(logits_of(model), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("arch", "classes"),
    [
        ("photo11", 3),
        ("resnet18", 1),
        ("squeezenet1_1", 7),
        ("mobilenet_v3_large", 7),
        ("efficientnet_b0", 7),
        ("densenet121", 7),
        # not in MODELS: their layers are found
        ("shufflenet_v2_x0_5", 7),
        ("mnasnet0_5", 7),  # its own loader wants a version number that safetensors has no place for
        ("regnet_y_400mf", 7),  # cannot be built on the meta device
        ("googlenet", 7),
    ],
)
def test_a_checkpoint_with_another_number_of_classes(tmp_path: Path, arch: str, classes: int) -> None:
    """From safetensors; every offered layer has maps, and the network explains a photo."""
    network = build(arch, classes=classes)
    save_file(network.state_dict(), tmp_path / "mine.safetensors")
    model = load_model(arch=arch, checkpoint=tmp_path / "mine.safetensors", input_size=SMALL)
    assert len(model.categories) == classes
    with torch.no_grad():
        expected = network(model.transforms(noise_photo())[None])[0]
    torch.testing.assert_close(logits_of(model), expected, rtol=1e-4, atol=1e-5)
    explainer = Explainer(model)
    assert len(explainer.analyse(noise_photo()).predictions) == min(5, classes)
    for layer, size in model.layers.items():
        explanation = explainer.explain(explainer.analyse(noise_photo(), layer), "layer-cam")
        assert explanation.raw.shape == size
    if arch not in MODELS:
        sizes = list(model.layers.values())
        assert len(sizes) >= 2
        assert sizes == sorted(sizes)
        assert (model.head is None) == (model.head_layer is None)


def test_every_torchvision_classifier_has_a_head_to_count() -> None:
    """Also the big ones: on the meta device nothing is allocated. RegNet cannot be built there; Swin is not offered."""
    names = torchvision.models.list_models(module=torchvision.models)
    for arch in (name for name in names if not name.startswith((weights.SWIN, weights.REGNET))):
        with torch.device("meta"):
            state = weights.build(arch, classes=9).state_dict()
        assert weights.count_classes(arch, state) == 9, arch


def test_labels_input_size_mean_and_std_are_honoured(tmp_path: Path) -> None:
    file = save(build("squeezenet1_1", classes=3), tmp_path / "mine.pth")
    labels = tmp_path / "labels.txt"
    labels.write_text("\ufeffash\n birch \n\nélan\n", encoding="utf-8")
    model = load_model(
        arch="squeezenet1_1",
        checkpoint=file,
        labels=labels,
        input_size=112,
        mean=(0.5, 0.25, 0.0),
        std=(0.5, 0.25, 2.0),
    )
    assert model.categories == ("ash", "birch", "élan")
    assert model.geometry == Geometry(128, 112)  # torchvision resizes to 256 and cuts 224
    assert model.layers == {"features.12": (6, 6), "features.7": (13, 13), "features.4": (27, 27)}
    white = model.transforms(Image.new("RGB", (300, 200), "white"))
    assert white.shape == (3, 112, 112)
    torch.testing.assert_close(white.amin((1, 2)), torch.tensor([1.0, 3.0, 0.5]))
    torch.testing.assert_close(white.amax((1, 2)), torch.tensor([1.0, 3.0, 0.5]))
    assert model.geometry.crop((256, 256)) == (16, 16, 240, 240)


def test_layers_that_shrink_to_one_position_are_left_out(tmp_path: Path) -> None:
    """As for a ResNet trained on 32-pixel photos; CAM went with its layer."""
    file = save(build("resnet18", classes=3), tmp_path / "mine.pth")
    model = load_model(arch="resnet18", checkpoint=file, input_size=32)
    assert model.layers == {"layer3": (2, 2), "layer2": (4, 4), "layer1": (8, 8)}
    assert (model.layer, model.head_layer) == ("layer3", None)
    assert Explainer(model).refusal("cam")


def test_an_input_size_that_the_network_cannot_take_is_refused(tmp_path: Path) -> None:
    """Too small, or another one than a vision transformer was made for."""
    file = save(build("squeezenet1_1", classes=3), tmp_path / "mine.pth")
    with pytest.raises(ValueError, match="choose another input size") as caught:
        load_model(arch="squeezenet1_1", checkpoint=file, input_size=12)
    assert_sentence(caught.value, "squeezenet1_1", "12 x 12")
    with pytest.raises(ValueError, match="choose another input size") as caught:
        weights.require_size("vit_b_16", network_of("vit_b_16"), 208)
    assert_sentence(caught.value, "vit_b_16", "208 x 208")
    weights.require_size("vit_b_16", network_of("vit_b_16"), 224)


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    file = save(build("squeezenet1_1", classes=3), tmp_path / "mine.pth")
    two, binary = tmp_path / "two.txt", tmp_path / "binary.txt"
    two.write_text("ash\nbirch\n")
    binary.write_bytes(b"\xff\xfe\x00a")
    for labels, kind, words in (
        (two, ValueError, ("two.txt", "2 lines", "3 classes")),
        (binary, ValueError, ("binary.txt", "not UTF-8")),
        (tmp_path / "none.txt", OSError, ("There is no labels file", "none.txt")),
        (tmp_path, OSError, ("There is no labels file",)),
    ):
        with pytest.raises(kind) as caught:
            load_model(arch="squeezenet1_1", checkpoint=file, labels=labels)
        assert_sentence(caught.value, *words)


def test_a_checkpoint_of_another_architecture_is_refused_at_its_first_mismatch(tmp_path: Path) -> None:
    network = build("squeezenet1_1", classes=3)
    state = network.state_dict()
    first = next(iter(state))
    narrow = {**state, first: state[first][:5]}
    more = {**state, "extra.bias": torch.zeros(1)}
    less = {name: tensor for name, tensor in state.items() if name != "features.4.squeeze.bias"}
    for arch, content, words in (
        ("resnet18", state, ("mine.pth does not fit", "it has no conv1.weight")),
        ("squeezenet1_1", narrow, (f"{first} is (5, 3, 3, 3), not (64, 3, 3, 3)",)),
        ("squeezenet1_1", more, ("it has extra.bias, which the architecture has not",)),
        ("squeezenet1_1", less, ("it has no features.4.squeeze.bias",)),
    ):
        torch.save(content, tmp_path / "mine.pth")
        with pytest.raises(ValueError, match="does not fit the architecture") as caught:
            load_model(arch=arch, checkpoint=tmp_path / "mine.pth")
        assert_sentence(caught.value, *words)


@pytest.mark.parametrize("arch", ["resnet", "fasterrcnn_resnet50_fpn", "swin_t", "../photo11"])
def test_an_unknown_architecture_is_refused(tmp_path: Path, arch: str) -> None:
    with pytest.raises(ValueError, match="There is no architecture") as caught:
        load_model(arch=arch, checkpoint=tmp_path / "mine.pth")
    assert_sentence(caught.value, arch)


class Trap:
    """Unpickling it writes the file it was made for."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.file, "sprung")


@pytest.mark.parametrize("how", ["torch", "torch, legacy", "pickle", "module"])
def test_a_pickle_is_refused_and_not_executed(tmp_path: Path, how: str) -> None:
    file, sprung = tmp_path / "mine.pth", tmp_path / "sprung"
    content = {"state_dict": {"conv.weight": torch.zeros(1)}, "extra": Trap(sprung)}
    if how == "pickle":
        file.write_bytes(pickle.dumps(content))
    elif how == "module":
        torch.save(nn.Linear(2, 2), file)
    else:
        torch.save(content, file, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(ValueError, match="does not hold weights only, so it is not opened") as caught:
        load_model(arch="resnet18", checkpoint=file)
    assert_sentence(caught.value, "mine.pth", "state_dict()")
    assert not sprung.exists()
    if how != "module":
        with file.open("rb") as opened:  # the trap does work
            pickle.load(opened) if how == "pickle" else torch.load(file, weights_only=False)
        assert sprung.exists()


TORCH_FILE = {"conv.weight": torch.zeros(3, 4)}
UNREADABLE: dict[str, bytes | object] = {
    "text.pth": b"hello\n",
    "text.txt": b"epochs: 3\n" * 100,
    "text.safetensors": b"hello hello hello\n",
    "empty.pth": b"",
    "empty.safetensors": b"",
    "zeros.pth": bytes(4096),
    "number.pth": 5,
    "nothing.pth": {},
    "numbers.pth": {"a": 1.5},
    "list.pth": [torch.zeros(2)],
    "tensor.pth": torch.zeros(2),
    "unnamed.pth": {0: torch.zeros(2)},
    "empty wrap.pth": {"state_dict": {}},
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_without_weights_is_refused(tmp_path: Path, name: str) -> None:
    file, content = tmp_path / name, UNREADABLE[name]
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    with pytest.raises(ValueError, match=re.escape(name)) as caught:
        load_model(arch="resnet18", checkpoint=file)
    assert_sentence(caught.value)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_damaged_checkpoint_is_refused_wherever_the_damage_is(tmp_path: Path, legacy: bool) -> None:
    """Cut at, or overwritten at, every place of a small file: torch's many kinds of errors become one sentence."""
    whole, file = tmp_path / "whole.pth", tmp_path / "mine.pth"
    torch.save({"a": torch.zeros(3), "b": torch.zeros(2)}, whole, _use_new_zipfile_serialization=not legacy)
    data = whole.read_bytes()
    generator = np.random.default_rng(0)
    for place in generator.integers(0, len(data) - 8, 100):
        noise = generator.bytes(8)
        for damaged in (data[:place], data[:place] + noise + data[place + 8 :]):
            file.write_bytes(damaged)
            try:
                state = weights.read_checkpoint(file)
            except ValueError as error:
                assert_sentence(error, "mine.pth")
            else:
                assert all(isinstance(tensor, Tensor) for tensor in state.values())


def test_a_parameter_may_be_called_like_a_wrapper(tmp_path: Path) -> None:
    torch.save({"weights": torch.ones(3), "net": torch.ones(2)}, tmp_path / "mine.pth")
    assert sorted(weights.read_checkpoint(tmp_path / "mine.pth")) == ["net", "weights"]


@pytest.mark.parametrize("name", ["none.pth", "none.safetensors", "."])
def test_a_missing_checkpoint_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match="There is no weights file") as caught:
        load_model(arch="resnet18", checkpoint=tmp_path / name)
    assert_sentence(caught.value, str(tmp_path / name))


# Weights that are fetched


def unreachable(*_arguments: object, **_options: object) -> object:
    raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))


class Handler(BaseHTTPRequestHandler):
    """Serves the content the server holds, or does what the server's `manner` says."""

    def do_GET(self) -> None:
        content, manner = self.server.content, self.server.manner
        if manner == "garbage":
            self.wfile.write(b"no http at all\r\n\r\n")
            return
        if manner == "missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) + {"cut off": 1, "trickle": 10**6}.get(manner, 0)))
        self.end_headers()
        with suppress(OSError):  # the client gives up
            while manner == "trickle" and not self.server.finished.wait(0.02):
                self.wfile.write(b".")
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A server on this machine that stands in for the one with the weights."""

    content, manner = b"not the published file", ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """All downloads go to a server on this machine, past any proxy."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with Server(("127.0.0.1", 0), Handler) as serving:
        serving.finished = threading.Event()

        def redirect(_url: str, timeout: float) -> object:
            return direct.open(serving.address, timeout=timeout)

        monkeypatch.setattr(urllib.request, "urlopen", redirect)
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield serving
        serving.finished.set()
        serving.shutdown()
        thread.join()


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache: the folder that torch.hub would keep weights in."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub" / "checkpoints"


def assert_not_fetched(cache: Path, *words: str) -> None:
    """One sentence with file and folder, and no file left behind."""
    with pytest.raises(OSError, match="could not be downloaded") as caught:
        load_model("resnet18")
    assert_sentence(caught.value, "resnet18-f37072fd.pth", str(cache), "photo11", *words)
    assert not list(cache.parent.rglob("*.p*"))


def test_without_a_network_the_file_and_the_folder_are_named(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    assert_not_fetched(cache, "(Name or service not known)")


def test_a_download_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch, cache: Path, server: Server) -> None:
    monkeypatch.setattr(weights, "FETCH_SECONDS", 1.0)
    server.manner = "trickle"
    started = time.monotonic()
    assert_not_fetched(cache, "longer than 1 s")
    assert 1 <= time.monotonic() - started < 10


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    with Server(("127.0.0.1", 0), Handler) as silent:  # it listens, but nobody answers
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        monkeypatch.setattr(
            urllib.request, "urlopen", lambda _url, timeout: direct.open(silent.address, timeout=timeout)
        )
        monkeypatch.setattr(weights, "CONNECT_SECONDS", 0.5)
        started = time.monotonic()
        assert_not_fetched(cache, "timed out")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("manner", "words"),
    [
        ("", "what arrived is not the published file"),
        ("cut off", "what arrived is not the published file"),
        ("missing", "Not Found"),
        ("garbage", "the server's answer is broken"),
    ],
)
def test_a_server_that_delivers_something_else(cache: Path, server: Server, manner: str, words: str) -> None:
    server.manner = manner
    assert_not_fetched(cache, words)
    gc.collect()  # an answer that was left open warns now


def test_a_cache_that_cannot_hold_files(cache: Path, server: Server) -> None:
    cache.parent.parent.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="could not be downloaded") as caught:
        load_model("resnet18")
    assert str(cache) in str(caught.value)


def test_a_download_arrives_whole_and_once(tmp_path: Path, server: Server) -> None:
    """The name ends in the first digits of the content's SHA-256, as torch.hub's names do."""
    server.content = b"weights" * 1000
    name = f"tiny-{hashlib.sha256(server.content).hexdigest()[:8]}.pth"
    weights.fetch(f"https://example.org/{name}", tmp_path / "new" / name)
    assert [file.name for file in (tmp_path / "new").iterdir()] == [name]
    assert (tmp_path / "new" / name).read_bytes() == server.content


@pytest.mark.parametrize("damage", ["text", "cut", "empty", "other", "pickle"])
def test_a_damaged_file_in_the_cache_is_named(monkeypatch: pytest.MonkeyPatch, cache: Path, damage: str) -> None:
    """torch.hub does not look at a file that is there already; nothing is fetched, and nothing in it is executed."""
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    cache.mkdir(parents=True)
    file, sprung = cache / "squeezenet1_1-b8a52dc0.pth", cache / "sprung"
    if damage == "text":
        file.write_text("<html>Log in to the network first</html>\n" * 50)
    elif damage == "pickle":
        torch.save({"features.0.weight": Trap(sprung)}, file)
    else:
        torch.save(build("squeezenet1_0" if damage == "other" else "squeezenet1_1").state_dict(), file)
        if damage != "other":
            data = file.read_bytes()
            file.write_bytes(data[: len(data) // 2] if damage == "cut" else b"")
    with pytest.raises(OSError, match="is damaged: delete it and try again") as caught:
        load_model("squeezenet1_1")
    assert_sentence(caught.value, file.name, str(cache))
    assert not sprung.exists()


def test_weights_in_the_cache_need_no_network(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    cache.mkdir(parents=True)
    file, network = cache / "squeezenet1_1-b8a52dc0.pth", build("squeezenet1_1")
    torch.save(network.state_dict(), file)
    model = load_model("squeezenet1_1")
    assert len(model.categories) == 1000
    assert model.categories[281] == "tabby"
    assert model.weights_file == file
    assert model.geometry == Geometry(256, 224)
    with torch.no_grad():
        image = model.transforms(noise_photo())[None]
        torch.testing.assert_close(model.network(image), network(image), rtol=1e-4, atol=1e-5)


@pytest.mark.shared
@pytest.mark.usefixtures("torch_home")
def test_the_real_squeezenet_knows_a_dog(shared: Path) -> None:
    explainer = Explainer(load_model("squeezenet1_0"))
    best = explainer.analyse(shared / "data" / "photos" / "n02086079_Pekinese.jpg").predictions[0]
    assert best.category == "Pekinese"
