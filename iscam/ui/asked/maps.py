"""Events of the question and of Compare: a page is opened, asks, stops and is left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from iscam.settings import LIKELY_RIVALS
from iscam.ui.done import maps
from iscam.ui.done.opening import PHOTO
from iscam.ui.done.order import Order
from iscam.ui.done.question import Question
from iscam.ui.seen.canvas import Look
from iscam.ui.seen.shown import Shown
from iscam.ui.seen.updates import Updates
from iscam.ui.seen.words import NOBODY

from . import checks, links
from .desk import Desk, trouble
from .tab import Values
from .visits import NOWHERE, Turn, Visit

FROM_A_LINK = ("steps", "methods", "path", "weighting", "engine")  # what it puts into the page's components
OWN_PHOTO = (
    "This link was made for somebody's own photo, which is not kept here: upload it and choose the class. What is shown is an "
    "example, for its own class."
)


class MapEvents:
    """What a visitor does -> one job for the compute process -> what Compare shows."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._page, self._updates = desk, desk.page, desk.updates

    # A page is opened and left

    def open(self, request: gr.Request) -> Iterator[Updates]:
        """A page was loaded: it shows the example, explained once for all visitors, or what its link asks."""
        yield self._updates.says("Getting ready …")
        try:
            given = links.read(dict(request.query_params or {}))
            question = checks.question(
                self._desk.worker.offer, **{"photo": {"path": str(PHOTO)}, "model": self._desk.model} | given
            )
        except ValueError as error:
            gr.Warning(f"The link cannot be followed. {error}", duration=None)
            given = {}
        if not given:
            yield from self._example(request)
            return
        if "photo" not in given and "target" in given:
            question = replace(question, target=None, against=LIKELY_RIVALS)
            gr.Warning(OWN_PHOTO, duration=None)
        ask = self._page.ask
        chosen: Updates = {ask[name]: given[name] for name in FROM_A_LINK if name in given}
        if "photo" in given:
            chosen[ask["photo"]] = given["photo"]["path"]
        try:
            yield from self._maps(question, Look(), request, new_choices=True, first=chosen)
        except gr.Error as error:
            shown = self._desk.visit(request).shown
            if shown is not None and shown.subject is not None:
                raise
            gr.Warning(f"The link cannot be followed. {error.message}", duration=None)
            # which classes and layers there are, only the model knows
            usual = replace(question, layer=None, target=None, against=LIKELY_RIVALS)
            yield from self._maps(usual, Look(), request, new_choices=True, first=chosen)

    def _example(self, request: gr.Request) -> Iterator[Updates]:
        visit, question = self._desk.visit(request), self._desk.example
        visit.asked = question.place[:2]
        turn = visit.take(self._desk.opening)
        shown = Shown(Look(), question.terms, question.methods, example=True, recalled=not turn.job.background)
        yield from self._follow(visit, turn, shown, new_choices=True)

    def leave(self, request: gr.Request) -> None:
        """A page was closed: nothing more is computed or kept for it."""
        self._desk.worker.release_owner(checks.session(request))
        self._desk.visits.forget(checks.session(request))

    # The question changes

    def new_photo(self, values: Values, request: gr.Request) -> Iterator[Updates]:
        """Another photo: predict at once, or show its maps if they are known. Without one the page is emptied."""
        visit, photo = self._desk.visit(request), values[self._page.ask["photo"]]
        path = photo.get("path") if isinstance(photo, dict) else None
        repeated, visit.told = visit.told == path, path
        if repeated:  # Gradio tells of every upload twice
            yield self._updates.nothing()
        elif photo is None:
            visit.turn = visit.shown = visit.asked = visit.studied = None
            self._desk.worker.release_owner(checks.session(request))
            yield self._updates.cleared("Choose a photo to begin.")
        elif visit.asked is not None and checks.digest(photo) == visit.asked[0]:
            yield self._updates.nothing()  # the photo of a link: the page tells of it while its boxes have the model before
        else:
            yield from self._predict(values, request)

    def new_model(self, values: Values, request: gr.Request) -> Iterator[Updates]:
        """Another model: its layers at once, so that the page can ask even if it is stopped; then predict at its own."""
        box, before = self._page.ask["model"], self._desk.visit(request).asked
        try:
            row = self._desk.worker.offer.row(values[box])
        except ValueError as error:
            if (
                before is not None and before[1]
            ):  # what was typed is no model: the page goes on with the one that it has
                yield {box: before[1]}
            raise trouble(error) from error
        yield from self._updates.layers(row)
        yield from self._predict(values | {self._page.ask["layer"]: None}, request)

    def bring(self, values: Values, request: gr.Request) -> Iterator[Updates]:
        """Weights were brought: they are the model now."""
        page, offer = self._page, self._desk.worker.offer
        try:
            key = offer.bring(checks.own(**{name: values[part] for name, part in page.bring.items() if name != "take"}))
        except (ValueError, OSError) as error:
            raise trouble(error) from error
        yield {page.ask["model"]: gr.update(choices=offer.choices())}
        yield {page.ask["model"]: key}
        yield from self.new_model(values | {page.ask["model"]: key}, request)

    def _predict(self, values: Values, request: gr.Request) -> Iterator[Updates]:
        desk, visit = self._desk, self._desk.visit(request)
        try:
            question, look = desk.question(values, anew=True), desk.look(values)
            if visit.asked == question.place[:2]:
                yield self._updates.nothing()
                return
            another = visit.asked is None or visit.asked[0] != question.place[0]
            told = desk.worker.answers.to(question)
            turn = desk.turn(request, told, Order(maps.predict, question))
        except (ValueError, OSError) as error:
            visit.asked = None
            yield self._updates.cleared(str(error))
            raise trouble(error) from error
        visit.asked, visit.studied = question.place[:2], None
        shown = Shown(look, question.terms, question.methods if told else (), recalled=told is not None)
        first = self._updates.cleared("Looking at the photo …") | (self._updates.another_photo() if another else {})
        yield from self._follow(visit, turn, shown, new_choices=True, first=first)

    # Maps

    def explain(self, values: Values, request: gr.Request) -> Iterator[Updates]:
        """The maps as they come, until all are there or the visitor stops or leaves."""
        desk, visit = self._desk, self._desk.visit(request)
        try:
            question, look = desk.question(values), desk.look(values)
        except (ValueError, OSError) as error:
            raise trouble(error) from error
        late = visit.asked is not None and visit.asked != question.place[:2]
        if late:  # pressed before the photo was predicted: the classes on the page are those of another
            question = desk.question(values, anew=True)
        yield from self._maps(question, look, request, new_choices=late, first=self._updates.waiting(question.methods))

    def switch(self, values: Values, request: gr.Request) -> Iterator[Updates]:
        """Another class, or one against it, of a photo that is or is being explained: its scores of all classes are kept."""
        shown, ask = self._desk.visit(request).shown, self._page.ask
        if shown is None or not shown.explains or self._same_classes(values, shown):
            yield self._updates.nothing()
            return
        try:
            question, look = self._desk.question(values), self._desk.look(values)
        except (ValueError, OSError) as error:
            if values[ask["target"]] != values[ask["against"]]:
                raise trouble(error) from error
            gr.Warning(str(error))
            yield {ask["against"]: NOBODY}  # a class that speaks against itself would be refused by every tab
            return
        yield from self._maps(question, look, request, new_choices=False)

    def _same_classes(self, values: Values, shown: Shown) -> bool:
        """Whether the classes are those that are shown; Gradio tells of a choice when its box is merely left."""
        chosen = self._updates.chosen(shown)
        return all(values[box] == chosen[box] for box in (self._page.ask["target"], self._page.ask["against"]))

    def halt(self, request: gr.Request) -> Any:
        """Stop was pressed: the job ends with the maps it has, and the event that follows it shows them."""
        self._desk.worker.release_owner(checks.session(request))
        return gr.update(interactive=False)

    def _maps(
        self, question: Question, look: Look, request: gr.Request, new_choices: bool, first: Updates | None = None
    ) -> Iterator[Updates]:
        desk, visit = self._desk, self._desk.visit(request)
        try:
            told = desk.worker.answers.to(question)
            turn = desk.turn(request, told, Order(maps.explain, question))
        except (ValueError, OSError) as error:
            raise trouble(error) from error
        visit.asked = question.place[:2]
        shown = Shown(look, question.terms, question.methods, recalled=told is not None)
        yield from self._follow(visit, turn, shown, new_choices, first)

    def _follow(
        self, visit: Visit, turn: Turn, shown: Shown, new_choices: bool, first: Updates | None = None
    ) -> Iterator[Updates]:
        """Show `first`, then a job's news until it ends, or the page belongs to another event by then.

        Nothing is shown before: whoever has asked last must have the turn, however slowly updates go out.
        """
        desk, updates = self._desk, self._updates
        with desk.having(turn):
            visit.shown, visit.followed, job = shown, None, turn.job
            if not job.background:
                yield updates.says("Starting …") | (first or {}) | updates.busy(True)
            for batch in job.follow():
                if not visit.has(turn):
                    return
                changed: Updates = {}
                for news in batch:
                    shown.take(news)
                    changed |= updates.changed(news, shown)
                if new_choices and shown.subject is not None:
                    yield updates.choices(shown)
                    changed |= updates.chosen(shown)
                    new_choices = False
                yield changed | desk.status(shown.line, job)
                if job.background and desk.worker.ahead(job):
                    shown.maps.forget_unfinished()  # questions of visitors come first: the page is ready for one
                    break
            if visit.has(turn):
                shown.over = True
                if shown.subject is None:
                    visit.asked = NOWHERE
                # all pictures once more: a busy browser may have passed over an update between two others
                yield updates.pictures(shown) | updates.busy(False) | updates.says(shown.conclusion())
                if shown.line.failed:
                    raise gr.Error(shown.line.sentence, print_exception=False)
