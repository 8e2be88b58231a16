"""The map that stands beside those of a class as such: what speaks for the class rather than for others. No torch here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from iscam.methods import METHODS
from iscam.results import Analysis, Explanation, Progress
from iscam.settings import DEFAULT_SETTINGS, Settings, named_rival

if TYPE_CHECKING:
    from iscam.explain import Explainer

TOLERANCE = 0.03  # it shows a small difference of large profiles: to know it better takes about all passes


def contrast(
    explainer: Explainer,
    analysis: Analysis,
    method: str,
    target: int | str,
    rivals: int | str,
    settings: Settings = DEFAULT_SETTINGS,
    progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> Explanation:
    """Of a class that is named, the signed contrast of both; of rivals that are not, such as `nearest:20`, what speaks for the
    target rather than for them, within TOLERANCE.

    Raises:
        ValueError: as `Explainer.explain`.

    >>> import iscam
    >>> from iscam.contrast import contrast
    >>> explainer = iscam.Explainer(iscam.load_model("photo11"))
    >>> analysis = explainer.analyse("assets/examples/chelsea.jpg")
    >>> contrast(explainer, analysis, "grad-cam", "cat", "nearest:20").specificity > 0.5
    True
    """
    if isinstance(rivals, int) or named_rival(rivals) is not None:
        request = explainer.request(analysis, method, target, rivals, settings)
        return explainer.answer(analysis, request, progress, stop)
    held = explainer.using(explainer.engine, max(explainer.tolerance, TOLERANCE))
    request = held.request(analysis, method, target, None, replace(settings, rivals=rivals))
    return held.answer(analysis, request, progress, stop)


def contrasting(methods: Sequence[str], refusal: Callable[[str], str | None]) -> str | None:
    """The first of the methods that can be asked so: whose map depends on the class, and that is not refused; else None."""
    able = (key for key in methods if METHODS[key].class_specific and refusal(key) is None)
    return next(able, None)
