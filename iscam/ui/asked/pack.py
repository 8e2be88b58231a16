"""What a visitor takes along: the results as a zip, and the command line that makes them again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from iscam.methods import DEFAULT_ENGINE, DEFAULT_SAMPLES
from iscam.models import DEFAULT_MODEL
from iscam.path import DEFAULT_STEPS, PATHS, WEIGHTINGS
from iscam.ui.done import Question

from .checks import Look

if TYPE_CHECKING:
    from iscam.explain import Explanation, Subject

TOLERANCE = 0.01  # of the page's explainers, which are made with the library's defaults
SEED = 0


def settings(question: Question) -> dict[str, object]:
    """What a page remembers of a question, to say how its maps were made."""
    return {
        "steps": question.steps,
        "path": question.path,
        "weighting": question.weighting,
        "engine": question.engine,
    } | {
        name: index for name, index in (("target", question.target), ("against", question.against)) if index is not None
    }


def command(subject: Subject, explanations: Sequence[Explanation], asked: dict[str, object]) -> str:
    """The command line that makes the maps again from the photo's file."""
    defaults = {
        "model": DEFAULT_MODEL,
        "steps": DEFAULT_STEPS,
        "path": PATHS[0],
        "weighting": WEIGHTINGS[0],
        "engine": DEFAULT_ENGINE,
    }
    options = {"model": subject.model, **{name: asked.get(name) for name in ("steps", "path", "weighting", "engine")}}
    words = ["python", "-m", "iscam", "explain", subject.photo.name]
    for name, value in options.items():
        if value is not None and value != defaults[name]:
            words += [f"--{name}", str(value)]
    words += ["--layer", subject.layer, "--target", str(explanations[0].class_index)]
    words += ["--methods", ",".join(explanation.method for explanation in explanations)]
    return shlex.join(words)


def zip_file(
    subject: Subject,
    explanations: Sequence[Explanation],
    asked: dict[str, object],
    look: Look,
    metrics: Mapping[str, Mapping[str, float]],
) -> str:
    """The path of a zip with the results, in the folder from which a page may download."""
    from iscam.show import results, zipped

    recorded = {name: asked.get(name) for name in ("steps", "path", "weighting")}
    recorded |= {"seed": SEED, "samples": DEFAULT_SAMPLES, "tolerance": TOLERANCE}
    files = results(subject, explanations, str(asked["engine"]), recorded, look.colours, look.opacity, metrics)
    stem = re.sub(r"[^\w.-]+", "_", Path(subject.photo.name).stem)[:60] or "photo"
    content = zipped(stem, files, command(subject, explanations, asked))
    return str(save_bytes_to_cache(content, f"{stem}.iscam.zip", get_upload_folder()))
