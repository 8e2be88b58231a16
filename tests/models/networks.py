"""Networks without trained weights, from a seed: nothing is downloaded. Each is built once and shared by its tests."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from iscam import MODELS, LoadedModel
from iscam.images import Geometry
from iscam.models import architectures
from iscam.models.describe import describe
from iscam.models.preprocessing import MEAN, STD, make_transforms

SMALL = 80  # input side where the native one is of no interest: the coarsest maps are then 2x2 to 5x5


def build(arch: str, classes: int | None = None, seed: int = 0) -> nn.Module:
    """A seeded network whose last layer is random too (torchvision fills the ViT's with zeros)."""
    torch.manual_seed(seed)
    network = architectures.build(arch, classes=classes).eval()
    if arch.startswith("vit"):
        nn.init.normal_(network.heads.head.weight, std=0.05)
    return network


@functools.cache
def network_of(key: str) -> nn.Module:
    return build(key)


def loaded(key: str, side: int | None = None) -> LoadedModel:
    """A row of MODELS without trained weights, with its own geometry or a smaller input."""
    network, geometry = network_of(key), architectures.default_geometry(key) if side is None else Geometry(side, side)
    classes = architectures.count_classes(key, network.state_dict())
    categories = tuple(f"class {i}" for i in range(classes))
    transforms = make_transforms(geometry, MEAN, STD)
    return describe(network, MODELS[key], categories, geometry, transforms, None)


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


def save(network: nn.Module, file: Path, wrap: Callable[[dict[str, Tensor]], object] = dict) -> Path:
    torch.save(wrap(network.state_dict()), file)
    return file


def logits_of(model: LoadedModel) -> Tensor:
    with torch.no_grad():
        return model.network(model.transforms(noise_photo())[None])[0]


class Trap:
    """Unpickling it writes the file it was made for."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.file, "sprung")
