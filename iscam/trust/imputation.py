"""ROAD: which pixels the class needs, when what is removed is imputed from its surroundings (arXiv 2202.00449).

Importing this module does not load torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .curves import Score, highest

if TYPE_CHECKING:
    from torch import Tensor

PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90)  # of the pixels that are removed
IMPUTED_NOISE = 0.01  # standard deviation of what is added to imputed pixels, in the normalised input
RESIDUAL = 1e-4  # relative, at which the imputation's equations count as solved
ITERATIONS = 1000  # after which they are taken as they are


def road(
    score: Score, image: Tensor, heatmap: Tensor, percentiles: Sequence[int] = PERCENTILES, seed: int = 0
) -> float:
    """How much sooner the class is lost when the highest pixels go first than when the lowest do (arXiv 2202.00449).

    Removed pixels are the weighted mean of their neighbours plus noise, so that the shape of the hole tells nothing.
    """
    fractions = [percentile / 100 for percentile in percentiles]
    most, least = (score(imputed(image, highest(by, fractions)[:, 0], seed)) for by in (heatmap, -heatmap))
    return float((least - most).double().mean()) / 2


def imputed(image: Tensor, removed: Tensor, seed: int = 0) -> Tensor:
    """Inputs (n, 3, H, W): the photo (1, 3, H, W) with the removed pixels (n, H, W) bool imputed from the others.

    Each is the mean of its neighbours, direct ones weighing 1/6 and diagonal ones 1/12 (at a rim the fewer there are),
    which gives a sparse linear system, solved by conjugate gradients.
    """
    import torch

    kernel = image.new_tensor([[1, 2, 1], [2, 0, 2], [1, 2, 1]]).div(12)[None, None]
    holes = removed[:, None].to(image)  # (n, 1, H, W)

    def neighbours(values: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(values.flatten(0, 1)[:, None], kernel, padding=1).view_as(values)

    degree = neighbours(torch.ones_like(image[:, :1]))  # 1 but at the rim

    def system(values: Tensor) -> Tensor:
        return holes * (degree * values - neighbours(values))

    known = image * (1 - holes)
    values = torch.zeros_like(known)
    residual = holes * neighbours(known)
    direction, size = residual, residual.square().sum((2, 3), keepdim=True)
    enough = RESIDUAL**2 * size
    for _ in range(ITERATIONS):
        if bool((size <= enough).all()):
            break
        moved = system(direction)
        pace = size / (direction * moved).sum((2, 3), keepdim=True).clamp_min(1e-30)
        values, residual = values + pace * direction, residual - pace * moved
        before, size = size, residual.square().sum((2, 3), keepdim=True)
        direction = residual + size / before.clamp_min(1e-30) * direction
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed)).to(image)
    return known + holes * (values + IMPUTED_NOISE * noise)
