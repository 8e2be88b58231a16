"""The tab Models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from iscam.methods import METHODS
from iscam.models import BUNDLED, LITE, MODELS
from iscam.results import Prediction
from iscam.ui.done.news import Analysed, Piece, Refused

from . import html, words
from .canvas import Canvas
from .face import Chosen, Face, Shelf, TabParts, htmls
from .rows import method_box

SENTENCE = (
    "One method by the model of the page and by others: for the same class where they have one of that name, else for the one "
    "that they think most probable. Each sees its own part of the photo, at its own layer."
)


def _lay_out() -> TabParts:
    method = method_box("Method", "grad-cam", list(METHODS), SENTENCE)
    choices = [(row.label, key) for key, row in MODELS.items()]
    models = gr.Dropdown(
        choices, value=[LITE, BUNDLED], multiselect=True, label="Models beside the page's", elem_id="models-asked"
    )
    return TabParts(htmls("models"), {"method": method, "models": models})


def _arrange(canvas: Canvas, news: Sequence[Any], chosen: Chosen) -> Shelf:
    cards: list[str] = []
    top: Prediction | None = None
    for each in news:
        match each:
            case Analysed(subject):
                canvas, top = Canvas.of(subject, canvas.look), subject.predictions[0]
            case Piece(title, explanation, masked):
                assert top is not None  # an analysis comes before its map
                if top.index != explanation.class_index:
                    title += f", which sees {top.category}, {words.per_cent(top.probability)}"
                cards.append(canvas.map_card(title, explanation, masked))
            case Refused(title, sentence):
                cards.append(html.empty_card(title, sentence))
    return {"models": html.gallery(cards) + (canvas.scale() if cards else "")}


FACE = Face("Models", _lay_out, _arrange, drawn=("models",))
