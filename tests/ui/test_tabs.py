"""What tabs put on the page, and what they ask. The network is a stand-in, but where it is named."""

from __future__ import annotations

import gc
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest

from iscam.project import EXAMPLES
from iscam.trust import CONTROLS
from iscam.ui.asked import checks
from iscam.ui.asked.events import Events
from iscam.ui.done import faithfulness as of_faithfulness
from iscam.ui.done.bench import Bench
from iscam.ui.done.faithfulness import CURVE_STEPS, Measured
from iscam.ui.done.question import Question
from iscam.ui.done.worker import Worker
from iscam.ui.seen import faithfulness
from iscam.ui.seen.canvas import Canvas, Look
from iscam.ui.seen.layout import OPENING
from iscam.ui.seen.words import LIKELY
from tests.ui.stand_in import StandIn, Watcher, asked, page_of, shown, told, until, visitor


def test_classes_and_layers_are_studied_and_kept(events: Events, photo: dict[str, str], network: StandIn) -> None:
    """Five classes with the contrast of the first two; every layer; a second time nothing is run."""
    page = page_of(events)
    Watcher(events.maps.explain(asked(events, photo), visitor())).finished()
    for tab, words, cards in (("classes", "dog", 5), ("layers", "layer1, 12 of", 4)):
        state = Watcher(events.tabs.opened(tab)(asked(events, photo), visitor())).finished()
        assert shown(state[page.shelf[tab]]).count("<figure") == cards and words in shown(state[page.shelf[tab]])
        assert state[page.explain]["visible"] and "Done in" in state[page.status]
        analysed, threads = network.analysed, len(network.engines)
        (again,) = events.tabs.opened(tab)(asked(events, photo), visitor())
        assert again[page.shelf[tab]] == state[page.shelf[tab]]
        assert (network.analysed, len(network.engines)) == (analysed, threads)
    (state,) = events.tabs.opened("classes")(asked(events, photo), visitor())
    assert "cat rather than &lt;b&gt;fox&lt;/b&gt;" in shown(state[page.shelf["class_contrast"]])


def test_a_tab_waits_for_the_maps_and_gives_way_to_them(
    events: Events, photo: dict[str, str], network: StandIn
) -> None:
    page = page_of(events)
    network.pace.clear()
    maps = Watcher(events.maps.explain(asked(events, photo), visitor()))
    until(lambda: network.running)
    assert list(events.tabs.opened("layers")(asked(events, photo), visitor())) == [{page.status: gr.skip()}]
    network.pace.set()
    maps.finished()
    network.pace.clear()
    study = Watcher(events.tabs.opened("layers")(asked(events, photo, layers__method="is-cam", steps=7), visitor()))
    until(lambda: network.running)
    new = Watcher(events.maps.new_photo(asked(events, {"path": str(OPENING)}), visitor()))
    new.finished(), study.finished()
    assert not study.page[page.explain]["visible"]


def test_a_study_can_be_stopped_and_is_then_not_kept(events: Events, photo: dict[str, str], network: StandIn) -> None:
    page = page_of(events)
    Watcher(events.maps.explain(asked(events, photo, methods=["grad-cam"]), visitor())).finished()
    values = asked(events, photo, classes__method="is-cam")
    network.pace.clear()
    study = Watcher(events.tabs.opened("classes")(values, visitor()))
    until(lambda: network.running)
    events.maps.halt(visitor())
    state = study.finished()
    assert state[page.explain]["visible"] and shown(state[page.shelf["classes"]]).count("<figure") == 1
    assert "Stopped" in state[page.status]
    batches = network.batches
    drawn = events.tabs.redraw(values | {page.look["view"]: "heat map"}, visitor())
    assert shown(drawn[page.shelf["classes"]]).count("<figure") == 1 and network.batches == batches
    network.pace.set()
    state = Watcher(events.tabs.revisit(values, visitor())).finished()
    assert shown(state[page.shelf["classes"]]).count("<figure") == 5
    example = asked(events, {"path": str(EXAMPLES / "coffee.jpg")})
    assert shown(Watcher(events.maps.new_photo(example, visitor())).finished()[page.shelf["classes"]]) == ""
    assert events.tabs.redraw(example, visitor()) == {page.status: gr.skip()}


