"""The tab Several: photos beside the page's, each with its class and the maps of the page's methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from iscam.images import Photo, read_photo
from iscam.methods import METHODS
from iscam.notes import correlations
from iscam.show import facts

from .bench import Bench, Case
from .news import Mapped, Measuring, Refused, size
from .question import Question, ordered
from .task import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from iscam import Explanation, Prediction

MOST = 20  # photos
PHOTO_PIXELS = 256  # the longer side of a photo
MAP_PIXELS = 64  # the side of a map, which is smooth


@dataclass(frozen=True)
class Upload:
    """A photo that was uploaded: where it lies, what it is called, and the SHA-256 of its file."""

    path: str
    name: str
    sha256: str


@dataclass(frozen=True, eq=False)
class Small:
    """A map, reduced to (MAP_PIXELS, MAP_PIXELS), with how far it depends on the class, if that is known."""

    method: str
    heatmap: NDArray[np.float32]
    specificity: float | None


@dataclass(frozen=True, eq=False)
class Explained:
    """News: a photo, reduced, with the network's crop of the whole, the most probable class, the one that the maps are for,
    the correlation of each two maps by their labels, the facts by which it is sorted, and by method what must be said."""

    upload: Upload
    photo: Photo
    crop: tuple[int, int, int, int]
    top: Prediction
    target: Prediction
    maps: tuple[Small, ...]
    correlations: Mapping[tuple[str, str], float]
    facts: Mapping[str, float]
    notes: tuple[tuple[str, str], ...]


def of_several(bench: Bench, question: Question, uploads: tuple[Upload, ...], task: Task) -> Iterator[object]:
    """The photo of the question, analysed; then the maps of each of the others, or why there are none, for the class in
    question, or if none is for the most probable one of each. A photo whose maps were stopped is left out."""
    yield bench.answers.get(bench.case(replace(question, target=None), task).question.place)
    for number, upload in enumerate(uploads):
        if task.stop.is_set():
            return
        task.show(partial(Measuring, upload.name, number, len(uploads)))
        try:
            photo = _photo(upload)
            case = bench.case(replace(question, photo=photo), task, photo=photo)
            found = {key: bench.map(case, key, task, previews=False) for key in ordered(question.methods)}
        except ValueError as error:  # the others may well be photos
            yield Refused(upload.name, str(error))
            continue
        if not task.stop.is_set():
            yield _explained(upload, case, {key: found[key] for key in question.methods})


def _photo(upload: Upload) -> Photo:
    photo = read_photo(upload.path)
    if photo.sha256 != upload.sha256:
        raise ValueError("The file has changed since it was uploaded: upload it again.")
    return photo


def _explained(upload: Upload, case: Case, found: Mapping[str, Mapped | Refused]) -> Explained | Refused:
    """What is shown of a photo; a refusal if no method has a map."""
    maps = [each.explanation for each in found.values() if isinstance(each, Mapped)]
    refused = [(METHODS[each.method].label, each.sentence) for each in found.values() if isinstance(each, Refused)]
    if not maps:
        return Refused(upload.name, refused[0][1])
    subject = case.explainer.subject(case.analysis)
    return Explained(
        upload,
        subject.photo.reduced(PHOTO_PIXELS),
        subject.crop,
        subject.predictions[0],
        maps[0].target,
        tuple(Small(each.method, _reduced(each), each.specificity) for each in maps),
        correlations(maps),
        facts(maps),
        (*((METHODS[each.method].label, each.note) for each in maps if each.note), *refused),
    )


def _reduced(explanation: Explanation) -> NDArray[np.float32]:
    picture = Image.fromarray(explanation.heatmap).resize((MAP_PIXELS, MAP_PIXELS), Image.Resampling.BOX)
    return np.asarray(picture, np.float32)


def weight(news: object) -> int:
    """About how many bytes it takes to keep a piece of news."""
    if not isinstance(news, Explained):
        return size(news)
    width, height = news.photo.image.size
    return 3 * width * height + sum(each.heatmap.nbytes for each in news.maps)
