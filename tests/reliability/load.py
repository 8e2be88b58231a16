"""A crowd: 50 visitors at once on this machine, those who leave without a word, one with a long question beside others."""

from __future__ import annotations

import io
import multiprocessing
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

import iscam
from iscam.project import EXAMPLES
from tests.serving import Served

from .client import Visitor, error_of
from .rows import Row, counted

MODEL = "photo11"
METHODS = ["is-cam", "grad-cam"]
STEPS = 5
NEAR = 0.02  # of a masked probability: twice the tolerance of a map


def photo(number: int) -> bytes:
    """A photo of a visitor's own: a part of an example."""
    files = sorted(EXAMPLES.glob("*.jpg"))
    with Image.open(files[number % len(files)]) as whole:
        side = min(whole.size) - 3 * (number // len(files))
        part = whole.convert("RGB").crop((0, 0, side, side))
    file = io.BytesIO()
    part.save(file, "PNG")
    return file.getvalue()


class Pulse:
    """How long the server takes to answer a small question, asked again and again by a process of its own: among the threads of
    a crowd, the question itself would wait."""

    def __init__(self, url: str) -> None:
        fresh = multiprocessing.get_context("spawn")
        self.seconds: list[float] = []
        self._over, self._found = fresh.Event(), fresh.Queue()
        self._process = fresh.Process(target=feel, args=(url, self._over, self._found), daemon=True)

    def __enter__(self) -> Pulse:
        self._process.start()
        assert self._found.get(timeout=60) == []  # it is ready
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.seconds = self._found.get(timeout=60)
        self._process.join()

    def row(self, beside: str) -> Row:
        worst, middle = max(self.seconds), statistics.median(self.seconds)
        seen = f"at most {worst:.2f} s, in the median {middle:.3f} s"
        expected = "a health check below 1 s, in the median below 0.1 s"
        return Row("load", f"the server beside {beside}", len(self.seconds), expected, seen, worst < 1 and middle < 0.1)


def feel(url: str, over: Any, found: Any) -> None:
    """What the process of a pulse does: send an empty list when it is ready, and what it has found in the end."""
    seconds: list[float] = []
    with httpx.Client(base_url=url, timeout=60) as web:
        found.put([])
        while not over.wait(0.05):
            begun = time.perf_counter()
            web.get("/gradio_api/app_id").raise_for_status()
            seconds.append(time.perf_counter() - begun)
    found.put(seconds)


def crowd(app: Served, count: int) -> list[Row]:
    """So many visitors ask at once, each of a photo of its own, and hold what they are told against the library."""
    explainer = iscam.Explainer(iscam.load_model(MODEL))
    photos = [photo(number) for number in range(count)]
    together = threading.Barrier(count)
    with Visitor(app.url) as first:
        event = first.event("explain")  # the others have the page as well

    def visit(number: int) -> tuple[dict[str, object], bool]:
        with Visitor(app.url) as visitor:
            together.wait()
            path = visitor.upload(f"{number}.png", photos[number])
            message = visitor.ask(event, [{"path": path}, MODEL, None, None, STEPS, METHODS])
            return message, bool(visitor.waited)

    with Pulse(app.url) as beside, ThreadPoolExecutor(count) as pool:
        begun = time.perf_counter()
        found = list(pool.map(visit, range(count)))
        took = time.perf_counter() - begun
    wrong, lost, unplaced = [], [], []
    for number, (message, placed) in enumerate(found):
        if said := error_of(message):
            lost.append(f"visitor {number}: {said}")
            continue
        if not placed:
            unplaced.append(f"visitor {number}")
        (answer,) = message["output"]["data"]  # type: ignore[index]
        analysis = explainer.analyse(photos[number])
        best = analysis.predictions[0]
        if answer["predictions"][0]["category"] != best.category:
            wrong.append(f"visitor {number} was told {answer['predictions'][0]['category']}, not {best.category}")
        for method in METHODS:
            explanation = explainer.explain(analysis, method, steps=STEPS)
            masked = explainer.masked_probability(analysis, explanation)
            off = abs(answer["methods"][method]["masked_probability"] - masked)
            if off > NEAR or not answer["methods"][method]["complete"]:
                wrong.append(f"visitor {number}: {method} is off by {off:.3f}")
    who = f"{count} visitors at once, a photo each ({took:.0f} s)"
    return [
        counted("load", f"{who}: answered", count, "no answer lost", lost),
        counted("load", f"{who}: told their place", count, "all that were answered", unplaced),
        counted("load", f"{who}: maps", 2 * count, "those of the library for the same photo", wrong),
        beside.row("them"),
    ]


def fairness(app: Served) -> list[Row]:
    """A visitor asks for the slowest methods with 100 steps, others for little: they do not wait for the end."""
    data = [photo(200 + number) for number in range(4)]  # not those of a crowd, whose maps are known
    with Visitor(app.url) as slow:
        path, event = slow.upload("slow.png", data[3]), slow.event("explain")
        long = ThreadPoolExecutor(1).submit(
            slow.ask,
            event,
            [{"path": path}, MODEL, "layer1", None, 100, ["is-cam", "ss-cam"], "linear", "probability", "exact"],
        )
        time.sleep(1)
        waits = []
        for number in range(3):
            with Visitor(app.url) as quick:
                place = quick.upload("quick.png", data[number])
                begun = time.perf_counter()
                said = error_of(quick.ask(event, [{"path": place}, MODEL, None, None, 2, ["grad-cam"]]))
                waits.append(time.perf_counter() - begun)
                assert not said, said
        running = not long.done()
        long.result()
    expected = "answered within two turns (6 s) while it goes on, and it ends as well"
    seen = f"after {', '.join(f'{wait:.1f}' for wait in waits)} s"
    return [
        Row(
            "load",
            "small questions beside IS-CAM with 100 steps and SS-CAM, exactly",
            3,
            expected,
            seen,
            running and max(waits) < 6.5,
        )
    ]


def memory(app: Served) -> int:
    """MB that a server and its children hold."""
    status = [Path(f"/proc/{each}/status").read_text() for each in (app.pid, *app.children)]
    lines = [line for text in status for line in text.splitlines() if line.startswith("VmRSS")]
    return sum(int(line.split()[1]) for line in lines) // 1024


def growth(app: Served, jobs: int, visits: int) -> list[Row]:
    """Jobs one after the other, and visitors who ask and are gone before they are answered: memory stays at its level."""

    def ask(number: int) -> None:
        with Visitor(app.url) as visitor:
            path = visitor.upload("x.png", photo(number % 100))
            message = visitor.explain(path, MODEL, None, None, 1 + number % 3, ["grad-cam"])
            assert not error_of(message), message

    def leave(number: int) -> None:
        with Visitor(app.url) as visitor:
            path, event = visitor.upload("x.png", photo(number % 100)), visitor.event("explain")
            visitor.join(event, [{"path": path}, MODEL, None, None, 50, ["is-cam"], "linear", "probability", "exact"])
            next(visitor.messages(), None)

    for number in range(30):
        ask(number)
    before = memory(app)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(jobs)))
        list(pool.map(leave, range(visits)))
    ask(0)  # the queue is empty again when this is answered
    after = memory(app)
    seen = f"{before} MB before, {after} MB after"
    what = f"{jobs} jobs, and {visits} visits that leave without a word"
    return [Row("load", what, jobs + visits, "less than 300 MB more", seen, after < before + 300)]
