"""The tab Classes: one method over the most probable classes, and what speaks for one class rather than another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .bench import Bench
from .question import Question
from .study import Study, one_method, piece
from .task import Task


def of_classes(bench: Bench, question: Question, choices: None, task: Task) -> Iterator[object]:
    """The question's only method over the five most probable classes and the one asked for, and the contrast of the target
    class with the one against it, or with the most probable other one."""
    case = bench.case(question, task)
    (method,) = question.methods
    yield bench.answers.get(case.question.place)
    top = [row.index for row in case.analysis.predictions]
    for index in dict.fromkeys([*top, case.target]):
        if task.stop.is_set():
            return
        title = case.explainer.model.categories[index]
        yield piece(title, bench.map(replace(case, target=index), method, task, previews=False))
    rival = case.against if isinstance(case.against, int) else next(index for index in top if index != case.target)
    yield bench.contrast(replace(case, against=rival), method, task)


STUDY = Study(of_classes, one_method)
