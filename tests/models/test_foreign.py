"""Checkpoints as training programs save them, each made here by a few lines: what of them is taken, and what is said."""

from __future__ import annotations

import argparse
import collections
import pathlib
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from iscam import LoadedModel, load_model
from iscam.models import architectures, reading
from iscam.models.heads import find_head
from iscam.models.naming import find_weights
from tests.models.networks import SMALL, Trap, assert_sentence, build, logits_of, network_of, noise_photo, save

State = dict[str, Tensor]
CLASSES = 4


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def other(state: State) -> State:
    """Weights of the same shapes that are not those."""
    return {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in state.items()}


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return build("resnet18", classes=CLASSES)


def loaded(content: object, tmp_path: Path, arch: str = "resnet18", **options: object) -> LoadedModel:
    torch.save(content, tmp_path / "mine.pth")
    return load_model(arch=arch, checkpoint=tmp_path / "mine.pth", **{"input_size": SMALL} | options)  # type: ignore[arg-type]


def logits(network: nn.Module, model: LoadedModel) -> Tensor:
    with torch.no_grad():
        return network.eval()(model.transforms(noise_photo())[None])[0]


def refusal(content: object, tmp_path: Path, arch: str = "resnet18", **options: object) -> str:
    with pytest.raises(ValueError) as caught:
        loaded(content, tmp_path, arch, **options)
    assert_sentence(caught.value, "mine.pth")
    return str(caught.value)


# ---- what programs wrap weights in


class AttributeDict(dict):  # type: ignore[type-arg]
    """Lightning's mapping of hyper-parameters, by name."""


AttributeDict.__module__ = "lightning_fabric.utilities.data"


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lightning_fabric", "lightning_fabric.utilities", "lightning_fabric.utilities.data"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules["lightning_fabric.utilities.data"], "AttributeDict", AttributeDict, raising=False)


def options() -> argparse.Namespace:
    nested = argparse.Namespace(rate=0.1)
    return argparse.Namespace(lr=np.float64(0.1), out=pathlib.Path("/tmp/x"), nested=nested, steps=[1, 2])


WRAPS: dict[str, Callable[[State], object]] = {
    "torchvision's script": lambda s: {
        "model": s,
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": np.float64(0.1)}]},
        "lr_scheduler": {"base_lrs": [0.1], "milestones": collections.Counter([3])},
        "epoch": np.int64(9),
        "args": options(),
        "best": np.float32(0.9),
        "confusion": np.eye(3),
        "history": collections.defaultdict(list, loss=[1.0]),
    },
    "Lightning, model": lambda s: {
        "epoch": 3,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": prefixed("model.", s),
        "hyper_parameters": AttributeDict(lr=0.1, head={"classes": 4}),
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.5)}},
        "loops": {"fit_loop": {"state_dict": {}}},
    },
    "Lightning, net": lambda s: {"state_dict": prefixed("net.", s), "hyper_parameters": {"lr": 0.1}},
    "timm, distributed": lambda s: {"arch": "resnet18", "state_dict": prefixed("module.", s), "args": options(), "version": 2},
    "any prefix": lambda s: prefixed("student.encoder.body.", s),
    "compiled inside": lambda s: {"state_dict": prefixed("model._orig_mod.", s)},
    "SWA": lambda s: {"n_averaged": torch.tensor(5), **prefixed("module.", s)},
    "bfloat16": lambda s: {name: t.bfloat16() if t.is_floating_point() else t for name, t in s.items()},
    "double": lambda s: {name: t.double() if t.is_floating_point() else t for name, t in s.items()},
}  # fmt: skip


@pytest.mark.usefixtures("lightning")
@pytest.mark.parametrize("wrap", WRAPS)
def test_weights_are_found_in_their_wrapping(tmp_path: Path, resnet: nn.Module, wrap: str) -> None:
    model = loaded(WRAPS[wrap](resnet.state_dict()), tmp_path)
    tolerance = 2e-2 if wrap == "bfloat16" else 1e-5
    torch.testing.assert_close(logits_of(model), logits(resnet, model), rtol=tolerance, atol=tolerance)
    assert len(model.categories) == CLASSES
    assert model.notes == (("Left out of mine.pth: n_averaged (a counter).",) if wrap == "SWA" else ())


