"""What is tried of a Space, by a visitor over HTTP through the proxy, and by looking at its processes and files."""

from __future__ import annotations

import io
import os
import re
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

import iscam
from iscam.models import DEFAULT_MODEL
from iscam.project import EXAMPLES
from tests.reliability.client import Visitor, error_of
from tests.reliability.rows import Row

from .browser import looked_at
from .space import HOST, PUBLIC, Space

PHOTO, OTHER = EXAMPLES / "chelsea.jpg", EXAMPLES / "coffee.jpg"
MODEL, LAYER, METHOD = "photo11", "layer3", "grad-cam"
NEAR = 0.01  # of a heat map: bfloat16, where the processor has it
LIMIT, START = 1800, "within 30 minutes, which a Space is given"
MAX_BYTES = 4 * 10**9
SHARED_PLACES = ("/tmp", "/var/tmp", "/dev/shm")


class Guest(Visitor):
    """A visitor whose browser knows the page by its public address."""

    def __init__(self, space: Space) -> None:
        super().__init__(space.url)
        self.web.headers.update({"host": HOST, "origin": f"https://{HOST}", "referer": f"{PUBLIC}/?__theme=light"})
        self.config = self.web.get("/config").json()

    def public(self, url: str) -> bytes:
        """What is at a public address."""
        assert url.startswith(f"{PUBLIC}/"), url
        answer = self.web.get(url.removeprefix(PUBLIC))
        answer.raise_for_status()
        return answer.content

    def press(self, event: str, asked: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
        """The last message about an event of the page; its components have their first values, but for those named by label."""
        parts = {part["id"]: part["props"] for part in self.config["components"]}
        (found,) = [each for each in self.config["dependencies"] if each["api_name"] == event]
        return self.ask(
            found["id"],
            [asked.get(parts[part].get("label"), parts[part].get("value")) for part in found["inputs"]],
        )

    def shown(self, event: str, message: dict[str, Any]) -> dict[str, Any]:
        """What an event has put into the components with an id."""
        parts = {part["id"]: part["props"].get("elem_id") for part in self.config["components"]}
        (found,) = [each for each in self.config["dependencies"] if each["api_name"] == event]
        data = zip(found["outputs"], message["output"]["data"], strict=True)
        return {parts[part]: value.get("value") if isinstance(value, dict) else value for part, value in data}


def tried(space: Space, whole: bool) -> Iterator[Row]:
    """All rows; `whole`: also those that take long."""
    before = _listing(space.files)
    with Guest(space) as guest:
        yield Row("start", "the server answers", 1, START, f"{space.seconds:.1f} s", space.seconds < LIMIT)
        yield _page(guest)
        yield _example(space, guest)
        yield _endpoint(guest)
        yield from _export(guest)
        if whole:
            yield _default(guest)
            yield looked_at(space)
    yield from _zero(space)
    yield _memory(space)
    yield _written(space, before)


def urls(found: object) -> Iterator[str]:
    """Every address of a file in an answer."""
    if isinstance(found, dict):
        if isinstance(found.get("url"), str):
            yield found["url"]
        for each in found.values():
            yield from urls(each)
    elif isinstance(found, list):
        for each in found:
            yield from urls(each)


def _page(guest: Guest) -> Row:
    """The page itself, the first of its scripts, and what it is told of its own address."""
    text = guest.web.get("/").text
    script = re.search(r'src="\./(assets/[^"]+\.js)"', text)
    found = script is not None and guest.web.get(f"/{script[1]}").status_code == 200
    root = guest.config["root"]
    seen = f"root {root}, its script {'found' if found else 'missing'}"
    return Row("proxy", "page, script and /config", 3, PUBLIC, seen, found and root == PUBLIC)


def _example(space: Space, guest: Guest) -> Row:
    message = guest.press("open")
    took = time.monotonic() - space.begun
    pictures = str(message["output"].get("data")).count("<figure")
    said = error_of(message) or f"{pictures} pictures, {took:.1f} s after the start"
    return Row("start", "the first example is there", 1, START, said, pictures > 4 and took < LIMIT)


def _endpoint(guest: Guest) -> Row:
    begun = time.monotonic()
    path = guest.upload("mine.jpg", PHOTO.read_bytes())
    message = guest.explain(path, MODEL, None, None, 2, [METHOD])
    took = time.monotonic() - begun
    what, expected = "an upload, explained by the endpoint", f"a cat, with a figure under {PUBLIC}"
    if said := error_of(message):
        return Row("proxy", what, 1, expected, said, False)
    (answer,) = message["output"]["data"]
    best, links = answer["predictions"][0]["category"], list(urls(answer))
    right = best == "cat" and len(links) == 1 and guest.public(links[0]).startswith(b"\x89PNG")
    return Row("proxy", what, 1, expected, f"{best}, {links[0].partition('file=')[0]}, {took:.1f} s", right)


def _export(guest: Guest) -> Iterator[Row]:
    """The page's own way: maps, then the tab with the zip and the link."""
    photo = {"path": guest.upload("mine.jpg", PHOTO.read_bytes())}
    asked = {"Photo": photo, "Model": MODEL, "Layer": LAYER, "Methods": [METHOD]}
    said = error_of(guest.press("maps", asked))
    message = guest.press("tab_export", asked)
    said = said or error_of(message)
    if said:
        yield Row("proxy", "the tab Export", 1, "a zip and a link", said, False)
        return
    shown = guest.shown("tab_export", message)
    with zipfile.ZipFile(io.BytesIO(guest.public(shown["download"]["url"]))) as file:
        (name,) = [each for each in file.namelist() if each.endswith(".npz")]
        with np.load(io.BytesIO(file.read(name))) as arrays:
            heatmap = arrays[METHOD]
    explainer = iscam.Explainer(iscam.load_model(MODEL))
    expected = explainer.explain(explainer.analyse(PHOTO), METHOD).heatmap
    off = float(np.abs(heatmap - expected).max())
    yield Row("proxy", "the map in the zip", 1, f"the library's, to {NEAR}", f"at most {off:.4f} off", off < NEAR)
    link = shown["link"]
    right = link.startswith(f"{PUBLIC}/?model={MODEL}&") and b"IS-CAM" in guest.public(link)
    yield Row("proxy", "the link to the question", 1, f"{PUBLIC}/?..., which answers", link, right)


def _default(guest: Guest) -> Row:
    begun = time.monotonic()
    message = guest.explain(guest.upload("other.jpg", OTHER.read_bytes()), DEFAULT_MODEL)
    took = time.monotonic() - begun
    what = f"the default maps of {DEFAULT_MODEL} by the endpoint"
    if said := error_of(message):
        return Row("proxy", what, 1, "all of them", said, False)
    methods = message["output"]["data"][0]["methods"]
    seen = f"{len(methods)} maps, {took:.1f} s"
    return Row("proxy", what, 1, "all of them", seen, all(each["complete"] for each in methods.values()))


def _zero(space: Space) -> Iterator[Row]:
    told = {what: space.told.count(what) for what in ("/startup-report", "/schedule")}
    seen = f"reported {told['/startup-report']} times, a GPU asked for {told['/schedule']} times"
    yield Row(
        "ZeroGPU", "a GPU function is declared, and never called", 1, "once, never", seen, list(told.values()) == [1, 0]
    )
    hidden = [
        b"CUDA_VISIBLE_DEVICES=-1" in Path(f"/proc/{each}/environ").read_bytes() for each in space.served.children
    ]
    seen = f"{sum(hidden)} of {len(hidden)} processes see none"
    yield Row("ZeroGPU", "the networks see no GPU", len(hidden), "none does", seen, bool(hidden) and all(hidden))


def _memory(space: Space) -> Row:
    """The peak of both processes, and of what else the server has started."""
    peaks = {}
    for process in (space.served.pid, *space.served.children):
        status = Path(f"/proc/{process}/status").read_text()
        if peak := re.search(r"VmHWM:\s+(\d+) kB", status):
            peaks[process] = int(peak[1]) * 1024
    seen = " + ".join(f"{each / 1e6:.0f}" for each in peaks.values())
    return Row(
        "machine", "memory of the server and its processes", 1, "4 GB", f"{seen} MB", sum(peaks.values()) < MAX_BYTES
    )


def _listing(folder: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in sorted(folder.rglob("*"))}


def _written(space: Space, before: dict[str, int]) -> Row:
    """Whether the app's folder is as it was, and nothing of the Space's user lies where all users may write."""
    found = [] if _listing(space.files) == before else ["the app's folder has changed"]
    places = "the app's folder"
    if space.user is not None:
        places = f"{places}, {', '.join(SHARED_PLACES)} and all that is another user's"
        for place in filter(os.path.isdir, SHARED_PLACES):
            found += [
                entry.path for entry in os.scandir(place) if entry.stat(follow_symlinks=False).st_uid == space.user
            ]
    return Row("machine", f"nothing is written to {places}", 1, "nothing", "; ".join(found) or "nothing", not found)
