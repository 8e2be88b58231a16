"""Folders as the Hub stores networks of timm, each written here by a few lines: what of them is used, and what is refused."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from timm.models import save_for_hf
from torch import Tensor, nn

from iscam import Explainer, LoadedModel, load_model
from iscam.models import hub, missing_bytes
from iscam.models.names import is_named, parse
from tests.conftest import ROOT
from tests.models.networks import Trap, assert_sentence

PHOTO = ROOT / "assets" / "examples" / "chelsea.jpg"
CLASSES = 5
SWIN = {"img_size": 64, "window_size": 4, "embed_dim": 24, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 3, 4)}
NETWORKS: dict[str, dict[str, Any]] = {
    "test_resnet": {},
    "test_efficientnet": {},
    "test_convnext": {},
    "test_vit": {},
    "swin_tiny_patch4_window7_224": SWIN,
    "deit_tiny_distilled_patch16_224": {"img_size": 64, "embed_dim": 48, "depth": 2},
}


def make(name: str = "test_resnet", classes: int = CLASSES, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = timm.create_model(name, num_classes=classes, **options).eval()
    return network


def store(folder: Path, network: nn.Module, data: dict[str, Any] | None = None, **config: Any) -> Path:
    """As timm stores a network for the Hub, with some of its config replaced."""
    save_for_hf(network, folder, safe_serialization=True, data_config=data)
    return rewrite(folder, lambda said: said | config)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    return folder


def load(folder: Path) -> LoadedModel:
    return load_model(f"local-dir:{folder}")


def logits(network: nn.Module, image: Tensor) -> Tensor:
    with torch.no_grad():
        given = network(image[None])
    return getattr(given, "logits", given)[0]


def photo() -> Image.Image:
    return Image.open(PHOTO).convert("RGB")


def refusal(folder: Path, *words: str, error: type[Exception] = ValueError) -> None:
    with pytest.raises(error) as caught:
        load(folder)
    assert type(caught.value) is error
    assert_sentence(caught.value, *words)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_stored_network_sees_and_says_what_it_does_in_timm(tmp_path: Path, name: str) -> None:
    store(tmp_path, make(name, **NETWORKS[name]))
    peer = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    model, seen = load(tmp_path), create_transform(**resolve_data_config(model=peer))(photo())
    torch.testing.assert_close(model.transforms(photo()), seen, rtol=0, atol=1e-6)
    torch.testing.assert_close(logits(model.network, seen), logits(peer, seen), rtol=1e-6, atol=1e-6)
    assert model.key == f"local-dir:{tmp_path}"
    assert model.label == tmp_path.name
    assert model.weights_file == tmp_path / "model.safetensors"
    assert len(model.weights_sha256) == 64
    assert model.categories == tuple(f"class {i}" for i in range(CLASSES))


@pytest.mark.parametrize("crop", [("center", 0.9), ("center", 1.0), ("squash", 1.0), ("border", 1.0)], ids=str)
def test_photos_are_fitted_as_timm_fits_them(tmp_path: Path, crop: tuple[str, float]) -> None:
    """0.9 of 100 pixels is cut from 111.1, of which timm takes 111; others would round 1/0.87 up."""
    data = {"crop_mode": crop[0], "crop_pct": crop[1], "interpolation": "bilinear", "mean": (0.1, 0.2, 0.3)}
    store(tmp_path, make(), {"input_size": (3, 100, 100), **data})
    model = load(tmp_path)
    peer = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    seen = create_transform(**resolve_data_config(model=peer))(photo())
    torch.testing.assert_close(model.transforms(photo()), seen, rtol=0, atol=1e-6)
    fit = {"border": "pad"}.get(crop[0], crop[0])
    assert (model.geometry.fit, model.geometry.resize) == (fit, int(100 / crop[1]))
    assert model.preparation.mean == (0.1, 0.2, 0.3)


def test_a_network_of_one_channel_is_shown_grey_photos(tmp_path: Path) -> None:
    network = make(in_chans=1)
    store(tmp_path, network, {"mean": (0.5,), "std": (0.5,), "input_size": (1, 64, 64)})
    model = load(tmp_path)
    image = model.transforms(photo())
    assert image.shape == (1, 64, 64)
    torch.testing.assert_close(logits(model.network, image), logits(network, image))


def test_a_stored_network_is_explained(tmp_path: Path) -> None:
    store(tmp_path, make(), label_names=["a", "b", "c", "d", "e"])
    explainer = Explainer(load(tmp_path))
    analysis = explainer.analyse(PHOTO)
    for method in ("cam", "grad-cam", "score-cam"):
        assert explainer.explain(analysis, method, target="c").category == "c"


def test_old_names_are_read_as_timm_reads_them(tmp_path: Path) -> None:
    """Swin's files of before have tables that are worked out today."""
    network = make("swin_tiny_patch4_window7_224", **SWIN)
    store(tmp_path, network)
    old = network.state_dict() | {"layers.0.blocks.0.attn.relative_position_index": torch.zeros(16, 16)}
    safetensors.torch.save_file(old, tmp_path / "model.safetensors")
    model = load(tmp_path)
    image = model.transforms(photo())
    torch.testing.assert_close(logits(model.network, image), logits(network, image))


