"""An evaluation's figures as files: rows.csv, summary.csv, summary.md, figure.png and settings.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from iscam.show import csv_text, encoded, markdown_table, new_figure, picture_of, write_whole
from iscam.trust import ARROWS, CONTROLS, METRICS, protocol

if TYPE_CHECKING:
    from PIL import Image

    from .run import Evaluation

FILES = ("rows.csv", "summary.csv", "summary.md", "figure.png", "settings.json")
RESAMPLES = 2000  # of the bootstrap
CHUNK = 100  # resamples at once


@dataclass(frozen=True)
class Line:
    """One line of summary.csv: a mean over n photos with its bootstrap 95 % interval, as fractions."""

    method: str
    metric: str
    mean: float
    low: float
    high: float
    n: int


def summarise(evaluation: Evaluation) -> list[Line]:
    """The mean of every metric for every method, with percentile bootstrap intervals over the photos.

    All methods are resampled together, so that the same evaluation always gives the same intervals; the four questions about a
    grid too, of which there are four in n.
    """
    rows = evaluation.rows
    methods, metrics = list(dict.fromkeys(row["method"] for row in rows)), evaluation.conditions.measures.metrics
    photos = {name: place for place, name in enumerate(dict.fromkeys(row["file"] for row in rows))}
    totals = np.zeros((len(photos), len(methods), len(metrics)))
    known = np.zeros_like(totals)
    for row in rows:
        place = photos[row["file"]], methods.index(row["method"])
        totals[place] += [row[key] or 0 for key in metrics]
        known[place] += [row[key] is not None for key in metrics]
    means = _resampled(totals, known)  # (1 + RESAMPLES, methods, metrics)
    counts = known.sum(0)
    lines = []
    for i, method in enumerate(methods):
        for j, metric in enumerate(metrics):
            if counts[i, j]:
                drawn = means[1:, i, j]
                low, high = np.quantile(drawn[np.isfinite(drawn)], (0.025, 0.975))
                lines.append(Line(method, metric, float(means[0, i, j]), float(low), float(high), int(counts[i, j])))
    return lines


def _resampled(totals: NDArray[np.float64], known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means (1 + RESAMPLES, ...) of what is `known`, so many times (n, ...), and comes to `totals` (n, ...): of the photos
    themselves, and of resampled ones."""
    count, shape = len(totals), totals.shape[1:]
    flat, times = totals.reshape(count, -1), known.reshape(count, -1)
    generator = np.random.default_rng(0)

    def weighted(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        total = weights @ times
        found: NDArray[np.float64] = np.divide(weights @ flat, total, np.full(total.shape, np.nan), where=total > 0)
        return found

    means = [weighted(np.ones((1, count)))]
    for start in range(0, RESAMPLES, CHUNK):
        chosen = generator.integers(0, count, (min(CHUNK, RESAMPLES - start), count))
        means.append(weighted(np.stack([np.bincount(row, minlength=count) for row in chosen]).astype(float)))
    return np.concatenate(means).reshape(-1, *shape)


def write_evaluation(folder: Path, evaluation: Evaluation, machine: Mapping[str, object]) -> None:
    """Write the five files into a folder, each whole."""
    lines, conditions = summarise(evaluation) if evaluation.rows else [], evaluation.conditions
    measures = conditions.measures
    record = {
        "settings": conditions.record(),
        "protocol": {key: protocol(key, measures.curve_steps) for key in measures.metrics},
        "photos": len({row["file"] for row in evaluation.rows}),
        "problems": evaluation.problems,
        **machine,
    }
    text = json.dumps(record, indent=2, ensure_ascii=False)
    # bytes of a file's name that are no UTF-8 reach us as lone surrogates
    rows, whole = (part.encode("utf-8", "backslashreplace") for part in (rows_csv(evaluation), text + "\n"))
    figure = encoded(as_figure(lines, measures.metrics))
    contents: tuple[str | bytes, ...] = rows, summary_csv(lines), as_markdown(evaluation, lines), figure, whole
    for name, content in zip(FILES, contents, strict=True):
        write_whole(folder / name, content)


def rows_csv(evaluation: Evaluation) -> str:
    """One row per photo and method; what was not measured is empty."""
    metrics = evaluation.conditions.measures.metrics
    boxes = ("box_area",) if any(METRICS[key].needs == "box" for key in metrics) else ()
    heads = ("file", "method", "class_index", "probability", *metrics, *boxes)
    heads += ("seconds", "forward_passes")
    return csv_text(heads, [[row[head] for head in heads] for row in evaluation.rows])


def summary_csv(lines: Sequence[Line]) -> str:
    return csv_text([column.name for column in fields(Line)], [astuple(line) for line in lines])


def as_markdown(evaluation: Evaluation, lines: Sequence[Line]) -> str:
    """A table for people, in per cent, with the controls below the methods, and how it was measured."""
    conditions = evaluation.conditions
    network, maps, measures = conditions.network, conditions.maps, conditions.measures
    table = {(line.method, line.metric): line for line in lines}
    metrics = [key for key in measures.metrics if any(line.metric == key for line in lines)]
    photos = len({row["file"] for row in evaluation.rows})
    heads = ["method", *(f"{METRICS[key].label} % {ARROWS[METRICS[key].better]}" for key in metrics)]
    cells = [
        [f"{method} (control)" if method in CONTROLS else method, *(_cell(table.get((method, key))) for key in metrics)]
        for method in dict.fromkeys(line.method for line in lines)
    ]
    whom = "the class that the network predicts" if maps.target == "predicted" else "the labelled class"
    whom = "the class of each of their four photos" if measures.grid else whom
    kind = "grids" if measures.grid else "photos"
    notes = [
        f"{network.model}, layer {network.layer}, {photos} {kind}, {whom}; IS-CAM with N = {_several(maps.steps)}, "
        f"{_several(maps.path)} path, {_several(maps.weighting)} weighting, {maps.engine} engine. Means over the "
        f"{kind}, with 95 % bootstrap intervals.",
        *(protocol(key, measures.curve_steps) + "." for key in measures.metrics),
    ]
    areas = {row["file"]: row["box_area"] for row in evaluation.rows if row.get("box_area")}
    if any(METRICS[key].needs == "box" for key in measures.metrics):
        share = f", which take up {100 * float(np.mean(list(areas.values()))):.1f} % of it in the mean" if areas else ""
        notes.append(f"The network's crop shows something of the boxes of {len(areas)} of the {photos} photos{share}.")
    if any(line.low == line.high for line in lines):
        notes.append("An interval of no width says only that all photos agreed.")
    if any(METRICS[key].needs == "masked" for key in metrics):
        notes.append(
            "Fake-CAM hides one pixel: a method that it beats in drop and increase has not been shown to be worse."
        )
    if evaluation.problems:
        notes.append(
            f"Left out: {len(evaluation.problems)} photos that could not be measured (named in settings.json)."
        )
    return markdown_table(heads, cells) + "\n" + "".join(f"- {note}\n" for note in notes)


def _several(values: Sequence[object]) -> str:
    return " and ".join(str(value) for value in values)


def _cell(line: Line | None) -> str:
    return "" if line is None else f"{100 * line.mean:.1f} [{100 * line.low:.1f}, {100 * line.high:.1f}]"


def as_figure(lines: Sequence[Line], metrics: Sequence[str]) -> Image.Image:
    """The means with their intervals, one plot per metric, the controls in grey."""
    metrics = [key for key in metrics if any(line.metric == key for line in lines)]
    methods = list(dict.fromkeys(line.method for line in lines))
    across = min(3, max(1, len(metrics)))
    down = -(-len(metrics) // across) or 1
    figure = new_figure((4.4 * across, down * (1.1 + 0.24 * len(methods))))
    plots = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axes in plots[len(metrics) :]:
        axes.set_visible(False)
    for axes, metric in zip(plots, metrics, strict=False):
        for line in (line for line in lines if line.metric == metric):
            place, colour = -methods.index(line.method), "#8a8f98" if line.method in CONTROLS else "#1b6f5f"
            axes.plot([100 * line.low, 100 * line.high], [place, place], color=colour, linewidth=2)
            axes.plot(100 * line.mean, place, "o", color=colour, markersize=4)
        row = METRICS[metric]
        axes.set_title(f"{row.label}, % ({row.better} is better)", fontsize=9)
        axes.set_yticks([-i for i in range(len(methods))], methods, fontsize=8)
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return picture_of(figure)
