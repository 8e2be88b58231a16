"""What the compute thread does for a visitor: load a model, analyse a photo, explain it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import iscam
from iscam import engine, models
from iscam.contrast import contrast, contrasting
from iscam.methods import METHODS
from iscam.models import BUNDLED, MODELS
from iscam.notes import refusal
from iscam.settings import LIKELY_RIVALS

from .answers import Answers
from .news import Analysed, Contrasted, Loading, Mapped, Refused, Sharpening, Unavailable, size
from .question import Question

if TYPE_CHECKING:
    from iscam import Analysis, Explainer, Explanation, Progress

    from .worker import Job, Work

KEPT_MODELS = 2
KEPT_ANALYSES = 6  # each keeps the scores of a photo, so that a second question about it costs little or nothing
PREVIEW_SECONDS = 0.1


@dataclass(frozen=True, eq=False)
class Case:
    """A question with all that is needed to answer it. The question's model may be another than was asked for."""

    question: Question
    explainer: Explainer
    analysis: Analysis
    target: int
    against: int | str | None  # a class, or rivals as in `Settings`


def load_explainer(key: str) -> Explainer:
    """torch is imported here, on the compute thread, while the page is served already."""
    engine.set_threads()
    return iscam.Explainer(models.load_model(key, device="auto"))


def fetch_weights(key: str) -> None:
    """Download a model's weights unless they are here. Raises OSError, a sentence with file and folder."""
    models.ensure_weights(key)


class Bench:
    """The models and analyses used last, for the compute thread alone, and the answers given, for everybody."""

    def __init__(
        self, load: Callable[[str], Explainer] = load_explainer, download: Callable[[str], None] = fetch_weights
    ) -> None:
        self.answers = Answers()
        self._load = load
        self._download = download
        self._downloading = threading.Lock()
        self._explainers: OrderedDict[str, Explainer] = OrderedDict()
        self._analyses: OrderedDict[tuple[str, str, str], Analysis] = OrderedDict()

    # What lies on it

    def fetch(self, question: Question) -> Work | None:
        """What is to be done beside the compute thread before a question's work; None if nothing is.

        One download at a time: two visitors who want the same weights must not write the same file.
        """
        if question.model == BUNDLED or question.model in self._explainers:
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
            if job.trouble is not None and key != BUNDLED:
                raise job.trouble
            job.tell(Loading(MODELS[key].label))
            while len(self._explainers) >= KEPT_MODELS:  # before the next is loaded: networks can be large
                gone, _ = self._explainers.popitem(last=False)
                for place in [place for place in self._analyses if place[1] == gone]:
                    del self._analyses[place]
            self._explainers[key] = self._load(key)
        self._explainers.move_to_end(key)
        return self._explainers[key]

    def case(self, question: Question, job: Job, substitute: bool = False) -> Case:
        """The photo's analysis at the layer in question, from the bench if it lies there, and the classes in question.

        With `substitute` the bundled model answers if the one in question cannot be had.
        """
        try:
            explainer = self.explainer(question.model, job)
        except OSError as error:
            if not substitute or question.model == BUNDLED:
                raise
            job.tell(Unavailable(str(error)))
            return self.case(replace(question, model=BUNDLED, layer=None), job)
        place = question.place
        if place not in self._analyses:
            while len(self._analyses) >= KEPT_ANALYSES:
                self._analyses.popitem(last=False)
            self._analyses[place] = explainer.analyse(question.photo, place[2])
        self._analyses.move_to_end(place)
        analysis = self._analyses[place]
        analysed = Analysed(explainer.subject(analysis))
        self.answers.put(place, analysed, size(analysed))
        find = explainer.model.find_class
        target = analysis.predictions[0].index if question.target is None else find(question.target)
        against = question.against if question.against in (None, LIKELY_RIVALS) else find(question.against)
        return Case(question, explainer.using(question.engine), analysis, target, against)

    # Questions

    def predict(self, question: Question) -> Work:
        """The work of a new photo or model."""

        def work(job: Job) -> None:
            job.tell(self.answers.get(self.case(question, job, substitute=True).question.place))

        return work

    def recall(self, question: Question) -> list[Any] | None:
        """The news of a question of which every part has been answered before; else None. For any thread."""
        analysed = self.answers.get(question.place)
        named = isinstance(question.against, str) and question.against != LIKELY_RIVALS
        if analysed is None or isinstance(question.target, str) or named:
            return None
        target = analysed.subject.predictions[0].index if question.target is None else question.target
        keys = [question.key(method, target) for method in ordered(question.methods)]
        if _contrasts(question):
            keys.append(question.key(_contrasting(question), target, question.against))
        news = [self.answers.get(key) for key in keys]
        return None if None in news else [analysed, *news]

    def explain(self, question: Question) -> Work:
        """The work of the maps, the cheapest method first. Called again after a stop, it goes on where it was.

        Nobody chose the model of a background job, so another may take its place there.
        """
        remaining = ordered(question.methods)
        earlier: list[Explanation] = []  # of the method it was at, before it was stopped

        def work(job: Job) -> None:
            case = self.case(question, job, substitute=job.background)
            job.tell(self.answers.get(case.question.place))
            while remaining and not job.stop.is_set():
                news = self.map(case, remaining[0], job, earlier)
                if _interrupted(job, news):
                    return
                job.tell(news)
                remaining.pop(0)
                earlier.clear()
            if _contrasts(case.question) and not job.stop.is_set():
                beside = self.contrast(case, _contrasting(case.question), job)
                if not _interrupted(job, beside):
                    job.tell(beside)

        return work

    def map(
        self, case: Case, method: str, job: Job, earlier: list[Explanation] | None = None, previews: bool = True
    ) -> Mapped | Refused:
        """The map of a method, previewed as it sharpens, or why there is none.

        An unfinished map is added to `earlier`, whose times and passes count as well.
        """
        key = case.question.key(method, case.target)
        if (known := self.answers.get(key)) is not None:
            assert isinstance(known, (Mapped, Refused))
            return known
        answer: Mapped | Refused
        try:
            report = reporter(METHODS[method].label, job, previews)
            parts = [*(earlier or ()), ask(case, method, job, progress=report)]
        except ValueError as error:  # the other methods may well have an answer
            answer = Refused(method, str(error))
            self.answers.put(key, answer, size(answer))
            return answer
        last = parts[-1]
        shows = last.complete and not last.signed  # a part of the photo
        masked = case.explainer.masked_probability(case.analysis, last) if shows else None
        answer = Mapped(_light(parts), masked)
        if last.complete:
            self.answers.put(key, answer, size(answer))
        elif earlier is not None:
            earlier.append(last)
        return answer

    def contrast(self, case: Case, method: str, job: Job) -> Contrasted | Refused:
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
            explanation = contrast(*asked, reporter("Contrast", job), job.stop)
        except ValueError as error:
            return Refused("contrast", str(error))
        answer = Contrasted(_light([explanation]))
        if explanation.complete:
            self.answers.put(key, answer, size(answer))
        return answer


