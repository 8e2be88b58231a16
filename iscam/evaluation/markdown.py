"""summary.md: what an evaluation found, as tables and notes for people, in per cent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from iscam.show import markdown_table
from iscam.trust import ARROWS, KINDS, METRICS, protocol

from .summary import FEWEST, Difference, Line, Ranking, held_against, is_share

if TYPE_CHECKING:
    from .run import Evaluation

NO_WIDTH = 1e-6  # the ends of such an interval are equal in summary.csv


def as_markdown(evaluation: Evaluation, lines: Sequence[Line], rankings: Sequence[Ranking]) -> str:
    """Means, differences and rankings, as far as there are any, the controls below the methods; and how it was measured."""
    notes = [*_protocols(evaluation), *_readings(evaluation, lines, rankings), *_cautions(evaluation, lines)]
    metrics = evaluation.conditions.measures.metrics
    parts = [_means(lines, metrics), _differences(lines, metrics), _rankings(rankings, _kind(evaluation))]
    return "\n".join(part for part in (*parts, "".join(f"- {note}\n" for note in notes)) if part)


def _means(lines: Sequence[Line], metrics: Sequence[str]) -> str:
    return _table(lines, metrics, " %", lambda line: _with_bounds(line, "z.1f"))


def _differences(lines: Sequence[Line], metrics: Sequence[str]) -> str:
    def cell(line: Line) -> str:
        if line.difference is None:
            return ""
        text = _with_bounds(line.difference, "+z.1f")
        return f"**{text}**" if line.difference.is_clear else text

    differing = [line for line in lines if line.difference is not None]
    if not differing:
        return ""
    return f"## Differences to {_reference(lines)}, in per cent points\n\n" + _table(differing, metrics, "", cell)


def _rankings(rankings: Sequence[Ranking], kind: str) -> str:
    if not rankings:
        return ""
    heads = "metric", "Krippendorff's alpha", "mean of Spearman's r", kind, "methods"
    cells = [
        [METRICS[each.metric].label, f"{each.alpha:z.2f}", f"{each.spearman:z.2f}", str(each.photos), str(each.methods)]
        for each in rankings
    ]
    return f"## How far {kind} agree on the ranking of the methods\n\n" + markdown_table(heads, cells)


def _table(lines: Sequence[Line], metrics: Sequence[str], unit: str, cell: Callable[[Line], str]) -> str:
    """A row per method, a column per metric, of those that there are."""
    metrics = [key for key in metrics if any(line.metric == key for line in lines)]
    heads = ["method", *(f"{METRICS[key].label}{unit} {ARROWS[METRICS[key].better]}" for key in metrics)]
    found = {(line.method, line.metric): cell(line) for line in lines}
    rows = [
        [
            f"{method} ({KINDS[method]})" if method in KINDS else method,
            *(found.get((method, key), "") for key in metrics),
        ]
        for method in dict.fromkeys(line.method for line in lines)
    ]
    return markdown_table(heads, rows)


def _with_bounds(found: Line | Difference, form: str) -> str:
    mean, low, high = (format(100 * value, form) for value in (found.mean, found.low, found.high))
    return f"{mean} [{low}, {high}]"


def _reference(lines: Sequence[Line]) -> str:
    return held_against(list(dict.fromkeys(line.method for line in lines)))


def _protocols(evaluation: Evaluation) -> list[str]:
    """What was asked of which network, and how each metric was measured."""
    conditions, photos = evaluation.conditions, _photos(evaluation)
    network, maps, measures = conditions.network, conditions.maps, conditions.measures
    whom = "the class that the network predicts" if maps.target == "predicted" else "the labelled class"
    whom = "the class of each of their four photos" if measures.grid else whom
    notes = [
        f"{network.model}, layer {network.layer}, {photos} {_kind(evaluation)}, {whom}; IS-CAM with N = "
        f"{_several(maps.steps)}, {_several(maps.path)} path, {_several(maps.weighting)} weighting, {maps.engine} engine.",
        *(protocol(key, measures.curve_steps) + "." for key in measures.metrics),
    ]
    areas = {row["file"]: row["box_area"] for row in evaluation.rows if row.get("box_area")}
    if any(METRICS[key].needs == "box" for key in measures.metrics):
        share = f", which take up {100 * float(np.mean(list(areas.values()))):.1f} % of it in the mean" if areas else ""
        notes.append(f"The network's crop shows something of the boxes of {len(areas)} of the {photos} photos{share}.")
    return notes


def _readings(evaluation: Evaluation, lines: Sequence[Line], rankings: Sequence[Ranking]) -> list[str]:
    """How the tables are to be read."""
    kind, measures = _kind(evaluation), evaluation.conditions.measures
    shares = [METRICS[key].label for key in measures.metrics if is_share(key, measures)]
    wilson = f"; shares of photos ({_several(shares)}) with Wilson's score intervals" if shares else ""
    notes = [f"Means over the {kind}, with 95 % bootstrap intervals{wilson}."]
    if any(line.difference for line in lines):
        notes.append(
            f"Differences: a method's mean less that of {_reference(lines)}, over the {kind} on which both were measured (↑ "
            f"above 0 is better, ↓ below). Their 95 % bootstrap intervals are paired: {kind} that are hard for both do not "
            f"widen them. **Bold**: the interval excludes 0, of at least {FEWEST} {kind}. Where methods do not differ at all, "
            "about one of twenty is bold by chance."
        )
    if rankings:
        notes.append(
            f"Rankings of the methods, controls left out, equal values at one rank; alpha is that of ordinal data. 1: the same "
            f"ranking on all {kind}. Near 0: the ranking of two methods on one photo says nothing about another; look at the "
            f"differences of means over many {kind}."
        )
    return notes


def _cautions(evaluation: Evaluation, lines: Sequence[Line]) -> list[str]:
    """What the tables do not say."""
    notes = []
    found: list[Line | Difference] = [*lines, *(line.difference for line in lines if line.difference is not None)]
    if any(each.high - each.low < NO_WIDTH for each in found):
        notes.append("An interval of no width says only that all photos agreed.")
    if any(METRICS[line.metric].needs == "masked" for line in lines):
        notes.append(
            "Fake-CAM hides one pixel: a method that it beats in drop and increase has not been shown to be worse."
        )
    if evaluation.problems:
        notes.append(
            f"Left out: {len(evaluation.problems)} photos that could not be measured (named in settings.json)."
        )
    return notes


def _photos(evaluation: Evaluation) -> int:
    return len({row["file"] for row in evaluation.rows})


def _kind(evaluation: Evaluation) -> str:
    return "grids" if evaluation.conditions.measures.grid else "photos"


def _several(values: Sequence[object]) -> str:
    return " and ".join(str(value) for value in values)
