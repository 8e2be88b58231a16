"""How a photo becomes a network's input, as torchvision does it."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, Grayscale, InterpolationMode, Normalize, Resize, ToTensor

from iscam.images import Geometry

from .bundled.network import MEAN, STD
from .table import LITE

__all__ = ["HALVES", "MEAN", "STD", "Triple", "make_transforms", "usual_mean_std"]

Triple = tuple[float, float, float]
HALVES: Triple = (
    0.5,
    0.5,
    0.5,
)  # timm's for EfficientNet-Lite; with torchvision's, 8 photos of 100 fewer are recognised


def make_transforms(
    geometry: Geometry, mean: Triple, std: Triple, grey: bool = False
) -> Callable[[Image.Image], Tensor]:
    """Resize the short side, crop the centre, make it grey if wanted (in three equal channels), scale to [0, 1], normalise."""
    resize = Resize(geometry.resize, InterpolationMode(geometry.interpolation))
    colours = [Grayscale(3)] if grey else []
    transforms: Callable[[Image.Image], Tensor] = Compose(
        [resize, CenterCrop(geometry.input_size), *colours, ToTensor(), Normalize(mean, std)]
    )
    return transforms


def usual_mean_std(arch: str, grey: bool = False) -> tuple[Triple, Triple]:
    """The mean and std by which an architecture's inputs are normalised unless it is said otherwise; of a grey photo their
    means over the colours, as timm does it."""
    mean, std = (HALVES, HALVES) if arch == LITE else (MEAN, STD)
    if not grey:
        return mean, std
    one, other = (round(sum(values) / 3, 6) for values in (mean, std))
    return (one, one, one), (other, other, other)
