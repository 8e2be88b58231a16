"""Image classifiers of transformers in folders as the Hub stores them: what they see and say, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from iscam import Explainer, load_model
from tests.hub_server import Server
from tests.models.test_hub import REPO
from tests.models.test_stored import PHOTO, load, logits, photo, refusal, rewrite, store
from tests.models.test_stored import make as make_timm

transformers = pytest.importorskip("transformers")
VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 64}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 24], "depths": [1, 1, 1, 1], "layer_type": "basic"}
SWIN = {
    "image_size": 64,
    "patch_size": 2,
    "embed_dim": 24,
    "depths": [1, 1, 2, 1],
    "num_heads": [1, 2, 3, 4],
    "window_size": 4,
}
CONVNEXT = {"hidden_sizes": [8, 16, 16, 24], "depths": [1, 1, 1, 1]}
MANNERS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any], str]] = {
    "ViT": ("ViT", VIT, "ViT", {"size": {"height": 64, "width": 64}}, "squash"),
    "ResNet": ("ResNet", RESNET, "ConvNext", {"size": {"shortest_edge": 96}, "crop_pct": 0.9}, "center"),
    "Swin": ("Swin", SWIN, "ViT", {"size": {"height": 64, "width": 64}, "resample": 3}, "squash"),
    "ConvNeXt": ("ConvNext", CONVNEXT, "ConvNext", {"size": {"shortest_edge": 64}, "crop_pct": 0.875}, "center"),
    "CLIP's way": (
        "ResNet",
        RESNET,
        "CLIP",
        {"size": {"shortest_edge": 80}, "crop_size": {"height": 64, "width": 64}, "image_mean": [0.1, 0.2, 0.3]},
        "center",
    ),
}


def keep(folder: Path, manner: str = "ResNet", **options: Any) -> tuple[Any, Any]:
    """A network and its processor, as transformers stores them."""
    kind, sizes, processor, feed, _ = MANNERS[manner]
    torch.manual_seed(0)
    names = dict(enumerate(("ash", "birch", "<i>elm</i>")))
    config = getattr(transformers, f"{kind}Config")(**sizes, id2label=names, **options)
    network = getattr(transformers, f"{kind}ForImageClassification")(config).eval()
    made = getattr(transformers, f"{processor}ImageProcessor")(**feed)
    network.save_pretrained(folder)
    made.save_pretrained(folder)
    return network, made


@pytest.mark.parametrize("manner", MANNERS)
def test_a_classifier_sees_and_says_what_it_does_in_transformers(tmp_path: Path, manner: str) -> None:
    network, processor = keep(tmp_path, manner)
    model, seen = load(tmp_path), processor(images=photo(), return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(model.transforms(photo()), seen, rtol=0, atol=1e-6)
    torch.testing.assert_close(logits(model.network, seen), logits(network, seen), rtol=1e-6, atol=1e-6)
    assert model.categories == ("ash", "birch", "<i>elm</i>")
    assert (model.geometry.fit, model.spec.head) == (MANNERS[manner][4], "softmax")
    assert model.key == f"local-dir:{tmp_path}" and len(model.weights_sha256) == 64


def test_a_classifier_of_several_labels_is_explained(tmp_path: Path) -> None:
    keep(tmp_path, "ViT", problem_type="multi_label_classification")
    explainer = Explainer(load(tmp_path))
    assert explainer.model.spec.head == "sigmoid"
    analysis = explainer.analyse(PHOTO)
    assert explainer.explain(analysis, "grad-cam", target="birch").category == "birch"


def test_names_of_before_are_read_as_transformers_reads_them(tmp_path: Path) -> None:
    """ViT's files call layers otherwise than its network does today."""
    network, _ = keep(tmp_path, "ViT")
    stored = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert stored.keys() != network.state_dict().keys()
    image = load(tmp_path).transforms(photo())
    torch.testing.assert_close(logits(load(tmp_path).network, image), logits(network, image))


