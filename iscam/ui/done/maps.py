"""The work of a question: what the network sees in the photo, and the maps of the chosen methods."""

from __future__ import annotations

from collections.abc import Iterator

from .bench import Bench
from .question import Question, ordered
from .task import Task


def predict(bench: Bench, question: Question, choices: None, task: Task) -> Iterator[object]:
    """Of a new photo or model."""
    yield bench.answers.get(bench.case(question, task, substitute=True).question.place)


def explain(bench: Bench, question: Question, choices: None, task: Task) -> Iterator[object]:
    """The maps, the cheapest method first.

    Nobody chose the model of a background task, so another may take its place there.
    """
    case = bench.case(question, task, substitute=task.background)
    yield bench.answers.get(case.question.place)
    for method in ordered(question.methods):
        if task.stop.is_set():
            return
        yield bench.map(case, method, task)
    if case.question.contrasts and not task.stop.is_set():
        yield bench.contrast(case, case.question.contrasting, task)
