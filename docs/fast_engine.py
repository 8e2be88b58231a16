"""Draws docs/fast-engine.png: how many passes the fast engine runs, and how far its maps are off and are said to be.

    python -m docs.fast_engine

The bundled classifier and its last layer, on the example photos, each map held against the exact one. On the left IS-CAM
at several tolerances; on the right those maps, and at the usual tolerance IS-CAM on both paths with both weightings,
Score-CAM and SS-CAM.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from iscam import Explainer, load_model
from iscam.path import PATHS
from iscam.project import EXAMPLES
from iscam.settings import DEFAULT_SETTINGS, DEFAULT_TOLERANCE, WEIGHTINGS, Settings

PICTURE = Path(__file__).with_name("fast-engine.png")
TOLERANCES = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
OTHERS = [("is-cam", Settings(path=path, weighting=weighting)) for path, weighting in product(PATHS, WEIGHTINGS)]
OTHERS += [("score-cam", DEFAULT_SETTINGS), ("ss-cam", DEFAULT_SETTINGS)]


class Drawn(NamedTuple):
    """One map: what was asked, the passes it took, how far it is off, and how far the engine says it may be."""

    photo: str
    method: str
    tolerance: float
    passes: int
    off: float
    said: float


def maps(photo: Path) -> tuple[list[Drawn], int]:
    """All maps of a photo, those of IS-CAM's tolerances first, and how many passes its exact map takes."""
    model, drawn, whole = load_model("photo11"), [], 0
    precise = Explainer(model, "exact")
    analysis = precise.analyse(photo)
    asked = [(tolerance, *OTHERS[0]) for tolerance in TOLERANCES] + [(DEFAULT_TOLERANCE, *kind) for kind in OTHERS[1:]]
    for tolerance, method, settings in asked:
        exact = precise.answer(analysis, precise.request(analysis, method, settings=settings))
        whole = max(whole, exact.forward_passes)
        fast = Explainer(model, "fast", tolerance)
        seen = fast.analyse(photo)
        found = fast.answer(seen, fast.request(seen, method, settings=settings))
        off = float(np.abs(found.heatmap - exact.heatmap).max())
        drawn.append(Drawn(photo.stem, method, tolerance, found.forward_passes, off, found.estimated_error or 0))
    return drawn, whole


def draw(drawn: list[Drawn], whole: int) -> Figure:
    """Both drawings; `whole` passes make an exact map of IS-CAM."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for photo in dict.fromkeys(row.photo for row in drawn):
        asked = [row for row in drawn if row.photo == photo][: len(TOLERANCES)]
        left.plot([row.tolerance for row in asked], [row.passes for row in asked], ".-", label=photo)
    left.axhline(whole, color="gray", linestyle=":", label="exact")
    left.set(xscale="log", yscale="log", xlabel="tolerance (IS-CAM, 10 steps)", ylabel="passes run")
    left.invert_xaxis()
    left.set_title("passes for a map that is so far off at most", fontsize=10)
    for method in dict.fromkeys(row.method for row in drawn):
        shown = [row for row in drawn if row.method == method]
        right.plot([row.off for row in shown], [row.said for row in shown], "o", alpha=0.7, label=method)
    ends = [min(row.off for row in drawn) / 2, max(TOLERANCES)]
    right.plot(ends, ends, ":", color="gray", label="off by as much as it says")
    right.set(xscale="log", yscale="log", xlabel="is off by", ylabel="is said to be off by at most")
    right.set_title(f"largest difference from the exact map, {len(drawn)} maps", fontsize=10)
    for axes in (left, right):
        axes.legend(fontsize=9)
    return figure


if __name__ == "__main__":
    found = [maps(photo) for photo in sorted(EXAMPLES.glob("*.jpg"))]
    drawn = [row for rows, _ in found for row in rows]
    for row in drawn:
        print(*row)
    draw(drawn, max(whole for _, whole in found)).savefig(PICTURE, dpi=100)
