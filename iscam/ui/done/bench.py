"""What lies ready in the compute process: models, analyses and answers, and how a map is made of them."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import iscam
from iscam import engine, models
from iscam.contrast import contrast
from iscam.methods import METHODS
from iscam.models import BUNDLED, MODELS, ModelSpec
from iscam.settings import LIKELY_RIVALS

from .answers import Answers
from .news import Analysed, Contrasted, Loading, Mapped, Refused, Sharpening, Unavailable, size
from .offer import Own
from .question import Question
from .task import Task

if TYPE_CHECKING:
    from iscam import Analysis, Explainer, Explanation, Photo, Progress

KEPT_MODELS = 2
KEPT_ANALYSES = 6  # each keeps the scores of a photo, so that a second question about it costs little or nothing


class Abandoned(Exception):
    """Nobody waits for a download any more."""


@dataclass(frozen=True, eq=False)
class Case:
    """A question with all that is needed to answer it. The question's model may be another than was asked for."""

    question: Question
    explainer: Explainer
    analysis: Analysis
    target: int
    against: int | str | None  # a class, or rivals as in `Settings`


def load_explainer(key: str) -> Explainer:
    """A model by its name, on as many threads as the environment says."""
    engine.set_threads()
    return iscam.Explainer(models.load_model(key, device="auto"))


def fetch_weights(key: str, progress: Callable[[int, int], None]) -> object:
    """Download a model's weights unless they are here. Raises ValueError and OSError, a sentence."""
    return models.ensure_weights(key, progress)


def load_own(key: str, own: Own) -> Explainer:
    """A network of one's own, under the key by which it is on offer.

    Raises:
        OSError: it cannot be had, for whatever reason; one sentence.
    """
    engine.set_threads()
    try:
        model = models.load_model(**own.arguments, device="auto")  # type: ignore[arg-type]
    except ValueError as error:
        raise OSError(str(error)) from error
    return iscam.Explainer(replace(model, spec=replace(model.spec, key=key)))


