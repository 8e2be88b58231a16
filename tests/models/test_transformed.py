"""Image classifiers of transformers, as that library stores them: its logits, its inputs, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import iscam
from iscam import METHODS, Explainer
from iscam.project import EXAMPLES

transformers = pytest.importorskip("transformers", reason="needs transformers")
PHOTO = EXAMPLES / "coffee.jpg"
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
FOUR = {"hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1]}
VIT = ("ViTImageProcessor", {"size": {"height": 64, "width": 64}})
BIT = ("BitImageProcessor", {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}})
NEXT = ("ConvNextImageProcessor", {"size": {"shortest_edge": 64}, "crop_pct": 0.875})
BENT = ("DeiTImageProcessor", BIT[1] | {"size": {"height": 72, "width": 72}})
KINDS = {
    "vit": (SMALL | {"image_size": 64, "patch_size": 16}, VIT),
    "deit": (
        SMALL | {"image_size": 64, "patch_size": 16},
        ("DeiTImageProcessor", BIT[1] | {"size": {"height": 72, "width": 72}}),
    ),
    "dinov2": (SMALL | {"image_size": 64, "patch_size": 16}, BIT),
    "swin": ({"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4, "image_size": 64}, VIT),
    "resnet": (FOUR | {"embedding_size": 16, "layer_type": "basic"}, NEXT),
    "convnext": (FOUR, NEXT),
    "regnet": (FOUR | {"embedding_size": 16, "groups_width": 8}, NEXT),
    "mobilenet_v2": ({"depth_multiplier": 0.35, "image_size": 64}, ("MobileNetV2ImageProcessor", BIT[1])),
}


def stored(folder: Path, kind: str, processor: tuple[str, dict[str, Any]] | None = None, **changes: Any) -> Any:
    """A small network with random weights in a folder, by transformers itself; its own processor of photos, and the network."""
    torch.manual_seed(0)
    arguments, usual = KINDS[kind]
    names = {index: f"kind {index}" for index in range(3)}
    config = transformers.AutoConfig.for_model(kind, **arguments, id2label=names, **changes)
    config.architectures = ["DeiTForImageClassification"] if kind == "deit" else None
    network = transformers.AutoModelForImageClassification.from_config(config).eval()
    network.save_pretrained(folder)
    name, settings = processor or usual
    feed = getattr(transformers, name)(**settings)
    feed.save_pretrained(folder)
    return feed, network


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "deit"])
def test_its_own_logits_of_its_own_input(kind: str, tmp_path: Path) -> None:
    feed, theirs = stored(tmp_path, kind)
    explainer = Explainer(iscam.load_model(f"local-dir:{tmp_path}"))
    analysis = explainer.analyse(PHOTO)
    wanted = feed(Image.open(PHOTO).convert("RGB"), return_tensors="pt")["pixel_values"]
    # it resizes tensors, of which a pixel may differ by two steps of 256
    torch.testing.assert_close(analysis.forward.image, wanted, atol=2.01 / 255 / 0.2, rtol=0)
    with torch.no_grad():
        logits = theirs(analysis.forward.image).logits[0]
    torch.testing.assert_close(analysis.forward.logits, logits, atol=1e-5, rtol=1e-4)
    assert explainer.model.categories == ("kind 0", "kind 1", "kind 2")
    assert any(explainer.explain(analysis, method, samples=2).complete for method in METHODS)


def test_several_findings_at_once(tmp_path: Path) -> None:
    stored(tmp_path, "resnet", problem_type="multi_label_classification")
    model = iscam.load_model(f"local-dir:{tmp_path}")
    assert model.spec.head == "sigmoid"


def test_code_in_a_repository_is_not_run(tmp_path: Path) -> None:
    stored(tmp_path, "resnet")
    (tmp_path / "code.py").write_text("raise SystemExit('code was run')")
    change(
        tmp_path / "config.json",
        auto_map={"AutoModelForImageClassification": "code.Model"},
        quantization_config={"a": 1},
    )
    assert iscam.load_model(f"local-dir:{tmp_path}").key


def change(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("file", "changes", "word"),
    [
        ("config.json", {"model_type": "timm_wrapper"}, "timm_wrapper"),
        ("config.json", {"model_type": ["vit"]}, "none of"),
        ("config.json", {"id2label": None}, "id2label"),
        ("config.json", {"id2label": {"0": "a", "1": "b", "7": "c"}}, "names of the classes"),
        ("config.json", {"hidden_sizes": [16, 16, 32]}, "do not fit"),
        ("config.json", {"embedding_size": 10**12}, "do not fit"),
        ("preprocessor_config.json", {"image_processor_type": "MobileViTImageProcessor"}, "MobileViT"),
        ("preprocessor_config.json", {"resample": 1}, "resample"),
        ("preprocessor_config.json", {"rescale_factor": 1.0}, "0 to 1"),
        ("preprocessor_config.json", {"do_rescale": False}, "0 to 1"),
        ("preprocessor_config.json", {"size": {"height": 64, "width": 32}}, "square"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 10**9}}, "shortest_edge"),
        ("preprocessor_config.json", {"image_std": [0, 0, 0]}, "image_std"),
        ("preprocessor_config.json", {"do_flip_channel_order": True}, "red and blue"),
    ],
)
def test_what_is_not_understood_is_refused(file: str, changes: dict[str, Any], word: str, tmp_path: Path) -> None:
    stored(tmp_path, "resnet")
    change(tmp_path / file, **changes)
    with pytest.raises(ValueError, match=word) as caught:
        iscam.load_model(f"local-dir:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_photos_that_are_bent_and_then_cut_are_not(tmp_path: Path) -> None:
    stored(tmp_path, "deit")
    with pytest.raises(ValueError, match="bends photos"):
        iscam.load_model(f"local-dir:{tmp_path}")


def test_without_the_library_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(tmp_path, "resnet")
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(OSError, match="pip install transformers"):
        iscam.load_model(f"local-dir:{tmp_path}")
