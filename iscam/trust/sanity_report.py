"""What checks of sanity found: a photo's rows and figure, and averages over photos."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from iscam.methods import METHODS
from iscam.show import csv_text, new_figure, picture_of

from .intervals import percentiles, resampled
from .sanity import CASCADE, HEAD, Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL import Image

COLUMNS = ("photo", "method", "check", "change", "pearson", "spearman", "probability")
AVERAGED = ("method", "check", "change", "pearson", "low", "high", "lowest", "highest", "spearman", "maps", "blank")
SPREAD = 0.5  # of the points of a method's draws, as a share of the way to the next method

Found = Mapping[
    str, Sequence[Comparison]
]  # of a photo, by the method's name, which its settings may follow: "cam rivals=all"


@dataclass(frozen=True)
class Average:
    """Mean correlations -1..1 over photos after a change, of which all draws of the head are one; None if all are blank.

    A photo counts once: by the mean of its own maps. `interval` is the bootstrap 95 % interval over the photos of
    Pearson's mean, None of fewer than two; `spread` his lowest and highest r of a single map. Of the `maps` compared, so many
    are `blank`, or the original is: they correlate with none, and are left out of the rest.
    """

    method: str
    check: str
    change: str
    pearson: float | None
    spearman: float | None
    interval: tuple[float, float] | None
    spread: tuple[float, float] | None
    maps: int
    blank: int


def averages(photos: Sequence[Found]) -> list[Average]:
    """The mean of every method, check and change, in the order of the first photo's.

    >>> from iscam.trust import averages
    >>> from iscam.trust.sanity import Comparison
    >>> one, two = (Comparison("head", f"draw {n}", n / 4, n / 8, 0.5) for n in (1, 2))
    >>> averages([{"cam": [one, two]}])[0].pearson
    0.375
    """
    groups: dict[tuple[str, str, str], dict[int, list[Comparison]]] = {}  # the rows of each photo, by its number
    for number, photo in enumerate(photos):
        for method, rows in photo.items():
            for row in rows:
                change = "all draws" if row.check == HEAD else row.change
                groups.setdefault((method, row.check, change), {}).setdefault(number, []).append(row)
    return [_average(*key, list(of_photos.values())) for key, of_photos in groups.items()]


def _average(method: str, check: str, change: str, photos: Sequence[Sequence[Comparison]]) -> Average:
    """Of the rows of each photo."""
    linear = [[row.pearson for row in rows if row.pearson is not None] for rows in photos]
    ranked = [[row.spearman for row in rows if row.spearman is not None] for rows in photos]
    means = [float(np.mean(values)) for values in linear if values]
    of_ranks = [float(np.mean(values)) for values in ranked if values]
    single = [value for values in linear for value in values]
    maps = sum(map(len, photos))
    return Average(
        method=method,
        check=check,
        change=change,
        pearson=float(np.mean(means)) if means else None,
        spearman=float(np.mean(of_ranks)) if of_ranks else None,
        interval=percentiles(resampled(np.array(means)[:, None])[1:]) if len(means) > 1 else None,
        spread=(min(single), max(single)) if single else None,
        maps=maps,
        blank=maps - len(single),
    )


def as_csv(photo: str, found: Found) -> str:
    """A row per method and comparison of the photo of that name."""
    lines = [
        (photo, method, row.check, row.change, row.pearson, row.spearman, row.probability)
        for method, rows in found.items()
        for row in rows
    ]
    return csv_text(COLUMNS, lines)


def averages_csv(rows: Sequence[Average]) -> str:
    """A row per average; what is not known is empty."""
    unknown = None, None
    lines = [
        (
            *(row.method, row.check, row.change, row.pearson),
            *(row.interval or unknown),
            *(row.spread or unknown),
            *(row.spearman, row.maps, row.blank),
        )
        for row in rows
    ]
    return csv_text(AVERAGED, lines)


def as_figure(title: str, found: Found) -> Image.Image:
    """The correlations along the cascade, under random heads, and under small changes; gaps where a map is blank."""
    figure = new_figure((14, 4.2))
    cascade, heads, small = figure.subplots(1, 3)
    for method, rows in found.items():
        weights = [row for row in rows if row.check == CASCADE]
        changes = [row for row in rows if row.check not in (CASCADE, HEAD)]
        cascade.plot([row.change for row in weights], _drawn(weights), "o-", label=_label(method))
        small.plot([f"{row.check}, {row.change}" for row in changes], _drawn(changes), "o")
    _draw_heads(heads, found)
    headings = "weights drawn anew, from the head down", "the head alone drawn anew, several times", "small changes"
    for axes, heading in zip((cascade, heads, small), headings, strict=True):
        axes.set_title(heading, fontsize=10)
        axes.set_ylim(-1.05, 1.05)
        axes.axhline(0, color="#b0b4ba", linewidth=0.8)
        axes.tick_params(axis="x", labelrotation=60, labelsize=7)
        axes.set_ylabel("correlation with the map", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    cascade.legend(fontsize=8)
    figure.suptitle(title, fontsize=11, parse_math=False)  # a dollar sign in a file's name starts no formula
    figure.tight_layout()
    return picture_of(figure)


def _draw_heads(axes: Axes, found: Found) -> None:
    """A point for each draw of the head, from left to right, and a line at their mean."""
    for place, rows in enumerate(found.values()):
        values = np.array(_drawn([row for row in rows if row.check == HEAD]))
        across = place + SPREAD * np.linspace(-0.5, 0.5, len(values))
        axes.plot(across, values, "o", color=f"C{place}", markersize=4, alpha=0.7)
        if known := values[np.isfinite(values)].tolist():
            axes.plot([across[0], across[-1]], [np.mean(known)] * 2, color=f"C{place}", linewidth=2)
    axes.set_xticks(range(len(found)), [_label(method) for method in found])
    axes.set_xlim(-0.5, len(found) - 0.5)


def _drawn(rows: Sequence[Comparison]) -> list[float]:
    return [math.nan if row.pearson is None else row.pearson for row in rows]


def _label(method: str) -> str:
    """The label of a method's name in tables; a dollar sign in that of a rival starts no formula."""
    key, *settings = method.split(" ")
    return " ".join([METHODS[key].label, *settings]).replace("$", r"\$")
