"""Writes docs/notebook.ipynb: the library in a notebook, with what its cells gave.

    python -m docs.notebook

The cells are run here, one after the other, by Python alone: no Jupyter is needed.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("notebook.ipynb")
CELLS = (
    (
        "markdown",
        """# IS-CAM in a notebook

After `pip install .` in the project's folder. Maps show themselves: no plotting code is needed. `photo11` is the small
classifier of eleven classes that comes with the project; `iscam.load_model("resnet50")` or `iscam.adopt(network)` is asked
in the same way.""",
    ),
    (
        "code",
        """import iscam
from iscam.project import EXAMPLES

explainer = iscam.Explainer(iscam.load_model("photo11"))
photo = EXAMPLES / "chelsea.jpg\"""",
    ),
    ("markdown", "Several methods in one line:"),
    (
        "code",
        """comparison = explainer.compare(photo, ["is-cam", "grad-cam"])
comparison""",
    ),
    ("markdown", "Each of them is an `Explanation`: a picture, and numbers."),
    ("code", 'comparison.explanations["is-cam"]'),
    (
        "code",
        """cat = comparison.explanations["is-cam"]
print(cat.category, f"{cat.probability:.3f}", cat.heatmap.shape, cat.forward_passes, "passes")
print(cat.note)""",
    ),
    (
        "markdown",
        "`analyse` pays once, `explain` asks often. What speaks for the cat rather than for the three likeliest others:",
    ),
    (
        "code",
        """analysis = explainer.analyse(photo)
explainer.explain(analysis, "grad-cam", target="cat", rivals="nearest:3")""",
    ),
    (
        "markdown",
        "How far is a map to be trusted? Beside a control that knows nothing of the network (lower is better in both):",
    ),
    (
        "code",
        """from iscam.trust import assess, control

chance = control(analysis, "random", cat.class_index, cat.category)
for explanation in (cat, chance):
    values = assess(explainer, analysis, explanation, ("average-drop", "deletion")).values
    print(f"{explanation.method:8}", {metric: round(value, 3) for metric, value in values.items()})""",
    ),
)


def run(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a cell among the names of those before it; what it printed, and what its last line is, as a notebook keeps them."""
    *body, last = ast.parse(source).body
    value, printed = None, io.StringIO()
    with contextlib.redirect_stdout(printed):
        if not isinstance(last, ast.Expr):
            body.append(last)
        exec(compile(ast.Module(body, []), "a cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "a cell", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append(
            {"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(keepends=True)}
        )
    picture = getattr(value, "_repr_png_", lambda: None)()
    if picture is not None:
        shown = {"image/png": base64.b64encode(picture).decode(), "text/plain": [f"<{type(value).__name__}>"]}
        outputs.append({"output_type": "display_data", "data": shown, "metadata": {}})
    return outputs


def notebook() -> dict[str, Any]:
    """All cells, run in their order, as a notebook (nbformat 4.5)."""
    names: dict[str, Any] = {"__name__": "__main__"}
    cells: list[dict[str, Any]] = []
    for number, (kind, source) in enumerate(CELLS):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
        cell["source"] = source.splitlines(keepends=True)
        if kind == "code":
            cell |= {"execution_count": number + 1, "outputs": run(source, names)}
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    language = {"name": "python", "version": ".".join(map(str, sys.version_info[:3]))}
    return {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": language},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(notebook(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