def test_a_page_keeps_no_question_of_what_it_shows(events: Events, photo: dict[str, str]) -> None:
    """It holds the photo in full size, and there may be many pages."""
    gc.collect()
    before = {id(each) for each in gc.get_objects() if type(each) is Question}
    Watcher(events.maps.explain(asked(events, photo), visitor())).finished()
    Watcher(events.tabs.opened("classes")(asked(events, photo), visitor())).finished()
    assert events.desk.visits.of("ann").studied is not None
    gc.collect()
    assert not [each for each in gc.get_objects() if type(each) is Question and id(each) not in before]


def test_a_known_answer_takes_the_place_of_what_is_running(
    events: Events, photo: dict[str, str], network: StandIn
) -> None:
    """Such as the figures after a metric was ticked and taken back: those of the longer question do not come later."""
    page = page_of(events)
    values = asked(events, photo, classes__method="is-cam")
    Watcher(events.maps.explain(values, visitor())).finished()
    Watcher(events.tabs.opened("classes")(values, visitor())).finished()
    network.pace.clear()
    running = Watcher(events.tabs.revisit(values | {page.ask["steps"]: 7}, visitor()))
    until(lambda: network.running)
    state = Watcher(events.tabs.revisit(values, visitor())).finished()
    assert shown(state[page.shelf["classes"]]).count("<figure") == 5
    assert state[page.explain]["visible"] and not state[page.stop]["visible"] and "Done" in state[page.status]
    running.finished()
    until(lambda: not network.running)


def test_what_follows_the_maps_late_takes_nothing_back(events: Events, photo: dict[str, str], network: StandIn) -> None:
    """On a busy machine a visitor opens a tab and chooses there, before the event that follows the maps has its turn."""
    page = page_of(events)
    before = asked(events, photo)
    Watcher(events.maps.explain(before, visitor())).finished()
    chosen = asked(events, photo, classes__method="grad-cam")
    state = Watcher(events.tabs.opened("classes")(chosen, visitor())).finished()
    assert shown(state[page.shelf["classes"]]).count("Grad-CAM map for") == 5
    assert list(events.tabs.follow_up(before, visitor())) == [{page.status: gr.skip()}]
    Watcher(events.maps.explain(before | {page.ask["steps"]: 7}, visitor())).finished()
    state = Watcher(events.tabs.follow_up(before | {page.ask["steps"]: 7}, visitor())).finished()
    assert shown(state[page.shelf["classes"]]).count("<figure") == 5


def test_what_follows_the_maps_late_asks_of_their_class(events: Events, photo: dict[str, str]) -> None:
    """The event that follows the maps of one class may come after the maps of the next."""
    page = page_of(events)
    cat, dog = asked(events, photo), asked(events, photo, target=2)
    Watcher(events.maps.explain(cat, visitor())).finished()
    Watcher(events.tabs.opened("layers")(cat, visitor())).finished()
    Watcher(events.maps.switch(dog, visitor())).finished()
    state = Watcher(events.tabs.follow_up(cat, visitor())).finished()
    assert shown(state[page.shelf["layers"]]).count("map for dog") == 4
    assert list(events.tabs.follow_up(dog, visitor())) == [{page.status: gr.skip()}]
    Watcher(events.maps.switch(cat, visitor())).finished()
    state = Watcher(events.tabs.follow_up(cat, visitor())).finished()
    assert shown(state[page.shelf["layers"]]).count("map for cat") == 4


