"""A benchmark's figures as files: benchmark.csv, benchmark.md and benchmark.png."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from iscam.methods import METHODS
from iscam.settings import ENGINES
from iscam.show import csv_text, encoded, markdown_table, new_figure, picture_of

from .figures import TORCHCAM, WITHOUT_BF16, PassTime, Report, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL import Image

COLUMNS = (
    *("model", "method", "engine", "steps", "photo", "seconds", "forward_passes", "correlation", "max_difference"),
    "peak_mb",
)
# of the engines, in the order in which they are told
COLOURS = {TORCHCAM: "#b0b4ba", "exact": "#6b7fb3", "fast": "#1b6f5f", WITHOUT_BF16: "#3b9a8c"}


def write_report(folder: Path, report: Report) -> None:
    """Write the three files into a folder."""
    (folder / "benchmark.csv").write_text(as_csv(report.runs), encoding="utf-8")
    (folder / "benchmark.md").write_text(as_markdown(report), encoding="utf-8")
    (folder / "benchmark.png").write_bytes(encoded(as_figure(report)))


def as_csv(runs: Sequence[Run]) -> str:
    """One row per map. What was not measured is empty: the error of an exact map, or of one without an exact twin."""
    told = [vars(run.map) | vars(run) for run in runs if run.map.engine in (*ENGINES, TORCHCAM)]
    return csv_text(COLUMNS, [[row[column] for column in COLUMNS] for row in told])


def as_markdown(report: Report) -> str:
    """Tables for people: medians over the photos, the worst of the errors."""
    sections = [f"Measured on {report.machine}.\n"]
    if report.runs:
        sections.append(markdown_table(RUN_HEADS, _run_rows(report.runs)))
        sections.append(RUN_NOTES)
    if report.growth:
        sections.append("Growth of the fast IS-CAM with the steps, and with the channels of the layer (10 steps):\n")
        grown = [(g.model, g.what, f"{g.value}", f"{g.seconds:.2f}", f"{g.forward_passes:,}") for g in report.growth]
        sections.append(markdown_table(("model", "what", "value", "seconds", "passes"), grown))
    sections.append("Milliseconds per image of one pass, by input size:\n")
    sections.append(markdown_table(PASS_HEADS, [_pass_row(row) for row in report.passes]))
    return "\n".join(sections)


RUN_HEADS = (
    *("model", "map", "engine", "seconds", "against torch-cam", "passes", "outside the network", "correlation"),
    *("largest difference", "its estimate", "peak MB"),
)
PASS_HEADS = ("model", "weights", "input", "as it is built", "precise", "rough", "made of")
RUN_NOTES = """Seconds and passes are medians over the photos. Correlation with and difference from the exact map (0 to 1)
are the worst of them, and the peak is the largest. `against torch-cam` is the median ratio on photos that both explained.
"""


def _run_rows(runs: Sequence[Run]) -> Sequence[Sequence[str]]:
    groups, rows = _grouped(runs), []
    for (model, name, engine), group in groups.items():
        peer = {run.map.photo: run.seconds for run in groups.get((model, name, TORCHCAM), [])}
        ratios = [peer[run.map.photo] / run.seconds for run in group if run.map.photo in peer]
        outside = [1000 * run.outside / run.forward_passes for run in group if run.outside is not None]
        rows.append(
            (
                model,
                name,
                engine,
                f"{median(run.seconds for run in group):.2f}",
                f"{median(ratios):.1f}x" if ratios and engine != TORCHCAM else "",
                f"{median(run.forward_passes for run in group):,.0f}",
                f"{median(outside):.2f} ms a pass" if outside else "",
                _extreme(min, [run.correlation for run in group], 5),
                _extreme(max, [run.max_difference for run in group], 4),
                _extreme(max, [run.estimated_error for run in group if run.map.engine != "exact"], 4),
                f"{max(run.peak_mb for run in group):.0f}",
            )
        )
    return rows


def _grouped(runs: Sequence[Run]) -> dict[tuple[str, str, str], list[Run]]:
    """The runs of all photos by model, map and engine, in that order."""
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        made, row = run.map, METHODS[run.map.method]
        name = row.label + (f", {made.steps} steps" if "steps" in row.heeds else "")
        groups.setdefault((made.model, name, made.engine), []).append(run)
    order = list(COLOURS)
    return dict(sorted(groups.items(), key=lambda item: (*item[0][:2], order.index(item[0][2]))))


def _extreme(choose: Callable[[list[float]], float], values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{choose(known):.{digits}f}" if known else ""


def _pass_row(row: PassTime) -> tuple[str, ...]:
    rough = "" if row.rough is None else f"{row.rough:.2f}"
    weights = "trained" if row.trained else "random (passes alone)"
    return row.model, weights, f"{row.side}", f"{row.plain:.2f}", f"{row.precise:.2f}", rough, row.backend


def as_figure(report: Report) -> Image.Image:
    """Seconds per map, growth with the steps, and milliseconds per pass."""
    figure = new_figure((13, 3.6 + 0.3 * len(report.passes)))
    maps, growth, passes = figure.subplots(1, 3)
    seconds: dict[str, dict[str, float]] = {}
    for (model, name, engine), group in _grouped(report.runs).items():
        seconds.setdefault(f"{model} {name}", {})[engine] = median(run.seconds for run in group)
    _draw_bars(maps, "Seconds per map", seconds)
    for model in dict.fromkeys(row.model for row in report.growth):
        rows = [row for row in report.growth if row.model == model and row.what == "steps"]
        growth.plot([row.value for row in rows], [row.seconds for row in rows], marker="o", label=model)
    growth.set_title("Seconds of the fast IS-CAM by steps", fontsize=10)
    growth.set_ylim(bottom=0)
    growth.set_xlabel("integration steps")
    if report.growth:
        growth.legend(fontsize=8)
    milliseconds = {
        row.model: {"as built": row.plain, "precise": row.precise} | ({"rough": row.rough} if row.rough else {})
        for row in report.passes
        if row.native
    }
    _draw_bars(passes, "Milliseconds per image of a pass", milliseconds)
    figure.tight_layout()
    return picture_of(figure)


def _draw_bars(axes: Axes, title: str, groups: dict[str, dict[str, float]]) -> None:
    """Horizontal bars on a logarithmic scale, each with its number."""
    colours = dict(
        zip(("as built", "precise", "rough"), (COLOURS[TORCHCAM], COLOURS["exact"], COLOURS["fast"]), strict=True)
    )
    place, names = 0.0, []
    for name, values in groups.items():
        for label, value in values.items():
            axes.barh(place, value, color=(COLOURS | colours)[label], height=0.9)
            axes.annotate(f" {label} {value:.3g}", (value, place), va="center", fontsize=7)
            place -= 1
        names.append((place + (len(values) + 1) / 2, name))
        place -= 0.6
    axes.set_yticks([middle for middle, _ in names], [name for _, name in names], fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.4)
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
