"""The page without a browser: words, checks, the compute thread, what events put on the page. The network is a stand-in."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import shutil
import subprocess
import sys
import threading
import time
import weakref
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr
import numpy as np
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from iscam.explain import Explanation, Prediction, Progress, Subject
from iscam.images import Photo
from iscam.methods import METHODS, doubt
from iscam.models.table import MODELS
from iscam.project import EXAMPLES
from iscam.trust.controls import CONTROLS
from iscam.ui import build, serve
from iscam.ui.asked import checks, links
from iscam.ui.asked.checks import Look
from iscam.ui.asked.handlers import Handlers
from iscam.ui.done import studies
from iscam.ui.done.answers import Answers
from iscam.ui.done.tasks import (
    KEPT_ANALYSES,
    KEPT_MODELS,
    Analysed,
    Bench,
    Loading,
    Mapped,
    Question,
    Refused,
    Unavailable,
)
from iscam.ui.done.worker import MAX_WAITING, Failed, Job, Worker
from iscam.ui.seen import galleries
from iscam.ui.seen import words as text
from iscam.ui.seen.layout import OPENING

CATEGORIES = ("cat", "crane", "dog", "crane", "<b>fox</b>", "owl", "yak")


def until(condition: Callable[[], object], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


class StandIn:
    """An explainer whose IS-CAM takes ten batches and waits before each while `pace` is not set."""

    def __init__(self) -> None:
        self.model = SimpleNamespace(
            categories=CATEGORIES, layer="layer3", layers=MODELS["photo11"].layers, find_class=int
        )
        self.pace = threading.Event()
        self.pace.set()
        self.beat = 0.0  # seconds per batch
        self.threads: set[str] = set()
        self.analysed = 0
        self.batches = 0
        self.running = 0
        self.engines: list[str] = []

    def using(self, engine: str) -> StandIn:
        self.engines.append(engine)
        return self

    def analyse(self, photo: Photo, layer: str | None) -> Any:
        self.threads.add(threading.current_thread().name)
        self.analysed += 1
        rows = tuple(
            Prediction(index, CATEGORIES[index], 0.5 / (rank + 1)) for rank, index in enumerate((4, 1, 0, 2, 3))
        )
        activations = np.zeros((12, 8, 8))
        return SimpleNamespace(
            photo=photo, predictions=rows, layer=layer, forward=SimpleNamespace(activations=activations)
        )

    def subject(self, analysis: Any) -> Subject:
        probabilities = np.full(len(CATEGORIES), 0.1, np.float32)
        seen = (analysis.photo, (10, 0, 40, 30), analysis.predictions, probabilities, analysis.layer)
        return Subject(*seen, "photo11", "photo11", "abc", CATEGORIES, MODELS["photo11"].layers)

    def masked_probability(self, analysis: Any, explanation: Explanation) -> float:
        return 0.125

    def refusal(self, method: str, layer: str) -> str | None:
        return "CAM needs another head." if method == "cam" else None

    def explain(
        self,
        analysis: Any,
        method: str,
        target: int | None,
        against: int | None,
        steps: int,
        path: str,
        weighting: str,
        progress: Callable[[Progress], None] | None,
        stop: threading.Event,
    ) -> Explanation:
        if reason := self.refusal(method, analysis.layer):
            raise ValueError(reason)
        self.running += 1
        assert self.running == 1, "two jobs at once"
        done, total = 0, 10 if method == "is-cam" else 0
        try:
            while done < total and not stop.is_set():
                until(lambda: self.pace.is_set() or stop.is_set())
                time.sleep(self.beat)
                done += not stop.is_set()
                self.batches += 1
                if progress is not None:
                    progress(Progress(done, total, lambda done=done: self.map(method, target, done, False)))
            return self.map(method, target, done, done == total, signed=against is not None)
        finally:
            self.running -= 1

    def map(self, method: str, target: int | None, passes: int, complete: bool, signed: bool = False) -> Explanation:
        heatmap = np.zeros((30, 30), np.float32)
        if method != "grad-cam++":
            heatmap[:10, :10] = 1
        index = 4 if target is None else target
        note = "" if heatmap.any() else "The map is blank: all weights are zero."
        error = 0.004 if complete else None
        return Explanation(
            method,
            index,
            CATEGORIES[index],
            0.25,
            None,
            heatmap[::15, ::15],
            heatmap - signed,
            0.5,
            passes,
            error,
            complete,
            note,
        )


@pytest.fixture(autouse=True)
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An upload folder of the test's own."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setattr("iscam.ui.done.tasks.PREVIEW_SECONDS", 0)
    (tmp_path / "uploads").mkdir()
    return Path(get_upload_folder())


@pytest.fixture
def photo(uploads: Path) -> dict[str, str]:
    Image.new("RGB", (50, 30), "teal").save(uploads / "mine.png")
    return {"path": str(uploads / "mine.png")}


@pytest.fixture
def network() -> Iterator[StandIn]:
    stand_in = StandIn()
    yield stand_in
    stand_in.pace.set()


@pytest.fixture
def handlers(network: StandIn) -> Handlers:

    async def inside_a_loop() -> Handlers:  # else Gradio makes event loops of its own and never closes them
        return build("photo11", Bench(lambda key: network))[1]

    return asyncio.run(inside_a_loop())


def visitor(name: str = "ann", **query: str) -> Any:
    return SimpleNamespace(session_hash=name, query_params=query, headers={"origin": "http://here"})


LOOK = (0.5, "viridis", "overlay")


def asked(handlers: Handlers, photo: Any, **changes: Any) -> dict[Any, Any]:
    """What the page says is in its components."""
    page = handlers.page
    values = {
        "photo": photo,
        "model": "photo11",
        "layer": "layer3",
        "target": 0,
        "against": text.NOBODY,
        "steps": 10,
        "methods": ["is-cam", "grad-cam"],
        "path": "cumulative",
        "weighting": "probability",
        "engine": "fast",
        "opacity": LOOK[0],
        "colours": LOOK[1],
        "view": LOOK[2],
        "by": "is-cam",
        "how": "deletion",
        "share": 25,
        "also": [],
        "box": "",
    } | changes
    over = {page.over[name]: values.pop(f"over_{name}", "grad-cam") for name in page.over}
    parts = page.ask | page.look | page.measure
    return {parts[name]: value for name, value in values.items()} | over


def told(job: Job) -> list[Any]:
    return [news for batch in job.follow() for news in batch]


def shown(update: Any) -> str:
    """The HTML that an update puts into a component."""
    return str(update["value"] if isinstance(update, dict) else update)


class Watcher(threading.Thread):
    """Follows an event as Gradio does, and keeps what the page would show."""

    def __init__(self, event: Iterator[dict[Any, Any]]) -> None:
        super().__init__(daemon=True)
        self.event, self.page, self.steps, self.error = event, {}, [], None  # type: ignore[var-annotated]
        self.start()

    def run(self) -> None:
        try:
            for updates in self.event:
                self.steps.append(updates)
                self.page |= updates
        except gr.Error as error:
            self.error = error

    def finished(self) -> dict[Any, Any]:
        self.join(10)
        assert not self.is_alive()
        return self.page


# Words


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0 %"), (0.00001, "< 0.01 %"), (0.0042, "0.42 %"), (0.1234, "12.3 %"), (1, "100.0 %")],
)
def test_per_cent(share: float, words: str) -> None:
    assert text.per_cent(share) == words


@pytest.mark.parametrize(
    ("row", "column", "words"), [(0, 0, "upper left"), (1, 1, "centre"), (1, 2, "right"), (2, 1, "lower middle")]
)
def test_place_names_the_ninth_with_most_weight(row: int, column: int, words: str) -> None:
    heatmap = np.full((20, 31), 0.1, np.float32)
    heatmap[row * 7 : row * 7 + 6, column * 11 : column * 11 + 9] = -1
    assert text.place(heatmap) == words


def test_classes_start_with_the_predictions_and_are_told_apart_by_index() -> None:
    """Every class is there once, under its index as value, and equal names differ on the page."""
    rows = StandIn().analyse(None, None).predictions  # type: ignore[arg-type]
    choices = text.class_choices(CATEGORIES, rows)
    assert [value for _, value in choices[:5]] == [4, 1, 0, 2, 3]
    assert sorted(value for _, value in choices) == list(range(len(CATEGORIES)))
    assert len({label for label, _ in choices}) == len(CATEGORIES)
    assert choices[0][0] == "<b>fox</b> · 50.0 %"  # a dropdown shows text, not HTML
    assert text.class_choices(CATEGORIES, rows, nobody=True)[0][1] == text.NOBODY


def test_equal_class_names_carry_their_index_and_others_do_not() -> None:
    rows = [Prediction(1, "crane", 0.5), Prediction(2, "dog", 0.25)]
    labels = [label for label, _ in text.class_choices(("crane", "crane", "dog"), rows)]
    assert labels == ["crane (1) · 50.0 %", "dog · 25.0 %", "crane (0)"]


def test_html_is_escaped() -> None:
    rows = StandIn().analyse(None, None).predictions  # type: ignore[arg-type]
    evil = '"><script>alert(1)</script>'
    for html in (
        text.predictions(rows, "photo11"),
        text.status(evil),
        text.card(evil, b"", evil, [evil], evil, evil, True),
        text.empty_card(evil, evil),
        text.colour_bar(b"", evil, evil),
    ):
        assert "<script" not in html and "<b>" not in html and '""' not in html.replace('alt=""', "")


def test_about_names_every_method() -> None:
    assert all(f"[{row.label}]({row.paper})" in text.about() for row in METHODS.values())


# Checks


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "alexnet"},
        {"model": ["photo11"]},
        {"layer": "layer9"},
        {"layer": {}},
        {"target": 1.5},
        {"target": True},
        {"against": [1]},
        {"target": 2, "against": 2},
        {"steps": -1},
        {"steps": 0},
        {"steps": 10**9},
        {"steps": float("nan")},
        {"steps": float("inf")},
        {"steps": 2.5},
        {"steps": "10"},
        {"steps": None},
        {"steps": True},
        {"methods": []},
        {"methods": None},
        {"methods": ["is-cam", "sorcery"]},
        {"methods": [["is-cam"]]},
        {"path": "zigzag"},
        {"path": None},
        {"weighting": 3},
        {"engine": "steam"},
        {"engine": ["fast"]},
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(wrong: dict[str, Any], photo: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$"):
        checks.question(photo, **{"model": "photo11"} | wrong)


def test_right_settings_become_a_question(photo: dict[str, str]) -> None:
    question = checks.question(
        photo, "photo11", "layer2", 3, None, 12.0, ["grad-cam", "is-cam", "is-cam"], "linear", "logit", "exact"
    )
    assert (question.layer, question.target, question.steps, question.engine) == ("layer2", 3, 12, "exact")
    assert question.methods == ("is-cam", "grad-cam")  # once each, in the order of the table
    assert question.photo.size == (50, 30)


def test_equal_photos_have_equal_digests(photo: dict[str, str], uploads: Path) -> None:
    shutil.copy(photo["path"], uploads / "copy.png")
    assert checks.question({"path": str(uploads / "copy.png")}).photo.sha256 == checks.question(photo).photo.sha256
    assert checks.question({"path": str(OPENING)}).photo.sha256 != checks.question(photo).photo.sha256


@pytest.mark.parametrize(
    "given",
    [
        None,
        "mine.png",
        {},
        {"path": None},
        {"path": 3},
        {"url": "data:image/png;base64,AAAA", "path": ""},
        {"path": "data:image/png;base64,AAAA"},
        {"path": "/etc/hostname"},
        {"path": "../../secret.png"},
        {"path": "http://127.0.0.1/x.png"},
        {"path": "a\0b"},
    ],
)
def test_only_uploads_and_examples_are_read(given: Any) -> None:
    with pytest.raises(ValueError, match=r'^["A-Z].*\.$'):
        checks.question(given)


def test_a_link_out_of_the_upload_folder_is_refused(tmp_path: Path, uploads: Path) -> None:
    Image.new("RGB", (5, 5)).save(tmp_path / "private.png")
    (uploads / "link.png").symlink_to(tmp_path / "private.png")
    for path in (tmp_path / "private.png", uploads / "link.png", uploads / ".." / "private.png"):
        with pytest.raises(ValueError, match="not in a folder"):
            checks.question({"path": str(path)})


@pytest.mark.parametrize(
    "look",
    [(-0.1, *LOOK[1:]), (float("nan"), *LOOK[1:]), ("1", *LOOK[1:]), (0.5, "pink", "overlay"), (0.5, "jet", "x")],
)
def test_wrong_looks_are_refused(look: tuple[Any, Any, Any]) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$"):
        checks.look(*look)


# The compute thread


def test_jobs_run_one_by_one_on_one_thread_in_order() -> None:
    worker, seen = Worker(), []
    gate = threading.Event()
    for number in range(4):
        worker.submit(str(number), lambda job, n=number: (gate.wait(5), seen.append((n, threading.get_ident())))[1])
    until(lambda: worker._running is not None)
    jobs = list(worker._waiting)
    assert [worker.ahead(job) for job in jobs] == [1, 2, 3]
    gate.set()
    for job in jobs:
        told(job)
    assert [number for number, _ in seen] == [0, 1, 2, 3]
    assert len({thread for _, thread in seen}) == 1


def test_the_queue_is_bounded_and_says_so() -> None:
    worker, gate = Worker(), threading.Event()
    running = worker.submit("first", lambda job: void(gate.wait(5)))
    until(lambda: worker.ahead(running) is None)
    for number in range(MAX_WAITING):
        worker.submit(str(number), lambda job: None)
    with pytest.raises(ValueError, match="waiting already"):
        worker.submit("one too many", lambda job: None)
    gate.set()


def void(value: object) -> None:
    """For lambdas that are called for their effect."""


def test_a_visitor_has_one_job() -> None:
    """A new job of the same visitor stops the running one and removes the waiting one; others stay."""
    worker = Worker()
    running = worker.submit("ann", lambda job: void(job.stop.wait(5)))
    until(lambda: worker.ahead(running) is None)
    other = worker.submit("bob", lambda job: job.tell("bob's"))
    second = worker.submit("ann", lambda job: job.tell("never"))
    third = worker.submit("ann", lambda job: job.tell("last"))
    assert running.stop.is_set()
    assert (told(other), told(second), told(third)) == (["bob's"], [], ["last"])


def test_previews_are_dropped_and_news_are_not() -> None:
    """A slow reader gets all news and only the newest preview; a second reader gets the same from the beginning."""
    job = Job("ann", lambda job: None)
    reader = job.follow(tick=0.01)
    job.show("first preview")
    job.show("second preview")
    assert next(reader) == ["second preview"]
    assert next(reader) == []
    job.tell("one")
    job.show("third preview")
    job.tell("two")
    job.show("fourth preview")
    assert next(reader) == ["one", "two", "fourth preview"]
    job.tell("three")
    job.end()
    assert list(reader) == [["three"]]
    assert told(job) == ["one", "two", "three"]


def test_background_work_gives_way_and_is_taken_up_again() -> None:
    worker, rounds, order = Worker(), [], []

    def background(job: Job) -> None:
        rounds.append(1)
        if len(rounds) == 1:
            job.stop.wait(5)
        else:
            order.append("background")

    job = worker.submit("", background, background=True)
    until(lambda: rounds)
    visitors = [worker.submit(name, lambda job, name=name: order.append(name)) for name in ("ann", "bob")]
    for each in (*visitors, job):
        told(each)
    assert order == ["ann", "bob", "background"]


def test_background_work_that_waits_stays_behind_visitors_who_come_later() -> None:
    worker, gate, order = Worker(), threading.Event(), []
    first = worker.submit("first", lambda job: void(gate.wait(5)))
    until(lambda: worker.ahead(first) is None)
    waiting = worker.submit("", lambda job: order.append("background"), background=True)
    late = [worker.submit(name, lambda job, name=name: order.append(name)) for name in ("ann", "bob")]
    assert [worker.ahead(job) for job in (*late, waiting)] == [1, 2, 3]
    gate.set()
    for job in (*late, waiting):
        told(job)
    assert order == ["ann", "bob", "background"]


def test_what_one_visitor_fetches_stalls_no_other() -> None:
    """A download runs beside the compute thread; its job takes its turn when it is there."""
    worker, arrived = Worker(), threading.Event()
    slow = worker.submit("ann", lambda job: job.tell("ann's"), fetch=lambda job: void(arrived.wait(5)))
    assert told(worker.submit("bob", lambda job: job.tell("bob's"))) == ["bob's"]
    assert not slow._ended
    arrived.set()
    assert told(slow) == ["ann's"]


def test_a_job_that_is_still_fetching_can_be_stopped_and_counts_as_waiting() -> None:
    worker, arrived, done = Worker(), threading.Event(), []
    jobs = [
        worker.submit(str(number), lambda job: done.append(job), fetch=lambda job: void(arrived.wait(5)))
        for number in range(MAX_WAITING)
    ]
    with pytest.raises(ValueError, match="waiting already"):
        worker.submit("one too many", lambda job: None)
    worker.release_owner("0")
    assert told(jobs[0]) == []
    arrived.set()
    for job in jobs[1:]:
        told(job)
    assert set(done) == set(jobs[1:])


def test_a_job_that_is_over_lets_its_work_go() -> None:
    """Pages keep their jobs, and work holds a full-size photo."""
    worker = Worker()

    class Work:
        def __call__(self, job: Job) -> None:
            job.tell("done")

    work = Work()
    gone = weakref.ref(work)
    job = worker.submit("ann", work)
    del work
    assert told(job) == ["done"]
    worker.submit("bob", lambda job: None)  # the thread itself remembers only the job it is at
    until(lambda: gone() is None)


def test_the_thread_survives_whatever_a_job_raises(caplog: pytest.LogCaptureFixture) -> None:
    """An error for people arrives as it is; of a fault in the program only the log tells."""

    def fail(error: Exception) -> Callable[[Job], None]:
        def work(job: Job) -> None:
            raise error

        return work

    worker = Worker()
    assert told(worker.submit("a", fail(ValueError("A sentence.")))) == [Failed("A sentence.")]
    assert not caplog.records
    (failed,) = told(worker.submit("b", fail(KeyError("/secret/path"))))
    assert "secret" not in failed.sentence and failed.sentence.endswith(".")
    assert "secret" in caplog.text
    assert told(worker.submit("c", lambda job: job.tell("still here"))) == ["still here"]


# What the thread does


def ask(digest: str = "d", **changes: Any) -> Question:
    return Question(Photo(Image.new("RGB", (50, 30)), (50, 30), "x", digest), **changes)


def run(work: Callable[[Job], None]) -> list[Any]:
    job = Job("ann", work)
    work(job)
    job.end()
    return told(job)


def test_photos_are_analysed_once_and_few_are_kept(network: StandIn) -> None:
    bench = Bench(lambda key: network)
    for _ in range(3):
        run(bench.predict(ask("a")))
    assert network.analysed == 1
    run(bench.predict(ask("a", layer="layer2")))
    assert network.analysed == 2
    for number in range(KEPT_ANALYSES + 3):
        run(bench.predict(ask(str(number))))
    assert len(bench._analyses) == KEPT_ANALYSES


def test_pages_keep_no_analysis_alive(network: StandIn) -> None:
    """An analysis holds up to 256 MB of scores: the bench's bound is worth nothing if the news of old jobs hold them."""

    class Analysis(SimpleNamespace):
        pass

    analyses: list[weakref.ref[Analysis]] = []

    def analyse(photo: Photo, layer: str | None) -> Analysis:
        analysis = Analysis(**vars(StandIn.analyse(network, photo, layer)))
        analyses.append(weakref.ref(analysis))
        return analysis

    network.analyse = analyse  # type: ignore[method-assign]
    bench = Bench(lambda key: network)
    pages = []
    for number in range(KEPT_ANALYSES + 3):
        job = Job("ann", bench.explain(ask(str(number), methods=("grad-cam",))))
        bench.explain(ask(str(number), methods=("grad-cam",)))(job)
        job.end()
        pages.append((job, told(job)))
    gc.collect()
    assert sum(analysis() is not None for analysis in analyses) == KEPT_ANALYSES
    assert all(news.explanation.weights is None for _, told in pages for news in told if isinstance(news, Mapped))


