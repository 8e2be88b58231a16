"""What is done to a photo is measured of what does it, and said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor

from iscam import MODELS, load_model
from iscam.images import Geometry
from iscam.models.architectures import cut_by, default_geometry
from iscam.models.checkpoint import read_checkpoint
from iscam.models.preparation import Preparation, measure
from iscam.models.preprocessing import make_transforms
from tests.models.networks import SMALL, build, save

GEOMETRY = Geometry(72, 64, "bicubic")


@pytest.mark.parametrize("mean", [(0.485, 0.456, 0.406), (0.0, 0.0, 0.0), (0.1234, 0.5, 0.9)])
@pytest.mark.parametrize("std", [(0.229, 0.224, 0.225), (1.0, 1.0, 1.0), (0.5, 0.25, 2.0)])
def test_mean_and_std_are_those_that_are_used(
    mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    found = measure(GEOMETRY, make_transforms(GEOMETRY, mean, std))
    assert (found.mean, found.std, found.grey) == (mean, std, False)
    grey = measure(GEOMETRY, make_transforms(GEOMETRY, mean, std, grey=True))
    assert (grey.mean, grey.std, grey.grey) == (mean, std, True)


@pytest.mark.parametrize("arch", ["resnet18", "efficientnet_b0", "vit_h_14"])
def test_torchvisions_own_presets_are_understood(arch: str) -> None:
    preset = torchvision.models.get_model_weights(arch).DEFAULT.transforms()
    found = measure(cut_by(preset), preset)
    assert (list(found.mean), list(found.std)) == (preset.mean, preset.std)


@pytest.mark.parametrize(
    ("preparation", "words"),
    [
        (
            Preparation(Geometry(256, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), False),
            "resized to 256 on the short side (bilinear), centre 224 x 224, mean 0.485 0.456 0.406, std 0.229 0.224 0.225",
        ),
        (
            Preparation(Geometry(224, 224, "bicubic", "squash"), (0.0,) * 3, (1.0,) * 3, False),
            "squeezed to 224 x 224 (bicubic), mean 0, std 1",
        ),
        (
            Preparation(Geometry(64, 64, fit="pad"), (0.5,), (0.5,), True),
            "padded to a square and resized to 64 x 64 (bilinear), made grey, mean 0.5, std 0.5",
        ),
        (
            Preparation(Geometry(64, 64), (), (), False),
            "resized to 64 on the short side (bilinear), centre 64 x 64, normalised in its own way",
        ),
    ],
)
def test_it_is_put_in_words(preparation: Preparation, words: str) -> None:
    assert preparation.words == preparation.record()["words"] == words


def test_what_is_no_normalisation_is_called_its_own() -> None:
    def flat(_: object) -> Tensor:
        return torch.zeros(3, 64, 64)

    assert measure(GEOMETRY, flat) == Preparation(GEOMETRY, (), (), False)


def test_grey_photos_of_one_channel() -> None:
    transforms = torchvision.transforms.Compose([torchvision.transforms.Grayscale(), torchvision.transforms.ToTensor()])
    assert measure(GEOMETRY, transforms) == Preparation(GEOMETRY, (0.0,), (1.0,), True)


def test_a_loaded_model_says_what_it_is_fed(tmp_path: Path) -> None:
    """Also of a checkpoint, with what was asked for."""
    assert load_model("photo11").preparation.geometry == default_geometry("photo11") and "photo11" in MODELS
    file = save(build("resnet18", classes=3), tmp_path / "mine.pth")
    model = load_model(arch="resnet18", checkpoint=file, input_size=SMALL, mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5))
    assert model.preparation == Preparation(model.geometry, (0.1, 0.2, 0.3), (0.5, 0.5, 0.5), False)
    half = {name: tensor.bfloat16() for name, tensor in model.network.state_dict().items()}
    torch.save(half, file)
    assert {tensor.dtype for tensor in read_checkpoint(file).values()} == {torch.float32}


def test_a_photo_that_becomes_a_square_otherwise() -> None:
    """All of it is seen; padding lies beyond its edges."""
    assert Geometry(64, 64, fit="squash").crop((300, 200)) == (0, 0, 300, 200)
    assert Geometry(64, 64, fit="pad").crop((300, 200)) == (0, -50, 300, 250)
    with pytest.raises(ValueError, match=r"center, squash, pad, not by 'bend'\.$"):
        Geometry(64, 64, fit="bend")
