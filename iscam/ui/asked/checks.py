"""What a client sends -> a checked question. Every failure is a ValueError with one sentence for people."""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from iscam.engine import HEADS
from iscam.images import digest_of, read_photo
from iscam.methods import DEFAULT_METHODS, METHODS
from iscam.models import DEFAULT_MODEL
from iscam.path import DEFAULT_STEPS, MAX_STEPS, PATHS
from iscam.project import EXAMPLES
from iscam.settings import DEFAULT_ENGINE, ENGINES, WEIGHTINGS, Settings
from iscam.show import COLOUR_MAPS, VIEWS
from iscam.ui.done.offer import Offer, Own
from iscam.ui.done.question import Question
from iscam.ui.done.several import Upload
from iscam.ui.seen.canvas import Look

MAX_WEIGHTS_BYTES = 10**9
MAX_LABELS = 1_000_000  # letters


def session(request: gr.Request) -> str:
    return request.session_hash or "nobody"


def question(
    offer: Offer,
    photo: Any,
    model: Any = DEFAULT_MODEL,
    layer: Any = None,
    target: Any = None,
    against: Any = None,
    steps: Any = DEFAULT_STEPS,
    methods: Any = DEFAULT_METHODS,
    path: Any = PATHS[0],
    weighting: Any = WEIGHTINGS[0],
    engine: Any = DEFAULT_ENGINE,
    contrast: tuple[Any, Any, Any] = (None, 1.0, False),
) -> Question:
    """The question in a request, of a model that is on offer. A photo is read only from where uploads and examples lie.

    `contrast` are the rivals, strength and sign of all maps, as in `Settings`.

    Raises:
        ValueError: anything unknown or out of range, or a photo that cannot be read.
    """
    row = offer.row(model)
    if layer is not None and (not isinstance(layer, str) or (row.layers and layer not in row.layers)):
        raise ValueError(f"There is no such layer in {row.label}: choose one of {', '.join(row.layers)}.")
    for name in (target, against):
        if name is not None and (isinstance(name, bool) or not isinstance(name, (int, str))):
            raise ValueError("A class is chosen by its name or its index.")
    if against is not None and target == against:
        raise ValueError("The target class and the one against it are the same: choose two different classes.")
    known = isinstance(methods, (list, tuple)) and all(isinstance(key, str) and key in METHODS for key in methods)
    if not known or not methods:
        raise ValueError(f"Choose at least one method of {', '.join(METHODS)}.")
    if engine not in ENGINES:
        raise ValueError(f"The engine is one of {', '.join(ENGINES)}.")
    if path not in PATHS or weighting not in WEIGHTINGS:
        raise ValueError(f"The path is one of {', '.join(PATHS)}, the weighting one of {', '.join(WEIGHTINGS)}.")
    read = read_photo(_file(photo), allowed=_may_be_read())
    chosen = tuple(key for key in METHODS if key in methods)
    if contrast[0] is not None and (general := [key for key in chosen if not METHODS[key].class_specific]):
        raise ValueError(f"{METHODS[general[0]].label} gives the same map for every class: leave it out with rivals.")
    settings = Settings(whole(steps), path, weighting, **_contrast(*contrast))
    return Question(read, row, layer, target, against, chosen, settings, engine, offer.own(row.key))


def _file(photo: Any) -> str:
    file = photo.get("path") if isinstance(photo, dict) else None
    if not isinstance(file, str) or not file:
        raise ValueError("There is no photo: upload one, paste one, or take an example.")
    return file


def _may_be_read() -> list[Path]:
    return [Path(get_upload_folder()), EXAMPLES]


def digest(photo: Any) -> str | None:
    """The SHA-256 of a photo in a request, which is not decoded; None of one that cannot be read."""
    try:
        return upload(photo).sha256
    except ValueError:
        return None


def upload(photo: Any) -> Upload:
    """A photo in a request, which is not decoded. Raises ValueError, a sentence, if it lies where nothing may be read."""
    path = _file(photo)
    return Upload(path, Path(path).name, digest_of(path, allowed=_may_be_read()))


def own(weights: Any, arch: Any, labels: Any, head: Any) -> Own:
    """Weights that a visitor has brought, as they are loaded.

    Raises:
        ValueError: no such weights were uploaded, or what is said of them is nothing; one sentence.
        OSError: the names of the classes cannot be kept.
    """
    said = weights.get("path") if isinstance(weights, dict) else None
    file = Path(os.path.realpath(said)) if isinstance(said, str) and "\0" not in said else None
    inside = file is not None and file.is_relative_to(os.path.realpath(get_upload_folder()))
    if file is None or not inside or file.suffix != ".safetensors" or not file.is_file():
        raise ValueError("There are no weights: upload a .safetensors file.")
    if file.stat().st_size > MAX_WEIGHTS_BYTES:
        raise ValueError(f"The weights have more than {MAX_WEIGHTS_BYTES // 10**6} MB.")
    if not isinstance(arch, str) or not re.fullmatch(r"\w{1,60}", arch.strip(), re.ASCII):
        raise ValueError(
            "Name the architecture: photo11, efficientnet_lite0, or as torchvision calls it, such as resnet50."
        )
    if not isinstance(labels, str) or len(labels) > MAX_LABELS or head not in HEADS:
        raise ValueError(
            f"The classes are named one a line, in at most {MAX_LABELS:,} letters; the head is one of {', '.join(HEADS)}."
        )
    arguments: dict[str, Any] = {"arch": arch.strip(), "checkpoint": file, "head": head}
    options = ["--arch", arch.strip(), "--checkpoint", file.name, *(["--head", head] if head != "softmax" else [])]
    if labels.strip():
        arguments["labels"] = file.with_name(f"{uuid.uuid4().hex}.txt")
        arguments["labels"].write_text(labels, encoding="utf-8")
        options += ["--labels", "labels.txt"]
    return Own(arguments, f"{arch.strip()} ({file.name})", options)


def _contrast(rivals: Any, strength: Any, signed: Any) -> dict[str, Any]:
    """What classes are held against, by the names in `Settings`, which checks the values but not their kinds."""
    if rivals is not None and not isinstance(rivals, str):
        raise ValueError("Rivals are a class by its name, nearest:3 for the three most probable others, or all.")
    if isinstance(strength, bool) or not isinstance(strength, (int, float)) or not isinstance(signed, bool):
        raise ValueError("The strength of the rivals is a number from 0 to 1, and signed is true or false.")
    return {"rivals": rivals, "strength": float(strength), "signed": signed}


def whole(steps: Any) -> int:
    """The number of integration steps; sliders send it as a float now and then."""
    if isinstance(steps, bool) or not isinstance(steps, (int, float)):
        steps = 0
    if not 1 <= steps <= MAX_STEPS or steps != int(steps):
        raise ValueError(f"The number of integration steps is a whole number from 1 to {MAX_STEPS}.")
    return int(steps)


def look(opacity: Any, colours: Any, view: Any) -> Look:
    """How the maps are to be drawn."""
    if isinstance(opacity, bool) or not isinstance(opacity, (int, float)) or not 0 <= opacity <= 1:
        raise ValueError("The opacity lies between 0 and 1.")
    if colours not in COLOUR_MAPS or view not in VIEWS:
        raise ValueError(f"Colour maps are {', '.join(COLOUR_MAPS)}; views are {', '.join(VIEWS)}.")
    return Look(opacity, colours, view)