def test_an_averaged_model_of_torch(tmp_path: Path, resnet: nn.Module) -> None:
    model = loaded(AveragedModel(resnet).state_dict(), tmp_path)
    torch.testing.assert_close(logits_of(model), logits(resnet, model))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda own, average: {
            "model": own,
            "model_ema": {"n_averaged": torch.tensor(3), **prefixed("module.", average)},
        },
        lambda own, average: {"state_dict": own, "ema_state_dict": average, "ema_decay": 0.99},
        lambda own, average: {"state_dict": own, "state_dict_ema": average},
        lambda own, average: {"state_dict": prefixed("net.", own) | prefixed("ema.module.", average)},
    ],
)
def test_averaged_weights_are_taken_and_that_is_said(
    tmp_path: Path, resnet: nn.Module, wrap: Callable[[State, State], object]
) -> None:
    """Which training programs measure by."""
    state = resnet.state_dict()
    model = loaded(wrap(other(state), state), tmp_path)
    torch.testing.assert_close(logits_of(model), logits(resnet, model))
    assert "averaged ones were taken" in model.notes[0] and "ema" in model.notes[0]
    assert_sentence(model.notes[0])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"generator": state, "discriminator": other(state)},
        lambda state: {"state_dict": prefixed("encoder_q.", state) | prefixed("encoder_k.", other(state))},
    ],
)
def test_of_two_networks_none_is_guessed(tmp_path: Path, resnet: nn.Module, wrap: Callable[[State], object]) -> None:
    text = refusal(wrap(resnet.state_dict()), tmp_path)
    assert "2 times" in text and ("generator, discriminator" in text or "encoder_q, " in text)


def test_what_is_no_part_of_the_network_is_left_out_and_named(tmp_path: Path, resnet: nn.Module) -> None:
    spare = {
        **{"criterion.weight": torch.ones(CLASSES), "loss_fn.pos_weight": torch.ones(1)},
        **{"train_acc.confmat": torch.zeros(4, 4), "val_metrics.f1.tp": torch.zeros(4)},
        **{"model.total_ops": torch.zeros(1), "model.layer1.total_params": torch.zeros(1)},
    }
    model = loaded({"state_dict": prefixed("model.", resnet.state_dict()) | spare}, tmp_path)
    torch.testing.assert_close(logits_of(model), logits(resnet, model))
    (note,) = model.notes
    assert_sentence(note)
    assert "criterion.weight, loss_fn.pos_weight (of a loss)" in note and "model.total_ops" in note
    assert "(of a metric)" in note and "(a profiler's counts)" in note
    profiled = (
        resnet.state_dict()
        | {f"layer{i}.total_ops": torch.zeros(1) for i in range(1, 5)}
        | {"total_ops": torch.ones(1)}
    )
    (note,) = loaded(profiled, tmp_path).notes
    assert "and 2 more (a profiler's counts)" in note


@pytest.mark.parametrize("name", ["head.weight", "normalize.mean", "model.extra.bias", "temperature"])
def test_what_may_be_a_part_of_it_is_not_left_out(tmp_path: Path, resnet: nn.Module, name: str) -> None:
    """A second head, or a normalisation of its own, would make another network of it."""
    content = {"state_dict": prefixed("model.", resnet.state_dict()) | {name: torch.ones(3)}}
    assert f"it has {name.removeprefix('model.')}, which the architecture has not" in refusal(content, tmp_path)


# ---- old names, other heads, other inputs


def test_densenets_old_names_and_a_head_in_a_sequential(tmp_path: Path) -> None:
    """As in CheXNet: densenet121.features.denseblock1.denselayer1.norm.1.weight, classifier.0.weight."""
    network = build("densenet121", classes=14)
    state = {name.replace("classifier.", "classifier.0."): tensor for name, tensor in network.state_dict().items()}
    for part in ("norm", "conv"):
        for number in "12":
            state = {
                name.replace(f".{part}{number}.", f".{part}.{number}.") if "denselayer" in name else name: tensor
                for name, tensor in state.items()
            }
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    content = {"epoch": 1, "state_dict": prefixed("module.densenet121.", state), "best_loss": 0.1}
    model = loaded(content, tmp_path, "densenet121")
    torch.testing.assert_close(logits_of(model), logits(network, model), rtol=1e-4, atol=1e-5)
    assert model.notes[0] == "DenseNet's old names in mine.pth were read as today's."
    assert model.notes[1] == "Its head was rebuilt: classifier.0 (1024 to 14)."
    assert model.head_layer == "features"