def test_few_models_are_kept_and_their_analyses_go_with_them() -> None:
    bench = Bench(lambda key: StandIn())  # type: ignore[arg-type,return-value]
    keys = list(MODELS)[: KEPT_MODELS + 1]
    for key in keys:
        run(bench.predict(ask(model=key)))
    assert list(bench._explainers) == keys[1:]
    assert {model for _, model, _ in bench._analyses} == set(keys[1:])


def test_without_weights_the_bundled_model_predicts_and_says_why(network: StandIn) -> None:
    def load(key: str) -> Any:
        if key != "photo11":
            raise OSError("The weights could not be downloaded: use photo11.")
        return network

    bench = Bench(load)
    news = run(bench.predict(ask(model="vgg16", layer="features.29")))
    assert [type(each) for each in news] == [Loading, Unavailable, Loading, Analysed]
    assert news[1].sentence.startswith("The weights") and (news[3].subject.model, news[3].subject.layer) == (
        "photo11",
        "layer3",
    )
    with pytest.raises(OSError, match="could not be downloaded"):  # a question about vgg16 gets no answer about another
        run(bench.explain(ask(model="vgg16")))


def test_a_failed_download_is_told_once_and_not_tried_again_by_the_compute_thread(network: StandIn) -> None:
    threads: list[str] = []

    def download(key: str) -> None:
        threads.append(threading.current_thread().name)
        raise OSError("The weights could not be downloaded: use photo11.")

    def load(key: str) -> Any:
        assert key == "photo11"
        return network

    bench, worker, question = Bench(load, download), Worker(), ask(model="vgg16")
    news = told(worker.submit("ann", bench.predict(question), fetch=bench.fetch(question)))
    assert [type(each) for each in news] == [Loading, Unavailable, Loading, Analysed]
    news = told(worker.submit("ann", bench.explain(question), fetch=bench.fetch(question)))
    assert news[-1] == Failed("The weights could not be downloaded: use photo11.")
    assert threads == ["fetch", "fetch"]


