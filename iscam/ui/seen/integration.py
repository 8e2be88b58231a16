"""The tab Integration: what the strongest channels score along the path, and how the map comes about step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from iscam.notes import lies
from iscam.ui.done.integration import Integrated

from . import html, words
from .canvas import Canvas
from .face import Chosen, Face, Shelf, TabParts, htmls

if TYPE_CHECKING:
    import pandas

    from iscam.show import Integration


def _lay_out() -> TabParts:
    """The plots have no value, and are hidden, until there is one."""
    shows = htmls("integration")
    with gr.Row(elem_id="plots"):
        shows["curves"] = gr.LinePlot(
            x="intensity",
            y="probability",
            color="channel",
            x_title="intensity (1: the masked photo)",
            y_title="class probability, %",
            label="Class probability along the path",
            visible=False,
            elem_id="curves",
        )
        shows["changes"] = gr.BarPlot(
            x="step",
            y="change",
            x_title="step",
            y_title="mean change of the map",
            label="How much each step still changes the map",
            visible=False,
            elem_id="changes",
        )
    return TabParts(shows | htmls("film", "channels"))


def _arrange(canvas: Canvas, news: Sequence[Any], chosen: Chosen) -> Shelf:
    found = next((each for each in news if isinstance(each, Integrated)), None)
    if found is None:
        return {}
    whole = found.integration
    steps = len(whole.multipliers)
    title = "The map after each step" if steps == len(found.frames) else "The map after some of the steps"
    return {
        "integration": html.heading("From a blank photo to the map", _summary(whole)),
        "curves": _curves(whole),
        "changes": _changes(whole),
        "film": html.heading(title) + html.gallery(_film(canvas, found)),
        "channels": html.heading("The channels that carry the map", "The mask of each, and its share of the map's sum.")
        + html.gallery(_channels(canvas, whole)),
    }


def _summary(whole: Integration) -> str:
    steps = len(whole.multipliers)
    last = (
        f"The last of the {steps} steps still changed the map by {float(whole.changes[-1]):.4f} in the mean"
        if steps > 1
        else "There is one step"
    )
    stopped = "" if whole.outcome.complete else " Stopped: this is what was known by then."
    return (
        f"IS-CAM shows each channel's part of the photo at {steps} intensities and weights the channel by the mean "
        f"probability of {whole.target.category}. {last}; it took {words.passes(whole.outcome.forward_passes)} to see."
        f"{stopped}"
    )


def _film(canvas: Canvas, found: Integrated) -> list[str]:
    whole, steps = found.integration, len(found.integration.multipliers)
    return [
        canvas.small_card(
            f"{step} of {steps}",
            heatmap,
            f"Map for {whole.target.category} after {step} of {steps} steps: {lies(heatmap)}",
            [f"intensity {whole.multipliers[step - 1]:.2g}"],
        )
        for step, heatmap in zip(found.frames, whole.heatmaps, strict=True)
    ]


def _channels(canvas: Canvas, whole: Integration) -> list[str]:
    carriers = whole.carriers
    rows = zip(carriers.channels, carriers.masks, carriers.weights, carriers.shares, strict=True)
    return [
        canvas.small_card(
            f"No. {channel}",
            mask,
            f"Mask of channel {channel}: {lies(mask)}",
            [f"weight {weight:.3g}", f"{words.per_cent(share)} of map"],
        )
        for channel, mask, weight, share in rows
    ]


def _curves(whole: Integration) -> pandas.DataFrame:
    """Class probability in per cent along the path, one line per channel."""
    import pandas

    carriers = whole.carriers
    rows = [
        (multiplier, round(100 * float(value), 2), str(channel))
        for multiplier, row in zip(carriers.points, carriers.probabilities, strict=True)
        for channel, value in zip(carriers.channels, row, strict=True)
    ]
    return pandas.DataFrame(rows, columns=["intensity", "probability", "channel"])


def _changes(whole: Integration) -> pandas.DataFrame:
    """Mean absolute change of the map by each step but the first, which makes it out of nothing."""
    import pandas

    changes = [(step, float(change)) for step, change in enumerate(whole.changes, 1) if step > 1]
    return pandas.DataFrame(changes, columns=["step", "change"])


FACE = Face("Integration", _lay_out, _arrange, drawn=("film", "channels"), plots=("curves", "changes"))
