"""The tab Test it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iscam.ui.done.news import Refused
from iscam.ui.done.trial import CHANCE, Found, Grid

from . import html, words
from .canvas import Canvas
from .face import Chosen, Face, Shelf, TabParts, explained, htmls

PLACES = ("upper left", "upper right", "lower left", "lower right")
SENTENCE = (
    "Your photo among three others: what speaks for its class lies in its quarter, so that a map for that class should too. "
    f"A map that knows no class has {100 * CHANCE:.0f} % of its sum there."
)


def _lay_out() -> TabParts:
    explained(SENTENCE)
    return TabParts(htmls("trial"))


def _arrange(canvas: Canvas, news: Sequence[Any], chosen: Chosen) -> Shelf:
    grid = next((each for each in news if isinstance(each, Grid)), None)
    if grid is None:
        return {}
    place, category = PLACES[grid.place], grid.category
    cards = []
    for each in news:
        if isinstance(each, Found):
            line = f"{words.per_cent(each.share)} on your photo"
            alt = f"{words.map_alt(each.explanation)}; {line}, {place}"
            cards.append(canvas.card(each.title, each.explanation, alt, [line], _verdict(each)))
        elif isinstance(each, Refused):
            cards.append(html.empty_card(each.method, each.sentence))
    alone, among = words.per_cent(grid.alone), words.per_cent(grid.among)
    said = f"Your photo is the {place} one. The network gives {category} {alone} in it alone, and {among} in all four."
    return {"trial": html.notice([(said, False)]) + html.gallery(cards) + (canvas.scale() if cards else "")}


def _verdict(found: Found) -> str:
    """What a share means, if it means that the map has not found the photo."""
    if not found.explanation.heatmap.any():
        return found.explanation.note
    return "" if found.share > 1.5 * CHANCE else "This map hardly knows which photo the class is in."


FACE = Face("Test it", _lay_out, _arrange, drawn=("trial",))