def test_nothing_is_fetched_for_models_that_are_here(network: StandIn) -> None:
    bench = Bench(lambda key: network, lambda key: None)
    assert bench.fetch(ask()) is None
    assert bench.fetch(ask(model="vgg16")) is not None
    run(bench.predict(ask(model="vgg16")))
    assert bench.fetch(ask(model="vgg16")) is None


def test_the_opening_example_goes_on_with_the_bundled_model(network: StandIn) -> None:
    """Nobody chose the start model, so a damaged file in the cache must not cost the page its example."""

    def load(key: str) -> Any:
        if key != "photo11":
            raise OSError("The weights file is damaged: delete it and try again.")
        return network

    job = Job("", lambda job: None, background=True)
    Bench(load).explain(ask(model="resnet18", methods=("grad-cam",)))(job)
    job.end()
    assert [type(each) for each in told(job)] == [Loading, Unavailable, Loading, Analysed, Mapped]


def test_methods_answer_one_after_the_other_and_one_refusal_stops_none(network: StandIn) -> None:
    news = run(Bench(lambda key: network).explain(ask(methods=("cam", "grad-cam", "eigen-cam"))))
    assert [type(each) for each in news] == [Loading, Analysed, Refused, Mapped, Mapped]
    assert news[2] == Refused("cam", "CAM needs another head.")


