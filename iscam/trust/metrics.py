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

from .boxes import Box, energy, pointing
from .curves import BLUR_KERNEL, BLUR_SIGMA, CURVE_STEPS, Curve, Score, deletion, insertion, step_correlation
from .imputation import PERCENTILES, road
from .masked import Explain, adcc, arcc, average_drop, average_gain, coherency, confidences, increase
from .patches import PATCHES, single_deletion

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Measurement:
    """What a metric may ask: a map (H, W) of an input (1, 3, H, W), what the network says of other inputs, and its map of
    them; a box that the network sees, if there is one; the steps of curves and the seed of noise; how far the map differs from
    that for another class, if that is known. What several metrics need is found once."""

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

    @cached_property
    def coherency(self) -> float:
        """How alike the map and that of the masked photo are, 0..1."""
        return coherency(self.explain, self.image, self.heatmap)

    @cached_property
    def insertion(self) -> Curve:
        return insertion(self.score, self.image, self.heatmap, self.steps)

    @cached_property
    def deletion(self) -> Curve:
        return deletion(self.score, self.image, self.heatmap, self.steps)

    @cached_property
    def road(self) -> float:
        return road(self.score, self.image, self.heatmap, seed=self.seed)


@dataclass(frozen=True)
class Metric:
    """One row of METRICS. Values are fractions, 0..1 (ROAD: -0.5..0.5; specificity: 0..2; correlations: -1..1); `better` is
    "higher" or "lower".

    `needs` is "masked" (two passes), "curve" (a pass per step), "patches" (a pass for each), "explain" (the method once
    more), "impute", "box", "grid" (the box is a photo's cell), or "class" (the map for another).
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
            lambda case: case.insertion,
        ),
        Metric(
            "deletion",
            "Deletion",
            "lower",
            "curve",
            "area under p while the highest pixels are replaced by the mean colour, {steps} steps",
            "https://arxiv.org/abs/1806.07421",
            lambda case: case.deletion,
        ),
        Metric(
            "insertion-correlation",
            "Insertion correlation",
            "higher",
            "curve",
            "Pearson's correlation, over {steps} steps of insertion, of the rise of p and the share of the map's sum restored",
            "https://arxiv.org/abs/2201.13291",
            lambda case: step_correlation(case.insertion.rises, case.heatmap),
        ),
        Metric(
            "deletion-correlation",
            "Deletion correlation",
            "higher",
            "curve",
            "Pearson's correlation, over {steps} steps of deletion, of the drop of p and the share of the map's sum removed",
            "https://arxiv.org/abs/2201.13291",
            lambda case: step_correlation(-case.deletion.rises, case.heatmap),
        ),
        Metric(
            "single-deletion",
            "Single deletion",
            "higher",
            "patches",
            f"Spearman's correlation, over {PATCHES} x {PATCHES} patches, of the drop of p where one shows the mean colour and "
            "the map's sum over it",
            "https://arxiv.org/abs/2407.11910",
            lambda case: single_deletion(case.score, case.image, case.heatmap),
        ),
        Metric(
            "adcc",
            "ADCC",
            "higher",
            "explain",
            "harmonic mean of coherency (correlation with the map of the masked photo), 1 - mean of the map, 1 - drop",
            "https://arxiv.org/abs/2104.10252",
            lambda case: adcc(*case.confidences, case.coherency, case.heatmap),
        ),
        Metric(
            "road",
            "ROAD",
            "higher",
            "impute",
            "(lowest removed first - highest removed first) / 2 in p, by noisy linear imputation, mean over "
            f"{PERCENTILES[0]} to {PERCENTILES[-1]} % of the pixels",
            "https://arxiv.org/abs/2202.00449",
            lambda case: case.road,
        ),
        Metric(
            "arcc",
            "ARCC",
            "higher",
            "explain",
            "harmonic mean of coherency, 1 - mean of the map, and twice ROAD within 0 to 1",
            "https://arxiv.org/abs/2605.14641",
            lambda case: arcc(case.coherency, case.heatmap, case.road),
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
DEFAULT_METRICS = ("average-drop", "increase", "average-gain", "insertion", "deletion")


def protocol(key: str, steps: int = CURVE_STEPS) -> str:
    """How a metric is measured, in a line; `steps` of the curves."""
    row = METRICS[key]
    return f"{row.label} ({row.better} is better): {row.protocol.format(steps=steps)}"