def _set(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda said: said | changes


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another kind": (_set(model_type="llama"), "no image classifier"),
    "a wrapper": (_set(model_type="timm_wrapper"), "no image classifier"),
    "a kind that is none": (_set(model_type=["resnet"]), "no image classifier"),
    "a huge layer": (_set(hidden_sizes=[10**9] * 4), "hidden_sizes"),
    "large layers": (_set(hidden_sizes=[9000] * 4), "fetch both again"),
    "a path": (_set(hidden_act="../x"), "hidden_act"),
    "a word for a list": (_set(depths="x"), "config.json"),
    "a kernel that is none": (_set(hidden_act="no_such_thing"), "config.json"),
    "regression": (_set(problem_type="regression"), "problem_type"),
    "grey inputs": (_set(num_channels=1), "num_channels"),
    "labels that lack": (_set(id2label={"0": "a", "2": "b"}), "class names"),
    "labels that are a list": (_set(id2label=["a", "b", "c"]), "id2label"),
    "more labels": (_set(id2label={str(i): "a" for i in range(5)}), "not those of a resnet"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_config_sets_nothing_but_numbers_words_and_names(tmp_path: Path, case: str) -> None:
    change, word = HOSTILE[case]
    keep(tmp_path)
    rewrite(tmp_path, change)
    refusal(tmp_path, word)


def test_code_beside_the_weights_is_not_run(tmp_path: Path) -> None:
    """Nor are kernels or weights fetched that a config names."""
    network, _ = keep(tmp_path)
    sprung = tmp_path / "sprung"
    (tmp_path / "modeling.py").write_text(f"open({str(sprung)!r}, 'w')\n")
    code = {
        "AutoConfig": "modeling.C",
        "AutoModelForImageClassification": "modeling.M",
        "AutoImageProcessor": "modeling.P",
    }
    other = {
        "attn_implementation": "a/b",
        "_attn_implementation": "a/b",
        "backbone": "a/b",
        "quantization_config": {"a": 1},
    }
    rewrite(tmp_path, lambda said: said | {"auto_map": code, "_name_or_path": "/etc", "dtype": "float16"} | other)
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"auto_map": code, "trust_remote_code": True}))
    image = load(tmp_path).transforms(photo())
    torch.testing.assert_close(logits(load(tmp_path).network, image), logits(network, image))
    assert not sprung.exists()


FEEDS = {
    "no processor": ({"image_processor_type": None}, "image processor"),
    "a class of another kind": ({"image_processor_type": "ResNetForImageClassification"}, "image processor"),
    "a module": ({"image_processor_type": "os.system"}, "image processor"),
    "a huge side": ({"size": {"shortest_edge": 10**9}}, "must be a number"),
    "a side that is a word": ({"size": "large"}, "must be a number"),
    "no std": ({"image_std": [0, 0, 0]}, "image_std"),
    "another filter": ({"resample": 77}, "resample"),
    "a side that nobody knows": ({"size": {"a": 64}}, "cannot be prepared"),
}


@pytest.mark.parametrize("case", FEEDS)
def test_photos_are_prepared_within_bounds(tmp_path: Path, case: str) -> None:
    change, word = FEEDS[case]
    keep(tmp_path)
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    refusal(tmp_path, word)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    keep(tmp_path)
    state = safetensors.torch.load_file(tmp_path / "model.safetensors")
    for name in ("classifier.1.weight", "resnet.embedder.embedder.normalization.running_var"):
        safetensors.torch.save_file({n: t for n, t in state.items() if n != name}, tmp_path / "model.safetensors")
        refusal(tmp_path, "model.safetensors", name)
    safetensors.torch.save_file(state | {"spare": torch.zeros(1)}, tmp_path / "model.safetensors")
    refusal(tmp_path, "model.safetensors", "spare")


def test_without_transformers_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    refusal(tmp_path, "pip install transformers", error=OSError)


def test_a_classifier_is_fetched_and_the_two_kinds_are_told_apart(tmp_path: Path, server: Server) -> None:
    keep(tmp_path)
    server.repos[REPO] = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    model = load_model(f"hf:{REPO}")
    assert (model.key, model.label) == (f"hf:{REPO}", REPO)
    with pytest.raises(ValueError, match=f"name it as hf:{REPO}"):
        load_model(f"hf-hub:{REPO}")
    store(tmp_path, make_timm())
    assert load(tmp_path).layer == "layer4"