def test_background_maps_go_on_where_they_were_stopped(network: StandIn) -> None:
    """The map that was stopped is not shown as finished; time and passes of both parts are counted."""
    bench = Bench(lambda key: network)
    work = bench.explain(ask(methods=("is-cam",)))
    job = Job("", work, background=True)
    network.pace.clear()
    thread = threading.Thread(target=lambda: work(job))
    thread.start()
    until(lambda: network.running)
    job.stop.set()
    thread.join()
    job.stop.clear()
    network.pace.set()
    work(job)
    job.end()
    maps = [news.explanation for news in told(job) if isinstance(news, Mapped)]
    assert len(maps) == 1 and maps[0].complete and maps[0].seconds == 1.0


# Events


def test_a_photo_is_predicted_at_once(handlers: Handlers, photo: dict[str, str], network: StandIn) -> None:
    page = handlers.page
    state = Watcher(handlers.new_photo(asked(handlers, photo, layer="layer2"), visitor())).finished()
    assert state[page.ask["target"]]["value"] == 4 and len(state[page.ask["target"]]["choices"]) == len(CATEGORIES)
    assert state[page.ask["against"]]["value"] == text.NOBODY
    assert state[page.ask["layer"]] == gr.update(choices=text.layer_choices(MODELS["photo11"].layers), value="layer2")
    assert "&lt;b&gt;fox&lt;/b&gt;" in state[page.predictions] and "<img" in state[page.framed]
    assert state[page.explain]["interactive"] and network.threads == {"compute"}


def test_a_photo_told_twice_is_read_once(handlers: Handlers, photo: dict[str, str], network: StandIn) -> None:
    """Gradio sends two changes per upload; the second changes nothing, but answers."""
    ask = lambda given: list(handlers.new_photo(asked(handlers, given), visitor()))  # noqa: E731
    assert len(ask(photo)) > 1
    assert ask(photo) == [{handlers.page.status: gr.skip()}]
    ask(None)
    assert len(ask(photo)) > 1


def test_a_bad_photo_gets_its_sentence_and_an_empty_page(handlers: Handlers, uploads: Path) -> None:
    (uploads / "bad.jpg").write_text("no photo")
    watcher = Watcher(handlers.new_photo(asked(handlers, {"path": str(uploads / "bad.jpg")}), visitor()))
    state = watcher.finished()
    assert "cannot be read" in str(watcher.error) and "cannot be read" in state[handlers.page.status]
    assert state[handlers.page.predictions] == "" and not state[handlers.page.explain]["interactive"]


def test_maps_stream_and_finish(handlers: Handlers, photo: dict[str, str], network: StandIn) -> None:
    """IS-CAM sharpens before it is done, a blank map tells why, and what cannot serve says so."""
    page, network.beat = handlers.page, 0.03
    watcher = Watcher(
        handlers.explain(
            asked(handlers, photo, methods=["is-cam", "cam", "grad-cam", "grad-cam++"], engine="exact"), visitor()
        )
    )
    state = watcher.finished()
    assert network.engines == ["exact"]
    first = watcher.steps[0] | watcher.steps[1]
    assert not first[page.explain]["visible"] and first[page.stop]["visible"]
    assert "waiting" in shown(first[page.maps["is-cam"]]) and first[page.maps["ss-cam"]] == ""
    cards = [shown(step[page.maps["is-cam"]]) for step in watcher.steps[1:] if page.maps["is-cam"] in step]
    assert any("provisional" in card for card in cards[:-1])
    assert "provisional" not in cards[-1] and "cat · 25.0 %" in cards[-1] and "10 passes" in cards[-1]
    assert 'alt="IS-CAM map for cat: strongest in the upper left"' in cards[-1]
    assert "CAM needs another head." in shown(state[page.maps["cam"]])
    blank = shown(state[page.maps["grad-cam++"]])
    assert "id=blank-reason" in blank and "all weights are zero" in blank and "map for cat: blank" in blank
    assert "id=blank-reason" not in shown(state[page.maps["grad-cam"]])
    assert "Done in 1.5 s, 10 passes, within 0.40 % of exact." in state[page.status]
    assert state[page.explain]["visible"] and not state[page.stop]["visible"]


