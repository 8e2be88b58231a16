"""What must be said beside a map: why there is none, why it is blank, and when not to believe it. No torch is loaded here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from iscam import engine
from iscam.evidence import Evidence
from iscam.methods import METHODS
from iscam.results import correlation

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from iscam.results import Explanation, Prediction

DISAGREE = 0.5  # correlation of two maps below which they disagree
DOUBTFUL_PROBABILITY = 0.05  # of a class, below which its map is no evidence
WHOLE = "This network cannot be run from the layer on, so that every pass was one through all of it."
UNSPECIFIC = 0.05  # of a map: 1 - r with that for another class, at which the class hardly matters to it


def refusal(key: str, model_label: str, head_layer: str | None, layer: str) -> str | None:
    """Why a method cannot serve a model's layer, in one sentence; None if it can."""
    row = METHODS[key]
    if not row.needs_head or layer == head_layer:
        return None
    if head_layer is None:
        return (
            f"{row.label} needs global average pooling followed by one linear layer, which {model_label} does not have."
        )
    return f"{row.label} needs the layer just before the global pooling, {head_layer}, not {layer}."


def doubt(category: str, probability: float) -> str:
    """What must be said of the map of an improbable class; empty for a probable one."""
    if probability >= DOUBTFUL_PROBABILITY:
        return ""
    return f"The network gives {category} only {100 * probability:.2g} %: do not take the map for evidence."


def unspecific(explanation: Explanation) -> str:
    """What must be said of a map that is nearly the one for another class; empty of any other."""
    yardstick, specificity = explanation.yardstick, explanation.specificity
    if yardstick is None or yardstick.rival is None or specificity is None or specificity > UNSPECIFIC:
        return ""
    return (
        f"This map is {math.floor(100 * (1 - specificity)) / 100:.2f} like the one for {yardstick.rival.category}: it shows "
        f"where something is, not why {explanation.category}."
    )


def correlations(explanations: Sequence[Explanation]) -> dict[tuple[str, str], float]:
    """r, Pearson's, of each two methods' maps, by their labels in the order of METHODS; those of blank maps are unknown."""
    maps = {explanation.method: explanation.heatmap for explanation in explanations}
    pairs = combinations((key for key in METHODS if key in maps), 2)
    found = {(METHODS[a].label, METHODS[b].label): correlation(maps[a], maps[b]) for a, b in pairs}
    return {pair: value for pair, value in found.items() if value is not None}


def agreement(correlations: Mapping[tuple[str, str], float]) -> str:
    """How far the maps of several methods agree, from the correlation of each pair of labels."""
    (one, other), least = min(correlations.items(), key=lambda item: item[1])
    if least >= DISAGREE:
        return f"The maps agree: their correlations are {least:.2f} to {max(correlations.values()):.2f}."
    low = sum(value < DISAGREE for value in correlations.values())
    pairs = (
        "The two maps disagree" if len(correlations) == 1 else f"{low} of {len(correlations)} pairs of maps disagree"
    )
    return f"{pairs}, most of all {one} and {other} (correlation {least:.2f}): do not trust one of them alone."


def rather_than(rivals: Sequence[Prediction]) -> str:
    """What a class is held against, by the first of it: "rather than dog and 2 more"; empty of a class as such."""
    if not rivals:
        return ""
    more = len(rivals) - 1
    return f"rather than {rivals[0].category}" + (f" and {more} more" if more else "")


def place(heatmap: npt.NDArray[np.float32]) -> str:
    """In which ninth of a map (H, W) most of its weight lies: "upper left", "centre" ...; a sign does not matter."""
    rows = [
        [float(np.abs(part).sum()) for part in np.array_split(band, 3, 1)]
        for band in np.array_split(np.asarray(heatmap), 3, 0)
    ]
    row, column = divmod(int(np.argmax(rows)), 3)
    if row == column == 1:
        return "centre"
    if row == 1:
        return ("left", "", "right")[column]
    return f"{('upper', '', 'lower')[row]} {('left', 'middle', 'right')[column]}"


def lies(heatmap: npt.NDArray[np.float32]) -> str:
    """Where a map (H, W) has most of its weight, to be said of its picture."""
    return f"strongest at the {place(heatmap)}" if heatmap.any() else "blank"


def blank_reason(evidence: Evidence, weights: Tensor | None) -> str:
    """Why a map is zero everywhere; `weights` (C,) or (C, h, w) as the method gave them, None if it gave a map."""
    flat = float(engine.flat_channels(evidence.forward.activations).float().mean())
    score = float(evidence.logit)
    if flat == 1:
        reason = "every channel of the layer is constant on this photo"
    elif evidence.gradients is not None and not evidence.gradients.any():
        reason = f"all gradients of the class score ({score:.3g}) are zero"
    elif score == 0 and any(probe.silence for probe in evidence.passes.probes):
        reason = "the class score is 0, so no relative drop can be taken"
    elif weights is not None and not weights.any():
        reason = "all weights are zero"
    elif weights is not None and bool((weights <= 0).all()):
        reason = "no channel has a positive weight for this class"
    else:
        reason = "the weighted sum of the channels is nowhere positive, or the same everywhere"
    return f"The map is blank: {reason} ({100 * flat:.0f} % of the channels are constant)."


def trouble_of(error: Exception) -> str:
    """What to say of an error to whoever can mend it; empty if it is a fault of the program.

    >>> trouble_of(ValueError("Choose another layer.")), trouble_of(KeyError("relu"))
    ('Choose another layer.', '')
    """
    if engine.is_want_of_memory(error):
        return "There is not enough memory for this: choose a smaller model or a deeper layer, or end other programs."
    if isinstance(error, OSError) and error.errno is not None:
        where = f" with {error.filename}" if error.filename is not None else ""
        return f"The system did not do what was asked for{where}: {(error.strerror or 'it does not say why').lower()}."
    return str(error) if isinstance(error, (ValueError, OSError)) else ""
