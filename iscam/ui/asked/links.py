"""A question in a link: model, layer, class, settings and example in the query of the page's address, and back."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode, urlsplit

from iscam.images import read_photo
from iscam.project import EXAMPLES
from iscam.settings import LIKELY_RIVALS
from iscam.ui.done.question import Question

NAMES = ("model", "layer", "class", "against", "steps", "methods", "path", "weighting", "engine", "example")


def query(question: Question, target: int) -> str:
    """The query that brings the question back; without the photo, unless it is an example."""
    fields = {
        "model": question.model,
        "layer": question.place[2],
        "class": target,
        "against": None
        if question.against == LIKELY_RIVALS
        else "none"
        if question.against is None
        else question.against,
        "steps": question.settings.steps,
        "methods": ",".join(question.methods),
        "path": question.settings.path,
        "weighting": question.settings.weighting,
        "engine": question.engine,
        "example": _digests().get(question.photo.sha256),
    }
    return urlencode({name: value for name, value in fields.items() if value is not None}, safe=",")


def address(headers: Mapping[str, str]) -> str:
    """Where the page of a request is, as its visitor's browser knows it, without a slash at the end. Behind a proxy the server
    may be told neither the name nor the path that the visitor sees.

    >>> address({"referer": "https://example.org/maps/?__theme=dark", "origin": "https://example.org"})
    'https://example.org/maps'
    >>> address({"origin": "https://example.org"})
    'https://example.org'
    >>> address({"referer": "http://["})
    ''
    """
    with suppress(ValueError):  # it is no address
        page = urlsplit(headers.get("referer", ""))
        if page.scheme and page.netloc:
            return f"{page.scheme}://{page.netloc}{page.path}".rstrip("/")
    return headers.get("origin", "")


def read(given: Mapping[str, str]) -> dict[str, Any]:
    """Arguments for `checks.question`, as far as the query names them; unchecked, but for the example.

    Raises:
        ValueError: there is no such example; one sentence.
    """
    wanted = {name: given[name] for name in NAMES if given.get(name)}
    example = wanted.pop("example", None)
    for name in ("class", "against", "steps"):
        if wanted.get(name, "").isdecimal():
            wanted[name] = int(wanted[name][:10])  # type: ignore[assignment]
    found: dict[str, Any] = {"against": LIKELY_RIVALS} if wanted or example else {}
    found |= {"target" if name == "class" else name: value for name, value in wanted.items()}
    if found.get("against") == "none":
        found["against"] = None
    if "methods" in found:
        found["methods"] = found["methods"].split(",")
    if example is not None:
        if example not in _digests().values():
            raise ValueError(f"There is no such example: choose one of {', '.join(_digests().values())}.")
        found["photo"] = {"path": str(EXAMPLES / f"{example}.jpg")}
    return found


@functools.cache
def _digests() -> dict[str, str]:
    """The name of each example, by the SHA-256 of its file."""
    return {read_photo(file).sha256: file.stem for file in sorted(EXAMPLES.glob("*.jpg"))}