def test_a_vision_transformers_old_names() -> None:
    wanted = ["encoder.layers.encoder_layer_0.mlp.0.weight", "encoder.layers.encoder_layer_0.mlp.3.bias"]
    old = {"encoder.layers.encoder_layer_0.mlp.linear_1.weight": torch.ones(1)}
    old |= {"encoder.layers.encoder_layer_0.mlp.linear_2.bias": torch.ones(1)}
    assert sorted(find_weights(old, wanted, "x.pth").inside) == wanted


HEADS: dict[str, tuple[str, str, Callable[[int], nn.Module], str]] = {
    "dropout": ("resnet18", "fc", lambda c: nn.Sequential(nn.Dropout(), nn.Linear(c, 4)), "fc.1 (512 to 4)."),
    "two layers": (
        "resnet18", "fc", lambda c: nn.Sequential(nn.Linear(c, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 4)),
        "fc.0 (512 to 32), a ReLU, fc.3 (32 to 4); which activation it has",
    ),
    "no activation": (
        "resnet18", "fc", lambda c: nn.Sequential(nn.Linear(c, 32), nn.Linear(32, 4)), "fc.0 (512 to 32), fc.1 (32 to 4)."
    ),
    "norms, as fastai": (
        "resnet18", "fc",
        lambda c: nn.Sequential(
            *(nn.BatchNorm1d(c), nn.Dropout(), nn.Linear(c, 32, bias=False)),
            *(nn.ReLU(), nn.BatchNorm1d(32), nn.Dropout(), nn.Linear(32, 4)),
        ),
        "fc.0 (batch norm), fc.2 (512 to 32), a ReLU, fc.4 (batch norm), fc.6 (32 to 4)",
    ),
    "norm before the activation": (
        "resnet18", "fc", lambda c: nn.Sequential(nn.Linear(c, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4)),
        "fc.0 (512 to 32), fc.1 (batch norm), a ReLU, fc.3 (32 to 4)",
    ),
    "by names": (
        "resnet18", "fc",
        lambda c: nn.Sequential(collections.OrderedDict(a=nn.Linear(c, 9), relu=nn.ReLU(), b=nn.Linear(9, 4))),
        "fc.a (512 to 9), a ReLU, fc.b (9 to 4)",
    ),
    "without a bias": ("resnet18", "fc", lambda c: nn.Linear(c, 4, bias=False), "fc (512 to 4)."),
    "the last of several": (
        "mobilenet_v3_small", "classifier.3", lambda c: nn.Sequential(nn.Dropout(), nn.Linear(c, 4)),
        "classifier.3.1 (1024 to 4).",
    ),
    "all of several": ("mobilenet_v3_small", "classifier", lambda c: nn.Linear(576, 4), "classifier (576 to 4)."),
    "instead of a sequential": ("efficientnet_b0", "classifier", lambda c: nn.Linear(c, 4), "classifier (1280 to 4)."),
}  # fmt: skip


@pytest.mark.parametrize("case", HEADS)
def test_a_head_is_rebuilt_from_its_shapes(tmp_path: Path, case: str) -> None:
    arch, path, make, words = HEADS[case]
    torch.manual_seed(3)
    network = build(arch, classes=3)
    last = network.get_submodule(architectures.outline(arch)[1])
    head = make(last.in_features)
    for part in head.modules():
        if isinstance(part, nn.BatchNorm1d):
            nn.init.uniform_(part.running_mean)
    network.set_submodule(path, head)
    model = loaded({"state_dict": prefixed("model.", network.state_dict())}, tmp_path, arch)
    torch.testing.assert_close(logits_of(model), logits(network, model), rtol=1e-4, atol=1e-5)
    assert len(model.categories) == 4
    (note,) = model.notes
    assert_sentence(note, f"Its head was rebuilt: {words}")


