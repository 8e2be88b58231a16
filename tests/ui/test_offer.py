"""Networks beyond the table on the page: one's own, and timm's by name."""

from __future__ import annotations

import argparse
import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import gradio as gr
import pytest
import timm

import app
from iscam.cli import add_network
from iscam.images import read_photo
from iscam.models import DEFAULT_MODEL, MODELS, ModelSpec
from iscam.models.bundled.network import CATEGORIES
from iscam.models.photo11 import BUNDLED_WEIGHTS
from iscam.ui.asked.events import Events
from iscam.ui.demo import build
from iscam.ui.done import maps, opening
from iscam.ui.done.bench import Bench
from iscam.ui.done.news import Analysed, Loading
from iscam.ui.done.offer import OWN, Offer, Own
from iscam.ui.done.opening import PHOTO
from iscam.ui.done.order import Order
from iscam.ui.done.question import Question
from iscam.ui.done.worker import Worker
from iscam.ui.seen.shown import Line
from tests.hub_server import Server
from tests.models.test_stored import store

from .stand_in import PATIENCE, StandIn, Watcher, asked, page_of, shown, told, visitor

Page = Callable[..., Events]
WEIGHTS = Path(BUNDLED_WEIGHTS).name


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages whose answers are not shipped open with a map that takes one pass."""
    example = opening.example

    def shorter(row: ModelSpec, own: Own | None = None) -> Question:
        whole = example(row, own)
        return whole if row.key == DEFAULT_MODEL else replace(whole, methods=("grad-cam",))

    monkeypatch.setattr(opening, "example", shorter)


@pytest.fixture
def page(hire: Callable[..., Worker]) -> Page:
    """`page(head="sigmoid", ...)`: one that serves photo11 as somebody's own checkpoint."""

    def make(**arguments: object) -> Events:
        whole = {"arch": "photo11", "checkpoint": BUNDLED_WEIGHTS} | arguments
        own = Own(whole, "mine", ["--arch", "photo11", "--checkpoint", WEIGHTS])

        async def inside_a_loop() -> Events:
            return build(hire(Bench(), Offer(own)), OWN)[1]

        return asyncio.run(inside_a_loop())

    return make


def test_it_is_offered_first_and_its_layers_when_it_is_loaded(page: Page, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"kind {name}" for name in CATEGORIES))
    events = page(labels=names)
    parts = page_of(events)
    box = parts.ask["model"]
    assert isinstance(box, gr.Dropdown) and box.choices[0] == ("mine", OWN) and box.value == OWN
    state = Watcher(events.maps.open(visitor())).finished()
    label = f"photo11 ({WEIGHTS})"
    assert label in shown(state[parts.predictions]) and "kind cat" in shown(state[parts.predictions])
    assert state[parts.ask["layer"]] == "layer3" and "map for kind cat" in shown(state[parts.maps["grad-cam"]])
    offer = events.desk.worker.offer
    assert offer.row(OWN).label == label and list(offer.row(OWN).layers) == ["layer3", "layer2", "layer1"]


def test_it_can_be_left_and_asked_again(page: Page) -> None:
    events = page()
    ask = partial(asked, events, {"path": str(PHOTO)}, against=-1, methods=["grad-cam"])
    Watcher(events.maps.open(visitor())).finished()
    state = Watcher(events.maps.new_model(ask(model="photo11"), visitor())).finished()
    assert "photo11 sees" in shown(state[page_of(events).predictions]).replace("What ", "")
    state = Watcher(events.maps.new_model(ask(model=OWN), visitor())).finished()
    assert WEIGHTS in shown(state[page_of(events).predictions])


def test_what_is_taken_along_names_no_folder_of_the_server(page: Page) -> None:
    events = page()
    Watcher(events.maps.open(visitor())).finished()
    (state,) = events.tabs.opened("export")(asked(events, {"path": str(PHOTO)}, model=OWN), visitor())
    command = state[page_of(events).shelf["command"]]
    assert f" --arch photo11 --checkpoint {WEIGHTS} --layer layer3 " in command and "/" not in command
    assert "model=own" in state[page_of(events).shelf["link"]]