class Bench:
    """The models, analyses and answers used last. For one thread, but for `fetch`."""

    def __init__(
        self,
        load: Callable[[str], Explainer] = load_explainer,
        download: Callable[[str, Callable[[int, int], None]], object] = fetch_weights,
    ) -> None:
        self.answers = Answers()
        self._load = load
        self._download = download
        self._downloading = threading.Lock()
        self._explainers: OrderedDict[str, Explainer] = OrderedDict()
        self._analyses: OrderedDict[tuple[str, str, str], Analysis] = OrderedDict()
        self._begun: OrderedDict[Hashable, list[Explanation]] = OrderedDict()  # maps so far of tasks that gave way

    # What lies on it

    def fetch(self, row: ModelSpec, task: Task) -> None:
        """Download the weights of a model unless they are in use. For any thread. Raises OSError, a sentence.

        One download at a time: two visitors who want the same weights must not write the same file.
        """
        if row.key in self._explainers:
            return
        task.tell(Loading(row.label))

        def progress(done: int, total: int) -> None:
            if task.stop.is_set():
                raise Abandoned
            if task.previews.due() or done == total:
                task.show(lambda: Loading(row.label, done, total))

        with self._downloading, suppress(Abandoned):
            if not task.stop.is_set():
                self._download(row.key, progress)

    def keep(self, task: Task, key: Hashable, answer: object) -> None:
        """Remember an answer, here and on the server."""
        self.answers.put(key, answer, size(answer))
        task.keep(key, answer, size(answer))

    def explainer(self, question: Question, task: Task) -> Explainer:
        """That of a question's model. Raises OSError, a sentence, if the model cannot be had."""
        key = question.model
        if key not in self._explainers:
            if task.trouble is not None and key != BUNDLED:
                raise task.trouble
            task.tell(Loading(question.row.label))
            while len(self._explainers) >= KEPT_MODELS:  # before the next is loaded: networks can be large
                gone, _ = self._explainers.popitem(last=False)
                for place in [place for place in self._analyses if place[1] == gone]:
                    del self._analyses[place]
            own = question.own
            self._explainers[key] = self._load(key) if own is None else load_own(key, own)
        self._explainers.move_to_end(key)
        return self._explainers[key]

    def case(self, question: Question, task: Task, substitute: bool = False, photo: Photo | None = None) -> Case:
        """The photo's analysis at the layer in question, from the bench if it lies there, and the classes in question.

        With `substitute` the bundled model answers if the one in question cannot be had. The photo of the question is that of
        the task, which is sent for in full size, unless it is given.
        """
        try:
            explainer = self.explainer(question, task)
        except OSError as error:
            if not substitute or question.model == BUNDLED:
                raise
            task.tell(Unavailable(str(error)))
            return self.case(replace(question, row=MODELS[BUNDLED], own=None, layer=None), task)
        if not question.row.layers:  # nothing was known of it before
            question = replace(question, row=explainer.model.spec)
        place = question.place
        if place not in self._analyses:
            while len(self._analyses) >= KEPT_ANALYSES:
                self._analyses.popitem(last=False)
            self._analyses[place] = explainer.analyse(photo or task.photo(), place[2])
        self._analyses.move_to_end(place)
        analysis = self._analyses[place]
        if self.answers.get(place) is None:
            self.keep(task, place, Analysed(explainer.subject(analysis)))
        find = explainer.model.find_class
        target = analysis.predictions[0].index if question.target is None else find(question.target)
        against = question.against if question.against in (None, LIKELY_RIVALS) else find(question.against)
        return Case(question, explainer.using(question.engine), analysis, target, against)

    # Maps

    def map(self, case: Case, method: str, task: Task, previews: bool = True) -> Mapped | Refused:
        """The map of a method, previewed as it sharpens, or why there is none.

        The times and passes of a map that gave way count as well when it is taken up again.
        """
        key = case.question.key(method, case.target)
        if (known := self.answers.get(key)) is not None:
            assert isinstance(known, (Mapped, Refused))
            return known
        answer: Mapped | Refused
        try:
            report = reporter(METHODS[method].label, task, previews)
            parts = [*self._begun.pop(key, ()), ask(case, method, task, progress=report)]
        except ValueError as error:  # the other methods may well have an answer
            answer = Refused(method, str(error))
            self.keep(task, key, answer)
            return answer
        last = parts[-1]
        shows = last.complete and not last.signed  # a part of the photo
        masked = case.explainer.masked_probability(case.analysis, last) if shows else None
        answer = Mapped(_light(parts), masked)
        if last.complete:
            self.keep(task, key, answer)
        elif task.gives_way:
            self._begun[key] = parts
            while len(self._begun) > KEPT_ANALYSES:  # without their scores nothing is gone on with
                self._begun.popitem(last=False)
        return answer

    def contrast(self, case: Case, method: str, task: Task) -> Contrasted | Refused:
        """What speaks for the target class rather than the one against it, or its likely rivals; or why there is none."""
        assert case.against is not None
        key = case.question.key(method, case.target, case.against)
        if (known := self.answers.get(key)) is not None:
            assert isinstance(known, (Contrasted, Refused))
            return known
        if not METHODS[method].class_specific:
            sentence = "None of the chosen methods can contrast two classes: choose IS-CAM as well."
            return Refused("contrast", sentence)
        try:
            asked = case.explainer, case.analysis, method, case.target, case.against, case.question.settings
            explanation = contrast(*asked, reporter("Contrast", task), task.stop)
        except ValueError as error:
            return Refused("contrast", str(error))
        answer = Contrasted(_light([explanation]))
        if explanation.complete:
            self.keep(task, key, answer)
        return answer


def reporter(label: str, task: Task, previews: bool = False) -> Callable[[Progress], None]:
    """Shows how far a run is, and with `previews` its map so far, as often as previews are due."""
    start = time.monotonic()

    def progress(report: Progress) -> None:
        if report.done < report.total and task.previews.due():
            left = (time.monotonic() - start) * (report.total - report.done) / max(report.done, 1)
            so_far = report.preview if previews else lambda: None
            task.show(lambda: Sharpening(label, report.done, report.total, left, so_far()))

    return progress


def ask(
    case: Case,
    method: str,
    task: Task,
    against: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Explanation:
    """The explainer's answer to a case. Raises ValueError, a sentence, if the method has none."""
    explainer, analysis = case.explainer, case.analysis
    request = explainer.request(analysis, method, case.target, against, case.question.settings)
    return explainer.answer(analysis, request, progress, task.stop)


def _light(parts: list[Explanation]) -> Explanation:
    """The last of the parts, with the time and passes of all, without the weights: pages keep it and show only the map."""
    seconds, passes = sum(part.seconds for part in parts), sum(part.forward_passes for part in parts)
    outcome = replace(parts[-1].outcome, seconds=seconds, forward_passes=passes)
    return replace(parts[-1], outcome=outcome, weights=None)