def test_a_head_beside_the_backbone(tmp_path: Path, resnet: nn.Module) -> None:
    state = prefixed("backbone.", {name: t for name, t in resnet.state_dict().items() if not name.startswith("fc.")})
    content = {"state_dict": state | {"classifier.weight": resnet.fc.weight, "classifier.bias": resnet.fc.bias}}
    model = loaded(content, tmp_path)
    torch.testing.assert_close(logits_of(model), logits(resnet, model))
    assert model.notes == ("Its head was rebuilt: classifier (512 to 4).",)
    assert "it has no fc.weight" in refusal({"state_dict": state}, tmp_path)


@pytest.mark.parametrize(
    "head",
    [
        {"0.weight": torch.zeros(4, 100)},  # of other features
        {"0.weight": torch.zeros(4, 512), "1.weight": torch.zeros(4)},  # a norm of another kind
        {"0.weight": torch.zeros(4, 512, 1)},
        {"0.weight": torch.zeros(4, 512), "1.running_mean": torch.zeros(4)},
        {"0.queries": torch.zeros(4, 512)},
    ],
)
def test_a_head_that_its_shapes_do_not_tell_is_refused(tmp_path: Path, resnet: nn.Module, head: State) -> None:
    state = {name: t for name, t in resnet.state_dict().items() if not name.startswith("fc.")} | prefixed("fc.", head)
    assert "does not fit the architecture: it has no fc.weight" in refusal(state, tmp_path)


def test_every_architecture_keeps_its_own_head() -> None:
    for arch in ("vgg16", "squeezenet1_1", "mobilenet_v3_large", "convnext_tiny", "vit_b_16", "photo11", "densenet121"):
        shapes, last = architectures.outline(arch)
        assert find_head(shapes, last, shapes, {}) is None, arch


@pytest.mark.parametrize(("arch", "first"), [("resnet18", "conv1"), ("mobilenet_v3_small", "features.0.0")])
def test_a_network_of_grey_photos(tmp_path: Path, arch: str, first: str) -> None:
    """Its first convolution has one channel: it reads the first of three that are equal."""
    network = build(arch, classes=CLASSES)
    own = network.get_submodule(first)
    grey = nn.Conv2d(1, own.out_channels, own.kernel_size, own.stride, own.padding, bias=False)
    network.set_submodule(first, grey)
    network.eval()
    model = loaded(network.state_dict(), tmp_path, arch)
    image = model.transforms(noise_photo())[None]
    assert torch.equal(image[:, 0], image[:, 1]) and torch.equal(image[:, 0], image[:, 2])
    with torch.no_grad():
        torch.testing.assert_close(model.network(image), network(image[:, :1]), rtol=1e-4, atol=1e-5)
    shades = np.asarray(noise_photo().convert("L").resize((SMALL, SMALL)))
    plain = loaded(network.state_dict(), tmp_path, arch, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)).transforms
    small = plain(Image.fromarray(shades).convert("RGB").resize((300, 300)))
    assert small.amin() >= -2 and small.amax() <= 2
    assert model.notes == ("The first convolution of mine.pth has one channel, so photos are made grey.",)
    white = model.transforms(Image.new("RGB", (90, 90), "white"))
    torch.testing.assert_close(white, torch.full_like(white, (1 - 0.449) / 0.226))


def test_a_network_of_other_inputs_is_refused(tmp_path: Path, resnet: nn.Module) -> None:
    state = resnet.state_dict() | {"conv1.weight": torch.zeros(64, 6, 7, 7)}
    assert "inputs of 6 channels" in refusal(state, tmp_path)


