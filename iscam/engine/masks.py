"""From the activations of a layer to masks over the photo."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear upsampling of (n, h, w) to (n, H, W), `align_corners=False`."""
    return interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def normalise(maps: Tensor) -> Tensor:
    """Min-max of each map of (n, H, W) to [0, 1]; a constant map becomes zeros."""
    low = maps.amin((1, 2), keepdim=True)
    span = maps.amax((1, 2), keepdim=True) - low
    return torch.where(span > 0, (maps - low) / torch.where(span > 0, span, 1), 0)


def flat_channels(activations: Tensor) -> Tensor:
    """Which channels of (C, h, w) have no mask because all their values are equal: bool (C,)."""
    return activations.amax((1, 2)) == activations.amin((1, 2))


def make_masks(activations: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (n, H, W) in [0, 1] of channels (n, h, w): upsampled first, then normalised, as in Score-CAM (arXiv 1910.01279)."""
    return normalise(upsample(activations, size))
