"""A network of one's own on the page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gradio as gr
import pytest

from iscam.models.bundled.network import CATEGORIES
from iscam.models.photo11 import BUNDLED_WEIGHTS
from iscam.ui.asked.events import Events
from iscam.ui.demo import build
from iscam.ui.done.bench import Bench, load_explainer
from iscam.ui.done.offer import OWN, Offer, Own
from iscam.ui.done.opening import PHOTO
from iscam.ui.done.worker import Worker

from .stand_in import Watcher, asked, page_of, shown, visitor

Page = Callable[..., Events]
WEIGHTS = Path(BUNDLED_WEIGHTS).name


@pytest.fixture
def page(hire: Callable[..., Worker]) -> Page:
    """`page(head="sigmoid", ...)`: one that serves photo11 as somebody's own checkpoint."""

    def make(**arguments: object) -> Events:
        whole = {"arch": "photo11", "checkpoint": BUNDLED_WEIGHTS} | arguments
        own = Own(whole, "mine", ["--arch", "photo11", "--checkpoint", WEIGHTS])

        async def inside_a_loop() -> Events:
            return build(hire(Bench(partial(load_explainer, own=own)), Offer(own)), OWN)[1]

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
    assert state[parts.ask["layer"]] == "layer3" and "map for kind cat" in shown(state[parts.maps["is-cam"]])
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
    state = Watcher(events.maps.open(visitor())).finished()
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
