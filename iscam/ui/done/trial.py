"""The tab Test it: the visitor's photo among three others, of which a map for its class should find it; and whether the
photo's maps depend on what the network has learnt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from iscam import trust
from iscam.contrast import contrast
from iscam.images import read_photo
from iscam.methods import METHODS
from iscam.project import EXAMPLES
from iscam.results import Stopped
from iscam.settings import LIKELY_RIVALS
from iscam.trust import LABELS, PHOTOS

from .bench import Bench, Case, ask, reporter
from .news import Analysed, Measuring, Refused, size
from .question import Question, ordered
from .study import Asked, Study
from .task import Task

if TYPE_CHECKING:
    from iscam import Analysis, Explainer, Explanation


POINTING = "grid-pointing"
CHANCE = 1 / PHOTOS  # what a map that knows no class has of its sum on any of the photos
BLIND = "lafam"  # beside the maps: one that knows no class


@dataclass(frozen=True)
class Grid:
    """News: in which cell of the grid (0 to 3, row by row) the photo stands, and what the network gives its class there and
    in the photo alone."""

    place: int
    category: str
    alone: float
    among: float


@dataclass(frozen=True, eq=False)
class Found:
    """News: a map of the grid, under its title, and the share of its sum that lies on the photo."""

    title: str
    explanation: Explanation
    share: float


@dataclass(frozen=True)
class Heads:
    """News: how alike a method's map of the photo stays, by Pearson's r, when the network's last layer is drawn at random, draw
    by draw; None where a map is blank."""

    method: str
    correlations: tuple[float | None, ...]


def read(question: Question, chosen: Mapping[str, Any]) -> Asked:
    """The choice `heads` of the tab: whether the last layer is to be drawn at random as well."""
    if not isinstance(chosen["heads"], bool):
        raise ValueError("Random heads are wanted or not: true or false.")
    return Asked(question, chosen["heads"])


def of_photo(bench: Bench, question: Question, heads: bool, task: Task) -> Iterator[object]:
    """What becomes of the photo among others, then under random heads if that is wanted."""
    case, key = bench.case(question, task), (of_photo, question.maps)
    told: list[object] = bench.answers.get(key) or []
    if told:  # the random heads were asked for after it
        yield from told
    else:
        for news in _among_others(case, task):
            told.append(news)
            yield news
        if not task.stop.is_set():
            bench.answers.put(key, told, sum(map(_size, told)))
    for number, method in enumerate(ordered(question.methods) if heads else ()):
        try:
            yield _under_random_heads(case, method, task, number)
        except ValueError as error:
            yield Refused(METHODS[method].label, str(error))
        except Stopped:
            return


def _under_random_heads(case: Case, method: str, task: Task, before: int) -> Heads:
    """`before` methods are done. Raises Stopped, or ValueError, a sentence, if the method cannot serve the network."""

    def explain(explainer: Explainer, analysis: Analysis, steps: int | None) -> Explanation:
        return ask(replace(case, explainer=explainer, analysis=analysis), method, task)

    found: list[float | None] = []
    draws, methods = trust.HEAD_DRAWS, len(case.question.methods)

    def show() -> None:
        label = f"{METHODS[method].label} with random heads, {len(found) + 1} of {draws}"
        task.show(partial(Measuring, label, before * draws + len(found), methods * draws))

    rows = trust.random_heads(case.explainer, case.analysis, explain)
    while len(found) < draws:
        show()
        found.append(next(rows).pearson)
    return Heads(method, tuple(found))


def _among_others(case: Case, task: Task) -> Iterator[object]:
    """The grid, then its maps by the question's methods for its class, each as such and rather than the likely others, and of
    a control."""
    question = case.question
    own, explainer, target = case.analysis, case.explainer, case.target
    others = _others(case)
    place = int(question.photo.sha256[:8], 16) % PHOTOS  # the photo always stands there
    grid = trust.grid_of(explainer, [*others[:place], own, *others[place:]])
    cell = trust.cells(grid)[place]
    category = explainer.model.categories[target]
    yield Analysed(explainer.subject(grid))
    yield Grid(place, category, float(own.probabilities[target]), float(grid.probabilities[target]))
    held = replace(case, analysis=grid)

    def found(title: str, explanation: Explanation) -> Found:
        measured = trust.assess(explainer, grid, explanation, (POINTING,), box=cell)
        return Found(title, replace(explanation, weights=None), measured.values[POINTING])

    for method in question.methods:
        label = METHODS[method].label
        if task.stop.is_set():
            return
        try:
            yield found(label, ask(held, method, task, progress=reporter(label, task)))
            if METHODS[method].class_specific and not task.stop.is_set():
                asked = explainer, grid, method, target, LIKELY_RIVALS, question.settings
                rather = contrast(*asked, reporter(f"{label}, contrast", task), task.stop)
                yield found(f"{label}, not others", rather)
        except ValueError as error:
            yield Refused(label, str(error))
    yield found(LABELS[BLIND], trust.control(grid, BLIND, target, category))


def _others(case: Case) -> list[Analysis]:
    """Three examples beside the photo, those to which the network gives least of its class."""
    own = case.question.photo.sha256
    photos = [read_photo(file) for file in sorted(EXAMPLES.glob("*.jpg"))]
    analyses = [case.explainer.analyse(photo, case.analysis.layer) for photo in photos if photo.sha256 != own]
    return sorted(analyses, key=lambda each: float(each.probabilities[case.target]))[: PHOTOS - 1]


def _size(news: object) -> int:
    return 3 * news.explanation.heatmap.nbytes if isinstance(news, Found) else size(news)


STUDY = Study(of_photo, read, _size)
