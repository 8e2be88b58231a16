"""One map measured, method, control or ceiling: what lies between the `Explainer` and the metrics."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iscam.drawing import as_heatmap
from iscam.engine import by_itself, carry_out
from iscam.explain import Explainer
from iscam.results import Analysis, Explanation, Outcome, Prediction, Stopped

from .boxes import Box, area_share, inside_of
from .controls import CEILINGS, CONTROLS
from .curves import CURVE_STEPS, Curve, inserted, taken_at
from .metrics import METRICS, Measurement
from .results import Faithfulness

Explain = Callable[[Analysis], Explanation]  # the same method with the same settings for the same class


def control(analysis: Analysis, key: str, class_index: int, category: str, seed: int = 0) -> Explanation:
    """The map of a control, one of CONTROLS; a photo always gets the same.

    >>> import iscam
    >>> from iscam.trust import control
    >>> analysis = iscam.Explainer(iscam.load_model("photo11")).analyse("assets/examples/chelsea.jpg")
    >>> control(analysis, "gaussian", 1, "cat").heatmap.max()
    np.float32(1.0)
    """
    photo = analysis.photo
    digest = photo.sha256 or hashlib.sha256(photo.image.tobytes()).hexdigest()  # a PIL image comes without one
    own = (seed + int(digest[:12], 16)) % 2**32
    heatmap = CONTROLS[key].draw(analysis.forward.activations, analysis.forward.size, own).numpy()
    return Explanation(
        method=key,
        target=Prediction(class_index, category, float(analysis.probabilities[class_index])),
        rivals=(),
        signed=False,
        weights=None,
        raw=heatmap,
        heatmap=heatmap,
        outcome=Outcome(0.0, 0, 0.0, complete=True),
        note="",
    )


@by_itself()
def ceiling(
    explainer: Explainer, analysis: Analysis, key: str, class_index: int, stop: threading.Event | None = None
) -> Explanation:
    """The map of a ceiling, one of CEILINGS, for a class. ADCC and ARCC are of the same made anew for the masked photo.

    Args:
        stop: when it is set, the map of the best weights so far is returned with `complete` False.

    Raises:
        ValueError: the network gives no finite scores for the masked photo; one sentence.

    >>> import iscam
    >>> from iscam.trust import ceiling
    >>> explainer = iscam.Explainer(iscam.load_model("photo11"))
    >>> found = ceiling(explainer, explainer.analyse("assets/examples/chelsea.jpg"), "opti-cam", 1)
    >>> found.category, found.forward_passes, found.complete
    ('cat', 50, True)
    """
    started = time.perf_counter()
    forward = analysis.forward
    ascent = CEILINGS[key].climb(explainer.model.network, analysis.layer, forward, class_index)
    complete = carry_out(ascent.batches(), stop, lambda: None)
    raw = (ascent.weights[:, None, None] * forward.activations).sum(0)  # (h, w)
    return Explanation(
        method=key,
        target=explainer.prediction(analysis, class_index),
        rivals=(),
        signed=False,
        weights=ascent.weights.numpy(),
        raw=raw.numpy(),
        heatmap=as_heatmap(raw, forward.size).numpy(),
        outcome=Outcome(time.perf_counter() - started, ascent.rows, ascent.error, complete),
        note="" if complete else "Stopped before all passes were done.",
    )


@by_itself()
def assess(
    explainer: Explainer,
    analysis: Analysis,
    explanation: Explanation,
    metrics: Collection[str],
    again: Explain | None = None,
    box: Box | None = None,
    steps: int = CURVE_STEPS,
    seed: int = 0,
    stop: threading.Event | None = None,
) -> Faithfulness:
    """What the metrics, keys of METRICS, say of an explanation.

    Args:
        again: explains another analysis as this one was explained, for ADCC and ARCC; a control's map is always its own.
        box: on the photo, in pixels of the upright one, for "pointing" and "energy", which are left out without it or
            where the network's crop shows nothing of it.
        steps: of the insertion and deletion curves.
        seed: of the noise that ROAD and ARCC add.

    Raises:
        ValueError: an unknown metric, a signed map, or a network that gives no finite scores; one sentence.
        Stopped: `stop` was set before all was measured.

    >>> import iscam
    >>> from iscam.trust import assess
    >>> explainer = iscam.Explainer(iscam.load_model("photo11"))
    >>> analysis = explainer.analyse("assets/examples/chelsea.jpg")
    >>> sorted(assess(explainer, analysis, explainer.explain(analysis, "cam"), ("average-drop", "deletion")).values)
    ['average-drop', 'deletion']
    """
    if unknown := [key for key in metrics if key not in METRICS]:
        raise ValueError(f"There is no metric {unknown[0]!r}: choose from {', '.join(METRICS)}.")
    if explanation.signed:
        raise ValueError("The map of a contrast is signed, so it cannot mask a photo.")
    case = _measurement(explainer, analysis, explanation, again, stop)
    seen = None if box is None else on_map(box, analysis.crop, (case.heatmap.shape[1], case.heatmap.shape[0]))
    area = None if seen is None else area_share(case.heatmap, seen)
    case = replace(case, box=seen, steps=steps, seed=seed)
    values: dict[str, float] = {}
    curves: dict[str, Curve] = {}
    for key, row in METRICS.items():
        missing = (row.needs in ("box", "grid") and not area) or (
            row.needs == "class" and explanation.specificity is None
        )
        if key not in metrics or missing:
            continue
        found = row.measure(case)
        if isinstance(found, Curve):
            curves[key], values[key] = found, found.area
        else:
            values[key] = found
    return Faithfulness(values, curves, area)


def _measurement(
    explainer: Explainer,
    analysis: Analysis,
    explanation: Explanation,
    again: Explain | None,
    stop: threading.Event | None,
) -> Measurement:
    """What metrics may ask of an explanation."""
    image = analysis.forward.image  # (1, 3, H, W)
    heatmap = torch.from_numpy(explanation.heatmap).to(image)  # (H, W)

    def score(images: Tensor) -> Tensor:
        return explainer.probability(images, explanation.class_index, stop)

    def explain(masked: Tensor) -> Tensor:
        if explanation.method in CONTROLS:
            return heatmap
        if again is None:
            raise ValueError("The metric needs the method once more: pass `again`.")
        found = again(explainer.changed(analysis, masked))
        if not found.complete:
            raise Stopped
        return torch.from_numpy(found.heatmap).to(image)

    return Measurement(score, explain, image, heatmap, specificity=explanation.specificity)


@by_itself()
def by_hand(
    explainer: Explainer, analysis: Analysis, class_index: int, box: Box, stop: threading.Event | None = None
) -> tuple[float, float]:
    """The class probability of the photo without the inside of a box, in pixels of the upright one, and with nothing but it:
    what is taken away shows the mean colour. No map is asked.

    Raises:
        ValueError: the network gives no finite scores; one sentence.
        Stopped: `stop` was set before.

    >>> import iscam
    >>> from iscam.trust import by_hand
    >>> explainer = iscam.Explainer(iscam.load_model("photo11"))
    >>> analysis = explainer.analyse("assets/examples/chelsea.jpg")
    >>> without, alone = by_hand(explainer, analysis, 1, (0, 0, 451, 300))  # of all of it
    >>> without < 0.2 < 0.9 < alone
    True
    """
    image = analysis.forward.image
    height, width = analysis.forward.size
    inside = inside_of(image[0, 0], on_map(box, analysis.crop, (width, height)))  # (H, W)
    without, alone = explainer.probability(
        torch.cat([image * (1 - inside), image * inside]), class_index, stop
    ).tolist()
    return without, alone


def turns(explanation: Explanation, steps: int) -> NDArray[np.uint8]:
    """At which step (H, W) of a curve, 1 to `steps` (at most 255), each pixel is deleted or inserted."""
    found: NDArray[np.uint8] = taken_at(torch.from_numpy(explanation.heatmap), steps).byte().numpy()
    return found


def pictures(
    explainer: Explainer, analysis: Analysis
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """What the network is shown (H, W, 3), what insertion starts from, and the colour that deletion leaves (1, 1, 3)."""
    image = analysis.forward.image
    blurred = inserted(image, image[0, 0], [0])  # of no pixel, so by whatever map
    inputs = image, blurred, image.new_zeros((1, 3, 1, 1))
    photo, start, emptied = (explainer.picture(each) for each in inputs)
    return photo, start, emptied


def on_map(box: Box, crop: tuple[int, int, int, int], size: tuple[int, int]) -> Box:
    """A box (l, t, r, b) on the upright photo in pixels of a map of `size` (W, H) that lies on the photo's crop."""
    left, top, right, bottom = crop
    across, down = size[0] / (right - left), size[1] / (bottom - top)
    return (box[0] - left) * across, (box[1] - top) * down, (box[2] - left) * across, (box[3] - top) * down
