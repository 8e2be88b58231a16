"""What the compute thread does for a visitor: load a model, analyse a photo, explain it. Nothing here knows the page."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from iscam.methods import DEFAULT_ENGINE, DEFAULT_METHODS, METHODS
from iscam.models import DEFAULT_MODEL, MODELS
from iscam.path import DEFAULT_STEPS

if TYPE_CHECKING:
    from iscam.explain import Analysis, Explainer, Explanation, Prediction, Progress
    from iscam.images import Photo

    from .worker import Job, Work

KEPT_MODELS = 2
KEPT_ANALYSES = 6  # each keeps the scores of a photo, so that a second question about it costs little or nothing
PREVIEW_SECONDS = 0.1


@dataclass(frozen=True, eq=False)
class Question:
    """What a visitor asks; None means the default layer or the top class."""

    photo: Photo
    model: str = DEFAULT_MODEL
    layer: str | None = None
    target: int | str | None = None
    against: int | str | None = None
    steps: int = DEFAULT_STEPS
    methods: tuple[str, ...] = DEFAULT_METHODS
    path: str = "cumulative"
    weighting: str = "probability"
    engine: str = DEFAULT_ENGINE


@dataclass(frozen=True)
class Loading:
    """News: a model is being loaded, which may include a download."""

    label: str


@dataclass(frozen=True)
class Unavailable:
    """News: the model asked for cannot be had; the bundled one takes its place."""

    sentence: str


@dataclass(frozen=True, eq=False)
class Analysed:
    """News: the photo went through the network once. Pages keep their news, so the analysis with its scores is not in it."""

    model: str
    layer: str
    categories: tuple[str, ...]
    layers: dict[str, tuple[int, int]]
    photo: Photo  # reduced
    crop: tuple[int, int, int, int]
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, eq=False)
class Sharpening:
    """Preview: the map of a method so far, after `done` of `total` passes, with an estimate of the seconds left."""

    explanation: Explanation
    done: int
    total: int
    seconds_left: float


@dataclass(frozen=True, eq=False)
class Mapped:
    """News: the map of a method."""

    explanation: Explanation


@dataclass(frozen=True, eq=False)
class Contrasted:
    """News: what speaks for one class (positive) and what for another (negative)."""

    explanation: Explanation
    against: str


@dataclass(frozen=True)
class Refused:
    """News: a method cannot answer, and why."""

    method: str
    sentence: str


def load_explainer(key: str) -> Explainer:
    """torch is imported here, on the compute thread, while the page is served already."""
    import iscam
    from iscam.backend import set_threads

    set_threads()
    return iscam.Explainer(iscam.load_model(key))


def fetch_weights(key: str) -> None:
    """Download a model's weights unless they are here. Raises OSError, a sentence with file and folder."""
    from iscam.weights import ensure_weights

    ensure_weights(key)


