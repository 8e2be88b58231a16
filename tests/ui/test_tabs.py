"""What tabs put on the page, and what they ask. The network is a stand-in, but where it is named."""

from __future__ import annotations

import gc
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest

from iscam.project import EXAMPLES
from iscam.trust import CEILINGS, CONTROLS
from iscam.ui.asked import checks
from iscam.ui.asked.events import Events
from iscam.ui.done import faithfulness as of_faithfulness
from iscam.ui.done import trial as of_trial
from iscam.ui.done.bench import Bench
from iscam.ui.done.faithfulness import CURVE_STEPS, ByHand, Measured, Seen
from iscam.ui.done.news import Analysed, Refused
from iscam.ui.done.opening import PHOTO
from iscam.ui.done.order import Order
from iscam.ui.done.question import Question
from iscam.ui.done.trial import Found, Grid, Heads
from iscam.ui.done.worker import Worker
from iscam.ui.seen import faithfulness, trial
from iscam.ui.seen.canvas import Canvas, Look
from iscam.ui.seen.words import LIKELY, per_cent
from tests.ui.stand_in import OFFER, StandIn, Watcher, asked, page_of, pending, shown, told, until, visitor


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
    new = Watcher(events.maps.new_photo(asked(events, {"path": str(PHOTO)}), visitor()))
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

    def heavy() -> list[Question]:
        gc.collect()
        questions = [each for each in gc.get_objects() if type(each) is Question]
        return [each for each in questions if each.photo.image.size != (1, 1)]

    before = {id(each) for each in heavy()}
    Watcher(events.maps.explain(asked(events, photo), visitor())).finished()
    Watcher(events.tabs.opened("classes")(asked(events, photo), visitor())).finished()
    assert events.desk.visits.of("ann").studied is not None
    assert not [each for each in heavy() if id(each) not in before]


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


def test_faithfulness_is_measured_once_and_its_box_again(uploads: Path, hire: Callable[[Bench], Worker]) -> None:
    """With a real network: every row, a figure in the box without another pass of the slow kind, the share of the pixels."""
    bench, study = Bench(), of_faithfulness.STUDY
    worker = hire(bench)
    question = replace(checks.question(OFFER, {"path": str(PHOTO)}, "photo11"), methods=("grad-cam",))

    def studied(also: tuple[str, ...] = (), box: str = "") -> list[Any]:
        asked = study.read(question, {"also": list(also), "box": box})
        news = told(worker.submit("ann", study.order(asked)))
        study.remember(worker.answers, asked, news)
        return news

    def measured(news: list[Any]) -> list[Measured]:
        return [each for each in news if isinstance(each, Measured)]

    rows = {each.method: each for each in measured(studied())}
    assert list(rows) == [*CONTROLS, "grad-cam"]
    assert rows["fake-cam"].faithfulness.values["average-drop"] < 0.01
    assert rows["grad-cam"].taken.min() == 1 and rows["grad-cam"].taken.max() == CURVE_STEPS
    whole = "0 0 100 100"
    (hand,) = [each for each in studied(box=whole) if isinstance(each, ByHand)]
    seen = next(each for each in studied() if isinstance(each, Seen))
    assert hand.alone == pytest.approx(seen.probability, abs=1e-4) and hand.without < 0.2 < seen.probability
    assert not any(isinstance(each, ByHand) for each in studied())
    kept = "measured", question.key("grad-cam", 1)
    before = bench.answers.get(kept)
    boxed = {each.method: each for each in measured(studied(box=whole))}
    assert boxed["random"].faithfulness.values["energy"] == pytest.approx(1) == boxed["random"].faithfulness.box_area
    assert before is not None and bench.answers.get(kept) is before  # nothing was measured again but the box
    slow = measured(studied(also=("adcc",)))
    assert [each.method for each in slow] == 2 * [*CONTROLS, "grad-cam"]  # what is cheap first
    maps = 1 + len(CONTROLS)
    assert ["adcc" in each.faithfulness.values for each in slow] == maps * [False] + maps * [True]
    assert all("adcc" in each.faithfulness.values for each in measured(studied(("adcc",), whole)))
    known = study.recall(worker.answers, study.read(question, {"also": [], "box": ""}))
    assert known is not None
    canvas = Canvas.of(known[0].subject, Look())
    scrub = {"by": "grad-cam", "how": "deletion", "share": 100}
    shelf: dict[str, Any] = faithfulness.FACE.arrange(canvas, known, scrub)
    assert "100 % of the pixels removed" in shelf["perturbed"] and "Grad-CAM" in shelf["trust"]
    assert len(shelf["deletion"]) == maps * (CURVE_STEPS + 1)
    by_another = faithfulness.FACE.arrange(canvas, known, scrub | {"by": "is-cam"})
    assert "has not been measured" in str(by_another["perturbed"])
    curve = rows["grad-cam"].faithfulness.curves["insertion"]
    step = next(i for i, score in enumerate(curve.scores) if score >= seen.probability / 2)
    assert (
        f"{100 * step / CURVE_STEPS:.0f} % of the pixels: cat" in shelf["kept"] and shelf["kept"].count("<figure") == 1
    )
    unsure = [replace(each, probability=1.9 * curve.scores[0]) if isinstance(each, Seen) else each for each in known]
    said = str(faithfulness.FACE.arrange(canvas, unsure, scrub)["kept"])
    assert f"Blurred, the photo is cat to {per_cent(float(curve.scores[0]))} already" in said and "<figure" not in said
    boxed_news = study.recall(worker.answers, study.read(question, {"also": [], "box": whole}))
    assert boxed_news is not None
    said = faithfulness.FACE.arrange(canvas, boxed_news, scrub)["boxed"]
    assert "Without its inside cat has" in str(said) and "with nothing but its inside 96." in str(said)
    assert "the inside is needed, and is enough." in str(said)
    marginal = [ByHand(0.9, 0.1) if isinstance(each, ByHand) else each for each in boxed_news]
    said = str(faithfulness.FACE.arrange(canvas, marginal, scrub)["boxed"])
    assert "the inside is not needed, and is not enough." in said
    assert faithfulness.FACE.settle["by"](known, scrub | {"by": "is-cam"}) == "grad-cam"


