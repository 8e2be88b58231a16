"""What the compute thread does for the tabs beside Compare: a method over classes, over layers, and along the path."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from iscam.methods import METHODS
from iscam.models import MODELS
from iscam.trust import CONTROLS, DEFAULT_METRICS, LABELS, METRICS

from .tasks import Bench, Case, Contrasted, Mapped, Measuring, Question, Refused, ask, ordered, reporter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from iscam.explain import Analysis, Explanation, Subject
    from iscam.show import Integration
    from iscam.trust import Faithfulness

    from .worker import Job, Work

CURVE_STEPS = 20  # of insertion and deletion on the page, five per cent of the pixels each
FRAMES = 10  # maps of the film, of a longer path a selection


@dataclass(frozen=True, eq=False)
class Piece:
    """News: a map of a row of maps, under its title, with the probability of its class when the photo is masked by it."""

    title: str
    explanation: Explanation
    masked: float | None


@dataclass(frozen=True, eq=False)
class Integrated:
    """News: how IS-CAM's map came about; `integration.heatmaps` are those after `frames` steps only."""

    integration: Integration
    frames: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Seen:
    """News: what the network is shown (H, W, 3), what insertion starts from, and the colour that deletion leaves (1, 1, 3);
    the class in question with its probability, and the box (l, t, r, b) in pixels of the photo."""

    category: str
    probability: float
    box: tuple[float, float, float, float] | None
    picture: NDArray[np.uint8]
    blurred: NDArray[np.uint8]
    emptied: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Measured:
    """News: what the metrics say of a method's or control's map, at which step each pixel is taken (H, W), and why the map
    is blank, if it is. Later news of the same map know more metrics."""

    method: str
    faithfulness: Faithfulness
    taken: NDArray[np.uint8]
    blank: str = ""


def study(bench: Bench, kind: str, question: Question) -> Work:
    """The work of a tab, one of STUDIES."""

    def work(job: Job) -> None:
        news = []
        for each in STUDIES[kind](bench, question, job):
            news.append(each)
            job.tell(each)
        if not job.stop.is_set():
            bench.answers.put(_key(kind, question), news, sum(_size(each) for each in news))

    return work


def recall(bench: Bench, kind: str, question: Question) -> list[Any] | None:
    """The news of a study that has been made before; else None. For any thread."""
    found: list[Any] | None = bench.answers.get(_key(kind, question))
    return found


def _key(kind: str, question: Question) -> Hashable:
    return kind, question.maps, question.also, question.box


def _size(news: object) -> int:
    match news:
        case Piece(explanation=explanation) | Contrasted(explanation=explanation):
            return explanation.heatmap.nbytes + explanation.raw.nbytes
        case Integrated(integration=integration):
            return integration.heatmaps.nbytes + integration.masks.nbytes
        case Seen(picture=picture):
            return 2 * picture.nbytes
        case Measured(taken=taken):
            return taken.nbytes
    return 1000


def of_classes(bench: Bench, question: Question, job: Job) -> Iterator[object]:
    """One method (the question's only one) over the five most probable classes and the one asked for, and the contrast of
    the target class with the one against it, or with the most probable other one."""
    case = bench.case(question, job)
    (method,) = question.methods
    yield bench.answers.get(case.question.place)
    top = [row.index for row in case.analysis.predictions]
    for index in dict.fromkeys([*top, case.target]):
        if job.stop.is_set():
            return
        title = case.explainer.model.categories[index]
        yield _piece(title, bench.map(replace(case, target=index), method, job, previews=False))
    rival = next(index for index in top if index != case.target) if case.against is None else case.against
    yield bench.contrast(replace(case, against=rival), method, job)


def of_layers(bench: Bench, question: Question, job: Job) -> Iterator[object]:
    """One method (the question's only one) over all layers of the model, from coarse to fine, for one class."""
    (method,) = question.methods
    for layer, (height, width) in MODELS[question.model].layers.items():
        if job.stop.is_set():
            return
        case = bench.case(replace(question, layer=layer), job)
        yield bench.answers.get(case.question.place)
        title = f"{layer}, {len(case.analysis.forward.activations)} of {height}x{width}"
        yield _piece(title, bench.map(case, method, job, previews=False))


