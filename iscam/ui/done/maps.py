"""The work of a question: what the network sees in the photo, and the maps of the chosen methods."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from .bench import Bench
from .news import Contrasted, Mapped, Refused
from .question import Question, ordered
from .task import Task


def predict(bench: Bench, question: Question, choices: None, task: Task) -> Iterator[object]:
    """Of a new photo or model."""
    yield bench.answers.get(bench.case(question, task, substitute=True).question.place)


def explain(bench: Bench, question: Question, told: Collection[str] | None, task: Task) -> Iterator[object]:
    """The maps, the cheapest method first, but for those that have been `told` before.

    Nobody chose the model of a background task, so another may take its place there.
    """
    case = bench.case(question, task, substitute=task.background)
    yield bench.answers.get(case.question.place)
    for method in ordered(question.methods):
        if task.stop.is_set():
            return
        if method not in (told or ()):
            news = bench.map(case, method, task)
            if _interrupted(task, news):
                return
            yield news
    if case.question.contrasts and not task.stop.is_set():
        beside = bench.contrast(case, case.question.contrasting, task)
        if not _interrupted(task, beside):
            yield beside


def _interrupted(task: Task, news: Mapped | Contrasted | Refused) -> bool:
    """Whether a background task gave way in the middle of a map: nobody asked for half of it, and it will be made again."""
    return task.background and not isinstance(news, Refused) and not news.explanation.complete