def test_faithfulness_is_measured_once_and_its_box_again(uploads: Path) -> None:
    """With a real network: every row, a figure in the box without another pass of the slow kind, the share of the pixels."""
    bench, worker, study = Bench(), Worker(), of_faithfulness.STUDY
    question = replace(checks.question({"path": str(OPENING)}), methods=("grad-cam",))

    def studied(also: tuple[str, ...] = (), box: str = "") -> list[Any]:
        asked = study.read(question, {"also": list(also), "box": box})
        return told(worker.submit("ann", study.job(bench, asked)))

    def measured(news: list[Any]) -> list[Measured]:
        return [each for each in news if isinstance(each, Measured)]

    rows = {each.method: each for each in measured(studied())}
    assert list(rows) == [*CONTROLS, "grad-cam"]
    assert rows["fake-cam"].faithfulness.values["average-drop"] < 0.01
    assert rows["grad-cam"].taken.min() == 1 and rows["grad-cam"].taken.max() == CURVE_STEPS
    whole = "0 0 100 100"
    boxed = {each.method: each for each in measured(studied(box=whole))}
    assert boxed["random"].faithfulness.values["energy"] == pytest.approx(1) == boxed["random"].faithfulness.box_area
    assert boxed["grad-cam"].faithfulness.curves is rows["grad-cam"].faithfulness.curves
    slow = measured(studied(also=("adcc",)))
    assert [each.method for each in slow] == 2 * [*CONTROLS, "grad-cam"]  # what is cheap first
    maps = 1 + len(CONTROLS)
    assert ["adcc" in each.faithfulness.values for each in slow] == maps * [False] + maps * [True]
    assert all("adcc" in each.faithfulness.values for each in measured(studied(("adcc",), whole)))
    known = study.recall(bench, study.read(question, {"also": [], "box": ""}))
    assert known is not None
    canvas = Canvas.of(known[0].subject, Look())
    scrub = {"by": "grad-cam", "how": "deletion", "share": 100}
    shelf: dict[str, Any] = faithfulness.FACE.arrange(canvas, known, scrub)
    assert "100 % of the pixels removed" in shelf["perturbed"] and "Grad-CAM" in shelf["trust"]
    assert len(shelf["deletion"]) == maps * (CURVE_STEPS + 1)
    by_another = faithfulness.FACE.arrange(canvas, known, scrub | {"by": "is-cam"})
    assert "has not been measured" in str(by_another["perturbed"])
    assert faithfulness.FACE.settle["by"](known, scrub | {"by": "is-cam"}) == "grad-cam"


def test_export_packs_what_is_shown(events: Events, photo: dict[str, str]) -> None:
    page = page_of(events)
    values = asked(events, photo, steps=3, engine="exact", target=2)
    Watcher(events.maps.explain(values, visitor())).finished()
    (state,) = events.tabs.opened("export")(values, visitor())
    command = state[page.shelf["command"]]
    words = "--steps 3 --engine exact --layer layer3 --target 2 --methods is-cam,grad-cam"
    assert command == f"python -m iscam explain mine.png {words}"
    link = state[page.shelf["link"]]
    assert (
        link.startswith("http://here/?model=photo11&layer=layer3&class=2&against=none&steps=3&")
        and "example" not in link
    )
    assert "not the photo" in state[page.shelf["remark"]]
    with zipfile.ZipFile(state[page.shelf["download"]]["value"]) as packed:
        assert set(packed.namelist()) == {f"mine.iscam.{end}" for end in ("png", "npz", "json")} | {"command.txt"}
        assert packed.read("command.txt").decode().strip() == command
        record = json.loads(packed.read("mine.iscam.json"))
        arrays = np.load(io.BytesIO(packed.read("mine.iscam.npz")))
        assert arrays["is-cam"].shape == (30, 30) and "grad-cam.raw" in arrays
        assert "contrast" not in record and "contrast" not in arrays
    assert (record["engine"], record["settings"]["steps"], record["target"]["category"]) == ("exact", 3, "dog")
    rest = f"{words} --contrast "
    for against, said in ((LIKELY, "nearest:20"), (0, "0")):
        values = asked(events, photo, steps=3, engine="exact", target=2, against=against)
        Watcher(events.maps.explain(values, visitor())).finished()
        (state,) = events.tabs.opened("export")(values, visitor())
        assert state[page.shelf["command"]].endswith(rest + said)
        with zipfile.ZipFile(state[page.shelf["download"]]["value"]) as packed:
            record = json.loads(packed.read("mine.iscam.json"))
            assert "contrast.raw" in np.load(io.BytesIO(packed.read("mine.iscam.npz")))
        assert record["contrast"]["method"] == "is-cam" and record["contrast"]["signed"] == (against == 0)
