"""A row of maps, with the choice of its method: what the tabs Classes and Layers have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from iscam.ui.done.news import Piece, Refused

from . import html, words
from .canvas import Canvas
from .face import explained


def method_box(label: str, value: str, keys: Sequence[str], sentence: str) -> gr.Dropdown:
    """The choice of a tab's method, with what it shows in a sentence."""
    with gr.Row(elem_classes="over", equal_height=True):
        choices = [choice for choice in words.method_choices() if choice[1] in keys]
        box = gr.Dropdown(choices, value=value, label=label, scale=0, min_width=210)
        explained(sentence)
    return box


def row(canvas: Canvas, news: Sequence[Any], brief: bool) -> str:
    """The maps so far with their colour bar; `brief` where their titles say the class."""
    cards = []
    for each in news:
        if isinstance(each, Piece):
            cards.append(canvas.map_card(each.title, each.explanation, each.masked, brief=brief))
        elif isinstance(each, Refused) and each.method != "contrast":
            cards.append(html.empty_card(each.method, each.sentence))
    return html.gallery(cards) + (canvas.scale() if cards else "")
