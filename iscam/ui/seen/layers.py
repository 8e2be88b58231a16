"""The tab Layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iscam.methods import METHODS

from .canvas import Canvas
from .face import Chosen, Face, Shelf, TabParts, htmls
from .rows import method_box, row

SENTENCE = (
    "One method for the target class over the layers of the network, with the number and size of their maps: deep layers "
    "know more and place it more coarsely. The last map is their product (RefineCAM): what all of them show."
)


def _lay_out() -> TabParts:
    method = method_box("With method", "grad-cam", list(METHODS), SENTENCE)
    return TabParts(htmls("layers"), {"method": method})


def _arrange(canvas: Canvas, news: Sequence[Any], chosen: Chosen) -> Shelf:
    return {"layers": row(canvas, news, brief=False)}


FACE = Face("Layers", _lay_out, _arrange, drawn=("layers",))