def test_a_contrast_is_added_for_a_second_class(handlers: Handlers, photo: dict[str, str]) -> None:
    state = Watcher(handlers.explain(asked(handlers, photo, against=2), visitor())).finished()
    assert "cat rather than dog" in shown(state[handlers.page.contrast])
    state = Watcher(handlers.explain(asked(handlers, photo, against=2, methods=["eigen-cam"]), visitor())).finished()
    assert "choose IS-CAM" in shown(state[handlers.page.contrast])


def test_stop_keeps_the_map_so_far_and_a_second_run_works(
    handlers: Handlers, photo: dict[str, str], network: StandIn
) -> None:
    network.pace.clear()
    watcher = Watcher(handlers.explain(asked(handlers, photo, methods=["is-cam", "score-cam"]), visitor()))
    until(lambda: network.running)
    handlers.halt(visitor())
    state = watcher.finished()
    assert "Stopped after" in state[handlers.page.status]
    assert state[handlers.page.maps["score-cam"]] == ""
    network.pace.set()
    state = Watcher(handlers.explain(asked(handlers, photo, methods=["is-cam", "score-cam"]), visitor())).finished()
    assert "Done in" in state[handlers.page.status]


def test_closing_the_page_ends_the_job(handlers: Handlers, photo: dict[str, str], network: StandIn) -> None:
    """Gradio closes the generator of a page that has gone; nothing of its job goes on."""
    network.pace.clear()
    event = handlers.explain(asked(handlers, photo), visitor())
    next(event), next(event)
    until(lambda: network.running)
    event.close()
    until(lambda: not network.running)
    batches = network.batches
    handlers.leave(visitor())
    network.pace.set()
    time.sleep(0.05)
    assert network.batches == batches and not len(handlers.visits)


def test_a_second_visitor_waits_and_is_told(handlers: Handlers, photo: dict[str, str], network: StandIn) -> None:
    network.pace.clear()
    first = Watcher(handlers.explain(asked(handlers, photo), visitor("ann")))
    until(lambda: network.running)
    second = Watcher(handlers.explain(asked(handlers, photo), visitor("bob")))
    until(lambda: any("1 job before yours" in step.get(handlers.page.status, "") for step in second.steps))
    network.pace.set()
    assert "Done" in first.finished()[handlers.page.status] and "Done" in second.finished()[handlers.page.status]


def test_a_new_photo_takes_the_place_of_running_maps(
    handlers: Handlers, photo: dict[str, str], network: StandIn
) -> None:
    """The old event ends without touching the page again."""
    network.pace.clear()
    old = Watcher(handlers.explain(asked(handlers, photo), visitor()))
    until(lambda: network.running)
    new = Watcher(handlers.new_photo(asked(handlers, {"path": str(OPENING)}), visitor()))
    new.finished()
    old.finished()
    assert handlers.page.explain not in old.steps[-1]


def test_another_look_runs_nothing(handlers: Handlers, photo: dict[str, str], network: StandIn) -> None:
    page = handlers.page
    before = Watcher(handlers.explain(asked(handlers, photo, against=2), visitor())).finished()
    batches, analysed = network.batches, network.analysed
    (after,) = handlers.revisit(asked(handlers, photo, opacity=0.9, colours="magma", view="heat map"), visitor())
    assert set(after) == {page.maps["is-cam"], page.maps["grad-cam"], page.contrast, page.scale, page.notice}
    assert shown(after[page.maps["is-cam"]]) != shown(before[page.maps["is-cam"]])
    (cells,) = handlers.revisit(asked(handlers, photo, view="layer cells"), visitor())
    assert shown(cells[page.maps["is-cam"]]) not in (
        shown(before[page.maps["is-cam"]]),
        shown(after[page.maps["is-cam"]]),
    )
    assert (network.batches, network.analysed) == (batches, analysed)
    assert list(handlers.revisit(asked(handlers, photo), visitor("a stranger"))) == [{page.status: gr.skip()}]
    with pytest.raises(gr.Error):
        list(handlers.revisit(asked(handlers, photo, opacity=7), visitor()))


def test_what_was_answered_once_is_there_at_once_for_everybody(
    handlers: Handlers, photo: dict[str, str], network: StandIn
) -> None:
    """Also while the compute thread is busy with another visitor; another setting that a method heeds is another question."""
    page = handlers.page
    first = Watcher(handlers.explain(asked(handlers, photo), visitor())).finished()
    batches = network.batches
    network.pace.clear()
    slow = Watcher(handlers.explain(asked(handlers, {"path": str(OPENING)}), visitor("bob")))
    until(lambda: network.running)
    again = Watcher(handlers.explain(asked(handlers, photo), visitor("cid"))).finished()
    assert again[page.maps["is-cam"]] == first[page.maps["is-cam"]] and "Done before" in again[page.status]
    network.pace.set()
    slow.finished()
    assert network.batches == batches + 10
    Watcher(handlers.explain(asked(handlers, photo, steps=3), visitor())).finished()
    assert network.batches == batches + 20
    Watcher(handlers.explain(asked(handlers, photo, target=4), visitor())).finished()
    network.pace.clear()
    new = Watcher(handlers.new_photo(asked(handlers, photo), visitor("dan"))).finished()  # its top class is known
    assert "map for &lt;b&gt;fox" in shown(new[page.maps["is-cam"]]) and network.batches == batches + 30


def test_another_class_of_an_explained_photo_is_explained_at_once(
    handlers: Handlers, photo: dict[str, str], network: StandIn
) -> None:
    """And of a photo that has not been explained, only when that is asked for."""
    page = handlers.page
    assert list(handlers.switch(asked(handlers, photo), visitor())) == [{page.status: gr.skip()}]
    Watcher(handlers.new_photo(asked(handlers, photo), visitor())).finished()
    assert list(handlers.switch(asked(handlers, photo), visitor())) == [{page.status: gr.skip()}]
    Watcher(handlers.explain(asked(handlers, photo), visitor())).finished()
    watcher = Watcher(handlers.switch(asked(handlers, photo, target=2), visitor()))
    state = watcher.finished()
    assert "map for dog" in shown(state[page.maps["is-cam"]]) and "map for dog" in shown(state[page.maps["grad-cam"]])
    assert all(step.get(page.maps["is-cam"]) != "" for step in watcher.steps)  # the old map stays until the new one
    state = Watcher(handlers.switch(asked(handlers, photo, target=2, against=0), visitor())).finished()
    assert "dog rather than cat" in shown(state[page.contrast])


