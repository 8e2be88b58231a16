"""The tab Classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iscam.methods import METHODS
from iscam.ui.done.news import Contrasted, Refused

from . import html
from .canvas import Canvas
from .face import Chosen, Face, Shelf, TabParts, htmls
from .rows import method_box, row

SENTENCE = (
    "One method for the five most probable classes, each map on its own scale, and one signed picture: what speaks for the "
    "target class rather than for the one against it (or for the next most probable)."
)


def _lay_out() -> TabParts:
    able = [key for key, method in METHODS.items() if method.class_specific]
    method = method_box("By method", "is-cam", able, SENTENCE)
    return TabParts(htmls("classes", "class_contrast"), {"method": method})


def _arrange(canvas: Canvas, news: Sequence[Any], chosen: Chosen) -> Shelf:
    contrast = ""
    for each in news:
        if isinstance(each, Contrasted):
            contrast = canvas.contrast_card(each)
        elif isinstance(each, Refused) and each.method == "contrast":
            contrast = html.empty_card("Contrast", each.sentence)
    return {"classes": row(canvas, news, brief=True), "class_contrast": contrast}


FACE = Face("Classes", _lay_out, _arrange, drawn=("classes", "class_contrast"))
