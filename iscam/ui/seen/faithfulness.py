"""The tab Faithfulness: figures with their curves, the photo with some of its pixels removed, and a box drawn on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from iscam import show
from iscam.methods import DEFAULT_METHODS, METHODS
from iscam.trust import CEILINGS, CONTROLS, HALF, LABELS, METRICS
from iscam.ui.done.faithfulness import CURVE_STEPS, SLOW, ByHand, Measured, Seen
from iscam.ui.done.news import Analysed, Refused

from . import figures, html, words
from .canvas import Canvas
from .face import Chosen, Face, Shelf, TabParts, explained, htmls

if TYPE_CHECKING:
    import pandas

PERTURBATIONS = ("deletion", "insertion")
SHARE = 25  # per cent of the pixels, at first
FADED = 5  # by how much darker what is left out of a photo is drawn
KEPT = "Of the photo restored along each map, from a blurred one: what is bright is enough."
SENTENCE = (
    "What happens to the class probability when the photo is masked, restored or removed along each map, beside maps that "
    "know nothing of the network, or of its classes: read each figure against theirs."
)


@dataclass(frozen=True)
class Scrub:
    """Which perturbed photo is shown: by whose map, how, and which percentage of its pixels."""

    by: str = DEFAULT_METHODS[0]
    how: str = PERTURBATIONS[0]
    share: int = SHARE

    @classmethod
    def read(cls, chosen: Chosen) -> Scrub:
        """What a client says, checked."""
        by, how, share = chosen["by"], chosen["how"], chosen["share"]
        if by not in (*METHODS, *CONTROLS, *CEILINGS) or how not in PERTURBATIONS:
            raise ValueError(
                f"A photo is perturbed by {', '.join(PERTURBATIONS)}, along a method's or a control's map."
            )
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 100:
            raise ValueError("The share of the pixels lies between 0 and 100 %.")
        return cls(by, how, round(share))


def _lay_out() -> TabParts:
    with gr.Row(elem_classes="over", equal_height=True):
        slow = [(METRICS[key].label if key in METRICS else LABELS[key], key) for key in SLOW]
        also = gr.CheckboxGroup(slow, value=[], label="Measure also (slow)", scale=0, min_width=210, elem_id="also")
        explained(SENTENCE)
    shows = htmls("trust", "kept")
    with gr.Row(elem_id="trust-curves"):
        for key, what in (("insertion", "restored"), ("deletion", "removed")):
            shows[key] = gr.LinePlot(
                x="pixels",
                y="probability",
                color="map",
                color_map=figures.COLOURS,
                x_title=f"pixels {what}, highest first, %",
                y_title="class probability, %",
                label=METRICS[key].label,
                visible=False,
                elem_id=f"curve-{key}",
            )
    with gr.Row(elem_id="perturb", equal_height=False):
        with gr.Column(min_width=280):
            with gr.Row():
                by = gr.Dropdown(words.map_choices(), value=Scrub.by, label="By the map of", min_width=130)
                how = gr.Radio(list(PERTURBATIONS), value=Scrub.how, label="Perturbation", min_width=150)
            share = gr.Slider(0, 100, SHARE, step=5, label="Share of the pixels, %", elem_id="share")
            shows |= htmls("perturbed")
        with gr.Column(min_width=280):
            box = gr.Textbox(
                label="Box",
                placeholder="left, top, right, bottom in % of the photo",
                info="Draw it on the photo, or type it: what share of each map lies in it?",
                max_length=60,
                elem_id="box",
            )
            shows |= htmls("boxed")
    return TabParts(shows | htmls("protocol"), {"also": also, "box": box}, {"by": by, "how": how, "share": share})


def _arrange(canvas: Canvas, news: Sequence[Any], chosen: Chosen) -> Shelf:
    scrub = Scrub.read(chosen)
    found = {each.method: each for each in news if isinstance(each, Measured)}
    seen = next((each for each in news if isinstance(each, Seen)), None)
    subject = next(each.subject for each in news if isinstance(each, Analysed))
    by_hand = next((each for each in news if isinstance(each, ByHand)), None)
    if seen is None or not found:
        return {}
    refused = {each.method: each.sentence for each in news if isinstance(each, Refused)}
    blank = {key: each.blank for key, each in found.items() if each.blank}
    values = {key: each.faithfulness.values for key, each in found.items()}
    metrics = [key for key in METRICS if any(key in row for row in values.values())]
    return {
        "trust": figures.table(values, blank, refused, seen.category, seen.probability),
        "insertion": _probabilities(found, "insertion"),
        "deletion": _probabilities(found, "deletion"),
        "perturbed": _perturbed(seen, found.get(scrub.by), scrub),
        "kept": _kept(seen, [found[key] for key in METHODS if key in found]),
        "boxed": _boxed(canvas, seen, next(iter(found.values())).faithfulness.box_area, by_hand),
        "protocol": figures.protocols(metrics, CURVE_STEPS, subject.layer),
    }


def _perturbed(seen: Seen, found: Measured | None, scrub: Scrub) -> str:
    """The photo with the chosen share of its pixels perturbed along the chosen map, and its class probability."""
    label = LABELS[scrub.by]
    if found is None:
        return html.empty_card(label, "This map has not been measured: those in the table have.")
    step = round(scrub.share * CURVE_STEPS / 100)
    taken = (found.taken <= step)[..., None]  # (H, W, 1)
    removed = scrub.how == "deletion"
    pixels = np.where(taken, seen.emptied, seen.picture) if removed else np.where(taken, seen.picture, seen.blurred)
    probability = words.per_cent(float(found.faithfulness.curves[scrub.how].scores[step]))
    share, what = 100 * step / CURVE_STEPS, "removed" if removed else "restored"
    line = f"{share:.0f} % of the pixels {what}: {seen.category} {probability}"
    jpeg = show.encoded(Image.fromarray(pixels), "JPEG")
    return html.card(f"{label}, {scrub.how}", jpeg, f"What the network sees: {line}", [line])


def _kept(seen: Seen, measured: Sequence[Measured]) -> str:
    """By each method's map: the least of the photo, restored highest first, with which the class keeps half its probability."""
    cards, title = [], html.heading("The least that keeps half of the class probability", KEPT)
    blurred = float(measured[0].faithfulness.curves["insertion"].scores[0]) if measured else 0.0
    if blurred >= HALF * seen.probability:
        said = f"Blurred, the photo is {seen.category} to {words.per_cent(blurred)} already: nothing of it is needed for half, "
        return title + html.notice([(said + "and what insertion says of maps is worth little here.", True)])
    for each in measured:
        curve = each.faithfulness.curves["insertion"]
        step = curve.first_with(HALF * seen.probability)
        shown = (each.taken <= step)[..., None]  # (H, W, 1)
        jpeg = show.encoded(Image.fromarray(np.where(shown, seen.picture, seen.picture // FADED)), "JPEG")
        share, probability = 100 * step / CURVE_STEPS, words.per_cent(float(curve.scores[step]))
        line = f"{share:.0f} % of the pixels: {seen.category} {probability}"
        label = LABELS[each.method]
        cards.append(html.card(label, jpeg, f"What {label} takes to keep half of {seen.category}: {line}", [line]))
    return title + html.gallery(cards)


def _boxed(canvas: Canvas, seen: Seen, area: float | None, by_hand: ByHand | None) -> str:
    """The photo with the crop that the network sees, to draw a box on; `area` is the box's share of the crop."""
    width, height = canvas.photo.size
    left, top, right, bottom = seen.box or (0.0, 0.0, 0.0, 0.0)
    share = 100 * left / width, 100 * top / height, 100 * right / width, 100 * bottom / height
    line = "Draw a box around what the class is about."
    if area is not None:
        line = f"The box takes up {100 * area:.1f} % of what the network sees."
        if area == 0:
            line = "The network sees nothing of this box."
        elif by_hand is not None:
            without, alone = words.per_cent(by_hand.without), words.per_cent(by_hand.alone)
            line += f" Without its inside {seen.category} has {without}, with nothing but its inside {alone}:"
            half = HALF * seen.probability
            needed = "is needed" if by_hand.without < half else "is not needed"
            enough = "is enough" if by_hand.alone >= half else "is not enough"
            line += f" for half of the probability the inside {needed}, and {enough}."
    return figures.drawn_on(canvas.framed(), "The photo, to draw a box on", share, line)


def _probabilities(measured: Mapping[str, Measured], key: str) -> pandas.DataFrame:
    """Class probability in per cent along a curve, one line per map."""
    import pandas

    rows = []
    for name in (name for name in LABELS if name in measured):
        curve = measured[name].faithfulness.curves[key]
        for fraction, score in zip(curve.fractions, curve.scores, strict=True):
            rows.append((round(100 * float(fraction)), 100 * float(score), LABELS[name]))
    return pandas.DataFrame(rows, columns=["pixels", "probability", "map"])


def _measured(news: Sequence[Any], chosen: Chosen) -> object:
    """The map by which the photo is perturbed: the first that was measured, if the chosen one was not."""
    found = {each.method for each in news if isinstance(each, Measured)}
    measured = [key for key in LABELS if key in found]
    return measured[0] if measured and chosen["by"] not in measured else chosen["by"]


FACE = Face(
    "Faithfulness",
    _lay_out,
    _arrange,
    drawn=("perturbed",),
    plots=("insertion", "deletion"),
    settle={"by": _measured},
    of_the_photo=("box",),
)
