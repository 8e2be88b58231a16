"""What the tab Several asks: photos that were uploaded to it, known again by their content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from iscam.ui.done.question import Question
from iscam.ui.done.several import MOST, Explained, Upload, of_several, weight
from iscam.ui.done.study import Asked, Study, Told
from iscam.ui.seen.several import EACH, WHOSE

from . import checks


def _read(question: Question, chosen: Mapping[str, Any]) -> Asked:
    """The photos that are chosen, and whose class their maps are for. Raises ValueError, a sentence, as is said below."""
    files = chosen["photos"] or []
    if not isinstance(files, (list, tuple)) or len(files) > MOST:
        raise ValueError(f"Choose at most {MOST} photos.")
    if chosen["whose"] not in WHOSE:
        raise ValueError(f"The class of the maps is one of {', '.join(WHOSE)}.")
    uploads = {upload.sha256: upload for upload in map(checks.upload, files)}
    target = None if chosen["whose"] == EACH else question.target
    asked = replace(question, target=target, against=None)
    known_by = asked.model, asked.layer, asked.methods, target, asked.settings, asked.engine
    return Asked(asked, tuple(uploads.values()), known_by=known_by)


def shown(told: Told, digest: object) -> Upload | None:
    """The photo with this SHA-256, of those that the tab shows."""
    return next((each.upload for each in told if isinstance(each, Explained) and each.upload.sha256 == digest), None)


STUDY = Study(of_several, _read, weight)
