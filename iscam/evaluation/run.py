"""Metrics over a set of photos: `python -m iscam evaluate`, by one process or by several that `torchrun` starts.

What is found of a photo depends on nothing but the photo and the conditions: batches and threads have a fixed number, no
clock is asked, and every photo begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from iscam.engine import Backend
from iscam.explain import Explainer
from iscam.images import read_photo
from iscam.models import LoadedModel
from iscam.results import Analysis, Explanation
from iscam.trust import CONTROLS, METRICS, Box, Explain, assess, ceiling, cells, control, grid_of

from .crew import Crew
from .dataset import Item, class_index
from .plan import Conditions, Recipe
from .store import Row, Store, state


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was asked and found: `rows` in the order of the photos' names and of the methods; `problems` by photo."""

    conditions: Conditions
    rows: list[Row]
    problems: dict[str, str]


def evaluate(
    model: LoadedModel,
    items: Sequence[Item],
    conditions: Conditions,
    folder: Path,
    crew: Crew,
    progress: Callable[[Sequence[Item]], Iterable[Item]] = iter,
) -> Evaluation | None:
    """Measure all methods, controls and ceilings on all photos; the first process returns what was found, the others nothing.

    Args:
        items: from `dataset.sample`.
        folder: where rows are kept, and where those of a run before are looked for.
        progress: is given the items of this process, and gives them back one by one.

    Raises:
        ValueError: the folder holds rows of other conditions, or photos have no label; one sentence.
    """
    torch.set_num_threads(conditions.measures.threads)
    by_label = conditions.maps.target == "label"
    if by_label and any(item.label is None for item in items):
        raise ValueError("No class is known for some photos: use class folders or a CSV, or --target predicted.")
    find = cache(lambda label: class_index(label, model))  # of 50,000 photos there are 1000
    store = Store(folder)
    todo = crew.agreed(lambda: _todo(store, items, conditions))
    own = set(todo[crew.rank :: crew.size])
    backend = Backend(model.network, model.folds, conditions.measures.batch)
    explainer = Explainer(model, conditions.maps.engine, conditions.maps.tolerance, backend)
    for item in progress([item for item in items if item.name in own]):
        try:
            rows = list(_rows(explainer, item, find(item.label) if by_label else None, conditions))
            line = {"file": item.name, "photo": state(item), "rows": rows}
        except (ValueError, OSError) as error:
            line = {"file": item.name, "problem": str(error)}
        store.add(crew.rank, line)
    crew.wait()
    return _found(store, items, conditions) if crew.rank == 0 else None


def _todo(store: Store, items: Sequence[Item], conditions: Conditions) -> list[str]:
    store.claim(conditions)
    done = store.rows(items)
    return [item.name for item in items if item.name not in done]


def _questions(
    explainer: Explainer, item: Item, target: int | None, layer: str
) -> Iterator[tuple[Analysis, int, Box | None]]:
    """What is asked of a photo: one class, with the photo's box; of a grid: the class of each of its photos, with its cell."""
    if not item.parts:
        analysis = explainer.analyse(read_photo(item.file), layer)
        yield analysis, analysis.predictions[0].index if target is None else target, item.box
        return
    analyses = [explainer.analyse(read_photo(part.file), layer) for part in item.parts]
    grid = grid_of(explainer, analyses)
    for each, cell in zip(analyses, cells(grid), strict=True):
        yield grid, each.predictions[0].index, cell


def _rows(explainer: Explainer, item: Item, target: int | None, conditions: Conditions) -> Iterator[Row]:
    """The rows of a photo or grid. Raises ValueError, a sentence, for one that cannot be read or has no finite scores."""
    for analysis, index, box in _questions(explainer, item, target, conditions.network.layer):
        yield from _rows_of(explainer, item, analysis, index, box, conditions)


def _rows_of(
    explainer: Explainer, item: Item, analysis: Analysis, index: int, box: Box | None, conditions: Conditions
) -> Iterator[Row]:
    """The rows of all methods, controls and ceilings for one class."""

    def row(name: str, explanation: Explanation, again: Explain | None) -> Row:
        measures = conditions.measures
        asked = measures.metrics, again, box, measures.curve_steps, conditions.maps.seed
        found = assess(explainer, analysis, explanation, *asked)
        line: Row = {
            "file": item.name,
            "method": name,
            "class_index": explanation.class_index,
            "probability": explanation.probability,
        }
        line |= {key: found.values.get(key) for key in measures.metrics}
        if any(METRICS[key].needs == "box" for key in measures.metrics):
            line["box_area"] = found.box_area
        return line | {"seconds": explanation.seconds, "forward_passes": explanation.forward_passes}

    for recipe in conditions.maps.recipes():

        def explain(analysis: Analysis, recipe: Recipe = recipe) -> Explanation:
            request = explainer.request(analysis, recipe.method, index, settings=recipe.settings)
            return explainer.answer(analysis, request)

        yield row(recipe.name, explain(analysis), explain)
    for key in CONTROLS:
        yield row(key, control(analysis, key, index, explainer.model.categories[index], conditions.maps.seed), None)
    for key in conditions.maps.ceilings:

        def climb(analysis: Analysis, key: str = key) -> Explanation:
            return ceiling(explainer, analysis, key, index)

        yield row(key, climb(analysis), climb)


def _found(store: Store, items: Sequence[Item], conditions: Conditions) -> Evaluation:
    wanted = {item.name for item in items}
    rows = store.rows(items)
    problems = {line["file"]: line["problem"] for line in store.lines() if "problem" in line and line["file"] in wanted}
    flat = [row for name in sorted(rows) for row in rows[name]]
    return Evaluation(conditions, flat, {name: problems[name] for name in sorted(problems) if name not in rows})