class Bench:
    """The models and analyses used last, for the compute thread alone."""

    def __init__(
        self, load: Callable[[str], Explainer] = load_explainer, download: Callable[[str], None] = fetch_weights
    ) -> None:
        self._load = load
        self._download = download
        self._downloading = threading.Lock()
        self._explainers: OrderedDict[str, Explainer] = OrderedDict()
        self._analyses: OrderedDict[tuple[str, str, str], Analysis] = OrderedDict()

    def fetch(self, question: Question) -> Work | None:
        """What is to be done beside the compute thread before a question's work; None if nothing is.

        One download at a time: two visitors who want the same weights must not write the same file.
        """
        if question.model == DEFAULT_MODEL or question.model in self._explainers:
            return None

        def work(job: Job) -> None:
            job.tell(Loading(MODELS[question.model].label))
            with self._downloading:
                if not job.stop.is_set():
                    self._download(question.model)

        return work

    def explainer(self, key: str, job: Job) -> Explainer:
        """The model's explainer. Raises OSError, a sentence, if the model cannot be had."""
        if key not in self._explainers:
            if job.trouble is not None and key != DEFAULT_MODEL:
                raise job.trouble
            job.tell(Loading(MODELS[key].label))
            while len(self._explainers) >= KEPT_MODELS:  # before the next is loaded: networks can be large
                gone, _ = self._explainers.popitem(last=False)
                for place in [place for place in self._analyses if place[1] == gone]:
                    del self._analyses[place]
            self._explainers[key] = self._load(key)
        self._explainers.move_to_end(key)
        return self._explainers[key]

    def analyse(self, question: Question, job: Job, substitute: bool) -> tuple[Explainer, Analysis]:
        """The photo's analysis at the layer in question, from the bench if it lies there.

        With `substitute` the bundled model answers if the one in question cannot be had.
        """
        try:
            explainer = self.explainer(question.model, job)
        except OSError as error:
            if not substitute or question.model == DEFAULT_MODEL:
                raise
            job.tell(Unavailable(str(error)))
            return self.analyse(replace(question, model=DEFAULT_MODEL, layer=None), job, substitute=False)
        layer = question.layer or explainer.model.layer
        place = (question.photo.sha256, question.model, layer)
        if place not in self._analyses:
            while len(self._analyses) >= KEPT_ANALYSES:
                self._analyses.popitem(last=False)
            self._analyses[place] = explainer.analyse(question.photo, layer)
        self._analyses.move_to_end(place)
        analysis = self._analyses[place]
        model, seen = explainer.model, (analysis.photo, analysis.crop, analysis.predictions)
        job.tell(Analysed(question.model, layer, model.categories, model.layers, *seen))
        return explainer, analysis

    def predict(self, question: Question) -> Work:
        """The work of a new photo or model."""

        def work(job: Job) -> None:
            self.analyse(question, job, substitute=True)

        return work

    def explain(self, question: Question) -> Work:
        """The work of the maps, method after method. Called again after a stop, it goes on with the method it was at.

        Nobody chose the model of a background job, so another may take its place there.
        """
        remaining = list(question.methods)
        earlier: list[Explanation] = []  # of the method it was at, before it was stopped

        def work(job: Job) -> None:
            explainer, analysis = self.analyse(question, job, substitute=job.background)
            for name in (question.target, question.against):
                if name is not None:
                    explainer.model.find_class(name)  # raises for all methods at once
            explainer = explainer.using(question.engine)
            while remaining and not job.stop.is_set():
                explanation = self._map(explainer, analysis, question, remaining[0], job)
                if explanation is not None:
                    earlier.append(explanation)
                    if job.background and not explanation.complete:
                        return
                    job.tell(Mapped(_summed(earlier)))
                remaining.pop(0)
                earlier.clear()
            if question.against is not None and not job.stop.is_set():
                self._contrast(explainer, analysis, question, job)

        return work

    def _map(
        self, explainer: Explainer, analysis: Analysis, question: Question, method: str, job: Job
    ) -> Explanation | None:
        """The map of a method, previewed as it sharpens; None, and why, if the method cannot answer."""
        start = shown = time.monotonic()

        def progress(report: Progress) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown >= PREVIEW_SECONDS and report.done < report.total:
                shown = now
                left = (now - start) * (report.total - report.done) / max(report.done, 1)
                job.show(Sharpening(report.preview(), report.done, report.total, left))

        try:
            return _ask(explainer, analysis, method, question, job, progress)
        except ValueError as error:  # the other methods may well have an answer
            job.tell(Refused(method, str(error)))
            return None

    def _contrast(self, explainer: Explainer, analysis: Analysis, question: Question, job: Job) -> None:
        """The contrast by the first chosen method that can tell two classes apart."""
        able = [key for key in question.methods if METHODS[key].class_specific]
        able = [key for key in able if explainer.refusal(key, analysis.layer) is None]
        if not able:
            job.tell(Refused("contrast", "None of the chosen methods can contrast two classes: choose IS-CAM as well."))
            return
        try:
            rival = explainer.model.categories[explainer.model.find_class(question.against or 0)]
            explanation = _ask(explainer, analysis, able[0], question, job, against=question.against)
        except ValueError as error:
            job.tell(Refused("contrast", str(error)))
            return
        job.tell(Contrasted(_summed([explanation]), rival))


def _summed(parts: list[Explanation]) -> Explanation:
    """The last of the parts, with the time and passes of all, without the weights: pages keep it and show only the map."""
    seconds, passes = sum(part.seconds for part in parts), sum(part.forward_passes for part in parts)
    return replace(parts[-1], seconds=seconds, forward_passes=passes, weights=None)


def _ask(
    explainer: Explainer,
    analysis: Analysis,
    method: str,
    question: Question,
    job: Job,
    progress: Callable[[Progress], None] | None = None,
    against: int | str | None = None,
) -> Explanation:
    return explainer.explain(
        analysis,
        method,
        question.target,
        against,
        question.steps,
        question.path,
        question.weighting,
        progress=progress,
        stop=job.stop,
    )