def test_a_ceiling_is_made_once_and_where_it_is_asked_for(
    uploads: Path, hire: Callable[[Bench], Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    climb = CEILINGS["opti-cam"].climb

    def counted(network: Any, layer: str, forward: Any, index: int) -> Any:
        made.append(layer)
        ascent = climb(network, layer, forward, index)
        ascent.total = 2
        return ascent

    monkeypatch.setitem(CEILINGS, "opti-cam", replace(CEILINGS["opti-cam"], climb=counted))
    worker, study = hire(Bench()), of_faithfulness.STUDY
    question = replace(checks.question(OFFER, {"path": str(PHOTO)}, "photo11"), methods=("grad-cam",))
    for box in ("", "0 0 50 50"):
        asked = study.read(question, {"also": ["opti-cam"], "box": box})
        news = told(worker.submit("ann", study.order(asked)))
        rows = [each.method for each in news if isinstance(each, Measured)]
        assert rows == [*CONTROLS, "grad-cam", "opti-cam"] and made == ["layer3"]
    canvas = Canvas.of(news[0].subject, Look())
    shelf: dict[str, Any] = faithfulness.FACE.arrange(canvas, news, {"by": "opti-cam", "how": "deletion", "share": 50})
    assert "Opti-CAM <span>ceiling</span>" in shelf["trust"] and "Opti-CAM, deletion" in shelf["perturbed"]


def test_the_photo_stands_among_three_others_and_each_map_says_how_much_of_it_lies_there(
    uploads: Path, hire: Callable[[Bench], Worker]
) -> None:
    """With a real network; the shares are those of the maps, and the photo's quarter is where it is said to be."""
    worker, study = hire(Bench()), of_trial.STUDY
    question = replace(
        checks.question(OFFER, {"path": str(PHOTO)}, "photo11"),
        methods=("grad-cam", "eigen-cam", "cam"),
        layer="layer2",
    )
    news = told(worker.submit("ann", study.order(study.read(question, {"heads": False}))))
    (grid,) = [each for each in news if isinstance(each, Grid)]
    found = {each.title: each for each in news if isinstance(each, Found)}
    assert list(found) == ["Grad-CAM", "Grad-CAM, not others", "Eigen-CAM", "LaFAM"]
    assert [each.method for each in news if isinstance(each, Refused)] == ["CAM"]
    rows, columns = (slice(0, 64) if half == 0 else slice(64, 128) for half in divmod(grid.place, 2))
    for each in found.values():
        heatmap = each.explanation.heatmap
        assert each.share == pytest.approx(heatmap[rows, columns].sum() / heatmap.sum(), abs=1e-5)
        assert each.explanation.category == grid.category == "cat"
    assert 0.9 < grid.alone < 1 and 0 < grid.among < grid.alone
    (subject,) = [each.subject for each in news if isinstance(each, Analysed)]
    whole, halves = np.asarray(subject.photo.image), (slice(0, 64), slice(64, 128))
    alone = worker.answers.get(question.place).subject
    own = np.asarray(alone.photo.image.crop(alone.crop).resize((64, 64)), float)
    alike = [np.corrcoef(whole[r, c].ravel(), own.ravel())[0, 1] for r, c in product(halves, halves)]
    assert int(np.argmax(alike)) == grid.place and max(alike) > 0.95
    shelf = trial.FACE.arrange(Canvas.of(subject, Look()), news, {})
    assert str(shelf["trial"]).count("<img") == 4 + 1 and "CAM needs" in str(shelf["trial"])
    assert str(shelf["trial"]).count("A control: it knows no class.") == 1 and "for evidence" not in str(shelf["trial"])
    faint = [replace(each, among=0.006) if isinstance(each, Grid) else each for each in news]
    shelf = trial.FACE.arrange(Canvas.of(subject, Look()), faint, {})
    assert "only 0.6 %: do not take the map for evidence" in str(shelf["trial"])
    church = study.read(
        replace(question, methods=("grad-cam",), target=3), {"heads": False}
    )  # the photo has little of it
    (subject,) = [
        each.subject for each in told(worker.submit("ann", study.order(church))) if isinstance(each, Analysed)
    ]
    assert sorted(subject.photo.name.split(" + ")) == sorted(path.name for path in EXAMPLES.glob("*.jpg"))


def titles(news: list[Any]) -> list[str]:
    return [each.title for each in news if isinstance(each, Found)]


def test_a_map_that_stays_under_random_heads_is_told_by_the_page(
    uploads: Path, hire: Callable[[Bench], Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Score-CAM's does, Grad-CAM's does not; the explainer's own network stays as it is, and a stop ends it."""
    bench, study = Bench(), of_trial.STUDY
    worker = hire(bench)
    question = replace(
        checks.question(OFFER, {"path": str(PHOTO)}, "photo11"), methods=("score-cam", "grad-cam", "eigen-cam")
    )
    before = told(worker.submit("ann", study.order(study.read(question, {"heads": False}))))
    monkeypatch.setattr(of_trial, "_among_others", None)  # what is known is not made again
    news = told(worker.submit("ann", study.order(study.read(question, {"heads": True}))))
    assert titles(news) == titles(before) and "Grad-CAM" in titles(news)
    heads = {each.method: each.correlations for each in news if isinstance(each, Heads)}
    assert list(heads) == ["grad-cam", "eigen-cam", "score-cam"] and {len(draws) for draws in heads.values()} == {8}
    known = {key: [value for value in draws if value is not None] for key, draws in heads.items()}
    assert min(known["score-cam"]) > 0.9 > 0.6 > np.mean(known["grad-cam"]) and min(known["eigen-cam"]) > 0.999
    (subject,) = [each.subject for each in news if isinstance(each, Analysed)]
    shelf = trial.FACE.arrange(Canvas.of(subject, Look()), news, {})
    assert f"<td>{np.mean(known['score-cam']):.2f} ({min(known['score-cam']):.2f} to " in str(shelf["heads"])
    blank = trial.FACE.arrange(Canvas.of(subject, Look()), [*news[:3], Heads("cam", (None, 0.5))], {})["heads"]
    assert "CAM</th><td>0.50 (0.50 to 0.50), 1 blank</td>" in str(blank)
    for wrong in (None, 1, "yes"):
        with pytest.raises(ValueError, match="true or false"):
            study.read(question, {"heads": wrong})
    told_so_far: list[Any] = []
    task = pending(Order(of_trial.of_photo, question), told_so_far)
    for each in of_trial.of_photo(bench, question, True, task):
        task.tell(each)
        if isinstance(each, Found) and each.title == "LaFAM":
            task.stop.set()
    assert not any(isinstance(each, Heads) for each in told_so_far)


def test_export_packs_what_is_shown(events: Events, photo: dict[str, str]) -> None:
    page = page_of(events)
    values = asked(events, photo, steps=3, engine="exact", target=2)
    Watcher(events.maps.explain(values, visitor())).finished()
    (state,) = events.tabs.opened("export")(values, visitor())
    command = state[page.shelf["command"]]
    words = "--model photo11 --steps 3 --engine exact --layer layer3 --target 2 --methods is-cam,grad-cam"
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