# ---- what the classes are called


def test_classes_have_the_names_of_the_config(tmp_path: Path) -> None:
    names = ["n01", "n02", "n03", "n04", "n05"]
    store(
        tmp_path, make(), label_names=names, label_descriptions={"n02": "tench, Tinca", "n03": "<b>x</b>\nand\t more"}
    )
    assert load(tmp_path).categories == ("n01", "tench, Tinca", "<b>x</b> and more", "n04", "n05")
    rewrite(tmp_path, lambda said: said | {"label_names": {"3": "x" * 1000}, "label_descriptions": None})
    found = load(tmp_path).categories
    assert found[:3] == ("class 0", "class 1", "class 2")
    assert found[3].startswith("xxx") and len(found[3]) == 200


def test_a_thousand_classes_without_names_are_those_of_imagenet(tmp_path: Path) -> None:
    store(tmp_path, make(classes=1000))
    assert load(tmp_path).categories[281] == "tabby"


# ---- what is refused


def _pretrained(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda said: said | {"pretrained_cfg": said["pretrained_cfg"] | changes}


def _arguments(**arguments: Any) -> Callable[[dict[str, Any]], object]:
    return lambda said: said | {"model_args": arguments}


def _deep(_said: object) -> object:
    nested: object = 1
    for _ in range(500):
        nested = [nested]
    return {"architecture": "test_resnet", "model_args": {"channels": nested}}


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a checkpoint elsewhere": (_arguments(checkpoint_path="/etc/passwd"), "checkpoint_path"),
    "a checkpoint that is a word": (_arguments(checkpoint_path="passwd"), "checkpoint_path"),
    "weights of timm": (_arguments(pretrained=True), "pretrained"),
    "a cache": (_arguments(cache_dir="x"), "cache_dir"),
    "a config": (_arguments(pretrained_cfg={"file": "x"}), "pretrained_cfg"),
    "an overlay": (_arguments(pretrained_cfg_overlay="x"), "pretrained_cfg_overlay"),
    "a wrapper": (_arguments(features_only=True), "features_only"),
    "a device": (_arguments(device="cuda"), "device"),
    "a hidden name": (_arguments(__class__="x"), "__class__"),
    "a path": (_arguments(block="../x"), "block"),
    "a module": (_arguments(act_layer="os.system"), "act_layer"),
    "a mapping": (_arguments(block_args={"a": 1}), "block_args"),
    "a huge number": (_arguments(stem_width=10**9), "stem_width"),
    "a number of 400 digits": (_arguments(stem_width=10**400), "stem_width"),
    "a long list": (_arguments(layers=[1] * 1000), "layers"),
    "many channels": (_arguments(channels=[9999] * 4), "fetch both again"),
    "arguments that make no sense": (_arguments(layers="x"), "test_resnet"),
    "arguments that nobody knows": (_arguments(no_such_thing=1), "test_resnet"),
    "other classes in the arguments": (_arguments(num_classes=7), "num_classes"),
    "arguments that are a list": (lambda said: said | {"model_args": [1]}, "model_args"),
    "an unknown architecture": (lambda said: said | {"architecture": "os.system"}, "os.system"),
    "an architecture elsewhere": (lambda said: said | {"architecture": "local-dir:/tmp"}, "local-dir:/tmp"),
    "no architecture": (lambda said: {"pretrained_cfg": {}}, "architecture"),
    "a config that is none": (lambda said: said | {"pretrained_cfg": "x"}, "pretrained_cfg"),
    "no mapping": (lambda said: [said], "config.json"),
    "a deep one": (_deep, "channels"),
    "a million classes": (lambda said: said | {"num_classes": 10**6}, "num_classes"),
    "no classes": (lambda said: said | {"num_classes": 0}, "num_classes"),
    "half a class": (lambda said: said | {"num_classes": 2.5}, "num_classes"),
    "true classes": (lambda said: said | {"num_classes": True}, "num_classes"),
    "other classes": (lambda said: said | {"num_classes": 7, "model_args": {}}, "fc.weight"),
    "a huge input": (_pretrained(input_size=[3, 10**6, 10**6]), "input_size"),
    "an oblong input": (_pretrained(input_size=[3, 64, 96]), "input_size"),
    "an input of words": (_pretrained(input_size="3x64x64"), "input_size"),
    "a tiny crop": (_pretrained(crop_pct=1e-9), "crop_pct"),
    "a crop of a squashed photo": (_pretrained(crop_mode="squash", crop_pct=0.9), "crop_mode"),
    "another crop": (_pretrained(crop_mode="spiral"), "crop_mode"),
    "another interpolation": (_pretrained(interpolation="hamming"), "interpolation"),
    "std of 0": (_pretrained(std=[0, 1, 1]), "std"),
    "two means": (_pretrained(mean=[0.5, 0.5]), "mean"),
    "few labels": (lambda said: said | {"label_names": ["a"]}, "are 1, for 5"),
    "labels beyond": (lambda said: said | {"label_names": {"5": "a"}}, "class names"),
    "labels by words": (lambda said: said | {"label_names": {"first": "a"}}, "class names"),
    "labels that are none": (lambda said: said | {"label_names": [1, 2, 3, 4, 5]}, "strings"),
    "a label for all": (lambda said: said | {"label_names": "abcde"}, "class names"),
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("stored"), make())


