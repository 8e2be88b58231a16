"""What the tabs Classes, Integration and Layers show: a study's news as HTML and as tables for plots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from iscam.show import render
from iscam.trust import LABELS, METRICS
from iscam.ui.asked import Look
from iscam.ui.done import CURVE_STEPS, Analysed, Contrasted, Integrated, Measured, Piece, Refused, Seen

from . import words as text
from .canvas import CARD_PIXELS, Canvas

if TYPE_CHECKING:
    import pandas

PLOTS = ("curves", "changes", "insertion", "deletion")
Shelf = dict[str, object]  # name of a component -> its value


def empty() -> Shelf:
    """Nothing in any tab."""
    words = (
        *("classes", "class_contrast", "integration", "film", "channels", "layers"),
        *("trust", "perturbed", "boxed", "protocol"),
    )
    return dict.fromkeys(words, "") | dict.fromkeys(PLOTS)


def arranged(kind: str, news: Sequence[object], look: Look) -> Shelf:
    """The components of a tab, one of STUDIES, from the news so far."""
    seen = [each.subject for each in news if isinstance(each, Analysed)]
    if not seen:
        return {}
    canvas = Canvas(seen[-1].photo.reduced(CARD_PIXELS), seen[-1].crop, look)
    return _KINDS[kind](canvas, news)


def redrawn(kind: str, news: Sequence[object], look: Look) -> Shelf:
    """What of a tab, one of STUDIES, changes with the look."""
    shelf = arranged(kind, news, look)
    return {name: shelf[name] for name in shelf if name not in (*PLOTS, "trust", "boxed", "protocol")}


def measured(news: Sequence[object]) -> list[str]:
    """The methods and controls that have been measured, methods first."""
    found = {each.method for each in news if isinstance(each, Measured)}
    return [key for key in LABELS if key in found]


def _rows(canvas: Canvas, news: Sequence[object], brief: bool) -> str:
    cards = []
    for each in news:
        if isinstance(each, Piece):
            cards.append(canvas.map_card(each.title, each.explanation, each.masked, brief=brief))
        elif isinstance(each, Refused) and each.method != "contrast":
            cards.append(text.empty_card(each.method, each.sentence))
    return text.gallery(cards) + (canvas.scale() if cards else "")


def _classes(canvas: Canvas, news: Sequence[object]) -> Shelf:
    contrast = ""
    for each in news:
        if isinstance(each, Contrasted):
            contrast = canvas.contrast_card(each)
        elif isinstance(each, Refused) and each.method == "contrast":
            contrast = text.empty_card("Contrast", each.sentence)
    return {"classes": _rows(canvas, news, brief=True), "class_contrast": contrast}


def _layers(canvas: Canvas, news: Sequence[object]) -> Shelf:
    return {"layers": _rows(canvas, news, brief=False)}


def _integration(canvas: Canvas, news: Sequence[object]) -> Shelf:
    found = next((each for each in news if isinstance(each, Integrated)), None)
    return {} if found is None else _integrated(canvas, found)


def _integrated(canvas: Canvas, found: Integrated) -> Shelf:
    whole = found.integration
    steps = len(whole.multipliers)
    film = [
        canvas.small_card(
            f"{step} of {steps}",
            heatmap,
            f"Map for {whole.category} after {step} of {steps} steps: strongest in the {text.place(heatmap)}",
            [f"intensity {whole.multipliers[step - 1]:.2g}"],
        )
        for step, heatmap in zip(found.frames, whole.heatmaps, strict=True)
    ]
    channels = [
        canvas.small_card(
            f"No. {channel}",
            mask,
            f"Mask of channel {channel}: strongest in the {text.place(mask)}",
            [f"weight {weight:.3g}", f"{text.per_cent(share)} of map"],
        )
        for channel, mask, weight, share in zip(whole.channels, whole.masks, whole.weights, whole.shares, strict=True)
    ]
    last = (
        f"The last of the {steps} steps still changed the map by {float(whole.changes[-1]):.4f} in the mean"
        if steps > 1
        else "There is one step"
    )
    summary = (
        f"IS-CAM shows each channel's part of the photo at {steps} intensities and weights the channel by the mean "
        f"probability of {whole.category}. {last}; it took {text.passes(whole.forward_passes)} to see."
    )
    stopped = "" if whole.complete else " Stopped: this is what was known by then."
    return {
        "integration": text.heading("From a blank photo to the map", summary + stopped),
        "curves": _curves(found),
        "changes": _changes(found),
        "film": text.heading("The map after each step" if steps == len(film) else "The map after some of the steps")
        + text.gallery(film),
        "channels": text.heading("The channels that carry the map", "The mask of each, and its share of the map's sum.")
        + text.gallery(channels),
    }


def _curves(found: Integrated) -> pandas.DataFrame:
    """Class probability in per cent along the path, one line per channel."""
    import pandas

    whole = found.integration
    rows = [
        (multiplier, 100 * float(value), str(channel))
        for multiplier, row in zip(whole.points, whole.probabilities, strict=True)
        for channel, value in zip(whole.channels, row, strict=True)
    ]
    return pandas.DataFrame(rows, columns=["intensity", "probability", "channel"])


def _changes(found: Integrated) -> pandas.DataFrame:
    """Mean absolute change of the map by each step but the first, which makes it out of nothing."""
    import pandas

    changes = [(step, float(change)) for step, change in enumerate(found.integration.changes, 1) if step > 1]
    return pandas.DataFrame(changes, columns=["step", "change"])


def _faithfulness(canvas: Canvas, news: Sequence[object]) -> Shelf:
    found = {each.method: each for each in news if isinstance(each, Measured)}
    seen = next((each for each in news if isinstance(each, Seen)), None)
    subject = next(each.subject for each in news if isinstance(each, Analysed))
    if seen is None or not found:
        return {}
    refused = {each.method: each.sentence for each in news if isinstance(each, Refused)}
    blank = {key: each.blank for key, each in found.items() if each.blank}
    values = {key: each.faithfulness.values for key, each in found.items()}
    metrics = [key for key in METRICS if any(key in row for row in values.values())]
    return {
        "trust": text.figures(values, blank, refused, seen.category, seen.probability),
        "insertion": _probabilities(found, "insertion"),
        "deletion": _probabilities(found, "deletion"),
        "perturbed": perturbed(canvas, news),
        "boxed": canvas.boxed(seen.box, next(iter(found.values())).faithfulness.box_area),
        "protocol": text.protocols(metrics, CURVE_STEPS, subject.layer),
    }


def perturbed(canvas: Canvas, news: Sequence[object]) -> str:
    """The photo with the chosen share of its pixels perturbed along the chosen map, and its class probability."""
    look, label = canvas.look, LABELS[canvas.look.by]
    seen = next((each for each in news if isinstance(each, Seen)), None)
    found = next((each for each in news if isinstance(each, Measured) and each.method == look.by), None)
    if seen is None or found is None:
        return text.empty_card(label, "This map has not been measured: those in the table have.")
    step = round(look.share * CURVE_STEPS / 100)
    taken = (found.taken <= step)[..., None]
    pixels = (
        np.where(taken, seen.emptied, seen.picture)
        if look.how == "deletion"
        else np.where(taken, seen.picture, seen.blurred)
    )
    share = 100 * step / CURVE_STEPS
    probability = text.per_cent(float(found.faithfulness.curves[look.how].scores[step]))
    what = "removed" if look.how == "deletion" else "restored"
    line = f"{share:.0f} % of the pixels {what}: {seen.category} {probability}"
    jpeg = render.encoded(Image.fromarray(pixels), "JPEG")
    return text.card(f"{label}, {look.how}", jpeg, f"What the network sees: {line}", [line])


def _probabilities(measured: Mapping[str, Measured], key: str) -> pandas.DataFrame:
    """Class probability in per cent along a curve, one line per map."""
    import pandas

    rows = []
    for name in (name for name in LABELS if name in measured):
        curve = measured[name].faithfulness.curves[key]
        for fraction, score in zip(curve.fractions, curve.scores, strict=True):
            rows.append((round(100 * float(fraction)), 100 * float(score), LABELS[name]))
    return pandas.DataFrame(rows, columns=["pixels", "probability", "map"])


_KINDS: dict[str, Callable[[Canvas, Sequence[object]], Shelf]] = {
    "classes": _classes,
    "integration": _integration,
    "layers": _layers,
    "faithfulness": _faithfulness,
}
