"""How far a heat map can be trusted: the METRICS table, whose rows say how each is measured.

Notation: X the network's normalised input (0 is the data set's mean colour), E a heat map in [0, 1] on it, f the probability
of the class in question, p = f(X), q = f(E o X). A metric takes what it needs of a `Measurement`, and knows no model.
Importing this module does not load torch, so that the command line can check its arguments.

>>> from iscam.trust import METRICS
>>> METRICS["deletion"].better
'lower'
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from .curves import BLUR_KERNEL, BLUR_SIGMA, CURVE_STEPS, Curve, Score, deletion, insertion
from .imputation import PERCENTILES, road

if TYPE_CHECKING:
    from torch import Tensor

Explain = Callable[
    ["Tensor"], "Tensor"
]  # an input (1, 3, H, W) -> the heat map (H, W) of the same method for the same class
Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels of the heat map


@dataclass(frozen=True, eq=False)
class Measurement:
    """What a metric may ask: a map (H, W) of an input (1, 3, H, W), what the network says of other inputs, and its map of
    them; a box that the network sees, if there is one; the steps of curves and the seed of noise; how far the map differs from
    that for another class, if that is known."""

    score: Score
    explain: Explain
    image: Tensor
    heatmap: Tensor
    box: Box | None = None
    steps: int = CURVE_STEPS
    seed: int = 0
    specificity: float | None = None

    @cached_property
    def confidences(self) -> tuple[float, float]:
        """p and q: the class probability of the input and of the same masked by its heat map."""
        return confidences(self.score, self.image, self.heatmap)


@dataclass(frozen=True)
class Metric:
    """One row of METRICS. Values are fractions, 0..1 (ROAD: -0.5..0.5); `better` is "higher" or "lower".

    `needs` is "masked" (two passes), "curve" (a pass per step), "explain" (the method once more), "impute", "box", "grid"
    (the box is a photo's cell), or "class" (the map for another).
    `measure` gives the value, or the curve whose area it is; `binary` is one that is 0 or 1 for a single photo.
    """

    key: str
    label: str
    better: str
    needs: str
    protocol: str
    paper: str
    measure: Callable[[Measurement], float | Curve]
    binary: bool = False


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


def adcc(p: float, q: float, explain: Explain, image: Tensor, heatmap: Tensor) -> float:
    """Harmonic mean of coherency, simplicity and what is left of the probability (arXiv 2104.10252), in [0, 1].

    Coherency is (1 + Pearson's correlation) / 2 of the map and that of the masked photo; a constant map correlates with none.
    """
    coherency = (1 + pearson(heatmap, explain(image * heatmap))) / 2
    terms = coherency, 1 - float(heatmap.mean()), 1 - average_drop(p, q)
    return len(terms) / sum(1 / term for term in terms) if min(terms) > 0 else 0.0


def pearson(one: Tensor, other: Tensor) -> float:
    """The correlation of two maps, -1..1; 0 if one of them is constant."""
    a, b = (values.double().flatten() - values.double().mean() for values in (one, other))
    size = float(a.norm() * b.norm())
    return min(1.0, max(-1.0, float(a @ b) / size)) if size > 0 else 0.0


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


def _in_the_box(measure: Callable[[Tensor, Box], float]) -> Callable[[Measurement], float]:
    """A measure of a map and a box, which there is."""

    def of(case: Measurement) -> float:
        assert case.box is not None
        return measure(case.heatmap, case.box)

    return of


def _of_the_class(case: Measurement) -> float:
    assert case.specificity is not None
    return case.specificity


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
            lambda case: average_drop(*case.confidences),
        ),
        Metric(
            "increase",
            "Increase in Confidence",
            "higher",
            "masked",
            "share of photos with q > p, the photo softly masked by the map",
            "https://arxiv.org/abs/1710.11063",
            lambda case: increase(*case.confidences),
            binary=True,
        ),
        Metric(
            "average-gain",
            "Average Gain",
            "higher",
            "masked",
            "max(0, q - p) / (1 - p), the photo softly masked by the map",
            "https://arxiv.org/abs/2301.07002",
            lambda case: average_gain(*case.confidences),
        ),
        Metric(
            "insertion",
            "Insertion",
            "higher",
            "curve",
            f"area under p while the highest pixels are restored in a blurred photo (kernel {BLUR_KERNEL}, sigma "
            f"{BLUR_SIGMA:g}), {{steps}} steps",
            "https://arxiv.org/abs/1806.07421",
            lambda case: insertion(case.score, case.image, case.heatmap, case.steps),
        ),
        Metric(
            "deletion",
            "Deletion",
            "lower",
            "curve",
            "area under p while the highest pixels are replaced by the mean colour, {steps} steps",
            "https://arxiv.org/abs/1806.07421",
            lambda case: deletion(case.score, case.image, case.heatmap, case.steps),
        ),
        Metric(
            "adcc",
            "ADCC",
            "higher",
            "explain",
            "harmonic mean of coherency (correlation with the map of the masked photo), 1 - mean of the map, 1 - drop",
            "https://arxiv.org/abs/2104.10252",
            lambda case: adcc(*case.confidences, case.explain, case.image, case.heatmap),
        ),
        Metric(
            "road",
            "ROAD",
            "higher",
            "impute",
            "(lowest removed first - highest removed first) / 2 in p, by noisy linear imputation, mean over "
            f"{PERCENTILES[0]} to {PERCENTILES[-1]} % of the pixels",
            "https://arxiv.org/abs/2202.00449",
            lambda case: road(case.score, case.image, case.heatmap, seed=case.seed),
        ),
        Metric(
            "pointing",
            "Pointing game",
            "higher",
            "box",
            "share of photos with the map's highest place in the box",
            "https://arxiv.org/abs/1608.00507",
            _in_the_box(pointing),
            binary=True,
        ),
        Metric(
            "energy",
            "Energy in the box",
            "higher",
            "box",
            "the map's sum in the box over its whole sum, to be held against the box's share of the area",
            "https://arxiv.org/abs/1910.01279",
            _in_the_box(energy),
        ),
        Metric(
            "specificity",
            "Class specificity",
            "higher",
            "class",
            "1 - Pearson's correlation of the map and the same method's map for the most probable other class",
            "https://arxiv.org/abs/1912.09818",
            _of_the_class,
        ),
        Metric(
            "grid-pointing",
            "Grid pointing",
            "higher",
            "grid",
            "share of the map's sum on the photo of the class, in grids of four photos; 25 % of a map that knows no class",
            "https://arxiv.org/abs/2104.00032",
            _in_the_box(energy),
        ),
    )
}
ARROWS = {"higher": "↑", "lower": "↓"}  # which way is better
DEFAULT_METRICS = tuple(key for key, row in METRICS.items() if row.needs in ("masked", "curve"))  # the cheap ones


def protocol(key: str, steps: int = CURVE_STEPS) -> str:
    """How a metric is measured, in a line; `steps` of the curves."""
    row = METRICS[key]
    return f"{row.label} ({row.better} is better): {row.protocol.format(steps=steps)}"