def copied(stored: Path, folder: Path) -> Path:
    for file in stored.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.mark.parametrize("case", HOSTILE)
def test_a_config_sets_nothing_but_numbers_words_and_names(tmp_path: Path, stored: Path, case: str) -> None:
    change, word = HOSTILE[case]
    rewrite(copied(stored, tmp_path), change)
    refusal(tmp_path, word)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": NaN}', '{"a": 1' + "0" * 9000 + "}", "\ud800"])
def test_a_config_that_is_no_json(tmp_path: Path, stored: Path, text: str) -> None:
    (copied(stored, tmp_path) / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    refusal(tmp_path, "config.json", "no JSON")


def test_a_config_that_is_too_large(tmp_path: Path, stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iscam.models.config.LARGEST_CONFIG", 100)
    refusal(copied(stored, tmp_path), "config.json", "MB")


def test_what_a_config_says_besides_has_no_effect(tmp_path: Path, stored: Path) -> None:
    """Places of other weights, and what timm would do with those that are given."""
    other = {"url": "http://127.0.0.1:9/x.pth", "file": "/etc/passwd", "hf_hub_id": "a/b", "source": "hf-hub"}
    rewrite(copied(stored, tmp_path), _pretrained(**other, custom_load=True, label_offset=1, state_dict={"a": 1}))
    image = load(stored).transforms(photo())
    torch.testing.assert_close(logits(load(tmp_path).network, image), logits(load(stored).network, image))


def test_a_pickle_is_not_opened(tmp_path: Path, stored: Path) -> None:
    """Neither under its own name nor under another."""
    (copied(stored, tmp_path) / "model.safetensors").unlink()
    torch.save({"fc.weight": Trap(tmp_path / "sprung")}, tmp_path / "pytorch_model.bin")
    refusal(tmp_path, "model.safetensors", "not opened", error=OSError)
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "model.safetensors")
    refusal(tmp_path, "model.safetensors")
    assert not (tmp_path / "sprung").exists()


def _header(said: object, length: int | None = None, data: bytes = b"\0" * 64) -> bytes:
    text = json.dumps(said).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


LIES = {
    "a length beyond the file": _header({}, 2**40),
    "offsets beyond the file": _header(
        {"fc.weight": {"dtype": "F32", "shape": [10**6], "data_offsets": [0, 4 * 10**6]}}
    ),
    "a shape of other size": _header({"fc.weight": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 64]}}),
    "overlapping tensors": _header({n: {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]} for n in "ab"}),
    "no tensors": _header({}, data=b""),
    "a header that is none": b"\x20\0\0\0\0\0\0\0" + b"x" * 32,
    "nothing": b"",
}