def of_path(bench: Bench, question: Question, job: Job) -> Iterator[object]:
    """How IS-CAM's map comes about, step by step."""
    from iscam.show import integrate

    case = bench.case(question, job)
    yield bench.answers.get(case.question.place)
    settings = question.steps, question.path, question.weighting
    progress = reporter("IS-CAM, step by step", job)
    found = integrate(case.explainer, case.analysis, case.target, *settings, progress=progress, stop=job.stop)
    count = min(question.steps, FRAMES)
    frames = tuple(round(question.steps * (number + 1) / count) for number in range(count))
    chosen = found.heatmaps[[frame - 1 for frame in frames]].copy()
    yield Integrated(replace(found, heatmaps=chosen), frames)


def of_faithfulness(bench: Bench, question: Question, job: Job) -> Iterator[object]:
    """What the metrics say of the controls and of the maps of all chosen methods, the cheapest first; then by slow metrics."""
    from iscam.explain import Stopped
    from iscam.trust import pictures

    case = bench.case(question, job)
    yield bench.answers.get(case.question.place)
    category = case.explainer.model.categories[case.target]
    probability = float(case.analysis.probabilities[case.target])
    yield Seen(category, probability, question.box, *pictures(case.explainer, case.analysis))
    keys = (*CONTROLS, *ordered(question.methods))
    turns = list(product([DEFAULT_METRICS, question.also] if question.also else [DEFAULT_METRICS], keys))
    try:
        for number, (metrics, key) in enumerate(turns):
            job.show(Measuring(LABELS[key], number, len(turns)))
            yield _measure(bench, case, key, metrics, job)
    except Stopped:
        return


def figures(
    bench: Bench, question: Question, subject: Subject, explanation: Explanation
) -> dict[str, dict[str, float]]:
    """What has been measured of the maps of a subject, for the class of an explanation, by method; nothing if not yet."""
    news = recall(bench, "faithfulness", question) or []
    of_class = any(isinstance(each, Seen) and each.category == explanation.category for each in news)
    if not of_class or question.place != (subject.photo.sha256, subject.model, subject.layer):
        return {}
    return {each.method: each.faithfulness.values for each in news if isinstance(each, Measured)}


def _measure(bench: Bench, case: Case, key: str, metrics: Sequence[str], job: Job) -> Measured | Refused:
    """What these metrics, and those asked for that are known already, say of one map. Raises Stopped."""
    from iscam.explain import Stopped
    from iscam.trust import Faithfulness, assess, control, turns

    explainer, analysis, question = case.explainer, case.analysis, case.question
    if key in CONTROLS:
        explanation = control(analysis, key, case.target, explainer.model.categories[case.target])
    else:
        answer = bench.map(case, key, job, previews=False)
        if isinstance(answer, Refused):
            return Refused(METHODS[key].label, answer.sentence)
        explanation = answer.explanation
        if not explanation.complete:
            raise Stopped

    def again(analysis: Analysis) -> Explanation:
        return ask(replace(case, analysis=analysis), key, job)

    asked = "measured", question.key(key, case.target) if key in METHODS else (question.place, key, case.target)
    known = bench.answers.get(asked) or Faithfulness({})
    if missing := [metric for metric in metrics if metric not in known.values]:
        found = assess(explainer, analysis, explanation, missing, again, steps=CURVE_STEPS, stop=job.stop)
        known = Faithfulness(known.values | found.values, known.curves | found.curves)
        bench.answers.put(asked, known, 4000)
    boxed = assess(explainer, analysis, explanation, ("pointing", "energy"), box=question.box)
    values = known.values | boxed.values
    wanted = (*DEFAULT_METRICS, *question.also, *boxed.values)
    shown = {metric: values[metric] for metric in METRICS if metric in wanted and metric in values}
    faithfulness = Faithfulness(shown, known.curves, boxed.box_area)
    blank = "" if explanation.heatmap.any() else explanation.note
    return Measured(key, faithfulness, turns(explanation, CURVE_STEPS), blank)


def _piece(title: str, answer: Mapped | Refused) -> Piece | Refused:
    if isinstance(answer, Refused):
        return Refused(title, answer.sentence)
    return Piece(title, answer.explanation, answer.masked)


STUDIES: dict[str, Callable[[Bench, Question, Job], Iterator[object]]] = {
    "classes": of_classes,
    "integration": of_path,
    "layers": of_layers,
    "faithfulness": of_faithfulness,
}