@pytest.mark.parametrize("arch", ["googlenet", "inception_v3"])
def test_auxiliary_heads_may_be_there_or_not(tmp_path: Path, arch: str) -> None:
    """And of the rescaling of inputs, which no checkpoint tells, is said how it is asked for."""
    torch.manual_seed(1)
    with_heads = torchvision.models.get_model(
        arch, weights=None, num_classes=3, aux_logits=True, init_weights=False, transform_input=True
    )
    state = with_heads.state_dict()
    size = 96
    model = loaded(state, tmp_path, arch, input_size=size, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert len(model.notes) == 1 and "(an auxiliary head, used in training alone)" in model.notes[0]
    usual = loaded(
        {name: t for name, t in state.items() if not name.lower().startswith("aux")}, tmp_path, arch, input_size=size
    )
    assert len(usual.notes) == 1 and "transform_input" in usual.notes[0]
    assert_sentence(usual.notes[0])
    with torch.no_grad():
        wanted = with_heads.eval()(usual.transforms(noise_photo())[None])[0]
    torch.testing.assert_close(logits_of(model), wanted, rtol=1e-3, atol=1e-4)


def test_the_size_of_a_vision_transformers_input_follows_from_its_positions(tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = architectures.build("vit_b_16", classes=3, side=64).eval()
    nn.init.normal_(network.heads.head.weight, std=0.05)
    file = save(network, tmp_path / "mine.pth")
    model = load_model(arch="vit_b_16", checkpoint=file)
    assert (model.geometry.input_size, model.geometry.resize) == (64, 73)
    assert model.layers["encoder.layers.encoder_layer_11.ln_1"] == (4, 4)
    torch.testing.assert_close(logits_of(model), logits(network, model), rtol=1e-4, atol=1e-5)
    assert load_model(arch="vit_b_16", checkpoint=file, input_size=64).geometry == model.geometry
    with pytest.raises(ValueError, match="made for inputs of 64 x 64 pixels") as caught:
        load_model(arch="vit_b_16", checkpoint=file, input_size=224)
    assert_sentence(caught.value, "mine.pth", "leave the size out")
    assert architectures.input_side("vit_b_16", {"encoder.pos_embedding": torch.zeros(1, 16, 8)}) is None
    assert architectures.input_side("resnet18", {"encoder.pos_embedding": torch.zeros(1, 17, 8)}) is None


def test_timms_network_from_its_own_training(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0", num_classes=3).eval()
    content = {
        "arch": "tf_efficientnet_lite0",
        "state_dict": prefixed("module.", network.state_dict()),
        "args": options(),
    }
    model = loaded(content, tmp_path, "efficientnet_lite0")
    torch.testing.assert_close(logits_of(model), logits(network, model), rtol=1e-4, atol=1e-5)
    white = model.transforms(Image.new("RGB", (90, 90), "white"))
    assert torch.equal(white, torch.ones_like(white))  # by timm's mean and std, 0.5 each


# ---- what is no weights file, and what would run code


NO_WEIGHTS = {
    "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n": ("Git LFS pointer", "git lfs pull"),
    "\n<!DOCTYPE html>\n<html><body>Sign in</body></html>": ("a web page", "download the file itself"),
    "<html>": ("a web page",),
    "\x89HDF\r\n\x1a\n": ("HDF5", "state dict"),
    "\x1f\x8b\x08": ("gzip archive", "unpack it"),
}


@pytest.mark.parametrize("text", NO_WEIGHTS)
@pytest.mark.parametrize("name", ["mine.pth", "mine.safetensors"])
def test_what_is_no_weights_file_is_called_by_its_name(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError) as caught:
        load_model(arch="resnet18", checkpoint=tmp_path / name)
    assert_sentence(caught.value, name, *NO_WEIGHTS[text])


@pytest.mark.parametrize("legacy", [True, False])
def test_a_whole_pickled_model_is_answered_by_the_line_that_mends_it(tmp_path: Path, legacy: bool) -> None:
    """The line does mend it."""
    network, file = build("resnet18", classes=CLASSES), tmp_path / "mine.pth"
    torch.save(network, file, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match="a whole pickled model") as caught:
        load_model(arch="resnet18", checkpoint=file)
    assert_sentence(caught.value, "torchvision.models.resnet.ResNet")
    line = str(caught.value)
    line = line[line.index("torch.save(") : -1]
    assert line == 'torch.save(torch.load("mine.pth", weights_only=False).state_dict(), "weights.pth")'
    exec(line.replace("mine.pth", str(file)).replace("weights.pth", str(tmp_path / "weights.pth")), {"torch": torch})
    model = load_model(arch="resnet18", checkpoint=tmp_path / "weights.pth", input_size=SMALL)
    torch.testing.assert_close(logits_of(model), logits(network, model))


def test_a_script_is_called_a_program(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # scripts are going out of fashion
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "mine.pth")
    with pytest.raises(ValueError, match="TorchScript archive, which is a program") as caught:
        load_model(arch="resnet18", checkpoint=tmp_path / "mine.pth")
    assert_sentence(caught.value, "mine.pth", "state_dict()")


class Sprung(dict):  # type: ignore[type-arg]
    """A mapping that is made by a call of one's own."""

    def __init__(self, trap: Trap) -> None:
        self.trap = trap

    def __reduce__(self) -> tuple[object, ...]:
        return np.array([1]).__reduce__()[0], (self.trap, (0,), b"b")


TRAPS: dict[str, Callable[[State, Trap], object]] = {
    "beside": lambda s, t: {"model": s, "args": t},
    "in a namespace": lambda s, t: {"model": s, "args": argparse.Namespace(lr=t)},
    "in Lightning's settings": lambda s, t: {
        "state_dict": prefixed("model.", s),
        "hyper_parameters": AttributeDict(lr=t),
    },
    "in a factory": lambda s, t: {"state_dict": s, "history": collections.defaultdict(list, {"x": t})},
    "in a list": lambda s, t: {"state_dict": s, "steps": [1, [t]]},
    "as a key": lambda s, t: {"state_dict": s, (1, t): 2},
    "in an average": lambda s, t: {"model": s, "model_ema": {"n_averaged": t, **s}},
    "in an array": lambda s, t: {"model": s, "best": np.array([t], object)},
    "in numpy's call": lambda s, t: {"model": s, "best": Sprung(t)},
    "among the weights": lambda s, t: {**s, "fc.bias": t},
}


@pytest.mark.usefixtures("lightning")
@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("where", TRAPS)
def test_nothing_that_is_opened_runs_code(tmp_path: Path, resnet: nn.Module, where: str, legacy: bool) -> None:
    """In whichever wrapping; the trap does work where code may run."""
    file, sprung = tmp_path / "mine.pth", tmp_path / "sprung"
    content = TRAPS[where](resnet.state_dict(), Trap(sprung))
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match="does not hold weights only, so it is not opened") as caught:
        load_model(arch="resnet18", checkpoint=file)
    assert_sentence(caught.value, "mine.pth", "state_dict")
    assert not sprung.exists()
    try:
        torch.load(file, weights_only=False)
    except Exception:
        assert where == "in numpy's call"  # what it makes there is no type
    assert sprung.exists()


def test_names_that_are_allowed_make_nothing_of_their_kind(tmp_path: Path) -> None:
    """Also where their makers would do something with what they are given."""
    torch.save({"args": options(), "best": np.float64(1.5), "grid": np.eye(2)}, tmp_path / "mine.pth")
    content = reading.read_content(tmp_path / "mine.pth")
    assert isinstance(content, dict)
    assert all(type(value) is reading.Aside and not vars(value) for value in content.values())
    named = {item[1] for item in torch.serialization.get_safe_globals() if isinstance(item, tuple)}
    assert not named & {name for names in reading.BESIDE.values() for name in names}


def test_what_was_left_out_is_said_by_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from iscam.__main__ import main
    from iscam.show import export

    monkeypatch.setattr(export, "comparison_figure", lambda *_: Image.new("RGB", (1, 1)))
    save(network_of("photo11"), tmp_path / "mine.pth", lambda state: dict(state) | {"criterion.weight": torch.ones(3)})
    noise_photo(90).save(tmp_path / "a.png")
    files = [str(tmp_path / name) for name in ("a.png", "mine.pth", "out")]
    words = ["explain", files[0], "--arch", "photo11", "--checkpoint", files[1], "--out", files[2], "--methods", "cam"]
    assert main([*words, "--input-size", "64"]) == 0
    assert capsys.readouterr().err == "Left out of mine.pth: criterion.weight (of a loss).\n"
