"""How a photo becomes a network's input, as torchvision does it; and what somebody's own transforms make of a photo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, Grayscale, InterpolationMode, Normalize, Resize, ToTensor

from iscam.images import Geometry

from .bundled.network import MEAN, STD
from .table import LITE

__all__ = ["HALVES", "MEAN", "STD", "Triple", "make_transforms", "measured", "usual_mean_std"]

Triple = tuple[float, float, float]
# timm's for EfficientNet-Lite; with torchvision's, 8 photos of 100 fewer are recognised
HALVES: Triple = (0.5, 0.5, 0.5)
RULER = 240, 120  # pixels of the picture by which transforms are measured
CLOSE = 0.02  # of a side; what rounding may move an edge


@dataclass(frozen=True)
class PadToSquare:
    """The whole photo in a square of `side` pixels, its middle in the middle, on the colour that is the mean."""

    side: int
    interpolation: InterpolationMode
    colour: tuple[int, ...]

    def __call__(self, image: Image.Image) -> Image.Image:
        method = Image.Resampling[self.interpolation.name]
        return ImageOps.pad(image, (self.side, self.side), method, self.colour)


def make_transforms(
    geometry: Geometry, mean: Sequence[float], std: Sequence[float], grey: bool = False
) -> Callable[[Image.Image], Tensor]:
    """Make a square of the photo as the geometry says, make it grey if wanted (in as many equal channels as there are means;
    for one it is), scale to [0, 1], normalise."""
    side, interpolation = geometry.input_size, InterpolationMode(geometry.interpolation)
    colour = tuple(round(255 * value) for value in mean) * (3 // len(mean))
    fitted: list[Callable[..., Any]] = {
        "center": [Resize(geometry.resize, interpolation), CenterCrop(side)],
        "squash": [Resize((side, side), interpolation)],
        "pad": [PadToSquare(side, interpolation, colour)],
    }[geometry.fit]
    colours: list[Callable[..., Any]] = [Grayscale(len(mean))] if grey or len(mean) == 1 else []
    transforms: Callable[[Image.Image], Tensor] = Compose([*fitted, *colours, ToTensor(), Normalize(mean, std)])
    return transforms


def usual_mean_std(arch: str, grey: bool = False) -> tuple[Triple, Triple]:
    """The mean and std by which an architecture's inputs are normalised unless it is said otherwise; of a grey photo their
    means over the colours, as timm does it."""
    mean, std = (HALVES, HALVES) if arch == LITE else (MEAN, STD)
    if not grey:
        return mean, std
    one, other = (round(sum(values) / 3, 6) for values in (mean, std))
    return (one, one, one), (other, other, other)


def measured(transforms: Callable[[Image.Image], Tensor]) -> Geometry:
    """What part of a photo somebody's transforms show the network, found by what they make of a picture that is twice as wide
    as high and gets lighter from left to right, and of one that gets lighter downwards.

    Raises:
        ValueError: they give no tensor (C, H, W), or something else each time; one sentence.
    """
    across, down = (255 * (np.arange(length) + 0.5) / length for length in RULER)  # of the middles of pixels
    given = [transforms(_grey(shades)) for shades in (across[None, :], down[:, None])]
    if not all(isinstance(each, Tensor) and each.ndim == 3 and each.is_floating_point() for each in given):
        raise ValueError("The transforms must make a normalised tensor (3, H, W) of a picture.")
    if not torch.equal(given[0], transforms(_grey(across[None, :]))):
        raise ValueError("The transforms give something else each time: pass those by which the network is evaluated.")
    black, white = (transforms(_grey(np.full((1, 1), shade)))[0].mean() for shade in (0.0, 255.0))
    seen = [(each[0] - black) / (white - black) for each in given]  # (H, W) each, the shares at which pixels stand
    (left, right), (top, bottom) = _edges(seen[0].mean(0)), _edges(seen[1].mean(1))
    side = max(seen[0].shape)
    if right - left > 1 - CLOSE:  # all of the longer side
        return Geometry(side, side, fit="squash" if bottom - top < 1 + CLOSE else "pad")
    return Geometry(max(side, round(seen[0].shape[0] / (bottom - top))), side)


def _grey(shades: NDArray[np.float64]) -> Image.Image:
    """An RGB picture of RULER's size."""
    picture = np.broadcast_to(shades, RULER[::-1]).round().astype(np.uint8)
    return Image.fromarray(picture).convert("RGB")


def _edges(shares: Tensor) -> tuple[float, float]:
    """Where a line through the middle half of the pixels (n,) meets their first and last edge."""
    count = len(shares)
    places = torch.arange(count)[count // 4 : -(count // 4)].double() + 0.5
    inner = shares[count // 4 : -(count // 4)].double()
    slope = ((places - places.mean()) * inner).sum() / (places - places.mean()).square().sum()
    start = inner.mean() - slope * places.mean()
    return float(start), float(start + slope * count)
