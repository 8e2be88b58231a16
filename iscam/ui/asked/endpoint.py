"""The one public endpoint: the same question as on the page, answered with JSON and a figure."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio import events
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from iscam import show
from iscam.methods import DEFAULT_METHODS
from iscam.models import DEFAULT_MODEL
from iscam.path import DEFAULT_STEPS, PATHS
from iscam.settings import DEFAULT_ENGINE, WEIGHTINGS
from iscam.ui.done import maps as work
from iscam.ui.done.news import Analysed, Failed, Mapped, Refused
from iscam.ui.done.order import Order
from iscam.ui.done.waiting import MOST_BEGUN
from iscam.ui.done.worker import Worker

from . import checks
from .limits import AT_ONCE

if TYPE_CHECKING:
    from iscam.results import Subject

NAME = "explain"
MAX_OPEN = MOST_BEGUN  # questions of one session: with more, however long, nobody else would have a turn


class Callers:
    """How many questions each session has open. Safe for many threads."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def one(self, session: str) -> Iterator[None]:
        """One more while the body runs. Raises ValueError, a sentence, if there are too many."""
        with self._lock:
            if self._open[session] >= MAX_OPEN:
                raise ValueError(
                    f"{MAX_OPEN} of your questions are open already: wait for an answer before you ask on."
                )
            self._open[session] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[session] -= 1
                self._open += Counter()  # which forgets those that have none


def add(worker: Worker) -> None:
    """Add the endpoint `explain`; to be called inside `gr.Blocks`."""
    callers = Callers()

    def explain(
        photo: dict[str, Any],
        model: str = DEFAULT_MODEL,
        layer: str | None = None,
        target: str | None = None,
        steps: int = DEFAULT_STEPS,
        methods: list[str] = list(DEFAULT_METHODS),  # noqa: B006  (never written to; Gradio shows it as the default)
        path: str = PATHS[0],
        weighting: str = WEIGHTINGS[0],
        engine: str = DEFAULT_ENGINE,
        rivals: str | None = None,
        strength: float = 1.0,
        signed: bool = False,
        request: gr.Request | None = None,
    ) -> dict[str, Any]:
        """Explain a photo: predictions; per method probability, seconds, passes and note; and a figure (PNG).

        Args:
            photo: an uploaded file, {"path": ...} as the server's upload names it.
            model: key of the model.
            layer: a layer of the model; its own if left out.
            target: a class by name or index; the most probable one if left out.
            steps: integration steps of IS-CAM, 1 to 100.
            methods: keys of the methods.
            path: cumulative or linear.
            weighting: probability or logit.
            engine: fast or exact.
            rivals: what the class is held against: a class, the most probable others (nearest:3), or all others; nothing if
                left out.
            strength: how much of what speaks for the rivals is taken away, 0 to 1.
            signed: whether the maps show what speaks for the rivals too.
        """
        try:
            asked = photo, model, layer, target, None, steps, methods, path, weighting, engine
            with callers.one("" if request is None else checks.session(request)):
                question = checks.question(worker.offer, *asked, contrast=(rivals, strength, signed))
                news, owner = worker.answers.to(question), uuid.uuid4().hex
                if news is None:
                    job = worker.submit(owner, Order(work.explain, question))
                    news = [each for batch in job.follow() for each in batch]
        except (ValueError, OSError) as error:
            raise gr.Error(str(error), print_exception=False) from error
        return _answer(news, model)

    events.api(explain, api_name=NAME, concurrency_limit=AT_ONCE)


def _answer(all_news: list[object], model: str) -> dict[str, Any]:
    subject: Subject | None = None
    maps, masked, refused = [], {}, {}
    for news in all_news:
        match news:
            case Failed(sentence):
                raise gr.Error(sentence, print_exception=False)
            case Analysed():
                subject = news.subject
            case Mapped(explanation, probability):
                masked[explanation.method] = probability
                maps.append(explanation)
            case Refused(method, sentence):
                refused[method] = sentence
    assert subject is not None  # else the job has failed
    png = show.encoded(show.comparison_figure(subject.photo, subject.crop, maps))
    file = save_bytes_to_cache(png, "explanation.png", get_upload_folder())
    return {
        "model": model,
        "layer": subject.layer,
        "photo_size": list(subject.photo.size),
        "crop": list(subject.crop),
        "predictions": [
            {"index": row.index, "category": row.category, "probability": row.probability}
            for row in subject.predictions
        ],
        "methods": {
            explanation.method: {
                "index": explanation.class_index,
                "category": explanation.category,
                "probability": explanation.probability,
                "rivals": [rival.category for rival in explanation.rivals],
                "specificity": explanation.specificity,
                "likeness": explanation.likeness,
                "masked_probability": masked[explanation.method],
                "seconds": explanation.seconds,
                "forward_passes": explanation.forward_passes,
                "estimated_error": explanation.estimated_error,
                "complete": explanation.complete,
                "note": explanation.note,
            }
            for explanation in maps
        },
        "refused": refused,
        "figure": gr.FileData(path=file, orig_name="explanation.png", mime_type="image/png").model_dump(),
    }
