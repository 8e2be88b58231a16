"""What the network says of a photo that is softly masked by a map, and how the map of that photo agrees with it.

Notation: p is the class probability of the photo, q that of the photo times the map. Importing this module loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .correlation import pearson
from .curves import Score

if TYPE_CHECKING:
    from torch import Tensor

Explain = Callable[
    ["Tensor"], "Tensor"
]  # an input (1, 3, H, W) -> the heat map (H, W) of the same method for the same class


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


def coherency(explain: Explain, image: Tensor, heatmap: Tensor) -> float:
    """(1 + Pearson's correlation) / 2 of the map and that of the masked photo, 0..1; a constant map correlates with none."""
    return (1 + pearson(heatmap, explain(image * heatmap))) / 2


def adcc(p: float, q: float, coherency: float, heatmap: Tensor) -> float:
    """Harmonic mean of coherency, simplicity and what is left of the probability (arXiv 2104.10252), in [0, 1]."""
    return _harmonic_mean(coherency, 1 - float(heatmap.mean()), 1 - average_drop(p, q))


def arcc(coherency: float, heatmap: Tensor, road: float) -> float:
    """Harmonic mean of coherency, simplicity and twice ROAD, cut to 0..1 (arXiv 2605.14641), in [0, 1].

    0 where the class is lost no sooner by removing the highest pixels than by removing the lowest.
    """
    return _harmonic_mean(coherency, 1 - float(heatmap.mean()), min(1.0, max(0.0, 2 * road)))


def _harmonic_mean(*terms: float) -> float:
    """0 if one of them is."""
    return len(terms) / sum(1 / term for term in terms) if min(terms) > 0 else 0.0
