"""How far a heat map can be trusted: the METRICS table, and one function per metric.

Notation: X the network's normalised input (0 is the data set's mean colour), E a heat map in [0, 1] on it, f the probability
of the class in question, p = f(X), q = f(E o X). A function takes what it needs: a scoring or explaining callable, a heat
map, a box. None knows a model. Importing this module does not load torch, so that the command line can check its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

CURVE_STEPS = 28  # of a curve; RISE takes one per row of pixels, which moves the area in the third digit
AT_ONCE = 32  # perturbed photos in memory
BLUR_KERNEL, BLUR_SIGMA = 11, 5.0  # pixels; what insertion starts from (RISE, arXiv 1806.07421)
PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90)  # of the pixels that ROAD removes
IMPUTED_NOISE = 0.01  # standard deviation of what ROAD adds to imputed pixels, in the normalised input
RESIDUAL = 1e-4  # relative, at which the imputation's equations count as solved
ITERATIONS = 1000  # after which they are taken as they are

Score = Callable[["Tensor"], "Tensor"]  # inputs (B, 3, H, W) -> probability (B,) of the class in question
Explain = Callable[
    ["Tensor"], "Tensor"
]  # an input (1, 3, H, W) -> the heat map (H, W) of the same method for the same class
Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels of the heat map


@dataclass(frozen=True)
class Metric:
    """One row of METRICS. Values are fractions, 0..1 (ROAD: -0.5..0.5); `better` is "higher" or "lower".

    `needs` is "masked" (two passes), "curve" (a pass per step), "explain" (the method once more), "impute", or "box".
    """

    key: str
    label: str
    better: str
    needs: str
    protocol: str
    paper: str


METRICS = {
    row.key: row
    for row in (
        Metric(
            "average-drop",
            "Average Drop",
            "lower",
            "masked",
            "max(0, p - q) / p, the photo softly masked by the map (0 of it shows the mean colour)",
            "https://arxiv.org/abs/1710.11063",
        ),
        Metric(
            "increase",
            "Increase in Confidence",
            "higher",
            "masked",
            "share of photos with q > p, the photo softly masked by the map",
            "https://arxiv.org/abs/1710.11063",
        ),
        Metric(
            "average-gain",
            "Average Gain",
            "higher",
            "masked",
            "max(0, q - p) / (1 - p), the photo softly masked by the map",
            "https://arxiv.org/abs/2301.07002",
        ),
        Metric(
            "insertion",
            "Insertion",
            "higher",
            "curve",
            f"area under p while the highest pixels are restored in a blurred photo (kernel {BLUR_KERNEL}, sigma "
            f"{BLUR_SIGMA:g}), {{steps}} steps",
            "https://arxiv.org/abs/1806.07421",
        ),
        Metric(
            "deletion",
            "Deletion",
            "lower",
            "curve",
            "area under p while the highest pixels are replaced by the mean colour, {steps} steps",
            "https://arxiv.org/abs/1806.07421",
        ),
        Metric(
            "adcc",
            "ADCC",
            "higher",
            "explain",
            "harmonic mean of coherency (correlation with the map of the masked photo), 1 - mean of the map, 1 - drop",
            "https://arxiv.org/abs/2104.10252",
        ),
        Metric(
            "road",
            "ROAD",
            "higher",
            "impute",
            "(lowest removed first - highest removed first) / 2 in p, by noisy linear imputation, mean over "
            f"{PERCENTILES[0]} to {PERCENTILES[-1]} % of the pixels",
            "https://arxiv.org/abs/2202.00449",
        ),
        Metric(
            "pointing",
            "Pointing game",
            "higher",
            "box",
            "share of photos with the map's highest place in the box",
            "https://arxiv.org/abs/1608.00507",
        ),
        Metric(
            "energy",
            "Energy in the box",
            "higher",
            "box",
            "the map's sum in the box over its whole sum, to be held against the box's share of the area",
            "https://arxiv.org/abs/1910.01279",
        ),
    )
}
ARROWS = {"higher": "↑", "lower": "↓"}  # which way is better
DEFAULT_METRICS = tuple(key for key, row in METRICS.items() if row.needs in ("masked", "curve"))  # the cheap ones


def protocol(key: str, steps: int = CURVE_STEPS) -> str:
    """How a metric is measured, in a line; `steps` of the curves."""
    row = METRICS[key]
    return f"{row.label} ({row.better} is better): {row.protocol.format(steps=steps)}"


@dataclass(frozen=True, eq=False)
class Curve:
    """Class probability (S + 1,) at the fractions (S + 1,) of the pixels that are deleted or inserted."""

    fractions: NDArray[np.float64]
    scores: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Under the curve, by the trapezoid rule, in [0, 1]."""
        return float(np.trapezoid(self.scores, self.fractions))


def confidences(score: Score, image: Tensor, heatmap: Tensor) -> tuple[float, float]:
    """p and q: the class probability of an input (1, 3, H, W) and of the same masked by its heat map (H, W)."""
    both = image.repeat(2, 1, 1, 1)
    both[1] *= heatmap
    p, q = score(both).tolist()
    return p, q


