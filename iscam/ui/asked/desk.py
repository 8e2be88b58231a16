"""What all events share: the page's values as a question, a turn for each event, and the job that it follows."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import gradio as gr

from iscam.settings import LIKELY_RIVALS
from iscam.ui.done import maps, opening
from iscam.ui.done.job import Job
from iscam.ui.done.order import Order
from iscam.ui.done.question import Question
from iscam.ui.done.study import Asked
from iscam.ui.done.worker import Worker
from iscam.ui.seen.canvas import Look
from iscam.ui.seen.layout import Page
from iscam.ui.seen.shown import Line
from iscam.ui.seen.updates import Updater, Updates
from iscam.ui.seen.words import LIKELY, NOBODY

from . import checks
from .tab import Tabs, Values
from .visits import Turn, Visit, Visits

LEAVE_SECONDS = 2.0  # longer than an event takes to notice that its page has gone over to another job


class Desk:
    """Safe for many visitors at once: what is theirs lies in a `Visit`, by session."""

    def __init__(self, page: Page, tabs: Tabs, model: str, worker: Worker) -> None:
        self.page, self.tabs, self.model, self.worker = page, tabs, model, worker
        self.updates = Updater(page, {key: tab.face for key, tab in tabs.items()}, worker.offer)
        self.visits = Visits()
        self._lock = threading.Lock()
        self._opening: Job | None = None

    def visit(self, request: gr.Request) -> Visit:
        """The visit of the page that sent an event."""
        return self.visits.of(checks.session(request))

    def opening(self) -> Job:
        """The job that explains the example, begun when first wanted; over at once where its answers come with the project,
        while the model is made ready in the background for who asks something else."""
        with self._lock:
            if self._opening is None:
                self.worker.answers.learn(*opening.shipped())
                told = self.worker.answers.to(self.example)
                order = Order(maps.explain if told is None else maps.predict, self.example)
                job = self.worker.submit("", order, background=True)
                self._opening = job if told is None else Job.known("", told)
            return self._opening

    @cached_property
    def example(self) -> Question:
        """What the page shows before anybody has asked anything."""
        offer = self.worker.offer
        return opening.example(offer.row(self.model), offer.own(self.model))

    # What the page says

    def question(self, values: Values, anew: bool = False) -> Question:
        """The question on the page. `anew`: the classes on it are those of another photo or model."""
        asked = {name: values[part] for name, part in self.page.ask.items()}
        against = asked["against"]
        if anew:
            asked["target"], against = None, against if against == NOBODY else LIKELY
        asked["against"] = None if against == NOBODY else LIKELY_RIVALS if against == LIKELY else against
        return checks.question(self.worker.offer, **asked)

    def look(self, values: Values) -> Look:
        return checks.look(**{name: values[part] for name, part in self.page.look.items()})

    def asked(self, tab: str, question: Question, values: Values) -> Asked:
        """What a tab with a study asks, by the page's question and the tab's own choices."""
        study = self.tabs[tab].study
        assert study is not None
        return study.read(question, self.choices(tab, values))

    def subject(self, values: Values) -> list[object]:
        """What is asked about the photo: the model, the layer and the classes."""
        return [values[self.page.ask[name]] for name in ("model", "layer", "target", "against")]

    def choices(self, tab: str, values: Values) -> Mapping[str, Any]:
        """What is chosen in a tab that changes its question."""
        return {name: values[part] for name, part in self.page.parts[tab].asks.items()}

    def drawn_by(self, tab: str, values: Values) -> Mapping[str, Any]:
        """What is chosen in a tab that changes only how it is drawn."""
        return {name: values[part] for name, part in self.page.parts[tab].looks.items()}

    # Turns

    def turn(self, request: gr.Request, told: list[Any] | None, order: Order) -> Turn:
        """A job of the visitor's, which takes the place of the one before; one that is over if its news are known."""
        owner = checks.session(request)

        def begin() -> Job:
            if told is None:
                return self.worker.submit(owner, order)
            self.worker.release_owner(owner)
            return Job.known(owner, told)

        return self.visit(request).take(begin)

    @contextmanager
    def having(self, turn: Turn) -> Iterator[None]:
        """The page is this event's when the one before has sent its last word, which may be late."""
        try:
            if turn.after is not None:
                turn.after.wait(LEAVE_SECONDS)
            yield
        finally:
            turn.left.set()
            if not turn.job.background:
                self.worker.release(turn.job)

    def status(self, line: Line, job: Job) -> Updates:
        """Where a job is, or how many are before it."""
        ahead = None if job.background else self.worker.ahead(job)
        if ahead:
            return self.updates.says(f"Waiting: {ahead} {'job' if ahead == 1 else 'jobs'} before yours.")
        return self.updates.says(line.sentence or "Getting ready …", line.share)


def trouble(error: Exception) -> gr.Error:
    """A sentence for the visitor."""
    return gr.Error(str(error), print_exception=False)
