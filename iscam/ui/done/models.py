"""The tab Models: one method over several models, each with its own prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from iscam.models import MODELS, missing_megabytes

from .bench import Bench
from .news import Refused
from .question import Question
from .study import Asked, Study, one_method, piece
from .task import Task

MOST = 3  # models at once


def of_models(bench: Bench, question: Question, others: tuple[str, ...], task: Task) -> Iterator[object]:
    """The question's only method by the question's model, then by others at their own layers: for the same class where they
    have one of that name, else for the one that they think most probable."""
    (method,) = question.methods
    wanted = None
    for row in (question.row, *(MODELS[key] for key in others)):
        if task.stop.is_set():
            return
        try:
            asked = (
                question
                if wanted is None
                else replace(question, row=row, own=None, layer=None, target=None, against=None)
            )
            case = bench.case(asked, task)
        except OSError as error:  # the others may well be there
            yield Refused(row.label, str(error))
            continue
        categories = case.explainer.model.categories
        if wanted is None:
            wanted = categories[case.target]
        elif wanted in categories:
            case = replace(case, target=categories.index(wanted))
        yield bench.answers.get(case.question.place)
        yield piece(case.question.row.label, bench.map(case, method, task, previews=False))


def _read(question: Question, chosen: Mapping[str, Any]) -> Asked:
    """Of the models that are chosen, those that are not the page's own. Raises ValueError, a sentence, as is said below."""
    asked, keys = one_method(question, chosen), chosen["models"] or []
    if not isinstance(keys, (list, tuple)) or not all(isinstance(key, str) and key in MODELS for key in keys):
        raise ValueError(f"Choose models of {', '.join(MODELS)}.")
    others = tuple(dict.fromkeys(key for key in keys if key != question.model))
    if len(others) >= MOST:
        raise ValueError(f"Choose at most {MOST - 1} models beside the one of the page.")
    for key in others:
        if (megabytes := missing_megabytes(key)) is not None:
            raise ValueError(
                f"{MODELS[key].label} is not here yet: choose it as the page's model first, which downloads {megabytes} MB."
            )
    return replace(asked, choices=others)


STUDY = Study(of_models, _read)
