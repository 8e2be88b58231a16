"""What the compute thread does: models, analyses, maps. The network is a stand-in."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from iscam import MODELS, Photo
from iscam.ui.done.answers import Answers
from iscam.ui.done.bench import KEPT_ANALYSES, KEPT_MODELS, Bench
from iscam.ui.done.news import Analysed, Failed, Loading, Mapped, Refused, Unavailable
from iscam.ui.done.question import Question
from iscam.ui.done.worker import Job, Worker
from tests.ui.stand_in import StandIn, told, until


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
    assert news[1].sentence.startswith("The weights") and (news[3].subject.spec.key, news[3].subject.layer) == (
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
