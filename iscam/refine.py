r"""RefineCAM (arXiv 2605.14641): the maps of several layers as one, $E = s(\prod_l E_l)$.

What a deep layer places coarsely, an earlier one draws finely, where both agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from iscam.notes import unspecific
from iscam.results import Explanation, Outcome, Yardstick


def refine_cam(explanations: Sequence[Explanation]) -> Explanation:
    """The product of one method's maps of one photo and class by several layers, brought to [0, 1].

    The maps have the input's size (H, W) already, so that it is `raw` too. What each is held against is multiplied alike, and
    times and passes add up. How far the product may be from that of the exact maps is at most the sum of their errors, before
    it is brought to [0, 1], which is not bounded here: `estimated_error` is None unless all maps are exact.

    Raises:
        ValueError: no map, maps of different questions, or signed ones; one sentence.

    >>> import iscam
    >>> explainer = iscam.Explainer(iscam.load_model("photo11"))
    >>> layers = [explainer.analyse("assets/examples/chelsea.jpg", layer) for layer in ("layer3", "layer2")]
    >>> iscam.refine_cam([explainer.explain(analysis, "grad-cam") for analysis in layers]).heatmap.max()
    np.float32(1.0)
    """
    if not explanations:
        raise ValueError("RefineCAM multiplies maps: give it at least one.")
    first = explanations[0]
    questions = {
        (each.method, each.class_index, *(rival.index for rival in each.rivals), each.heatmap.shape)
        for each in explanations
    }
    if len(questions) > 1 or first.signed:
        raise ValueError("RefineCAM multiplies maps in [0, 1] of one method for one class, by several layers.")
    heatmap = _product([each.heatmap for each in explanations])
    exact = all(each.estimated_error == 0 for each in explanations)
    outcome = Outcome(
        sum(each.seconds for each in explanations),
        sum(each.forward_passes for each in explanations),
        0.0 if exact else None,
        all(each.complete for each in explanations),
    )
    found = replace(
        first, weights=None, raw=heatmap, heatmap=heatmap, outcome=outcome, note="", yardstick=_yardstick(explanations)
    )
    blank = "" if heatmap.any() else "The map is blank: there is no place that the maps of all layers show."
    return replace(found, note=blank or unspecific(found))


def _yardstick(explanations: Sequence[Explanation]) -> Yardstick | None:
    """What the product is held against: the product of the rival's maps, and that of the means."""
    known = [each.yardstick for each in explanations if each.yardstick is not None]
    if len(known) < len(explanations):
        return None
    rivals = [each.heatmap for each in known if each.heatmap is not None]
    theirs = _product(rivals) if len(rivals) == len(known) else None
    return Yardstick(known[0].rival, theirs, _product([each.mean for each in known]))


def _product(heatmaps: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The product (H, W) of maps, brought to [0, 1]."""
    whole = np.prod(np.stack(heatmaps).astype(np.float64), axis=0)
    least, most = whole.min(), whole.max()
    found: NDArray[np.float32] = ((whole - least) / (most - least or 1)).astype(np.float32)
    return found