def test_a_class_is_not_set_against_itself(
    handlers: Handlers, photo: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(gr, "Warning", warnings.append)
    Watcher(handlers.explain(asked(handlers, photo), visitor())).finished()
    (state,) = handlers.switch(asked(handlers, photo, target=2, against=2), visitor())
    assert state == {handlers.page.ask["against"]: text.NOBODY} and "the same" in warnings[0]


def test_explain_before_the_prediction_takes_the_new_photos_class(
    handlers: Handlers, photo: dict[str, str], network: StandIn
) -> None:
    """The class on the page is still that of the photo before."""
    page = handlers.page
    Watcher(handlers.new_photo(asked(handlers, {"path": str(OPENING)}), visitor())).finished()
    state = Watcher(handlers.explain(asked(handlers, photo, target=5), visitor())).finished()
    assert "map for &lt;b&gt;fox&lt;/b&gt;" in shown(state[page.maps["is-cam"]])
    assert state[page.ask["target"]]["value"] == 4


def test_an_improbable_class_and_disagreement_are_flagged_above_the_maps(
    handlers: Handlers, photo: dict[str, str], network: StandIn
) -> None:
    page, plain = handlers.page, network.map

    def odd(method: str, *rest: Any, **more: Any) -> Explanation:
        found = plain(method, *rest, **more)
        flipped = found.heatmap[::-1] if method == "grad-cam" else found.heatmap
        return replace(found, heatmap=flipped, probability=0.004, note=doubt(found.category, 0.004))

    network.map = odd  # type: ignore[method-assign]
    state = Watcher(handlers.explain(asked(handlers, photo), visitor())).finished()
    notice = shown(state[page.notice])
    assert "The network gives cat only 0.4 %" in notice and "The two maps disagree" in notice and notice.count("⚠") == 2
    assert "only 0.4 %" not in shown(state[page.maps["is-cam"]])  # said once
    network.map = plain  # type: ignore[method-assign]
    state = Watcher(handlers.explain(asked(handlers, photo, target=2), visitor())).finished()
    assert shown(state[page.notice]) == "<p>The maps agree: their correlations are 1.00 to 1.00.</p>"


# Tabs


def test_classes_and_layers_are_studied_and_kept(handlers: Handlers, photo: dict[str, str], network: StandIn) -> None:
    """Five classes with the contrast of the first two; every layer; a second time nothing is run."""
    page = handlers.page
    Watcher(handlers.explain(asked(handlers, photo), visitor())).finished()
    for tab, words, cards in (("classes", "dog", 5), ("layers", "layer1, 12 of", 3)):
        state = Watcher(handlers.opened(tab)(asked(handlers, photo), visitor())).finished()
        assert shown(state[page.shelf[tab]]).count("<figure") == cards and words in shown(state[page.shelf[tab]])
        assert state[page.explain]["visible"] and "Done in" in state[page.status]
        analysed, threads = network.analysed, len(network.engines)
        (again,) = handlers.opened(tab)(asked(handlers, photo), visitor())
        assert again[page.shelf[tab]] == state[page.shelf[tab]]
        assert (network.analysed, len(network.engines)) == (analysed, threads)
    (state,) = handlers.opened("classes")(asked(handlers, photo), visitor())
    assert "cat rather than &lt;b&gt;fox&lt;/b&gt;" in shown(state[page.shelf["class_contrast"]])


def test_a_tab_waits_for_the_maps_and_gives_way_to_them(
    handlers: Handlers, photo: dict[str, str], network: StandIn
) -> None:
    page = handlers.page
    network.pace.clear()
    maps = Watcher(handlers.explain(asked(handlers, photo), visitor()))
    until(lambda: network.running)
    assert list(handlers.opened("layers")(asked(handlers, photo), visitor())) == [{page.status: gr.skip()}]
    network.pace.set()
    maps.finished()
    network.pace.clear()
    study = Watcher(handlers.opened("layers")(asked(handlers, photo, over_layers="is-cam", steps=7), visitor()))
    until(lambda: network.running)
    new = Watcher(handlers.new_photo(asked(handlers, {"path": str(OPENING)}), visitor()))
    new.finished(), study.finished()
    assert page.explain not in study.steps[-1]


def test_a_study_can_be_stopped_and_is_then_not_kept(
    handlers: Handlers, photo: dict[str, str], network: StandIn
) -> None:
    page = handlers.page
    Watcher(handlers.explain(asked(handlers, photo, methods=["grad-cam"]), visitor())).finished()
    values = asked(handlers, photo, over_classes="is-cam")
    network.pace.clear()
    study = Watcher(handlers.opened("classes")(values, visitor()))
    until(lambda: network.running)
    handlers.halt(visitor())
    state = study.finished()
    assert state[page.explain]["visible"] and shown(state[page.shelf["classes"]]).count("<figure") == 1
    assert "Stopped" in state[page.status]
    batches = network.batches
    drawn = handlers.redraw(values | {page.look["view"]: "heat map"}, visitor())
    assert shown(drawn[page.shelf["classes"]]).count("<figure") == 1 and network.batches == batches
    network.pace.set()
    state = Watcher(handlers.revisit(values, visitor())).finished()
    assert shown(state[page.shelf["classes"]]).count("<figure") == 5
    example = asked(handlers, {"path": str(EXAMPLES / "coffee.jpg")})
    assert shown(Watcher(handlers.new_photo(example, visitor())).finished()[page.shelf["classes"]]) == ""
    assert handlers.redraw(example, visitor()) == {page.status: gr.skip()}


def test_a_page_keeps_no_question_of_what_it_shows(handlers: Handlers, photo: dict[str, str]) -> None:
    """It holds the photo in full size, and there may be many pages."""
    gc.collect()
    before = {id(each) for each in gc.get_objects() if type(each) is Question}
    Watcher(handlers.explain(asked(handlers, photo), visitor())).finished()
    Watcher(handlers.opened("classes")(asked(handlers, photo), visitor())).finished()
    assert handlers.visits.of("ann").studied is not None
    gc.collect()
    assert not [each for each in gc.get_objects() if type(each) is Question and id(each) not in before]


def test_a_known_answer_takes_the_place_of_what_is_running(
    handlers: Handlers, photo: dict[str, str], network: StandIn
) -> None:
    """Such as the figures after a metric was ticked and taken back: those of the longer question do not come later."""
    page = handlers.page
    values = asked(handlers, photo, over_classes="is-cam")
    Watcher(handlers.explain(values, visitor())).finished()
    Watcher(handlers.opened("classes")(values, visitor())).finished()
    network.pace.clear()
    running = Watcher(handlers.revisit(values | {page.ask["steps"]: 7}, visitor()))
    until(lambda: network.running)
    state = Watcher(handlers.revisit(values, visitor())).finished()
    assert shown(state[page.shelf["classes"]]).count("<figure") == 5
    assert state[page.explain]["visible"] and not state[page.stop]["visible"] and "Done" in state[page.status]
    running.finished()
    until(lambda: not network.running)


def test_a_model_that_was_stopped_before_it_answered_can_be_asked(
    handlers: Handlers, photo: dict[str, str], network: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its layers are there at once, and the classes of the model before are not asked of it."""
    page = handlers.page
    monkeypatch.setattr(handlers.bench, "_download", lambda key: None)
    Watcher(handlers.explain(asked(handlers, photo), visitor())).finished()
    network.pace.clear()
    other = Watcher(handlers.explain(asked(handlers, photo, target=3), visitor("ben")))
    until(lambda: network.running)
    switch = Watcher(handlers.new_model(asked(handlers, photo, model="resnet18"), visitor()))
    until(lambda: "Waiting" in str(switch.page.get(page.status)))
    handlers.halt(visitor())
    state = switch.finished()
    assert state[page.ask["layer"]]["value"] == "layer4" and state[page.explain]["visible"]
    network.pace.set()
    other.finished()
    stale = asked(handlers, photo, model="resnet18", layer="layer4", target=7)
    assert Watcher(handlers.explain(stale, visitor())).finished()[page.ask["target"]]["value"] == 4


def test_a_box_is_read_in_per_cent_and_must_be_one() -> None:
    for written in ("10, 20, 50, 100", " 10 20 50 100", "10% 20% 50% 100%", "10;20;50;100;"):
        assert checks.box(written, (200, 50)) == (20, 10, 100, 50)
    assert all(checks.box(nothing, (9, 9)) is None for nothing in ("", " ", None, 3))
    for wrong in (
        "50 0 10 100",
        "0 0 0 10",
        "-1 0 10 10",
        "0 0 101 10",
        "a b c d",
        "nan 0 1 1",
        "0 0 1 1 1",
        "10 20 50",
    ):
        with pytest.raises(ValueError, match="four numbers"):
            checks.box(wrong, (200, 50))


@pytest.mark.parametrize("also", ["adcc", ["energy"], [3], {"adcc": 1}, None])
def test_only_the_slow_metrics_are_asked_for_by_name(also: object) -> None:
    with pytest.raises(ValueError, match="adcc and road"):
        checks.metrics(also)


@pytest.mark.parametrize(
    "scrub",
    [("nobody", "deletion", 25), ("is-cam", "x", 25), ("is-cam", "deletion", 101), ("is-cam", "deletion", True)],
)
def test_a_wrong_perturbation_is_refused(scrub: tuple[Any, Any, Any]) -> None:
    with pytest.raises(ValueError, match=r"^(A photo is perturbed|The share).*\.$"):
        checks.look(*LOOK, *scrub)


def test_a_figure_is_bold_only_if_it_beats_all_controls() -> None:
    """For some metrics the lower is better; what is yes or no for one photo is never bold."""
    controls = {key: {"average-drop": 0.5, "insertion": 0.5, "increase": 0.0} for key in CONTROLS}
    better = {"average-drop": 0.4, "insertion": 0.6, "increase": 1.0}
    rows = controls | {"is-cam": better, "grad-cam": controls["random"]}
    found = text.figures(rows, {}, {"CAM": "why <not>"}, "<b>", 0.9)
    assert found.count("<strong>") == 2 and "<strong>40.0</strong>" in found and "<strong>60.0</strong>" in found
    assert "<td>yes</td>" in found and "why &lt;not&gt;" in found and "for &lt;b&gt; (" in found
    assert found.index("IS-CAM") < found.index("Grad-CAM") < found.index("Random")
    worse = controls | {"is-cam": {"average-drop": 0.6, "insertion": 0.4, "increase": 1.0}}
    worse["fake-cam"] = {"average-drop": 0.9, "insertion": 0.1, "increase": 0.0}
    assert "<strong>" not in text.figures(worse, {}, {}, "cat", 0.9)
    del worse["fake-cam"], worse["random"]["insertion"]
    assert "<strong>" not in text.figures(worse | {"is-cam": better}, {}, {}, "cat", 0.9)  # a control is still to come
    close = controls | {"is-cam": {"insertion": 0.5004}}
    assert "<strong>" not in text.figures(close, {}, {}, "cat", 0.9)  # it is read as 50.0 against 50.0


def test_a_blank_map_and_an_improbable_class_are_named_and_never_win() -> None:
    rows = {key: {"insertion": 0.5} for key in CONTROLS} | {"grad-cam": {"insertion": 0.9}}
    found = text.figures(rows, {"grad-cam": "all weights are negative"}, {}, "cat", 0.001)
    assert "Grad-CAM <span>blank map</span>" in found and "Grad-CAM: all weights are negative" in found
    assert "<strong>90.0" not in found and "only 0.1 %: do not take the map for evidence" in found
    assert "evidence" not in text.figures(rows, {}, {}, "cat", 0.9)


def test_faithfulness_is_measured_once_and_its_box_again(uploads: Path) -> None:
    """With a real network: every row, a figure in the box without another pass of the slow kind, the share of the pixels."""
    bench, worker = Bench(), Worker()
    question = replace(checks.question({"path": str(OPENING)}), methods=("grad-cam",))

    def studied(question: Question) -> list[Any]:
        job = worker.submit("ann", studies.study(bench, "faithfulness", question))
        return told(job)

    first = studied(question)
    rows = {each.method: each for each in first if isinstance(each, studies.Measured)}
    assert list(rows) == [*CONTROLS, "grad-cam"]
    assert rows["fake-cam"].faithfulness.values["average-drop"] < 0.01
    assert rows["grad-cam"].taken.min() == 1 and rows["grad-cam"].taken.max() == studies.CURVE_STEPS
    whole = question.photo.size
    boxed = {each.method: each for each in studied(replace(question, box=(0, 0, *whole))) if hasattr(each, "taken")}
    assert boxed["random"].faithfulness.values["energy"] == pytest.approx(1) == boxed["random"].faithfulness.box_area
    assert boxed["grad-cam"].faithfulness.curves is rows["grad-cam"].faithfulness.curves
    slow = [each for each in studied(replace(question, also=("adcc",))) if isinstance(each, studies.Measured)]
    assert [each.method for each in slow] == 2 * [*CONTROLS, "grad-cam"]  # what is cheap first
    assert ["adcc" in each.faithfulness.values for each in slow] == 4 * [False] + 4 * [True]
    kept = replace(question, also=("adcc",), box=(0, 0, *whole))
    assert all("adcc" in each.faithfulness.values for each in studied(kept) if isinstance(each, studies.Measured))
    known = studies.recall(bench, "faithfulness", question)
    assert known is not None
    shelf = galleries.arranged("faithfulness", known, Look(by="grad-cam", share=100))
    assert "100 % of the pixels removed" in shelf["perturbed"] and "Grad-CAM" in shelf["trust"]
    assert len(shelf["deletion"]) == 4 * (studies.CURVE_STEPS + 1)
    assert "has not been measured" in galleries.arranged("faithfulness", known, Look(by="is-cam"))["perturbed"]


def test_export_packs_what_is_shown(handlers: Handlers, photo: dict[str, str]) -> None:
    page = handlers.page
    values = asked(handlers, photo, steps=3, engine="exact", target=2)
    Watcher(handlers.explain(values, visitor())).finished()
    (state,) = handlers.opened("export")(values, visitor())
    command = state[page.export["command"]]
    words = "--steps 3 --engine exact --layer layer3 --target 2 --methods is-cam,grad-cam"
    assert command == f"python -m iscam explain mine.png {words}"
    link = state[page.export["link"]]
    assert link.startswith("http://here/?model=photo11&layer=layer3&class=2&steps=3&") and "example" not in link
    assert "not the photo" in state[page.export["remark"]]
    with zipfile.ZipFile(state[page.export["download"]]["value"]) as packed:
        assert set(packed.namelist()) == {f"mine.iscam.{end}" for end in ("png", "npz", "json")} | {"command.txt"}
        assert packed.read("command.txt").decode().strip() == command
        record = json.loads(packed.read("mine.iscam.json"))
        arrays = np.load(io.BytesIO(packed.read("mine.iscam.npz")))
        assert arrays["is-cam"].shape == (30, 30) and "grad-cam.raw" in arrays
    assert (record["engine"], record["settings"]["steps"], record["target"]["category"]) == ("exact", 3, "dog")


def test_a_link_brings_the_question_back(handlers: Handlers, network: StandIn) -> None:
    page = handlers.page
    query = {"class": "2", "steps": "3", "methods": "is-cam,grad-cam++", "engine": "exact", "example": "coffee"}
    state = Watcher(handlers.open(visitor("ann", **query, layer="layer2"))).finished()
    assert state[page.ask["steps"]] == 3 and state[page.ask["methods"]] == ["is-cam", "grad-cam++"]
    assert state[page.ask["target"]]["value"] == 2 and state[page.ask["layer"]]["value"] == "layer2"
    assert state[page.ask["photo"]].endswith("coffee.jpg") and "map for dog" in shown(state[page.maps["is-cam"]])
    (skipped,) = handlers.new_photo(asked(handlers, {"path": str(EXAMPLES / "coffee.jpg")}), visitor())
    assert skipped == {page.status: gr.skip()}  # the page tells of the link's photo as of any other
    question = checks.question(**links.read(query))
    assert links.read(dict(parse_qsl(links.query(question, 2)))) == links.read(query) | {
        "model": "photo11",
        "layer": "layer3",
        "path": "cumulative",
        "weighting": "probability",
    }


def test_a_link_may_call_a_class_by_its_name(handlers: Handlers, network: StandIn) -> None:
    network.model.find_class = lambda name: CATEGORIES.index(name.lower()) if isinstance(name, str) else name
    state = Watcher(handlers.open(visitor("ann", **{"class": "Dog", "methods": "grad-cam"}))).finished()
    assert state[handlers.page.ask["target"]]["value"] == 2
    assert "map for dog" in shown(state[handlers.page.maps["grad-cam"]])


@pytest.mark.parametrize(
    "query", [{"steps": "0"}, {"steps": "x"}, {"example": "../x"}, {"model": "y"}, {"methods": ","}, {"against": "²"}]
)
def test_a_bad_link_says_so_and_opens_the_page(
    query: dict[str, str], handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda words, duration=None: warnings.append(words))
    state = Watcher(handlers.open(visitor("ann", **query))).finished()
    if query == {"against": "²"}:  # only the model knows its classes
        assert "Something went wrong" in state[handlers.page.status] or "²" in state[handlers.page.status]
    else:
        assert "An example" in state[handlers.page.status] and "cannot be followed" in warnings[0]


def test_answers_are_bounded_and_the_last_used_stay() -> None:
    answers = Answers(limit=10)
    for key in "abc":
        answers.put(key, key.upper(), 3)
    assert answers.get("a") == "A"
    answers.put("d", "D", 4)
    assert (answers.get("a"), answers.get("b"), answers.get("d")) == ("A", None, "D")
    answers.put("a", "AA", 1)
    answers.put("e", "E", 2)
    assert [answers.get(key) for key in "acde"] == ["AA", "C", "D", "E"]


def test_the_page_opens_with_an_example_explained_once(handlers: Handlers, network: StandIn) -> None:
    page = handlers.page
    for name in ("ann", "bob"):
        state = Watcher(handlers.open(visitor(name))).finished()
        assert "An example" in state[page.status] and "<img" in shown(state[page.maps["is-cam"]])
        assert state[page.ask["target"]]["value"] == 4
    assert (network.batches, network.analysed) == (10, 1)


def test_an_opened_page_does_not_wait_behind_visitors(
    handlers: Handlers, photo: dict[str, str], network: StandIn
) -> None:
    """The example is explained when nobody asks anything; until then the page is ready, with finished maps only."""
    page = handlers.page
    network.pace.clear()
    early = Watcher(handlers.open(visitor("ann")))
    until(lambda: network.running)
    running = Watcher(handlers.explain(asked(handlers, photo), visitor("bob")))
    state = early.finished()
    late = Watcher(handlers.open(visitor("cid"))).finished()
    for each in (state, late):
        assert each[page.explain]["visible"] and each[page.maps["is-cam"]] == ""
        assert "fox" in each[page.predictions]
    network.pace.set()
    assert "Done" in running.finished()[page.status]


# The server's edges


def test_building_loads_no_weights_and_opens_no_connection(tmp_path: Path) -> None:
    code = """
import socket, sys
def refuse(*arguments):
    raise AssertionError("a connection was opened")
socket.socket.connect = socket.socket.connect_ex = refuse
from iscam.ui import build
demo, _ = build()
print("torch" in sys.modules, [fn.api_name for fn in demo.fns.values() if fn.api_visibility == "public"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False ['explain']"


def test_the_page_starts_with_resnet18_only_if_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert serve_module().start_model() == "photo11"
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth").touch()
    assert serve_module().start_model() == "resnet18"


def serve_module() -> Any:
    return sys.modules[serve.__module__]


def test_examples_are_there() -> None:
    assert OPENING.is_file() and len(list(EXAMPLES.glob("*.jpg"))) == 4 and (EXAMPLES / "LICENSES.md").is_file()
