"""The tab Test it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from iscam.methods import METHODS
from iscam.notes import doubt
from iscam.trust import CONTROLS
from iscam.ui.done.news import Refused
from iscam.ui.done.trial import CHANCE, Found, Grid, Heads

from . import html, words
from .canvas import Canvas
from .face import Chosen, Face, Shelf, TabParts, explained, htmls

PLACES = ("upper left", "upper right", "lower left", "lower right")
SENTENCE = (
    "Your photo among three others: what speaks for its class lies in its quarter, so that a map for that class should too. "
    f"A map that knows no class has {100 * CHANCE:.0f} % of its sum there on average. LaFAM, the mean of the activations, is "
    "such a map: read the shares beside its."
)

RANDOM = (
    "Correlation of each map of the photo with the one that a network gives whose last layer has been drawn at random: mean "
    "and range of eight draws. A map that stays the same, near 1, has not shown what the network learnt of the class."
)


def _lay_out() -> TabParts:
    with gr.Row(elem_classes="over", equal_height=True):
        heads = gr.Checkbox(False, label="Random heads too (slow)", scale=0, min_width=210, elem_id="with-heads")
        explained(SENTENCE)
    return TabParts(htmls("heads", "trial"), {"heads": heads})


def _arrange(canvas: Canvas, news: Sequence[Any], chosen: Chosen) -> Shelf:
    grid = next((each for each in news if isinstance(each, Grid)), None)
    if grid is None:
        return {}
    place, category = PLACES[grid.place], grid.category
    cards = []
    for each in news:
        if isinstance(each, Found):
            line = f"{words.per_cent(each.share)} on your photo"
            shown = each.explanation
            alt = f"{words.map_alt(shown.method, shown.category, shown.heatmap)}; {line}, {place}"
            cards.append(canvas.card(each.title, shown, alt, [line], _verdict(each)))
        elif isinstance(each, Refused):
            cards.append(html.empty_card(each.method, each.sentence))
    alone, among = words.per_cent(grid.alone), words.per_cent(grid.among)
    said = f"Your photo is the {place} one. The network gives {category} {alone} in it alone, and {among} in all four."
    drawn = [each for each in news if isinstance(each, Heads)]
    return {
        "heads": _table(drawn),
        "trial": html.notice([(said, False), (doubt(category, grid.among), True)])
        + html.gallery(cards)
        + (canvas.scale() if cards else ""),
    }


def _table(heads: Sequence[Heads]) -> str:
    """How alike each method's map stays under random heads."""
    if not heads:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{escape(METHODS[each.method].label)}</th><td>{_alike(each)}</td></tr>' for each in heads
    )
    return f'{html.heading("Under a last layer of random numbers", RANDOM)}<table aria-label="Random heads">{lines}</table>'


def _alike(heads: Heads) -> str:
    known = [value for value in heads.correlations if value is not None]
    blank = len(heads.correlations) - len(known)
    said = f"{sum(known) / len(known):.2f} ({min(known):.2f} to {max(known):.2f})" if known else ""
    return ", ".join(filter(None, (said, f"{blank} blank" if blank else "")))


def _verdict(found: Found) -> str:
    """What a share means, if it means that the map has not found the photo."""
    if not found.explanation.heatmap.any():
        return found.explanation.note
    if found.explanation.method in CONTROLS:
        return "A control: it knows no class."
    return "" if found.share > 1.5 * CHANCE else "This map hardly knows which photo the class is in."


FACE = Face("Test it", _lay_out, _arrange, drawn=("trial",))
