"""What the compute process does: models, analyses, maps. The network is a stand-in."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from iscam import MODELS, Photo
from iscam.ui.done import maps
from iscam.ui.done.answers import Answers
from iscam.ui.done.bench import KEPT_ANALYSES, KEPT_MODELS, Bench
from iscam.ui.done.compute import carry_out
from iscam.ui.done.news import Analysed, Failed, Loading, Mapped, Refused, Unavailable
from iscam.ui.done.order import Order
from iscam.ui.done.question import Question
from iscam.ui.done.worker import Worker
from tests.ui.stand_in import StandIn, ask, carried_out, pending, told, until


def predicted(bench: Bench, question: Question) -> list[Any]:
    return carried_out(bench, Order(maps.predict, question))


def explained(bench: Bench, question: Question) -> list[Any]:
    return carried_out(bench, Order(maps.explain, question))


def test_photos_are_analysed_once_and_few_are_kept(network: StandIn) -> None:
    bench = Bench(lambda key: network)
    for _ in range(3):
        predicted(bench, ask("a"))
    assert network.analysed == 1
    predicted(bench, ask("a", layer="layer2"))
    assert network.analysed == 2
    for number in range(KEPT_ANALYSES + 3):
        predicted(bench, ask(str(number)))
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
        pages.append(explained(bench, ask(str(number), methods=("grad-cam",))))
    gc.collect()
    assert sum(analysis() is not None for analysis in analyses) == KEPT_ANALYSES
    assert all(news.explanation.weights is None for page in pages for news in page if isinstance(news, Mapped))


def test_few_models_are_kept_and_their_analyses_go_with_them() -> None:
    bench = Bench(lambda key: StandIn())  # type: ignore[arg-type,return-value]
    keys = list(MODELS)[: KEPT_MODELS + 1]
    for key in keys:
        predicted(bench, ask(model=key))
    assert list(bench._explainers) == keys[1:]
    assert {model for _, model, _ in bench._analyses} == set(keys[1:])


def test_without_weights_the_bundled_model_predicts_and_says_why(network: StandIn) -> None:
    def load(key: str) -> Any:
        if key != "photo11":
            raise OSError("The weights could not be downloaded: use photo11.")
        return network

    bench = Bench(load)
    news = predicted(bench, ask(model="vgg16", layer="features.29"))
    assert [type(each) for each in news] == [Loading, Unavailable, Loading, Analysed]
    assert news[1].sentence.startswith("The weights") and (news[3].subject.spec.key, news[3].subject.layer) == (
        "photo11",
        "layer3",
    )
    with pytest.raises(OSError, match="could not be downloaded"):  # a question about vgg16 gets no answer about another
        explained(bench, ask(model="vgg16"))


def test_a_failed_download_is_told_once_and_not_tried_again_by_the_compute_thread(
    network: StandIn, hire: Callable[[Bench], Worker]
) -> None:
    threads: list[str] = []

    def download(key: str, progress: Callable[[int, int], None]) -> None:
        threads.append(threading.current_thread().name)
        raise OSError("The weights could not be downloaded: use photo11.")

    def load(key: str) -> Any:
        assert key == "photo11"
        return network

    worker, question = hire(Bench(load, download)), ask(model="vgg16")
    news = told(worker.submit("ann", Order(maps.predict, question)))
    assert [type(each) for each in news] == [Loading, Unavailable, Loading, Analysed]
    news = told(worker.submit("ann", Order(maps.explain, question)))
    assert news[-1] == Failed("The weights could not be downloaded: use photo11.")
    assert threads == ["fetch", "fetch"]


def test_nothing_is_fetched_for_models_that_are_here(network: StandIn) -> None:
    fetched: list[str] = []
    bench = Bench(lambda key: network, lambda key, progress: fetched.append(key))  # type: ignore[arg-type,return-value]
    news: list[Any] = []
    bench.fetch(MODELS["vgg16"], pending(Order(maps.predict, ask()), news))
    assert fetched == ["vgg16"] and [type(each) for each in news] == [Loading]
    predicted(bench, ask(model="vgg16"))
    bench.fetch(MODELS["vgg16"], pending(Order(maps.predict, ask()), news))
    assert fetched == ["vgg16"] and len(news) == 1


def test_the_opening_example_goes_on_with_the_bundled_model(network: StandIn) -> None:
    """Nobody chose the start model, so a damaged file in the cache must not cost the page its example."""

    def load(key: str) -> Any:
        if key != "photo11":
            raise OSError("The weights file is damaged: delete it and try again.")
        return network

    order = Order(maps.explain, ask(model="resnet18", methods=("grad-cam",)))
    news = carried_out(Bench(load), order, background=True)
    assert [type(each) for each in news] == [Loading, Unavailable, Loading, Analysed, Mapped]


def test_methods_answer_one_after_the_other_and_one_refusal_stops_none(network: StandIn) -> None:
    news = explained(Bench(lambda key: network), ask(methods=("cam", "grad-cam", "eigen-cam")))  # type: ignore[arg-type,return-value]
    assert [type(each) for each in news] == [Loading, Analysed, Refused, Mapped, Mapped]
    assert news[2] == Refused("cam", "CAM needs another head.")


def test_maps_go_on_where_they_gave_way(bench: Bench, network: StandIn) -> None:
    """The map that was stopped is not shown as finished, and what was told is not told again; time and passes of both parts
    are counted."""
    order = Order(maps.explain, ask(methods=("is-cam", "grad-cam")))
    news: list[Any] = []
    task, told = pending(order, news), []
    network.pace.clear()
    thread = threading.Thread(target=lambda: told.append(carry_out(order, bench, task)))
    thread.start()
    until(lambda: network.running)
    task.gives_way = True
    task.stop.set()
    thread.join()
    network.pace.set()
    assert [news.explanation.method for news in news if isinstance(news, Mapped)] == ["grad-cam"] and told == [2]
    news += carried_out(bench, order.rest(2))
    found = [news.explanation for news in news if isinstance(news, Mapped)]
    assert [each.method for each in found] == ["grad-cam", "is-cam"]
    assert found[1].complete and found[1].seconds == 1.0


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
