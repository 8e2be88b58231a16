"""A stand-in for the network, and what a page sends and shows, for tests without a browser."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count, pairwise
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from iscam import METHODS, MODELS, Explanation, Photo, Prediction, Progress
from iscam.images import Geometry
from iscam.models import Preparation
from iscam.results import Outcome, Subject
from iscam.settings import Settings
from iscam.ui.asked.events import Events
from iscam.ui.done.bench import Bench
from iscam.ui.done.compute import Compute, Link, carry_out
from iscam.ui.done.job import Job
from iscam.ui.done.messages import Told, Wanted
from iscam.ui.done.offer import Offer
from iscam.ui.done.order import Order
from iscam.ui.done.question import Question
from iscam.ui.done.task import Task
from iscam.ui.done.worker import Worker
from iscam.ui.seen import words
from iscam.ui.seen.compare import map_part
from iscam.ui.seen.several import EACH
from iscam.ui.seen.updates import lasting

CATEGORIES = ("cat", "crane", "dog", "crane", "<b>fox</b>", "owl", "yak")
LOOK = (0.5, "viridis", "overlay")
PREPARATION = Preparation(Geometry(144, 128), (0.5,) * 3, (0.5,) * 3, False)


PATIENCE = 180.0  # seconds that something may take on a busy machine, in all tests without a browser


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


class StandIn:
    """An explainer whose IS-CAM takes ten batches and waits before each while `pace` is not set."""

    engine, tolerance = "fast", 0.01

    def __init__(self) -> None:
        self.model = SimpleNamespace(categories=CATEGORIES, find_class=int)
        self.pace = threading.Event()
        self.pace.set()
        self.beat = 0.0  # seconds per batch
        self.threads: set[str] = set()
        self.analysed = 0
        self.batches = 0
        self.running = 0
        self.engines: list[str] = []

    def using(self, engine: str, tolerance: float | None = None) -> StandIn:
        self.engines.append(engine)
        return self

    def analyse(self, photo: Photo, layer: str | None) -> Any:
        self.threads.add(threading.current_thread().name)
        self.analysed += 1
        rows = tuple(
            Prediction(index, CATEGORIES[index], 0.5 / (rank + 1)) for rank, index in enumerate((4, 1, 0, 2, 3))
        )
        activations = np.zeros((12, 8, 8))
        return SimpleNamespace(
            photo=photo, predictions=rows, layer=layer, forward=SimpleNamespace(activations=activations)
        )

    def subject(self, analysis: Any) -> Subject:
        probabilities = np.full(len(CATEGORIES), 0.1, np.float32)
        seen = (analysis.photo, (10, 0, 40, 30), analysis.predictions, probabilities, analysis.layer)
        return Subject(*seen, MODELS["photo11"], CATEGORIES, "abc", PREPARATION)

    def masked_probability(self, analysis: Any, explanation: Explanation) -> float:
        return 0.125

    def request(
        self, analysis: Any, method: str, target: int | None, against: int | None, settings: Settings
    ) -> tuple[str, int | None, int | None, str | None]:
        if method == "cam":
            raise ValueError("CAM needs another head.")
        return method, target, against, settings.rivals

    def answer(
        self,
        analysis: Any,
        request: tuple[str, int | None, int | None, str | None],
        progress: Callable[[Progress], None] | None,
        stop: threading.Event,
    ) -> Explanation:
        method, target, against, rivals = request
        self.running += 1
        assert self.running == 1, "two jobs at once"
        done, total = 0, 10 if method == "is-cam" else 0
        try:
            while done < total and not stop.is_set():
                until(lambda: self.pace.is_set() or stop.is_set())
                time.sleep(self.beat)
                done += not stop.is_set()
                self.batches += 1
                if progress is not None:
                    progress(Progress(done, total, lambda done=done: self.map(method, target, done, False)))
            found = self.map(method, target, done, done == total, against)
            return replace(found, rivals=(Prediction(1, CATEGORIES[1], 0.2),)) if rivals else found
        finally:
            self.running -= 1

    def map(
        self, method: str, target: int | None, passes: int, complete: bool, against: int | None = None
    ) -> Explanation:
        heatmap = np.zeros((30, 30), np.float32)
        if method != "grad-cam++":
            heatmap[:10, :10] = 1
        index = 4 if target is None else target
        return Explanation(
            method=method,
            target=Prediction(index, CATEGORIES[index], 0.25),
            rivals=() if against is None else (Prediction(against, CATEGORIES[against], 0.1),),
            signed=against is not None,
            weights=None,
            raw=heatmap[::15, ::15],
            heatmap=heatmap - (against is not None),
            outcome=Outcome(0.5, passes, 0.004 if complete else None, complete),
            note="" if heatmap.any() else "The map is blank: all weights are zero.",
        )


def visitor(name: str = "ann", **query: str) -> Any:
    return SimpleNamespace(session_hash=name, query_params=query, headers={"origin": "http://here"})


def asked(events: Events, photo: Any, **changes: Any) -> dict[Any, Any]:
    """What the page says is in its components; a tab's own choice is named as in `classes__method`."""
    page = events.desk.page
    values = {
        "photo": photo,
        "model": "photo11",
        "layer": "layer3",
        "target": 0,
        "against": words.NOBODY,
        "steps": 10,
        "methods": ["is-cam", "grad-cam"],
        "path": "cumulative",
        "weighting": "probability",
        "engine": "fast",
        "opacity": LOOK[0],
        "colours": LOOK[1],
        "view": LOOK[2],
        "classes__method": "grad-cam",
        "layers__method": "grad-cam",
        "models__method": "grad-cam",
        "models__models": ["photo11"],
        "several__photos": None,
        "several__whose": EACH,
        "several__order": "",
        "test__heads": False,
        "faithfulness__by": "is-cam",
        "faithfulness__how": "deletion",
        "faithfulness__share": 25,
        "faithfulness__also": [],
        "faithfulness__box": "",
    } | changes
    parts = page.ask | page.look
    for key, tab in page.parts.items():
        parts |= {f"{key}__{name}": part for name, part in (tab.asks | tab.looks).items()}
    return {part: values[name] for name, part in parts.items()}


