"""What a run leaves on disk: a figure, the maps as numbers, and how they were made. Files appear whole or not at all."""

from __future__ import annotations

import io
import json
import os
import platform
import uuid
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from . import __version__
from .explain import Analysis, Explainer, Explanation
from .render import comparison_figure

SCHEMA = 1
SUFFIXES = (".iscam.png", ".iscam.npz", ".iscam.json")
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "matplotlib")
MAX_NAME_BYTES = 255  # of a file's name, in nearly every file system
TITLE_LETTERS = 60  # of a photo's name over the figure


def free_stem(folder: Path, stem: str, taken: Collection[Path]) -> str:
    """The stem, or the stem with `-2`, `-3`, ..., such that none of its files in `folder` is one of `taken` (real paths)
    or a folder. A stem too long for a file's name loses its end."""
    number = 1
    while True:
        ending = "" if number == 1 else f"-{number}"
        while len(os.fsencode(stem + ending + max(SUFFIXES, key=len))) > MAX_NAME_BYTES:
            stem = stem[:-1]
        files = [folder / (stem + ending + suffix) for suffix in SUFFIXES]
        if not any(real_path(file) in taken or os.path.isdir(file) for file in files):
            return stem + ending
        number += 1


def real_path(file: Path) -> Path:
    """The file that links lead to; unlike `Path.resolve` it does not mind links that go round."""
    return Path(os.path.realpath(file))


def describe_run(
    explainer: Explainer,
    analysis: Analysis,
    explanations: Sequence[Explanation],
    settings: Mapping[str, object],
) -> dict[str, object]:
    """The JSON record of one photo: what was asked, of which weights, and what came out."""

    def named(index: int) -> dict[str, object]:
        probability = float(analysis.probabilities[index])
        return {"index": index, "category": explainer.model.categories[index], "probability": probability}

    first = explanations[0]
    record: dict[str, object] = {
        "schema": SCHEMA,
        "photo": analysis.photo.name,
        "photo_size": list(analysis.photo.size),
        "crop": list(analysis.crop),
        "model": explainer.model.key,
        "weights_sha256": explainer.model.weights_sha256,
        "layer": analysis.layer,
        "engine": explainer.engine,
        "settings": {**settings, "tolerance": explainer.tolerance},
        "target": named(first.class_index),
        "predictions": [named(prediction.index) for prediction in analysis.predictions],
        "methods": {
            e.method: {
                "seconds": round(e.seconds, 4),
                "forward_passes": e.forward_passes,
                "estimated_error": e.estimated_error,
                "complete": e.complete,
                "note": e.note,
            }
            for e in explanations
        },
        "versions": {"iscam": __version__, "python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
    }
    if first.against_index is not None:
        record["against"] = named(first.against_index)
    return record


def write_results(
    folder: Path,
    stem: str,
    explainer: Explainer,
    analysis: Analysis,
    explanations: Sequence[Explanation],
    settings: Mapping[str, object],
) -> Path:
    """Write `<stem>.iscam.png`, `.npz` ("<key>" heatmap, "<key>.raw") and `.json` into a folder; return the figure's path.

    Raises:
        OSError: they could not be written, and none of them was left behind; one sentence.
    """
    record = describe_run(explainer, analysis, explanations, settings)
    title = f"{_heading(analysis.photo.name)} · {_heading(explainer.model.label)} · {analysis.layer}"
    figure, arrays = io.BytesIO(), io.BytesIO()
    comparison_figure(analysis.photo, analysis.crop, explanations, title).save(figure, "PNG")
    maps = {e.method: e.heatmap for e in explanations} | {f"{e.method}.raw": e.raw for e in explanations}
    np.savez_compressed(arrays, allow_pickle=False, **maps)
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    # bytes of a file's name that are no UTF-8 reach us as lone surrogates: what this writes for them, JSON reads as such
    encoded = text.encode("utf-8", "backslashreplace") + b"\n"
    _write_all(folder, stem, (figure.getvalue(), arrays.getvalue(), encoded))
    return folder / (stem + SUFFIXES[0])


def _write_all(folder: Path, stem: str, contents: Sequence[bytes]) -> None:
    """All three files or none, and each of them whole."""
    files = [folder / (stem + suffix) for suffix in SUFFIXES]
    parts = [folder / f"{uuid.uuid4().hex}.part" for _ in SUFFIXES]
    replaced: list[Path] = []
    try:
        for part, content in zip(parts, contents, strict=True):
            part.write_bytes(content)
        for part, file in zip(parts, files, strict=True):
            os.replace(part, file)
            replaced.append(file)
    except OSError as error:
        raise OSError(f"{files[0].name} and its kin could not be written into {folder} ({error.strerror}).") from error
    finally:
        for leftover in parts if len(replaced) == len(files) else [*parts, *replaced]:
            leftover.unlink(missing_ok=True)


def _heading(name: str) -> str:
    """A name short enough for a title, on one line, of letters that can be drawn."""
    kept = "".join(letter if letter.isprintable() else "?" for letter in name)
    return kept if len(kept) <= TITLE_LETTERS else f"{kept[: TITLE_LETTERS - 1]}…"