def test_several_findings_are_named(page: Page) -> None:
    events = page(head="sigmoid")
    values = asked(events, {"path": str(PHOTO)}, model=OWN, against=-1, methods=["grad-cam"])
    state = Watcher(events.maps.new_photo(values, visitor())).finished()
    assert " found" in shown(state[page_of(events).predictions])


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"arch": "resnet18"}, "does not fit"),
        ({"checkpoint": Path("nowhere.pth")}, "nowhere.pth"),
        ({"labels": Path("nowhere.txt")}, "nowhere.txt"),
    ],
)
def test_one_that_cannot_be_had_is_answered(
    page: Page, wrong: dict[str, object], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a sentence, and the bundled model in its place."""
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda words, duration=None: said.append(words))
    events = page(**wrong)
    state = Watcher(events.maps.open(visitor())).finished()
    assert "What photo11 sees" in shown(state[page_of(events).predictions])
    assert len(said) == 1 and word in said[0]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--model", "local-dir:/somewhere/else/net"], "local-dir:net"),
        (["--model", "hf-hub:org/net"], "hf-hub:org/net"),
        (["--model", "timm/resnet18"], "timm/resnet18"),
        (["--model", "photo11"], None),
        ([], None),
    ],
)
def test_any_name_can_be_served(options: list[str], shown: str | None) -> None:
    parser = argparse.ArgumentParser()
    add_network(parser)
    own = app.own_of(parser.parse_args(options))
    assert (own and own.label) == shown and (own is None or list(own.options) == ["--model", shown])
    assert own is None or own.arguments == {"key": options[1]}


def test_a_folder_is_served(hire: Callable[..., Worker], tmp_path: Path) -> None:
    folder = store(tmp_path / "net", timm.create_model("resnet18", num_classes=3), label_names=["ash", "birch", "elm"])
    own = Own({"key": f"local-dir:{folder}"}, "local-dir:net", ["--model", "local-dir:net"])

    async def inside_a_loop() -> Events:
        return build(hire(Bench(), Offer(own)), OWN)[1]

    events = asyncio.run(inside_a_loop())
    question = replace(events.desk.example, methods=("grad-cam",))
    news = told(events.desk.worker.submit("ann", Order(maps.explain, question)))
    (subject,) = [each.subject for each in news if isinstance(each, Analysed)]
    assert subject.spec.key == OWN and set(subject.categories) == {"ash", "birch", "elm"}


# Networks of timm's, by the names that visitors type


@pytest.fixture
def typed(hire: Callable[..., Worker]) -> Events:
    async def inside_a_loop() -> Events:
        return build(hire(Bench()), "photo11")[1]

    return asyncio.run(inside_a_loop())


def test_a_name_of_timms_is_taken(typed: Events, server: Server, tmp_path: Path) -> None:
    folder = store(tmp_path / "net", timm.create_model("resnet18"), num_classes=1000)
    server.repos["timm/resnet18.a1_in1k"] = {file.name: file.read_bytes() for file in folder.iterdir()}
    parts, name = page_of(typed), "timm/resnet18"
    ask = partial(asked, typed, {"path": str(PHOTO)}, against=-1, methods=["grad-cam"], model=name)
    Watcher(typed.maps.open(visitor())).finished()
    watcher = Watcher(typed.maps.new_model(ask(), visitor()))
    state = watcher.finished()
    assert "What resnet18 sees" in shown(state[parts.predictions]) and state[parts.ask["layer"]] == "layer4"
    assert ("resnet18", name) in typed.desk.worker.offer.choices()
    state = Watcher(typed.maps.explain(ask(layer="layer3", target=3), visitor())).finished()
    assert "map for tiger shark" in shown(state[parts.maps["grad-cam"]])
    with pytest.raises(gr.Error, match="no such layer"):
        next(typed.maps.explain(ask(layer="layer9"), visitor()))


@pytest.mark.parametrize(
    "name", ["resn", "local-dir:/etc", "hf-hub:org/mine", "hf:org/mine", "timm/../x", 7, None, ["a"]]
)
def test_other_names_are_refused_and_the_box_goes_back(events: Events, name: object) -> None:
    """Visitors choose among networks that others have looked through, and read no folder of the server."""
    Watcher(events.maps.open(visitor())).finished()
    values = asked(events, {"path": str(PHOTO)}, model=name)
    updates = events.maps.new_model(values, visitor())
    assert next(updates) == {page_of(events).ask["model"]: "photo11"}
    with pytest.raises(gr.Error, match=r"such model|none of a network"):
        next(updates)


def test_a_name_that_timm_has_not_leaves_the_bundled_model(typed: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda words, duration=None: said.append(words))
    values = asked(typed, {"path": str(PHOTO)}, model="timm/resnet5", against=-1)
    state = Watcher(typed.maps.new_model(values, visitor())).finished()
    assert "There is no network 'resnet5' in timm" in said[0] and "What photo11 sees" in shown(
        state[page_of(typed).predictions]
    )


def test_a_label_may_be_typed_as_well() -> None:
    assert Offer().row(" resnet-50 ").key == "resnet50" and Offer().row("timm/resnet50").layers == {}


def test_few_typed_names_are_kept() -> None:
    offer = Offer()
    for number in range(40):
        offer.learn(replace(MODELS["resnet18"], key=f"timm/a{number}"))
    assert len(offer.choices()) == len(MODELS) + 32 and offer.row("timm/a39").layers and not offer.row("timm/a0").layers


def test_a_download_is_told_and_can_be_stopped(network: StandIn, hire: Callable[..., Worker]) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def download(key: str, progress: Callable[[int, int], None]) -> None:
        for part in range(1, 4):
            progress(part * 10**7, 3 * 10**7)
            begun.set()
            goes_on.wait(PATIENCE)

    worker = hire(Bench(lambda key: network, download))
    question = Question(read_photo(PHOTO), MODELS["vgg16"])
    job = worker.submit("ann", Order(maps.predict, question))
    line = Line()
    begun.wait(PATIENCE)
    worker.release(job)
    goes_on.set()
    for batch in job.follow():
        for each in batch:
            line.take(each)
    assert network.analysed == 0
    job = worker.submit("ann", Order(maps.predict, question))  # the next is not kept from it
    told(job)
    assert network.analysed == 1
    line.take(Loading("VGG-16", 10**7, 3 * 10**7))
    assert line.sentence == "Downloading VGG-16: 10 of 30 MB …" and line.share == pytest.approx(1 / 3)
