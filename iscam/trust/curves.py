"""What becomes of the class while a photo is deleted or inserted along a map (RISE, arXiv 1806.07421).

Importing this module does not load torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .correlation import constant, pearson

if TYPE_CHECKING:
    from torch import Tensor

CURVE_STEPS = 28  # of a curve; RISE takes one per row of pixels, which moves the area in the third digit
AT_ONCE = 32  # perturbed photos in memory
HALF = 0.5  # of the class's probability for the whole photo
BLUR_KERNEL, BLUR_SIGMA = 11, 5.0  # pixels; what insertion starts from

Score = Callable[["Tensor"], "Tensor"]  # inputs (B, 3, H, W) -> probability (B,) of the class in question


@dataclass(frozen=True, eq=False)
class Curve:
    """Class probability (S + 1,) at the fractions (S + 1,) of the pixels that are deleted or inserted."""

    fractions: NDArray[np.float64]
    scores: NDArray[np.float64]

    def first_with(self, least: float) -> int:
        """The first step, from 0, at which the class is at least so probable; the last one if there is none."""
        reached = np.flatnonzero(self.scores >= least)
        return int(reached[0]) if len(reached) else len(self.scores) - 1

    @property
    def area(self) -> float:
        """Under the curve, by the trapezoid rule, in [0, 1]."""
        return float(np.trapezoid(self.scores, self.fractions))

    @property
    def rises(self) -> NDArray[np.float64]:
        """By how much the probability rises in each step (S,)."""
        return np.diff(self.scores)


def deletion(score: Score, image: Tensor, heatmap: Tensor, steps: int = CURVE_STEPS) -> Curve:
    """The probability while the photo is deleted, the highest pixels of the map first (RISE, arXiv 1806.07421)."""
    return _curve(score, image, heatmap, steps, deleted)


def insertion(score: Score, image: Tensor, heatmap: Tensor, steps: int = CURVE_STEPS) -> Curve:
    """The probability while the photo comes out of the blur, the highest pixels first (RISE, arXiv 1806.07421)."""
    return _curve(score, image, heatmap, steps, inserted)


def _curve(
    score: Score,
    image: Tensor,
    heatmap: Tensor,
    steps: int,
    perturbed: Callable[[Tensor, Tensor, Sequence[float]], Tensor],
) -> Curve:
    fractions = np.linspace(0, 1, steps + 1)
    starts = range(0, steps + 1, AT_ONCE)
    parts = [fractions[start : start + AT_ONCE].tolist() for start in starts]
    scores = [score(perturbed(image, heatmap, part)).double().numpy() for part in parts]
    return Curve(fractions, np.concatenate(scores))


def deleted(image: Tensor, heatmap: Tensor, fractions: Sequence[float]) -> Tensor:
    """Inputs (n, 3, H, W): the photo (1, 3, H, W) with the highest pixels of the map replaced by the mean colour."""
    return image * ~highest(heatmap, fractions)


def inserted(image: Tensor, heatmap: Tensor, fractions: Sequence[float]) -> Tensor:
    """Inputs (n, 3, H, W): the blurred photo with the highest pixels of the map restored from the photo (1, 3, H, W)."""
    from torchvision.transforms.functional import gaussian_blur

    blurred: Tensor = gaussian_blur(image, [BLUR_KERNEL, BLUR_KERNEL], [BLUR_SIGMA, BLUR_SIGMA])
    return image.where(highest(heatmap, fractions), blurred)


def highest(heatmap: Tensor, fractions: Sequence[float]) -> Tensor:
    """Which pixels are among the highest: bool (n, 1, H, W). Equal ones are taken in raster order."""
    order = heatmap.flatten().argsort(descending=True, stable=True)
    chosen = heatmap.new_zeros((len(fractions), heatmap.numel())).bool()
    for row, fraction in zip(chosen, fractions, strict=True):
        row[order[: round(fraction * len(order))]] = True
    return chosen.view(-1, 1, *heatmap.shape)


def taken_at(heatmap: Tensor, steps: int = CURVE_STEPS) -> Tensor:
    """At which step (H, W) of a curve, 1 to `steps`, each pixel is deleted or inserted."""
    return (~highest(heatmap, np.linspace(0, 1, steps + 1).tolist())[:, 0]).sum(0)


def step_correlation(changes: NDArray[np.float64], heatmap: Tensor) -> float:
    """Pearson's correlation, -1..1, of the changes (S,) in the steps of a curve and of the map's sum over the pixels of each
    step (arXiv 2201.13291); 0 if the map or the changes are constant.

    The area under a curve sees in which order a map has the pixels, this also how much higher it has some than others.
    """
    import torch

    if constant(heatmap):
        return 0.0
    steps = taken_at(heatmap, len(changes)).flatten() - 1  # (H * W,)
    sums = torch.bincount(steps.cpu(), heatmap.flatten().cpu().double(), len(changes))  # (S,)
    return pearson(torch.from_numpy(changes), sums)
