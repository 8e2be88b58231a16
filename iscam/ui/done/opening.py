"""What the page shows before anybody has asked: its opening example, whose answers come with the project.

They are made by `python -m iscam.ui.done.opening`, by the work that answers visitors.
"""

from __future__ import annotations

import io
import json
import queue
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iscam.images import Geometry, Photo, read_photo
from iscam.models import DEFAULT_MODEL, MODELS, ModelSpec, Preparation
from iscam.project import ASSETS, EXAMPLES
from iscam.results import Explanation, Outcome, Prediction, Subject, Yardstick
from iscam.settings import LIKELY_RIVALS

from .news import Analysed, Contrasted, Mapped, Refused
from .offer import Own
from .question import Question

PHOTO = EXAMPLES / "chelsea.jpg"
FILE = ASSETS / "opening.npz"
# what the answers consist of, beside numbers, words and arrays; of a photo only its place is kept
KINDS: Mapping[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(Analysed, Contrasted, Mapped, Refused),
        *(Explanation, Outcome, Prediction, Subject, Yardstick),
        *(Geometry, ModelSpec, Preparation),
    )
}


def example(row: ModelSpec, own: Own | None = None) -> Question:
    """The question that is asked of a model when nobody has asked anything."""
    return Question(read_photo(PHOTO), row, against=LIKELY_RIVALS, own=own)


def shipped() -> tuple[Question, list[object]]:
    """The example of the model that everything starts with, and its answers, which come with the project."""
    question = example(MODELS[DEFAULT_MODEL])
    with np.load(FILE, allow_pickle=False) as kept:
        record = json.loads(bytes(kept["record"]))
        arrays = [kept[str(number)].astype(np.float32) for number in range(len(kept.files) - 1)]
    found: list[object] = [_decoded(each, arrays, question.photo.reduced()) for each in record]
    return question, found


def make() -> bytes:
    """The answers anew, as a file. Maps that are as large as the input are kept in half precision."""
    from .bench import Bench
    from .maps import explain
    from .task import Task

    question, bench = example(MODELS[DEFAULT_MODEL]), Bench()
    task = Task(0, queue.SimpleQueue[object]().put)
    task.deliver(question.photo)
    arrays: list[NDArray[np.generic]] = []
    record = [_encoded(news, arrays, {}) for news in explain(bench, question, None, task)]
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(record).encode(), np.uint8)
    np.savez_compressed(
        buffer, allow_pickle=False, record=text, **{str(number): array for number, array in enumerate(arrays)}
    )
    return buffer.getvalue()


def _encoded(value: object, arrays: list[NDArray[np.generic]], known: dict[int, int]) -> object:
    """For JSON; arrays are put aside, each once, and `known` by their identity."""
    if isinstance(value, Photo):
        return {"kind": "Photo"}
    if isinstance(value, np.ndarray):
        if id(value) not in known:
            known[id(value)] = len(arrays)
            arrays.append(value.astype(np.float16) if value.ndim == 2 and value.size > 10_000 else value)
        return {"array": known[id(value)]}
    if is_dataclass(value):
        parts = {field.name: _encoded(getattr(value, field.name), arrays, known) for field in fields(value)}
        return {"kind": type(value).__name__, "parts": parts}
    if isinstance(value, dict):
        return {"rows": [[key, _encoded(each, arrays, known)] for key, each in value.items()]}
    if isinstance(value, (tuple, list)):
        return [_encoded(each, arrays, known) for each in value]
    return value


def _decoded(value: Any, arrays: list[NDArray[np.float32]], photo: Photo) -> Any:
    """What `_encoded` was given, with the photo in its place."""
    if isinstance(value, list):
        return tuple(_decoded(each, arrays, photo) for each in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    if "rows" in value:
        return {key: _decoded(each, arrays, photo) for key, each in value["rows"]}
    if value["kind"] == "Photo":
        return photo
    return KINDS[value["kind"]](**{name: _decoded(part, arrays, photo) for name, part in value["parts"].items()})


if __name__ == "__main__":
    FILE.write_bytes(make())
