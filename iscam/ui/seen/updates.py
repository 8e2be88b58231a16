"""From what is known to what the page's components are to show: `Shown` and `Shelf` -> updates. Nothing is kept here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from iscam.models import MODELS
from iscam.ui.done import Analysed, Contrasted, Mapped, Refused, Sharpening, Unavailable

from . import galleries
from . import words as text
from .layout import Page
from .shown import Shown

Updates = dict[Any, Any]  # component -> its new value or properties


class Updater:
    """Makes the updates of one layout."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def changed(self, news: object, shown: Shown, new_choices: bool) -> Updates:
        """The components that a piece of news changes."""
        page = self._page
        match news:
            case Unavailable(sentence):
                gr.Warning(sentence, duration=None)
            case Analysed(subject):
                top = subject.predictions
                updates: Updates = {page.predictions: text.predictions(top, subject.model)}
                updates |= {page.framed: shown.canvas.framed()}
                return updates | (self._choices(shown) if new_choices else {})
            case Mapped(explanation) | Sharpening(explanation=explanation) if explanation is not None:
                return {page.maps[explanation.method]: shown.card(explanation.method), page.scale: shown.canvas.scale()}
            case Refused("contrast") | Contrasted():
                return {page.contrast: shown.contrast_card()}
            case Refused(method):
                return {page.maps[method]: shown.card(method)}
        return {}

    def layers(self, model: object) -> Updates:
        """The layers of a model, and the one that it is asked at first."""
        if model not in MODELS:
            return {self._page.status: gr.skip()}  # the question about it is refused in a moment
        spec = MODELS[str(model)]
        return {self._page.ask["layer"]: gr.update(choices=text.layer_choices(spec.layers), value=spec.layer)}

    def _choices(self, shown: Shown) -> Updates:
        """Model, layer and classes as the answer has them."""
        ask, subject = self._page.ask, shown.subject
        assert subject is not None
        classes = text.class_choices(subject.categories, subject.predictions)
        rivals = text.class_choices(subject.categories, subject.predictions, nobody=True)
        return {
            ask["model"]: subject.model,
            ask["layer"]: gr.update(choices=text.layer_choices(subject.layers), value=subject.layer),
            ask["target"]: gr.update(choices=classes, value=_index(shown, "target", subject.predictions[0].index)),
            ask["against"]: gr.update(choices=rivals, value=_index(shown, "against", text.NOBODY)),
        }

    def pictures(self, shown: Shown | None) -> Updates:
        """Every map, contrast and colour bar that there is; the others are empty, which hides them."""
        page = self._page
        updates: Updates = dict.fromkeys((*page.maps.values(), page.contrast, page.scale, page.notice), "")
        if shown is not None:
            updates |= {page.maps[key]: shown.card(key) for key in page.maps if key in {*shown.maps, *shown.refused}}
            if shown.maps:
                updates |= {page.scale: shown.canvas.scale(), page.notice: shown.notice()}
            if shown.contrast is not None or "contrast" in shown.refused:
                updates[page.contrast] = shown.contrast_card()
        return updates

    def shelved(self, shelf: Mapping[str, object]) -> Updates:
        """The parts of the tabs; a plot is there when it has something to show."""
        return {
            self._page.shelf[name]: gr.update(value=value, visible=value is not None)
            if name in galleries.PLOTS
            else value
            for name, value in shelf.items()
        }

    def busy(self, busy: bool) -> Updates:
        shown, hidden = gr.update(visible=True, interactive=True), gr.update(visible=False)
        return {self._page.explain: hidden if busy else shown, self._page.stop: shown if busy else hidden}

    def cleared(self, sentence: str) -> Updates:
        page = self._page
        buttons = {page.explain: gr.update(visible=True, interactive=False), page.stop: gr.update(visible=False)}
        seen = {page.predictions: "", page.framed: "", page.status: text.status(sentence)}
        nothing: Updates = dict.fromkeys(page.export.values(), "")
        nothing[page.export["download"]] = gr.update(value=None, interactive=False)
        return self.pictures(None) | self.shelved(galleries.empty()) | buttons | seen | nothing


def _index(shown: Shown, name: str, default: int) -> int:
    """A class of the question by its index; a link may have called it by its category."""
    given = shown.settings.get(name, default)
    if isinstance(given, int) or shown.subject is None:
        return given if isinstance(given, int) else default
    categories = shown.subject.categories
    found = [index for index, category in enumerate(categories) if category == given]
    found += [index for index, category in enumerate(categories) if category.casefold() == str(given).casefold()]
    return found[0] if found else default  # if there is none, the answer is a sentence about it
