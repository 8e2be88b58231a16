"""The tab Integration: how IS-CAM's map comes about, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from iscam import show

from .bench import Bench, reporter
from .news import size
from .question import Question
from .study import Study
from .task import Task

if TYPE_CHECKING:
    from iscam.show import Integration


FRAMES = 10  # maps of the film, of a longer path a selection


@dataclass(frozen=True, eq=False)
class Integrated:
    """News: how IS-CAM's map came about; `integration.heatmaps` are those after `frames` steps only."""

    integration: Integration
    frames: tuple[int, ...]


def of_path(bench: Bench, question: Question, choices: None, task: Task) -> Iterator[object]:
    """The photo's analysis, and the whole path."""
    case, settings = bench.case(question, task), question.settings
    yield bench.answers.get(case.question.place)
    found = show.integrate(
        case.explainer,
        case.analysis,
        case.target,
        settings.steps,
        settings.path,
        settings.weighting,
        progress=reporter("IS-CAM, step by step", task),
        stop=task.stop,
    )
    count = min(settings.steps, FRAMES)
    frames = tuple(round(settings.steps * (number + 1) / count) for number in range(count))
    chosen = found.heatmaps[[frame - 1 for frame in frames]].copy()  # (F, H, W)
    yield Integrated(replace(found, heatmaps=chosen), frames)


def _size(news: object) -> int:
    if isinstance(news, Integrated):
        return news.integration.heatmaps.nbytes + news.integration.carriers.masks.nbytes
    return size(news)


STUDY = Study(of_path, size=_size)
