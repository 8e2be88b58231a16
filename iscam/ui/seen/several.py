"""The tab Several."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from html import escape
from typing import Any

import gradio as gr

from iscam.images import MAX_FILE_BYTES, SUFFIXES, one_line
from iscam.methods import METHODS
from iscam.notes import DISAGREE, agreement
from iscam.show import ORDERS, in_order
from iscam.ui.done.news import Refused
from iscam.ui.done.several import MOST, Explained

from . import html, words
from .canvas import Canvas, Look
from .face import Chosen, Face, Shelf, TabParts, explained, htmls

EACH, PAGES = "each photo's most probable", "the page's target class"
WHOSE = (EACH, PAGES)
DRAWN = 64  # photos, of all visitors, whose cards are not drawn anew when the next one comes
SENTENCE = (
    f"Up to {MOST} photos, {MAX_FILE_BYTES // 10**6} MB together, each with the maps of the page's methods: where is the "
    "network unsure, where do maps disagree, where does the class hardly matter to them?"
)


def _lay_out() -> TabParts:
    with gr.Row(elem_classes="over", equal_height=True):
        photos = gr.File(
            label="Photos",
            file_count="multiple",
            file_types=list(SUFFIXES),
            height=140,
            scale=0,
            min_width=300,
            elem_id="photos",
        )
        explained(SENTENCE)
    with gr.Row():
        whose = gr.Radio(list(WHOSE), value=EACH, label="Class of the maps")
        choices = [(name, order) for order, name in ORDERS.items()]
        order = gr.Dropdown(choices, value="", label="Sorted", elem_id="sorted")
    return TabParts(htmls("several"), {"photos": photos, "whose": whose}, {"order": order})


def _arrange(canvas: Canvas, news: Sequence[Any], chosen: Chosen) -> Shelf:
    if chosen["order"] not in ORDERS:
        raise ValueError(f"Photos are sorted by one of: {', '.join(ORDERS.values())}.")
    rows = in_order(chosen["order"], [each for each in news if isinstance(each, Explained)], lambda row: row.facts)
    missed = [f"{one_line(each.method)}: {each.sentence}" for each in news if isinstance(each, Refused)]
    cards = "".join(_article(row, canvas.look) for row in rows)
    said = html.notice([(sentence, True) for sentence in missed])
    return {"several": said + (canvas.scale() if cards else "") + cards}


@lru_cache(DRAWN)
def _article(row: Explained, look: Look) -> str:
    """A photo with its maps, and the button that puts it into the page."""
    canvas, name = Canvas(row.photo, row.crop, look), one_line(row.upload.name)
    cards = [canvas.small_frame("Photo", f"{name}, with what the network sees in a frame")]
    for each in row.maps:
        alt = words.map_alt(each.method, row.target.category, each.heatmap)
        lines = words.of_the_class(each.specificity)
        cards.append(canvas.small_card(METHODS[each.method].label, each.heatmap, alt, lines))
    said = [(f"{row.target.category}, {words.per_cent(row.target.probability)}", False)]
    if row.target.index != row.top.index:
        said.append((f"Most probable: {row.top.category}, {words.per_cent(row.top.probability)}", False))
    if row.correlations:
        said.append((agreement(row.correlations), min(row.correlations.values()) < DISAGREE))
    said += [(f"{label}: {note}", False) for label, note in row.notes]
    button = f'<button type="button" class="take" value="{row.upload.sha256}">Explain {escape(name)}</button>'
    return f"<article>{html.heading(name)}{html.notice(said)}{html.gallery(cards)}{button}</article>"


FACE = Face("Several", _lay_out, _arrange, drawn=("several",))