def average_drop(p: float, q: float) -> float:
    """Which share of the probability is lost when the photo is masked; 0 if there was none to lose."""
    return max(0.0, p - q) / p if p > 0 else 0.0


def increase(p: float, q: float) -> float:
    """1 if masking the photo makes the class more probable, else 0."""
    return float(q > p)


def average_gain(p: float, q: float) -> float:
    """Which share of what p lacks to 1 is gained when the photo is masked; 0 if nothing is lacking."""
    return max(0.0, q - p) / (1 - p) if p < 1 else 0.0


def deleted(image: Tensor, heatmap: Tensor, fractions: Sequence[float]) -> Tensor:
    """Inputs (n, 3, H, W): the photo (1, 3, H, W) with the highest pixels of the map replaced by the mean colour."""
    return image * ~_highest(heatmap, fractions)


def inserted(image: Tensor, heatmap: Tensor, fractions: Sequence[float]) -> Tensor:
    """Inputs (n, 3, H, W): the blurred photo with the highest pixels of the map restored from the photo (1, 3, H, W)."""
    from torchvision.transforms.functional import gaussian_blur

    blurred: Tensor = gaussian_blur(image, [BLUR_KERNEL, BLUR_KERNEL], [BLUR_SIGMA, BLUR_SIGMA])
    return image.where(_highest(heatmap, fractions), blurred)


def _highest(heatmap: Tensor, fractions: Sequence[float]) -> Tensor:
    """Which pixels are among the highest: bool (n, 1, H, W). Equal ones are taken in raster order."""
    order = heatmap.flatten().argsort(descending=True, stable=True)
    chosen = heatmap.new_zeros((len(fractions), heatmap.numel())).bool()
    for row, fraction in zip(chosen, fractions, strict=True):
        row[order[: round(fraction * len(order))]] = True
    return chosen.view(-1, 1, *heatmap.shape)


def taken_at(heatmap: Tensor, steps: int = CURVE_STEPS) -> Tensor:
    """At which step (H, W) of a curve, 1 to `steps`, each pixel is deleted or inserted."""
    return (~_highest(heatmap, np.linspace(0, 1, steps + 1).tolist())[:, 0]).sum(0)


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
    scores = [score(perturbed(image, heatmap, part)).double().cpu().numpy() for part in parts]
    return Curve(fractions, np.concatenate(scores))


def adcc(score: Score, explain: Explain, image: Tensor, heatmap: Tensor) -> float:
    """Harmonic mean of coherency, simplicity and what is left of the probability (arXiv 2104.10252), in [0, 1].

    Coherency is (1 + Pearson's correlation) / 2 of the map and that of the masked photo; a constant map correlates with none.
    """
    coherency = (1 + pearson(heatmap, explain(image * heatmap))) / 2
    terms = coherency, 1 - float(heatmap.mean()), 1 - average_drop(*confidences(score, image, heatmap))
    return len(terms) / sum(1 / term for term in terms) if min(terms) > 0 else 0.0


def pearson(one: Tensor, other: Tensor) -> float:
    """The correlation of two maps, -1..1; 0 if one of them is constant."""
    a, b = (values.double().flatten() - values.double().mean() for values in (one, other))
    size = float(a.norm() * b.norm())
    return min(1.0, max(-1.0, float(a @ b) / size)) if size > 0 else 0.0


def road(
    score: Score, image: Tensor, heatmap: Tensor, percentiles: Sequence[int] = PERCENTILES, seed: int = 0
) -> float:
    """How much sooner the class is lost when the highest pixels go first than when the lowest do (arXiv 2202.00449).

    Removed pixels are the weighted mean of their neighbours plus noise, so that the shape of the hole tells nothing.
    """
    fractions = [percentile / 100 for percentile in percentiles]
    most, least = (score(imputed(image, _highest(by, fractions)[:, 0], seed)) for by in (heatmap, -heatmap))
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


def pointing(heatmap: Tensor, box: Box) -> float:
    """1 if the map's highest place, the first of equal ones, lies in the box, else 0, also of a blank map (1608.00507)."""
    if not heatmap.any():
        return 0.0
    row, column = divmod(int(heatmap.argmax()), heatmap.shape[1])
    left, top, right, bottom = box
    return float(left <= column + 0.5 < right and top <= row + 0.5 < bottom)


def energy(heatmap: Tensor, box: Box) -> float:
    """Which share of the map's sum lies in the box (arXiv 1910.01279); 0 of a blank map. Pixels count by their middle."""
    total = float(heatmap.sum())
    return float((heatmap * _inside(heatmap, box)).sum()) / total if total > 0 else 0.0


def area_share(heatmap: Tensor, box: Box) -> float:
    """The box's share of the map's area, which a map that says nothing has of its energy there."""
    return float(_inside(heatmap, box).mean())


def _inside(heatmap: Tensor, box: Box) -> Tensor:
    """1 where a pixel's middle lies in the box, else 0: (H, W)."""
    left, top, right, bottom = box
    rows, columns = (heatmap.new_ones(length).cumsum(0) - 0.5 for length in heatmap.shape)
    across = (columns >= left) & (columns < right)
    return ((rows >= top) & (rows < bottom))[:, None].mul(across).to(heatmap)
