"""From what is known to what the page's components are to show. Nothing is kept here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import gradio as gr

from iscam.methods import METHODS
from iscam.models import ModelSpec
from iscam.settings import LIKELY_RIVALS, nearest
from iscam.ui.done.news import Analysed, Contrasted, Mapped, Refused, Sharpening, Unavailable
from iscam.ui.done.offer import Offer

from . import html, words
from .compare import map_part
from .face import Face, Shelf
from .layout import Page
from .shown import Shown

Updates = dict[Any, Any]  # component -> its new value or properties


def lasting(event: Iterable[Updates]) -> Iterator[Updates]:
    """The updates of an event, each with all properties that the event has given so far; a plain value ends theirs.

    Gradio sends what an update changes in the one before, and the browser changes that one in place, even while it still
    waits to be shown: properties that the next update lacks would be lost on a busy machine. Repeated, they cost nothing.

    >>> list(lasting([{"box": gr.update(label="a")}, {"box": gr.update(value=1)}, {}, {"box": 2}, {}]))[2:]
    [{'box': {'label': 'a', '__type__': 'update', 'value': 1}}, {'box': 2}, {}]
    """
    given: Updates = {}
    for updates in event:
        for part, value in updates.items():
            if isinstance(value, dict) and value.get("__type__") == "update":
                given[part] = given.get(part, {}) | value
            else:
                given.pop(part, None)
        yield updates | given


class Updater:
    """Makes the updates of one layout."""

    def __init__(self, page: Page, faces: Mapping[str, Face], offer: Offer) -> None:
        self._page, self._faces, self._offer = page, faces, offer
        self._compare = page.parts["compare"].shows

    # Compare

    def changed(self, news: object, shown: Shown) -> Updates:
        """The components that a piece of news changes."""
        parts = self._compare
        match news:
            case Unavailable(sentence):
                gr.Warning(sentence, duration=None)
            case Analysed(subject):
                frame = html.card(
                    "Seen by the network",
                    shown.canvas.framed(),
                    "The photo, with what the network sees in a frame",
                    [subject.preparation.words],
                )
                table = html.predictions(subject.predictions, subject.spec.label, subject.found)
                return {parts["predictions"]: table, parts["framed"]: frame, self._page.work["asked"]: _asked(shown)}
            case Mapped(explanation) | Sharpening(explanation=explanation) if explanation is not None:
                card = shown.card(explanation.method)
                return {parts[map_part(explanation.method)]: card, parts["scale"]: shown.canvas.scale()}
            case Refused("contrast") | Contrasted():
                return {parts["contrast"]: shown.contrast_card()}
            case Refused(method):
                return {parts[map_part(method)]: shown.card(method)}
        return {}

    def pictures(self, shown: Shown | None) -> Updates:
        """Every map, contrast and colour bar that there is; the others are empty, which hides them."""
        parts = self._compare
        updates: Updates = {parts[map_part(key)]: "" for key in METHODS}
        updates |= {parts[name]: "" for name in ("contrast", "scale", "notice")}
        if shown is not None:
            maps = shown.maps
            updates |= {parts[map_part(key)]: shown.card(key) for key in METHODS if key in maps.answered}
            if maps.found:
                updates |= {parts["scale"]: shown.canvas.scale(), parts["notice"]: shown.notice()}
            if maps.contrast is not None or "contrast" in maps.refused:
                updates[parts["contrast"]] = shown.contrast_card()
        return updates

    def waiting(self, methods: tuple[str, ...]) -> Updates:
        """A card for each map that is to come, and nothing else."""
        cards: Updates = {self._compare[map_part(key)]: html.empty_card(METHODS[key].label) for key in methods}
        return self.pictures(None) | cards

    # The question

    def layers(self, row: ModelSpec) -> Iterator[Updates]:
        """The layers of a model, then the one that it is asked at first; none before they are known."""
        box = self._page.ask["layer"]
        yield {box: gr.update(choices=words.layer_choices(row.layers))}
        yield {box: row.layer or None}

    def choices(self, shown: Shown) -> Updates:
        """What can be chosen now: models, of which one may have been downloaded, and the layers and classes of the answer."""
        ask, subject = self._page.ask, shown.subject
        assert subject is not None
        classes = words.class_choices(subject.categories, subject.predictions)
        rivals = words.class_choices(subject.categories, subject.predictions, rivals=True)
        layers = words.layer_choices(subject.spec.layers)
        offered = {
            ask["model"]: self._offer.choices(),
            ask["layer"]: layers,
            ask["target"]: classes,
            ask["against"]: rivals,
        }
        return {box: gr.update(choices=choices) for box, choices in offered.items()}

    def chosen(self, shown: Shown) -> Updates:
        """Model, layer and classes of the answer, after `choices`: plain values, so that a visitor may choose others."""
        ask, subject = self._page.ask, shown.subject
        assert subject is not None
        return {
            ask["model"]: subject.spec.key,
            ask["layer"]: subject.layer,
            ask["target"]: _target(shown),
            ask["against"]: words.LIKELY
            if shown.terms.against == LIKELY_RIVALS
            else _index(shown, shown.terms.against, words.NOBODY),
        }

    # Tabs, buttons, the status line

    def shelved(self, tab: str, shelf: Shelf) -> Updates:
        """The parts of a tab; a plot is there when it has something to show."""
        parts, plots = self._page.parts[tab].shows, self._faces[tab].plots
        return {
            parts[name]: gr.update(value=value, visible=value is not None) if name in plots else value
            for name, value in shelf.items()
        }

    def emptied(self) -> Updates:
        """Nothing in any tab but Compare."""
        updates: Updates = {}
        for tab, parts in self._page.parts.items():
            if tab != "compare":
                updates |= self.shelved(tab, {name: empty(part) for name, part in parts.shows.items()})
        return updates

    def another_photo(self) -> Updates:
        """The choices that belonged to the photo before are gone with it."""
        return {self._page.parts[tab].asks[name]: "" for tab, face in self._faces.items() for name in face.of_the_photo}

    def busy(self, busy: bool) -> Updates:
        """Either Stop or Explain. While a job runs, a Stop that has been pressed stays pressed."""
        work, ready = self._page.work, {} if busy else gr.update(interactive=True)
        shown, hidden = gr.update(visible=True), gr.update(visible=False)
        return {work["explain"]: (hidden if busy else shown) | ready, work["stop"]: (shown if busy else hidden) | ready}

    def says(self, sentence: str, share: float | None = None) -> Updates:
        """The status line."""
        return {self._page.work["status"]: html.status(sentence, share)}

    def nothing(self) -> Updates:
        """No change: an event without any answer would empty the page."""
        return {self._page.work["status"]: gr.skip()}

    def cleared(self, sentence: str) -> Updates:
        """A page without an answer."""
        work = self._page.work
        buttons = {work["explain"]: gr.update(visible=True, interactive=False), work["stop"]: gr.update(visible=False)}
        seen = {self._compare[name]: "" for name in ("predictions", "framed")} | {work["asked"]: ""}
        return self.pictures(None) | self.emptied() | buttons | seen | self.says(sentence)


def empty(part: object) -> object:
    """The value with which a part shows nothing."""
    if isinstance(part, gr.DownloadButton):
        return gr.update(value=None, interactive=False)
    return "" if isinstance(part, (gr.HTML, gr.Textbox)) else None


def _asked(shown: Shown) -> str:
    """The question about the classes, in words."""
    subject, against = shown.subject, shown.terms.against
    assert subject is not None
    target = _target(shown)
    category = subject.categories[target]
    if against is None:
        return html.asked(category)
    if against != LIKELY_RIVALS:
        return html.asked(category, subject.categories[_index(shown, against, target)], signed=True)
    likely = [row.category for row in subject.predictions if row.index != target]
    count = min(nearest(LIKELY_RIVALS) or 0, len(subject.categories) - 1)
    return html.asked(category, words.some(likely, count))


def _target(shown: Shown) -> int:
    """The class of the question, the most probable one if it names none."""
    assert shown.subject is not None
    return _index(shown, shown.terms.target, shown.subject.predictions[0].index)


def _index(shown: Shown, given: int | str | None, default: int) -> int:
    """A class of the question by its index; a link may have called it by its category."""
    if isinstance(given, int) or given is None or shown.subject is None:
        return given if isinstance(given, int) else default
    categories = shown.subject.categories
    found = [index for index, category in enumerate(categories) if category == given]
    found += [index for index, category in enumerate(categories) if category.casefold() == str(given).casefold()]
    return found[0] if found else default  # if there is none, the answer is a sentence about it