class PageView:
    """The components of a page by what they show."""

    def __init__(self, events: Events) -> None:
        page = events.desk.page
        self.ask, self.look = page.ask, page.look
        names = ("explain", "stop", "status", "asked")
        self.explain, self.stop, self.status, self.asked = (page.work[name] for name in names)
        compare = page.parts["compare"].shows
        self.predictions, self.framed, self.notice = (compare[name] for name in ("predictions", "framed", "notice"))
        self.contrast, self.scale = compare["contrast"], compare["scale"]
        self.maps = {key: compare[map_part(key)] for key in METHODS}
        self.shelf = {name: part for parts in page.parts.values() for name, part in parts.shows.items()}


def page_of(events: Events) -> PageView:
    return PageView(events)


def told(job: Job) -> list[Any]:
    return [news for batch in job.follow() for news in batch]


def shown(update: Any) -> str:
    """The HTML that an update puts into a component."""
    return str(update["value"] if isinstance(update, dict) else update)


class Watcher(threading.Thread):
    """Follows an event as Gradio does, and keeps what the page would show.

    `finished` tells whether a busy browser could lose something: Gradio's page changes the properties of an update in
    place into those of the next while it still waits to be shown, so they must all be in the next one too.
    """

    def __init__(self, event: Iterator[dict[Any, Any]]) -> None:
        super().__init__(daemon=True)
        self.event, self.page, self.steps, self.error = event, {}, [], None  # type: ignore[var-annotated]
        self.start()

    def run(self) -> None:
        try:
            for updates in lasting(self.event):
                self.steps.append(updates)
                self.page |= updates
        except gr.Error as error:
            self.error = error

    def finished(self) -> dict[Any, Any]:
        self.join(PATIENCE)
        assert not self.is_alive()
        for now, after in pairwise(self.steps):
            for part, update in now.items():
                following = after.get(part, gr.skip())
                assert (
                    not (isinstance(update, dict) and isinstance(following, dict)) or update.keys() <= following.keys()
                )
        return self.page


# Work without a page, and without a process


OFFER = Offer()


def ask(digest: str = "d", model: str = "photo11", **changes: Any) -> Question:
    return Question(Photo(Image.new("RGB", (50, 30)), (50, 30), "x", digest), MODELS[model], **changes)


def beside(bench: Bench, offer: Offer | None = None) -> Worker:
    """A worker whose compute process is a thread of this one: all that goes through its pipe is pickled as ever."""

    def start() -> Link:
        ours, theirs = multiprocessing.Pipe()
        threading.Thread(target=Compute(theirs, bench).serve, name="hears", daemon=True).start()
        return Link(ours, partial(cut, ours))

    return Worker(start, offer)


def cut(connection: Connection) -> None:
    """What the death of a process does to its pipe."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as pipe:
        pipe.shutdown(socket.SHUT_RDWR)


def carried_out(bench: Bench, order: Order, background: bool = False) -> list[Any]:
    """The news of an order."""
    news: list[Any] = []
    carry_out(order, bench, pending(order, news, background))
    return news


def pending(order: Order, news: list[Any], background: bool = False) -> Task:
    """A task whose news go to a list."""

    def send(message: object) -> None:
        if isinstance(message, Told):
            news.append(message.news)
        elif isinstance(message, Wanted):
            task.deliver(order.question.photo)

    task = Task(0, send, background)
    return task


_deeds: dict[int, Callable[[Task], object]] = {}
_numbers = count()


def deed(does: Callable[[Task], object], model: str = "photo11") -> Order:
    """An order to do whatever a test wants."""
    number = next(_numbers)
    _deeds[number] = does
    return Order(do, ask(str(number), model=model))


def do(bench: Bench, question: Question, choices: Any, task: Task) -> Iterator[object]:
    """The work of a deed, which its photo names. Whatever it returns is no news."""
    _deeds[int(question.photo.sha256)](task)
    yield from ()
