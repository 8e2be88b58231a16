"""Networks in folders as the Hub stores them: timm's and transformers' own logits and inputs, and nothing that is not plain."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from timm.data import create_transform
from torch import nn

import iscam
from iscam import METHODS, Explainer
from iscam.models.loading import check_key
from iscam.project import EXAMPLES

PHOTO = EXAMPLES / "coffee.jpg"


def store(folder: Path, network: nn.Module, config: object) -> str:
    """Put a network into a folder; return its name."""
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(
        {k: v.contiguous() for k, v in network.state_dict().items()}, folder / "model.safetensors"
    )
    (folder / "config.json").write_text(json.dumps(config))
    return f"local-dir:{folder}"


def timm_config(**changes: Any) -> dict[str, Any]:
    cfg = {
        **{"input_size": [3, 64, 64], "crop_pct": 0.95, "crop_mode": "center", "interpolation": "bicubic"},
        **{"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "label_names": ["ash", "birch", "elm"]},
    }
    whole = {"architecture": "resnet10t", "num_classes": 3, "pretrained_cfg": cfg | changes.pop("cfg", {})}
    return whole | changes


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("resnet10t", num_classes=3).eval()


def test_timms_own_logits_of_timms_own_input(tmp_path: Path, network: nn.Module) -> None:
    key = store(tmp_path / "mine", network, timm_config())
    theirs = timm.create_model(key, pretrained=True).eval()
    feed = create_transform(**timm.data.resolve_data_config({}, model=theirs))
    model = iscam.load_model(key)
    assert (model.key, model.label, model.categories) == (key, "mine", ("ash", "birch", "elm"))
    assert model.weights_sha256 and model.head_layer == model.layer == "layer4"
    image = Image.open(PHOTO).convert("RGB")
    analysis = Explainer(model).analyse(PHOTO)
    torch.testing.assert_close(analysis.forward.image[0], feed(image), atol=1e-6, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(analysis.forward.logits, theirs(feed(image)[None])[0], atol=1e-5, rtol=1e-5)
    assert model.preparation.words == (
        "resized to 67 on the short side (bicubic), centre 64 x 64, mean 0.5 0.4 0.3, std 0.2 0.25 0.3"
    )


def test_every_method_that_can_serve_it_runs(tmp_path: Path, network: nn.Module) -> None:
    explainer = Explainer(iscam.load_model(store(tmp_path, network, timm_config())))
    analysis = explainer.analyse(PHOTO)
    assert all(explainer.explain(analysis, method, samples=2).complete for method in METHODS)


def test_squashed_photos_and_described_names(tmp_path: Path, network: nn.Module) -> None:
    squash = {"crop_mode": "squash", "crop_pct": 1.0, "interpolation": "bilinear"}
    config = timm_config(cfg=squash, label_descriptions={"ash": "ash, a tree"})
    model = iscam.load_model(store(tmp_path, network, config))
    assert model.categories == ("ash, a tree", "birch", "elm") and model.geometry.fit == "squash"
    theirs = timm.create_model(model.key, pretrained=True)
    feed = create_transform(**timm.data.resolve_data_config({}, model=theirs))
    image = Image.open(PHOTO).convert("RGB")
    torch.testing.assert_close(model.transforms(image), feed(image), atol=1e-6, rtol=0)


def test_arguments_that_are_plain_are_taken(tmp_path: Path) -> None:
    small = timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=64, depth=2).eval()
    config = timm_config(architecture="vit_tiny_patch16_224", model_args={"img_size": 64, "depth": 2})
    model = iscam.load_model(store(tmp_path, small, config))
    assert len(model.network.blocks) == 2 and model.layers[model.layer] == (4, 4)  # type: ignore[arg-type]


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"architecture": "os.system"}, "no architecture"),
        ({"architecture": ["resnet10t"]}, "no architecture"),
        ({"architecture": "local-dir:/etc"}, "no architecture"),
        *[
            ({"model_args": {name: "/etc/passwd"}}, name)
            for name in ("checkpoint_path", "cache_dir", "pretrained_cfg", "norm")
        ],
        ({"model_args": {"pretrained": True}}, "pretrained"),
        ({"model_args": {"stem_width": 10**9}}, "stem_width"),
        ({"model_args": {"layers": [[1] * 9]}}, "layers"),
        ({"model_args": {"__class__": 1}}, "__class__"),
        ({"model_args": ["a"]}, "model_args"),
        ({"model_args": {"nothing_of_the_kind": 1}}, "cannot be built|can be built"),
        ({"num_classes": 10**12}, "num_classes"),
        ({"num_classes": True}, "num_classes"),
        ({"num_classes": 4}, "does not fit"),
        ({"pretrained_cfg": 3}, "pretrained_cfg"),
        ({"cfg": {"input_size": [3, 10**6, 10**6]}}, "input_size"),
        ({"cfg": {"input_size": [3, 64, 32]}}, "square"),
        ({"cfg": {"crop_pct": 1e-9}}, "crop_pct"),
        ({"cfg": {"mean": ["a", "b", "c"]}}, "mean"),
        ({"cfg": {"std": [0, 0, 0]}}, "std"),
        ({"cfg": {"interpolation": "/etc/passwd"}}, "resized by"),
        ({"cfg": {"crop_mode": "border"}}, "border"),
        ({"cfg": {"label_names": ["ash"]}}, "names of the classes"),
        ({"cfg": {"label_names": [["ash"], 1, 2]}}, "names of the classes"),
    ],
)
def test_what_is_not_plain_is_refused(
    tmp_path: Path, network: nn.Module, changes: dict[str, Any], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = store(tmp_path, network, timm_config(**changes))
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("something was fetched"))
    with pytest.raises(ValueError, match=word) as caught:
        iscam.load_model(key)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("text", ["[1]", "{", '"config"', deep(100_000), "{}", "\xff"])
def test_what_is_no_configuration_is_refused(tmp_path: Path, network: nn.Module, text: str) -> None:
    key = store(tmp_path, network, {})
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"config\.json") as caught:
        iscam.load_model(key)
    assert "\n" not in str(caught.value)


def test_a_configuration_has_a_limit(tmp_path: Path, network: nn.Module) -> None:
    key = store(tmp_path, network, timm_config(more="x" * 5_000_001))
    with pytest.raises(ValueError, match="5 MB"):
        iscam.load_model(key)


def test_markup_in_names_stays_words(tmp_path: Path, network: nn.Module) -> None:
    names = ["<script>alert(1)</script>", "b" * 10_000, "elm"]
    model = iscam.load_model(store(tmp_path, network, timm_config(cfg={"label_names": names})))
    assert model.categories == (names[0], "b" * 200, "elm")


@pytest.mark.parametrize("kind", ["huge header", "tensor beyond the file", "a pickle", "empty", "of another network"])
def test_weights_that_lie_are_refused(tmp_path: Path, network: nn.Module, kind: str) -> None:
    key = store(tmp_path, network, timm_config())
    file = tmp_path / "model.safetensors"
    header = json.dumps({"fc.weight": {"dtype": "F32", "shape": [3, 512], "data_offsets": [0, 6144]}}).encode()
    if kind == "huge header":
        file.write_bytes(struct.pack("<Q", 2**62) + header)
    elif kind == "tensor beyond the file":
        file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(10))
    elif kind == "a pickle":
        torch.save({"fc.weight": Nasty()}, file)
    elif kind == "empty":
        file.write_bytes(b"")
    else:
        safetensors.torch.save_file({"fc.weight": torch.zeros(3, 7)}, file)
    with pytest.raises(ValueError, match=r"model\.safetensors|does not fit") as caught:
        iscam.load_model(key)
    assert "\n" not in str(caught.value) and not Nasty.ran


class Nasty:
    """Runs when it is unpickled."""

    ran = False

    def __reduce__(self) -> Any:
        return setattr, (Nasty, "ran", True)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_without_one_of_its_files(tmp_path: Path, network: nn.Module, missing: str) -> None:
    key = store(tmp_path, network, timm_config())
    (tmp_path / missing).unlink()
    with pytest.raises(OSError, match=f"no {missing}"):
        iscam.load_model(key)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "timm/",
            "timm/a b",
            "timm/../x",
            "timm/a/b",
            "hf-hub:resnet",
            "hf-hub:a/b/c",
            "hf-hub:/etc/passwd",
            "hf:a--b/c",
        ),
        *("hf:../..", "hf:a/b@main", "local-dir:", "nothing"),
    ],
)
def test_names_have_a_form(name: str) -> None:
    with pytest.raises(ValueError, match=r"timm/NAME|config\.json") as caught:
        check_key(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["timm/resnet50", "timm/resnet50.a1_in1k", "hf-hub:org/a_b-c.d", "hf:o/x", "local-dir:/a b"]
)
def test_names_that_are_well_formed(name: str) -> None:
    check_key(name)


@pytest.mark.parametrize("name", ["timm/resnet5", "timm/resnet50.none", "timm/Resnet50"])
def test_what_timm_has_not_is_answered_by_what_is_near(name: str) -> None:
    with pytest.raises(ValueError, match="timm has no network"):
        iscam.load_model(name)
