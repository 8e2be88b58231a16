"""A user's own checkpoint: whatever it is wrapped in, and whatever is wrong with it."""

from __future__ import annotations

import hashlib
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from iscam import MODELS, Explainer, load_model
from iscam.images import Geometry
from iscam.models import architectures
from iscam.models.checkpoint import read_checkpoint
from iscam.models.photo11 import BUNDLED_WEIGHTS
from tests.models.networks import SMALL, Trap, assert_sentence, build, logits_of, network_of, noise_photo, save

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
    named = max(2, classes)  # a single output is a class against its absence
    assert len(model.categories) == named
    with torch.no_grad():
        expected = network(model.transforms(noise_photo())[None])[0]
    torch.testing.assert_close(logits_of(model), expected, rtol=1e-4, atol=1e-5)
    explainer = Explainer(model)
    assert len(explainer.analyse(noise_photo()).predictions) == min(5, named)
    for layer, size in model.layers.items():
        explanation = explainer.explain(explainer.analyse(noise_photo(), layer), "layer-cam")
        assert explanation.raw.shape == size
    if arch not in MODELS:
        sizes = list(model.layers.values())
        assert len(sizes) >= 2
        assert sizes == sorted(sizes)
        assert (model.head_weight is None) == (model.head_layer is None)


def test_every_kind_of_torchvision_classifier_has_a_head_to_count() -> None:
    """The first of each module; on the meta device nothing is allocated. RegNet cannot be built there; Swin is not
    offered."""
    kinds: dict[str, str] = {}
    for arch in torchvision.models.list_models(module=torchvision.models):
        if not arch.startswith((architectures.SWIN, architectures.REGNET)):
            kinds.setdefault(torchvision.models.get_model_builder(arch).__module__, arch)
    assert len(kinds) >= 13
    for arch in kinds.values():
        with torch.device("meta"):
            state = architectures.build(arch, classes=9).state_dict()
        assert architectures.count_classes(arch, state) == 9, arch


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


@pytest.mark.parametrize("arch", ["squeezenet1_1", "efficientnet_b0"])
def test_photos_are_resized_as_torchvision_resizes_them_for_the_architecture(tmp_path: Path, arch: str) -> None:
    """Bilinear for one, bicubic for the other."""
    model = load_model(arch=arch, checkpoint=save(network_of(arch), tmp_path / "mine.pth"))
    own = torchvision.models.get_model_weights(arch).DEFAULT.transforms()
    photo = noise_photo(50).resize((400, 300), Image.Resampling.NEAREST)  # with edges, where filters differ
    assert torch.equal(model.transforms(photo), own(photo))


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
        architectures.require_size("vit_b_16", network_of("vit_b_16"), 208)
    assert_sentence(caught.value, "vit_b_16", "208 x 208")
    architectures.require_size("vit_b_16", network_of("vit_b_16"), 224)


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
                state = read_checkpoint(file)
            except ValueError as error:
                assert_sentence(error, "mine.pth")
            else:
                assert all(isinstance(tensor, Tensor) for tensor in state.values())


def test_a_parameter_may_be_called_like_a_wrapper(tmp_path: Path) -> None:
    torch.save({"weights": torch.ones(3), "net": torch.ones(2)}, tmp_path / "mine.pth")
    assert sorted(read_checkpoint(tmp_path / "mine.pth")) == ["net", "weights"]


@pytest.mark.parametrize("name", ["none.pth", "none.safetensors", "."])
def test_a_missing_checkpoint_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match="There is no weights file") as caught:
        load_model(arch="resnet18", checkpoint=tmp_path / name)
    assert_sentence(caught.value, str(tmp_path / name))


def test_names_that_cannot_be_printed_are_shown_escaped(tmp_path: Path) -> None:
    """A file's author does not write on a terminal."""
    state = load_file(BUNDLED_WEIGHTS)
    name = next(iter(state))
    torch.save(state | {f"{name}\x1b[31m": state[name]}, tmp_path / "mine.pth")
    with pytest.raises(ValueError, match="does not fit") as refused:
        load_model(arch="photo11", checkpoint=tmp_path / "mine.pth")
    assert str(refused.value).isprintable() and "x1b[31m" in str(refused.value)