def reporter(label: str, job: Job, previews: bool = False) -> Callable[[Progress], None]:
    """Shows how far a run is, and with `previews` its map so far, ten times a second at most."""
    start = shown = time.monotonic()

    def progress(report: Progress) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= PREVIEW_SECONDS and report.done < report.total:
            shown = now
            left = (now - start) * (report.total - report.done) / max(report.done, 1)
            job.show(Sharpening(label, report.done, report.total, left, report.preview() if previews else None))

    return progress


def ask(
    case: Case,
    method: str,
    job: Job,
    against: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Explanation:
    """The explainer's answer to a case. Raises ValueError, a sentence, if the method has none."""
    explainer, analysis = case.explainer, case.analysis
    request = explainer.request(analysis, method, case.target, against, case.question.settings)
    return explainer.answer(analysis, request, progress, job.stop)


def ordered(methods: tuple[str, ...]) -> list[str]:
    """The cheapest first, so that the first map is there at once."""
    return sorted(methods, key=lambda key: METHODS[key].effort)


def _interrupted(job: Job, news: Mapped | Contrasted | Refused) -> bool:
    """Whether a background job gave way in the middle of a map: nobody asked for half of it, and it will be made again."""
    return job.background and not isinstance(news, Refused) and not news.explanation.complete


def _contrasts(question: Question) -> bool:
    """Whether there is a contrast: with a class that is named, or with the likely others where a method can tell."""
    able = METHODS[_contrasting(question)].class_specific
    return able if question.against == LIKELY_RIVALS else question.against is not None


def _contrasting(question: Question) -> str:
    """The chosen method that contrasts two classes: the first that can; the first of all if none can."""
    spec, layer = MODELS[question.model], question.place[2]
    able = contrasting(question.methods, lambda key: refusal(key, spec.label, spec.head_layer, layer))
    return able or question.methods[0]


def _light(parts: list[Explanation]) -> Explanation:
    """The last of the parts, with the time and passes of all, without the weights: pages keep it and show only the map."""
    seconds, passes = sum(part.seconds for part in parts), sum(part.forward_passes for part in parts)
    outcome = replace(parts[-1].outcome, seconds=seconds, forward_passes=passes)
    return replace(parts[-1], outcome=outcome, weights=None)
