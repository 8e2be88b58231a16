"""An evaluation's figures as files: rows.csv, summary.csv, ranking.csv, summary.md, figure.png and settings.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING

from iscam.show import csv_text, encoded, new_figure, picture_of, write_whole
from iscam.trust import KINDS, METRICS, protocol

from .markdown import as_markdown
from .summary import Line, Ranking, rank, summarise

if TYPE_CHECKING:
    from PIL import Image

    from .run import Evaluation

FILES = ("rows.csv", "summary.csv", "ranking.csv", "summary.md", "figure.png", "settings.json")


def write_evaluation(folder: Path, evaluation: Evaluation, machine: Mapping[str, object]) -> None:
    """Write the six files into a folder, each whole."""
    lines, rankings, conditions = summarise(evaluation), rank(evaluation), evaluation.conditions
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
    tables = summary_csv(lines), ranking_csv(rankings), as_markdown(evaluation, lines, rankings)
    contents: tuple[str | bytes, ...] = rows, *tables, encoded(as_figure(lines, measures.metrics)), whole
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
    """One row per method and metric; where there is no difference, its three cells are empty."""
    heads = ("method", "metric", "mean", "low", "high", "n", "difference", "difference_low", "difference_high")
    rows: list[tuple[object, ...]] = []
    for line in lines:
        gap = line.difference
        cells = (None, None, None) if gap is None else (gap.mean, gap.low, gap.high)
        rows.append((line.method, line.metric, line.mean, line.low, line.high, line.n, *cells))
    return csv_text(heads, rows)


def ranking_csv(rankings: Sequence[Ranking]) -> str:
    """One row per metric by which methods can be ranked."""
    return csv_text([column.name for column in fields(Ranking)], [astuple(ranking) for ranking in rankings])


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
            place, colour = -methods.index(line.method), "#8a8f98" if line.method in KINDS else "#1b6f5f"
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