@pytest.mark.parametrize("case", LIES)
def test_weights_whose_header_lies(tmp_path: Path, stored: Path, case: str) -> None:
    (copied(stored, tmp_path) / "model.safetensors").write_bytes(LIES[case])
    refusal(tmp_path, "model.safetensors")


def test_a_folder_that_is_not_there_or_lacks_a_config(tmp_path: Path) -> None:
    refusal(tmp_path / "nowhere", "config.json", "nowhere", error=OSError)
    refusal(tmp_path, "config.json", error=OSError)
    assert missing_bytes(f"local-dir:{tmp_path}") is None


# ---- names


@pytest.mark.parametrize(
    "name",
    ["timm/", "timm/a b", "timm/a/b", "timm/../a", "hf:a", "hf:a/b/c", "hf-hub:a/../b", "hf-hub:/b", "hf:a/b@main", "hf:a\n/b",
     "local-dir:", "local-dir: ", "local-dir:a\0b", f"hf:a/{'b' * 500}", "hf:https://x.org/a", "hf:a/b?x=1", "timm/-x",
     "hf:a/b."],
)  # fmt: skip
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError) as caught:
        is_named(name)
    assert_sentence(caught.value)
    with pytest.raises(ValueError):
        load_model(name)


def test_names_are_known_by_how_they_begin() -> None:
    assert not any(is_named(name) for name in ("resnet50", "photo11", "a/b", "", "/timm/x", "TIMM/x"))
    assert (parse("timm/resnet50.a1_in1k").kind, parse("timm/resnet50.a1_in1k").label) == ("timm", "resnet50.a1_in1k")
    assert (parse("hf:microsoft/resnet-50").kind, parse("hf:microsoft/resnet-50").place) == (
        "hf",
        "microsoft/resnet-50",
    )
    assert parse("local-dir:/a/my net/").label == "my net"


def test_names_like_an_unknown_one_are_told() -> None:
    for name, word in (
        ("timm/resnet5", "resnet50"),
        ("timm/resnet50.x", "a1_in1k"),
        ("timm/qqqqqqqqqqqq", "list_models"),
    ):
        for asked in (load_model, missing_bytes):
            with pytest.raises(ValueError) as caught:
                asked(name)
            assert_sentence(caught.value, word)
    with pytest.raises(ValueError, match="hf-hub:ORG/NAME"):
        load_model("resnet19")


def test_the_limits_are_those_of_files_that_exist() -> None:
    assert hub.LARGEST_WEIGHTS > 1.2e9  # a ViT-L in float32
    assert hub.LARGEST_CONFIG > 3e6
