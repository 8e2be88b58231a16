"""The tab Faithfulness: what the metrics say of the maps, beside controls that know nothing of the network or its classes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

from iscam import trust
from iscam.methods import METHODS
from iscam.results import Stopped
from iscam.trust import CEILINGS, CONTROLS, DEFAULT_METRICS, LABELS, METRICS

from .bench import Bench, Case, ask
from .news import Measuring, Refused, size
from .question import Question, ordered
from .study import Asked, Study, Told
from .task import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from iscam import Analysis, Explanation
    from iscam.results import Subject
    from iscam.trust import Faithfulness


CURVE_STEPS = 20  # of insertion and deletion on the page, five per cent of the pixels each
SLOW = (*(key for key, row in METRICS.items() if row.needs in ("explain", "impute")), *CEILINGS)  # by name only

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels of the photo


@dataclass(frozen=True)
class Choices:
    """What is measured beside the usual: slow metrics, ceilings, and what of each map lies in a box."""

    also: tuple[str, ...] = ()
    box: Box | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(key for key in self.also if key in METRICS)

    @property
    def ceilings(self) -> tuple[str, ...]:
        return tuple(key for key in self.also if key in CEILINGS)


@dataclass(frozen=True, eq=False)
class Seen:
    """News: what the network is shown (H, W, 3), what insertion starts from, and the colour that deletion leaves (1, 1, 3);
    the class in question with its probability, and the box."""

    category: str
    probability: float
    box: Box | None
    picture: NDArray[np.uint8]
    blurred: NDArray[np.uint8]
    emptied: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Measured:
    """News: what the metrics say of a method's, control's or ceiling's map, at which step each pixel is taken (H, W), and why
    the map is blank, if it is. Later news of the same map know more metrics."""

    method: str
    faithfulness: Faithfulness
    taken: NDArray[np.uint8]
    blank: str = ""


@dataclass(frozen=True)
class ByHand:
    """News: the class probability without the inside of the box, and with nothing but it."""

    without: float
    alone: float


def read(question: Question, chosen: Mapping[str, Any]) -> Asked:
    """The choices `also` and `box` of the tab; without a box that is none all else can be measured."""
    also, box, remark = slow(chosen["also"]), None, ""
    try:
        box = box_of(chosen["box"], question.photo.size)
    except ValueError as error:
        remark = str(error)
    return Asked(question, Choices(also, box), remark)


def slow(also: Any) -> tuple[str, ...]:
    """What is to be measured beside the usual."""
    known = isinstance(also, (list, tuple)) and all(isinstance(key, str) and key in SLOW for key in also)
    if not known:
        raise ValueError(f"What can be measured as well is {', '.join(SLOW)}.")
    return tuple(key for key in SLOW if key in also)


def box_of(text: Any, size: tuple[int, int]) -> Box | None:
    """A box in pixels of a photo of that size, from percentages of it; None from no text."""
    parts = re.split(r"[\s,;%]+", text.strip(" ,;%")) if isinstance(text, str) and len(text) < 100 else []
    if parts in ([], [""]):
        return None
    try:
        left, top, right, bottom = (float(part) for part in parts)
    except ValueError:
        left = top = right = bottom = -1.0
    if not (0 <= left < right <= 100 and 0 <= top < bottom <= 100):
        raise ValueError("A box is four numbers: left, top, right and bottom, in per cent of the photo.")
    width, height = size[0] / 100, size[1] / 100
    return left * width, top * height, right * width, bottom * height


def of_maps(bench: Bench, question: Question, choices: Choices, task: Task) -> Iterator[object]:
    """Of the controls and of the maps of all chosen methods, the cheapest first; then by slow metrics."""
    case = bench.case(question, task)
    yield bench.answers.get(case.question.place)
    target = case.explainer.prediction(case.analysis, case.target)
    yield Seen(target.category, target.probability, choices.box, *trust.pictures(case.explainer, case.analysis))
    keys = (*CONTROLS, *ordered(question.methods), *choices.ceilings)
    turns = list(product([DEFAULT_METRICS, choices.metrics] if choices.metrics else [DEFAULT_METRICS], keys))
    try:
        if choices.box is not None:
            asked = case.explainer, case.analysis, case.target, choices.box, task.stop
            yield ByHand(*trust.by_hand(*asked))
        for number, (metrics, key) in enumerate(turns):
            task.show(partial(Measuring, LABELS[key], number, len(turns)))
            yield _measure(bench, case, key, metrics, choices, task)
    except Stopped:
        return


def _measure(
    bench: Bench, case: Case, key: str, metrics: Sequence[str], choices: Choices, task: Task
) -> Measured | Refused:
    """What these metrics, and those asked for that are known already, say of one map. Raises Stopped."""
    explainer, analysis, question = case.explainer, case.analysis, case.question
    if key in CONTROLS:
        explanation = trust.control(analysis, key, case.target, explainer.model.categories[case.target])
    elif key in CEILINGS:
        explanation = _ceiling(bench, case, key, task)
    else:
        answer = bench.map(case, key, task, previews=False)
        if isinstance(answer, Refused):
            return Refused(METHODS[key].label, answer.sentence)
        explanation = answer.explanation
        if not explanation.complete:
            raise Stopped

    def again(analysis: Analysis) -> Explanation:
        return ask(Case(question, explainer, analysis, case.target, None), key, task)

    asked = "measured", question.key(key, case.target) if key in METHODS else (question.place, key, case.target)
    known = bench.answers.get(asked) or trust.Faithfulness({})
    if missing := [metric for metric in metrics if metric not in known.values]:
        found = trust.assess(explainer, analysis, explanation, missing, again, steps=CURVE_STEPS, stop=task.stop)
        known = trust.Faithfulness(known.values | found.values, known.curves | found.curves)
        bench.answers.put(asked, known, 4000)
    in_box = [metric for metric, row in METRICS.items() if row.needs == "box"]
    boxed = trust.assess(explainer, analysis, explanation, in_box, box=choices.box)
    values = known.values | boxed.values
    wanted = (*DEFAULT_METRICS, *choices.metrics, *boxed.values)
    shown = {metric: values[metric] for metric in METRICS if metric in wanted and metric in values}
    faithfulness = trust.Faithfulness(shown, known.curves, boxed.box_area)
    blank = "" if explanation.heatmap.any() else explanation.note
    return Measured(key, faithfulness, trust.turns(explanation, CURVE_STEPS), blank)


def _ceiling(bench: Bench, case: Case, key: str, task: Task) -> Explanation:
    """The map of a ceiling, made once. Raises Stopped."""
    asked = "ceiling", case.question.place, key, case.target
    found: Explanation | None = bench.answers.get(asked)
    if found is None:
        found = trust.ceiling(case.explainer, case.analysis, key, case.target, task.stop)
        if not found.complete:
            raise Stopped
        bench.answers.put(asked, found, found.heatmap.nbytes)
    return found


def figures(told: Told | None, subject: Subject, explanation: Explanation) -> dict[str, dict[str, float]]:
    """What has been measured of the maps of a subject, for the class of an explanation, by method; nothing if not yet."""
    of_class = any(isinstance(each, Seen) and each.category == explanation.category for each in told or ())
    if told is None or not of_class or told[0].subject.place != subject.place:
        return {}
    return {each.method: each.faithfulness.values for each in told if isinstance(each, Measured)}


def _size(news: object) -> int:
    if isinstance(news, Seen):
        return 2 * news.picture.nbytes
    return news.taken.nbytes if isinstance(news, Measured) else size(news)


STUDY = Study(of_maps, read, _size)
