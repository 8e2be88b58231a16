"""The tab Layers: one method over the layers of the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from iscam.refine import refine_cam

from .bench import Bench
from .news import Mapped, Piece
from .question import Question
from .study import Study, one_method, piece
from .task import Task


def of_layers(bench: Bench, question: Question, choices: None, task: Task) -> Iterator[object]:
    """The question's only method over all layers of the model, from coarse to fine, for one class; and their product."""
    (method,) = question.methods
    maps, case = [], bench.case(replace(question, layer=None), task)
    for layer, (height, width) in case.question.row.layers.items():
        if task.stop.is_set():
            return
        case = bench.case(replace(question, layer=layer), task)
        yield bench.answers.get(case.question.place)
        title = f"{layer}, {len(case.analysis.forward.activations)} of {height}x{width}"
        answer = bench.map(case, method, task, previews=False)
        yield piece(title, answer)
        if isinstance(answer, Mapped) and answer.explanation.complete:
            maps.append(answer.explanation)
    if len(maps) > 1:
        product = refine_cam(maps)
        yield Piece(
            f"RefineCAM, {len(maps)} layers", product, case.explainer.masked_probability(case.analysis, product)
        )


STUDY = Study(of_layers, one_method)
