"""What a visitor takes along: the results as a zip, the command line that makes them again, and a link."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from iscam import show
from iscam.methods import METHODS
from iscam.models import DEFAULT_MODEL
from iscam.settings import DEFAULT_ENGINE, DEFAULT_TOLERANCE, LIKELY_RIVALS, Settings
from iscam.ui.done.faithfulness import figures
from iscam.ui.done.offer import Offer
from iscam.ui.seen import html
from iscam.ui.seen.face import Shelf
from iscam.ui.seen.shown import Shown

from . import links
from .tab import Glance

if TYPE_CHECKING:
    from iscam import Explanation


def offered(glance: Glance) -> Shelf:
    """What the tab Export offers of the maps on the page."""
    shown, subject = glance.shown, glance.shown.subject
    if subject is None or not shown.maps.found:
        return {"download": gr.update(value=None, interactive=False), "command": "", "link": ""}
    first = next(iter(_ordered(shown).values()))
    measured = figures(glance.told("faithfulness"), subject, first)
    link = links.query(glance.question, first.class_index)
    example = "example=" in link
    remark = "" if example else "The link brings back the settings, not the photo, which is not kept on the server."
    return {
        "download": gr.update(value=zip_file(shown, glance.offer, measured), interactive=True),
        "command": command(shown, glance.offer),
        "link": f"{glance.address}/?{link}",
        "remark": html.notice([(remark, False)]),
    }


def _ordered(shown: Shown) -> dict[str, Explanation]:
    return {key: shown.maps.found[key] for key in METHODS if key in shown.maps.found}


def command(shown: Shown, offer: Offer) -> str:
    """The command line that makes the maps on the page again from the photo's file."""
    subject, explanations, terms = shown.subject, _ordered(shown), shown.terms
    assert subject is not None
    asked = {name: getattr(terms.settings, name) for name in ("steps", "path", "weighting")}
    options = {**asked, "engine": terms.engine}
    defaults = asdict(Settings()) | {"engine": DEFAULT_ENGINE}
    words = ["python", "-m", "iscam", "explain", subject.photo.name]
    if subject.spec.key != DEFAULT_MODEL:
        words += offer.options(subject.spec.key)
    for name, value in options.items():
        if value != defaults[name]:
            words += [f"--{name}", str(value)]
    first = next(iter(explanations.values()))
    words += ["--layer", subject.layer, "--target", str(first.class_index)]
    words += ["--methods", ",".join(explanations)]
    if shown.maps.contrast is not None:
        against = shown.maps.contrast.explanation.against
        words += ["--contrast", LIKELY_RIVALS if against is None else str(against.index)]
    return shlex.join(words)


def zip_file(shown: Shown, offer: Offer, metrics: Mapping[str, Mapping[str, float]]) -> str:
    """The path of a zip with the results, in the folder from which a page may download."""
    subject, look, terms = shown.subject, shown.look, shown.terms
    assert subject is not None
    recorded = terms.settings.record() | {"tolerance": DEFAULT_TOLERANCE}
    maps = list(_ordered(shown).values())
    contrast = None if shown.maps.contrast is None else shown.maps.contrast.explanation
    files = show.results(subject, maps, terms.engine, recorded, look.colours, look.opacity, metrics, contrast)
    stem = re.sub(r"[^\w.-]+", "_", Path(subject.photo.name).stem)[:60] or "photo"
    content = show.zipped(stem, files, command(shown, offer))
    return str(save_bytes_to_cache(content, f"{stem}.iscam.zip", get_upload_folder()))
