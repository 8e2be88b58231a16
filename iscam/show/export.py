"""What a run leaves on disk: a figure, the maps as numbers, and how they were made. Files appear whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import uuid
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from iscam.images import one_line
from iscam.project import __version__
from iscam.results import Explanation, Subject

from .comparison import comparison_figure
from .render import COLOUR_MAPS, OPACITY

SCHEMA = 1
SUFFIXES = (".iscam.png", ".iscam.npz", ".iscam.json")
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "matplotlib")
MAX_NAME_BYTES = 255  # of a file's name, in nearly every file system
NAMED = 5  # rivals in a record, the most probable first
TITLE_LETTERS = 60  # of a photo's name over the figure


def free_stem(folder: Path, stem: str, taken: Collection[Path], suffixes: Sequence[str] = SUFFIXES) -> str:
    """The stem, or the stem with `-2`, `-3`, ..., such that none of its files in `folder` is one of `taken` (real paths)
    or a folder. A stem too long for a file's name loses its end."""
    number = 1
    while True:
        ending = "" if number == 1 else f"-{number}"
        while len(os.fsencode(stem + ending + max(suffixes, key=len))) > MAX_NAME_BYTES:
            stem = stem[:-1]
        files = [folder / (stem + ending + suffix) for suffix in suffixes]
        if not any(real_path(file) in taken or os.path.isdir(file) for file in files):
            return stem + ending
        number += 1


def real_path(file: Path) -> Path:
    """The file that links lead to; unlike `Path.resolve` it does not mind links that go round."""
    return Path(os.path.realpath(file))


def describe_run(
    subject: Subject,
    explanations: Sequence[Explanation],
    engine: str,
    settings: Mapping[str, object],
    metrics: Mapping[str, Mapping[str, float]],
    contrast: Explanation | None = None,
) -> dict[str, object]:
    """The JSON record of one photo: what was asked, of which weights, and what came out; `metrics` by method, if measured;
    a `contrast` that stands beside the maps."""

    first = explanations[0]
    record: dict[str, object] = {
        "schema": SCHEMA,
        "photo": subject.photo.name,
        "photo_size": list(subject.photo.size),
        "crop": list(subject.crop),
        "preparation": subject.preparation.record(),
        "model": subject.spec.key,
        "head": subject.spec.head,
        "weights_sha256": subject.weights_sha256,
        "layer": subject.layer,
        "engine": engine,
        "settings": dict(settings),
        "target": asdict(first.target),
        "predictions": [asdict(prediction) for prediction in subject.predictions],
        "methods": {e.method: _spent(e) | _held_against(e) for e in explanations},
        "versions": versions(),
    }
    if subject.spec.head == "sigmoid":
        record["found"] = [asdict(prediction) for prediction in subject.found]
    if first.against is not None:
        record["against"] = asdict(first.against)
    elif first.rivals:
        record["rivals"] = [asdict(rival) for rival in first.rivals[:NAMED]]
    if contrast is not None:
        rivals = [asdict(rival) for rival in contrast.rivals[:NAMED]]
        asked = {"method": contrast.method, "signed": contrast.signed, "rivals": rivals}
        record["contrast"] = asked | _spent(contrast) | _held_against(contrast)
    if metrics:
        record["metrics"] = {method: dict(values) for method, values in metrics.items()}
    return record


def _spent(explanation: Explanation) -> dict[str, object]:
    """How the making of a map went."""
    return {
        "seconds": round(explanation.seconds, 4),
        "forward_passes": explanation.forward_passes,
        "estimated_error": explanation.estimated_error,
        "complete": explanation.complete,
        "note": explanation.note,
    }


def _held_against(explanation: Explanation) -> dict[str, object]:
    """How far a finished map depends on the class; nothing of one that was stopped or is signed."""
    yardstick = explanation.yardstick
    if yardstick is None:
        return {}
    rival = None if yardstick.rival is None else asdict(yardstick.rival)
    return {"specificity": explanation.specificity, "likeness": explanation.likeness, "rival": rival}


def csv_text(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV, its numbers to six digits behind the point; None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(heads)
    for row in rows:
        writer.writerow([round(value, 6) if isinstance(value, float) else value for value in row])
    return buffer.getvalue()


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def versions() -> dict[str, str]:
    """Of this program and of what its results depend on."""
    return {"iscam": __version__, "python": platform.python_version(), **{p: version(p) for p in PACKAGES}}


@contextmanager
def whole(file: Path) -> Iterator[BinaryIO]:
    """A file to be written such that there is never half of it."""
    part = file.with_name(f"{uuid.uuid4().hex}.part")
    try:
        with part.open("wb") as stream:
            yield stream
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


def write_whole(file: Path, content: str | bytes) -> None:
    """Write a file such that there is never half of it."""
    with whole(file) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def results(
    subject: Subject,
    explanations: Sequence[Explanation],
    engine: str,
    settings: Mapping[str, object],
    colours: str = COLOUR_MAPS[0],
    opacity: float = OPACITY,
    metrics: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
    contrast: Explanation | None = None,
) -> dict[str, bytes]:
    """The files of one photo, by suffix: the figure, the maps (see `_maps`) and the record. A `contrast` stands beside the
    maps, and is called so in the files."""
    title = f"{_heading(subject.photo.name)} · {_heading(subject.spec.label)} · {subject.layer}"
    figure, arrays = io.BytesIO(), io.BytesIO()
    beside = [] if contrast is None else [contrast]
    comparison_figure(subject.photo, subject.crop, [*explanations, *beside], title, colours, opacity).save(
        figure, "PNG"
    )
    named = {e.method: e for e in explanations}
    maps = _maps(named if contrast is None else named | {"contrast": contrast})
    np.savez_compressed(arrays, allow_pickle=False, **maps)
    record = describe_run(subject, explanations, engine, settings, metrics, contrast)
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    # bytes of a file's name that are no UTF-8 reach us as lone surrogates: what this writes for them, JSON reads as such
    lines = text.encode("utf-8", "backslashreplace") + b"\n"
    return dict(zip(SUFFIXES, (figure.getvalue(), arrays.getvalue(), lines), strict=True))


def _maps(explanations: Mapping[str, Explanation]) -> dict[str, NDArray[np.float32]]:
    """By "<key>" the heat map, by "<key>.raw" the raw one, by "<key>.rival" that for the rival, and the layer's "mean"."""
    maps = {key: e.heatmap for key, e in explanations.items()} | {
        f"{key}.raw": e.raw for key, e in explanations.items()
    }
    for key, e in explanations.items():
        if e.yardstick is not None:
            maps["mean"] = e.yardstick.mean
            if e.yardstick.heatmap is not None:
                maps[f"{key}.rival"] = e.yardstick.heatmap
    return maps


def write_results(folder: Path, stem: str, files: Mapping[str, bytes]) -> Path:
    """Write `results` into a folder under a stem; return the figure's path.

    Raises:
        OSError: they could not be written, and none of them was left behind; one sentence.
    """
    _write_all(folder, stem, [files[suffix] for suffix in SUFFIXES])
    return folder / (stem + SUFFIXES[0])


def zipped(stem: str, files: Mapping[str, bytes], command: str) -> bytes:
    """A zip of `results` under a stem, with the command line that makes them again."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for suffix, content in files.items():
            packed.writestr(stem + suffix, content)
        packed.writestr("command.txt", command + "\n")
    return archive.getvalue()


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
    kept = one_line(name)
    return kept if len(kept) <= TITLE_LETTERS else f"{kept[: TITLE_LETTERS - 1]}…"
