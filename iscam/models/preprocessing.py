"""How a photo becomes a network's input, as torchvision does it."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

from iscam.images import Geometry

from .bundled.network import MEAN, STD

__all__ = ["MEAN", "STD", "make_transforms"]


def make_transforms(
    geometry: Geometry, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Callable[[Image.Image], Tensor]:
    """Resize the short side, crop the centre, scale to [0, 1], normalise."""
    resize = Resize(geometry.resize, InterpolationMode(geometry.interpolation))
    transforms: Callable[[Image.Image], Tensor] = Compose(
        [resize, CenterCrop(geometry.input_size), ToTensor(), Normalize(mean, std)]
    )
    return transforms
