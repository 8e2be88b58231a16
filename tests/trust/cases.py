"""A real photo explained by Grad-CAM, once for all tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import iscam
from iscam import Analysis, Explainer, Explanation


@cache
def case(name: str, photo: Path) -> tuple[Explainer, Analysis, Explanation]:
    explainer = Explainer(iscam.load_model(name))
    analysis = explainer.analyse(photo)
    return explainer, analysis, explainer.explain(analysis, "grad-cam")
