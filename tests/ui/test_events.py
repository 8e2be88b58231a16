"""What events of the question put on the page. The network is a stand-in."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr
import pytest

from iscam import MODELS, Explanation
from iscam.notes import doubt
from iscam.project import EXAMPLES
from iscam.ui.asked import checks, links
from iscam.ui.asked.events import Events
from iscam.ui.done.bench import Bench
from iscam.ui.done.job import Job
from iscam.ui.done.news import Contrasted
from iscam.ui.done.opening import PHOTO
from iscam.ui.done.order import Order
from iscam.ui.seen import words
from tests.ui.stand_in import CATEGORIES, OFFER, PATIENCE, StandIn, Watcher, asked, page_of, shown, told, until, visitor


def test_a_photo_is_predicted_at_once(events: Events, photo: dict[str, str], network: StandIn) -> None:
    page = page_of(events)
    watcher = Watcher(events.maps.new_photo(asked(events, photo, layer="layer2"), visitor()))
    state = watcher.finished()
    assert state[page.ask["target"]] == 4 and state[page.ask["against"]] == words.NOBODY
    assert state[page.ask["layer"]] == "layer2"
    assert "&lt;b&gt;fox&lt;/b&gt;" in state[page.predictions] and "<img" in state[page.framed]
    assert state[page.explain]["interactive"] and network.threads == {"compute"}
    (offered,) = (step for step in watcher.steps if isinstance(step.get(page.ask["target"]), dict))
    assert len(offered[page.ask["target"]]["choices"]) == len(CATEGORIES)
    assert offered[page.ask["layer"]] == gr.update(choices=words.layer_choices(MODELS["photo11"].layers))


def test_a_photo_told_twice_is_read_once(events: Events, photo: dict[str, str], network: StandIn) -> None:
    """Gradio sends two changes per upload; the second changes nothing, but answers."""
    ask = lambda given: list(events.maps.new_photo(asked(events, given), visitor()))  # noqa: E731
    assert len(ask(photo)) > 1
    assert ask(photo) == [{page_of(events).status: gr.skip()}]
    ask(None)
    assert len(ask(photo)) > 1


def test_a_bad_photo_gets_its_sentence_and_an_empty_page(events: Events, uploads: Path) -> None:
    (uploads / "bad.jpg").write_text("no photo")
    watcher = Watcher(events.maps.new_photo(asked(events, {"path": str(uploads / "bad.jpg")}), visitor()))
    state = watcher.finished()
    assert "cannot be read" in str(watcher.error) and "cannot be read" in state[page_of(events).status]
    assert state[page_of(events).predictions] == "" and not state[page_of(events).explain]["interactive"]


def test_maps_stream_and_finish(events: Events, photo: dict[str, str], network: StandIn) -> None:
    """IS-CAM sharpens before it is done, a blank map tells why, and what cannot serve says so."""
    page, network.beat = page_of(events), 0.03
    watcher = Watcher(
        events.maps.explain(
            asked(events, photo, methods=["is-cam", "cam", "grad-cam", "grad-cam++"], engine="exact"), visitor()
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
    assert 'alt="IS-CAM map for cat: strongest at the upper left"' in cards[-1]
    assert "CAM needs another head." in shown(state[page.maps["cam"]])
    blank = shown(state[page.maps["grad-cam++"]])
    assert "id=blank-reason" in blank and "all weights are zero" in blank and "map for cat: blank" in blank
    assert "id=blank-reason" not in shown(state[page.maps["grad-cam"]])
    assert "Done in 1.5 s, 10 passes, by estimate within 0.40 % of exact." in state[page.status]
    assert state[page.explain]["visible"] and not state[page.stop]["visible"]


def test_a_contrast_is_added_for_a_second_class(events: Events, photo: dict[str, str]) -> None:
    state = Watcher(events.maps.explain(asked(events, photo, against=2), visitor())).finished()
    assert "cat rather than dog" in shown(state[page_of(events).contrast])
    state = Watcher(events.maps.explain(asked(events, photo, against=2, methods=["eigen-cam"]), visitor())).finished()
    assert "choose IS-CAM" in shown(state[page_of(events).contrast])


def test_stop_keeps_the_map_so_far_and_a_second_run_works(
    events: Events, photo: dict[str, str], network: StandIn
) -> None:
    network.pace.clear()
    watcher = Watcher(events.maps.explain(asked(events, photo, methods=["is-cam", "score-cam"]), visitor()))
    until(lambda: network.running)
    events.maps.halt(visitor())
    state = watcher.finished()
    assert "Stopped after" in state[page_of(events).status]
    assert state[page_of(events).maps["score-cam"]] == ""
    network.pace.set()
    state = Watcher(events.maps.explain(asked(events, photo, methods=["is-cam", "score-cam"]), visitor())).finished()
    assert "Done in" in state[page_of(events).status]


def test_closing_the_page_ends_the_job(events: Events, photo: dict[str, str], network: StandIn) -> None:
    """Gradio closes the generator of a page that has gone; nothing of its job goes on."""
    network.pace.clear()
    event = events.maps.explain(asked(events, photo), visitor())
    next(event), next(event)
    until(lambda: network.running)
    event.close()
    until(lambda: not network.running)
    batches = network.batches
    events.maps.leave(visitor())
    network.pace.set()
    time.sleep(0.05)
    assert network.batches == batches and not len(events.desk.visits)


def test_a_second_visitor_waits_and_is_told(events: Events, photo: dict[str, str], network: StandIn) -> None:
    network.pace.clear()
    first = Watcher(events.maps.explain(asked(events, photo), visitor("ann")))
    until(lambda: network.running)
    second = Watcher(events.maps.explain(asked(events, photo), visitor("bob")))
    until(lambda: any("1 job before yours" in step.get(page_of(events).status, "") for step in second.steps))
    network.pace.set()
    assert "Done" in first.finished()[page_of(events).status] and "Done" in second.finished()[page_of(events).status]


def test_a_new_photo_takes_the_place_of_running_maps(events: Events, photo: dict[str, str], network: StandIn) -> None:
    """The old event ends without touching the page again."""
    network.pace.clear()
    old = Watcher(events.maps.explain(asked(events, photo), visitor()))
    until(lambda: network.running)
    new = Watcher(events.maps.new_photo(asked(events, {"path": str(PHOTO)}), visitor()))
    new.finished()
    old.finished()
    assert not old.page[page_of(events).explain]["visible"]


def test_an_event_does_not_conclude_while_another_takes_its_place(
    events: Events, photo: dict[str, str], network: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its job ends before the other's has begun."""
    network.pace.clear()
    old = Watcher(events.maps.explain(asked(events, photo), visitor()))
    until(lambda: network.running)
    begin = events.desk.worker.submit

    def late(owner: str, order: Order) -> Job:
        job = begin(owner, order)
        until(lambda: not network.running)
        time.sleep(0.1)
        return job

    monkeypatch.setattr(events.desk.worker, "submit", late)
    Watcher(events.maps.new_photo(asked(events, {"path": str(PHOTO)}), visitor())).finished()
    old.finished()
    assert not old.page[page_of(events).explain]["visible"]


def test_a_full_queue_is_said(
    events: Events, photo: dict[str, str], network: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes then is told in a sentence and keeps the page as it was; also where fewer wait, but with huge photos."""
    page = page_of(events)
    monkeypatch.setattr("iscam.ui.done.worker.MAX_WAITING", 1)
    network.pace.clear()
    running = Watcher(events.maps.explain(asked(events, photo, steps=3), visitor("ann")))
    until(lambda: network.running)
    waiting = Watcher(events.maps.explain(asked(events, photo, steps=4), visitor("bob")))
    until(lambda: "Waiting: 1 job before yours" in waiting.page.get(page.status, ""))
    late = Watcher(events.maps.explain(asked(events, photo, steps=5), visitor("cid")))
    assert late.finished() == {}
    assert str(late.error) == "'1 visitors are waiting already: please try again in a minute.'"
    monkeypatch.setattr("iscam.ui.done.worker.MAX_WAITING", 9)
    monkeypatch.setattr("iscam.ui.done.worker.MAX_PIXELS", 50 * 30 * 2)
    late = Watcher(events.maps.explain(asked(events, photo, steps=5), visitor("cid")))
    assert late.finished() == {} and "waiting already" in str(late.error)
    network.pace.set()
    for each in (running, waiting):
        assert "Done" in each.finished()[page.status]


def test_another_look_runs_nothing(events: Events, photo: dict[str, str], network: StandIn) -> None:
    page = page_of(events)
    before = Watcher(events.maps.explain(asked(events, photo, against=2), visitor())).finished()
    batches, analysed = network.batches, network.analysed
    (after,) = events.tabs.revisit(asked(events, photo, opacity=0.9, colours="magma", view="heat map"), visitor())
    assert set(after) == {page.maps["is-cam"], page.maps["grad-cam"], page.contrast, page.scale, page.notice}
    assert shown(after[page.maps["is-cam"]]) != shown(before[page.maps["is-cam"]])
    (cells,) = events.tabs.revisit(asked(events, photo, view="layer cells"), visitor())
    assert shown(cells[page.maps["is-cam"]]) not in (
        shown(before[page.maps["is-cam"]]),
        shown(after[page.maps["is-cam"]]),
    )
    assert (network.batches, network.analysed) == (batches, analysed)
    assert list(events.tabs.revisit(asked(events, photo), visitor("a stranger"))) == [{page.status: gr.skip()}]
    with pytest.raises(gr.Error):
        list(events.tabs.revisit(asked(events, photo, opacity=7), visitor()))


def test_what_was_answered_once_is_there_at_once_for_everybody(
    events: Events, photo: dict[str, str], network: StandIn
) -> None:
    """Also while the compute process is busy with another visitor; another setting that a method heeds is another question."""
    page = page_of(events)
    first = Watcher(events.maps.explain(asked(events, photo), visitor())).finished()
    batches = network.batches
    network.pace.clear()
    slow = Watcher(events.maps.explain(asked(events, {"path": str(PHOTO)}), visitor("bob")))
    until(lambda: network.running)
    again = Watcher(events.maps.explain(asked(events, photo), visitor("cid"))).finished()
    assert again[page.maps["is-cam"]] == first[page.maps["is-cam"]] and "Done before" in again[page.status]
    network.pace.set()
    slow.finished()
    assert network.batches == batches + 10
    Watcher(events.maps.explain(asked(events, photo, steps=3), visitor())).finished()
    assert network.batches == batches + 20
    Watcher(events.maps.explain(asked(events, photo, target=4), visitor())).finished()
    network.pace.clear()
    new = Watcher(events.maps.new_photo(asked(events, photo), visitor("dan"))).finished()  # its top class is known
    assert "map for &lt;b&gt;fox" in shown(new[page.maps["is-cam"]]) and network.batches == batches + 30


def test_another_class_of_an_explained_photo_is_explained_at_once(
    events: Events, photo: dict[str, str], network: StandIn
) -> None:
    """And of a photo that has not been explained, only when that is asked for."""
    page = page_of(events)
    assert list(events.maps.switch(asked(events, photo), visitor())) == [{page.status: gr.skip()}]
    Watcher(events.maps.new_photo(asked(events, photo), visitor())).finished()
    assert list(events.maps.switch(asked(events, photo), visitor())) == [{page.status: gr.skip()}]
    Watcher(events.maps.explain(asked(events, photo), visitor())).finished()
    same = {"target": 0, "methods": ["grad-cam"]}  # what else has been changed waits for Explain
    assert list(events.maps.switch(asked(events, photo, **same), visitor())) == [{page.status: gr.skip()}]
    watcher = Watcher(events.maps.switch(asked(events, photo, target=2), visitor()))
    state = watcher.finished()
    assert "map for dog" in shown(state[page.maps["is-cam"]]) and "map for dog" in shown(state[page.maps["grad-cam"]])
    assert all(step.get(page.maps["is-cam"]) != "" for step in watcher.steps)  # the old map stays until the new one
    state = Watcher(events.maps.switch(asked(events, photo, target=2, against=0), visitor())).finished()
    assert "dog rather than cat" in shown(state[page.contrast])


def test_a_class_that_is_chosen_while_maps_are_made_is_explained(
    events: Events, photo: dict[str, str], network: StandIn
) -> None:
    """The maps of the class before end; after Stop nothing begins by itself."""
    page = page_of(events)
    network.pace.clear()
    old = Watcher(events.maps.explain(asked(events, photo), visitor()))
    until(lambda: network.running and page.predictions in old.page)
    new = Watcher(events.maps.switch(asked(events, photo, target=2), visitor()))
    old.finished()
    network.pace.set()
    state = new.finished()
    assert all("map for dog" in shown(state[page.maps[method]]) for method in ("is-cam", "grad-cam"))
    network.pace.clear()
    stopped = Watcher(events.maps.switch(asked(events, photo, target=3), visitor()))
    until(lambda: network.running)
    events.maps.halt(visitor())
    stopped.finished()
    assert list(events.maps.switch(asked(events, photo, target=5), visitor())) == [{page.status: gr.skip()}]


def test_who_has_asked_last_has_the_turn_however_slowly_updates_go_out(
    events: Events, photo: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine the first update of an event is still on its way when the next event begins."""
    monkeypatch.setattr("iscam.ui.asked.desk.LEAVE_SECONDS", 0)
    page, values, dog = page_of(events), asked(events, photo), asked(events, photo, target=2)
    for name, event in (
        ("ann", events.maps.explain),
        ("bob", events.maps.new_photo),
        ("cid", events.tabs.opened("layers")),
    ):
        if name == "cid":
            Watcher(events.maps.explain(values, visitor(name))).finished()
        slow = event(values, visitor(name))
        next(slow)
        state = Watcher(events.maps.explain(dog, visitor(name))).finished()
        assert "map for dog" in shown(state[page.maps["is-cam"]])
        assert list(slow) == []


def test_a_class_is_held_against_the_likely_others_unless_it_is_asked_for_as_such(
    events: Events, photo: dict[str, str], network: StandIn
) -> None:
    """Beside the maps, of the first method that can; a new photo keeps the choice, a class that is chosen takes its place."""
    page = page_of(events)
    likely = asked(events, photo, against=words.LIKELY)
    state = Watcher(events.maps.explain(likely, visitor())).finished()
    assert "IS-CAM: cat, not others" in shown(state[page.contrast]) and "crane" in shown(state[page.contrast])
    assert "for <b>cat</b>, as such, and rather than <b>&lt;b&gt;fox&lt;/b&gt;, crane, dog and 3 more</b>?" in shown(
        state[page.asked]
    )
    assert "map for cat" in shown(state[page.maps["is-cam"]]) and "within 0.40 % of exact" in shown(
        state[page.contrast]
    )
    state = Watcher(events.maps.switch(asked(events, photo), visitor())).finished()
    assert shown(state[page.contrast]) == "" and shown(state[page.asked]).endswith("<b>cat</b>, as such?</p>")
    state = Watcher(events.maps.switch(asked(events, photo, against=2), visitor())).finished()
    assert "cat rather than dog" in shown(state[page.contrast])
    assert "<b>cat</b>, as such, and for it (red) or for <b>dog</b> (blue)?" in shown(state[page.asked])
    other = asked(events, {"path": str(PHOTO)}, against=2)
    assert Watcher(events.maps.new_photo(other, visitor())).finished()[page.ask["against"]] == words.LIKELY
    general = asked(events, photo, against=words.LIKELY, methods=["eigen-cam"])
    assert shown(Watcher(events.maps.explain(general, visitor())).finished()[page.contrast]) == ""


def test_a_class_is_not_set_against_itself(
    events: Events, photo: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(gr, "Warning", warnings.append)
    Watcher(events.maps.explain(asked(events, photo), visitor())).finished()
    (state,) = events.maps.switch(asked(events, photo, target=2, against=2), visitor())
    assert state == {page_of(events).ask["against"]: words.NOBODY} and "the same" in warnings[0]


def test_explain_before_the_prediction_takes_the_new_photos_class(
    events: Events, photo: dict[str, str], network: StandIn
) -> None:
    """The class on the page is still that of the photo before."""
    page = page_of(events)
    Watcher(events.maps.new_photo(asked(events, {"path": str(PHOTO)}), visitor())).finished()
    state = Watcher(events.maps.explain(asked(events, photo, target=5), visitor())).finished()
    assert "map for &lt;b&gt;fox&lt;/b&gt;" in shown(state[page.maps["is-cam"]])
    assert state[page.ask["target"]] == 4


def test_an_improbable_class_and_disagreement_are_flagged_above_the_maps(
    events: Events, photo: dict[str, str], network: StandIn
) -> None:
    page, plain = page_of(events), network.map

    def odd(method: str, *rest: Any, **more: Any) -> Explanation:
        found = plain(method, *rest, **more)
        flipped = found.heatmap[::-1] if method == "grad-cam" else found.heatmap
        target = replace(found.target, probability=0.004)
        return replace(found, heatmap=flipped, target=target, note=doubt(found.category, 0.004))

    network.map = odd  # type: ignore[method-assign]
    state = Watcher(events.maps.explain(asked(events, photo), visitor())).finished()
    notice = shown(state[page.notice])
    assert "The network gives cat only 0.4 %" in notice and "The two maps disagree" in notice and notice.count("⚠") == 2
    assert "only 0.4 %" not in shown(state[page.maps["is-cam"]])  # said once
    network.map = plain  # type: ignore[method-assign]
    state = Watcher(events.maps.explain(asked(events, photo, target=2), visitor())).finished()
    assert shown(state[page.notice]) == "<p>The maps agree: their correlations are 1.00 to 1.00.</p>"


def test_a_model_that_was_stopped_before_it_answered_can_be_asked(
    events: Events, photo: dict[str, str], network: StandIn, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its layers are there at once, and the classes of the model before are not asked of it."""
    page = page_of(events)
    monkeypatch.setattr(bench, "_download", lambda key, progress: None)
    Watcher(events.maps.explain(asked(events, photo), visitor())).finished()
    network.pace.clear()
    other = Watcher(events.maps.explain(asked(events, photo, target=3), visitor("ben")))
    until(lambda: network.running)
    switch = Watcher(events.maps.new_model(asked(events, photo, model="resnet18"), visitor()))
    until(lambda: "Waiting" in str(switch.page.get(page.status)))
    events.maps.halt(visitor())
    state = switch.finished()
    assert state[page.ask["layer"]] == "layer4" and state[page.explain]["visible"]
    network.pace.set()
    other.finished()
    stale = asked(events, photo, model="resnet18", layer="layer4", target=7)
    assert Watcher(events.maps.explain(stale, visitor())).finished()[page.ask["target"]] == 4


def test_a_link_brings_the_question_back(events: Events, network: StandIn) -> None:
    page = page_of(events)
    query = {"class": "2", "steps": "3", "methods": "is-cam,grad-cam++", "engine": "exact", "example": "coffee"}
    state = Watcher(events.maps.open(visitor("ann", **query, layer="layer2"))).finished()
    assert state[page.ask["steps"]] == 3 and state[page.ask["methods"]] == ["is-cam", "grad-cam++"]
    assert state[page.ask["target"]] == 2 and state[page.ask["layer"]] == "layer2"
    assert state[page.ask["photo"]].endswith("coffee.jpg") and "map for dog" in shown(state[page.maps["is-cam"]])
    (skipped,) = events.maps.new_photo(asked(events, {"path": str(EXAMPLES / "coffee.jpg")}), visitor())
    assert skipped == {page.status: gr.skip()}  # the page tells of the link's photo as of any other
    question = checks.question(OFFER, **{"model": "photo11"} | links.read(query))
    assert links.read(dict(parse_qsl(links.query(question, 2)))) == links.read(query) | {
        "model": "photo11",
        "layer": "layer3",
        "path": "cumulative",
        "weighting": "probability",
    }


def test_a_link_to_another_model_is_not_lost(
    events: Events, network: StandIn, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page tells of the link's photo while its boxes still have the model, and the layer, that it has begun with."""
    page, coffee = page_of(events), {"path": str(EXAMPLES / "coffee.jpg")}
    monkeypatch.setattr(bench, "_download", lambda key, progress: None)
    opened = events.maps.open(visitor(model="resnet18", example="coffee", methods="grad-cam"))
    next(changed for changed in opened if page.ask["photo"] in changed)
    (skipped,) = events.maps.new_photo(asked(events, coffee, layer="layer2"), visitor())
    assert skipped == {page.status: gr.skip()}
    *_, last = opened
    assert "Done" in str(last[page.status])
    beside = Watcher(events.maps.new_photo(asked(events, {"path": str(EXAMPLES / "rocket.jpg")}), visitor())).finished()
    assert "sees" in str(beside[page.status])


def test_a_link_may_call_a_class_by_its_name(events: Events, network: StandIn) -> None:
    network.model.find_class = lambda name: CATEGORIES.index(name.lower()) if isinstance(name, str) else name
    state = Watcher(
        events.maps.open(visitor("ann", **{"class": "Dog", "methods": "grad-cam", "example": "coffee"}))
    ).finished()
    assert state[page_of(events).ask["target"]] == 2
    assert "map for dog" in shown(state[page_of(events).maps["grad-cam"]])


def test_the_time_and_the_passes_of_a_contrast_count(events: Events, photo: dict[str, str]) -> None:
    page = page_of(events)
    for against, spent in ((words.NOBODY, "Done in 0.5 s, 10 passes"), (1, "in 1.0 s, 20 passes")):
        values = asked(events, photo, methods=["is-cam"], against=against)
        assert spent in Watcher(events.maps.explain(values, visitor())).finished()[page.status]


def test_a_link_to_a_class_of_ones_own_photo_asks_for_it(
    events: Events, network: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And shows no other photo as if it were of that class."""
    page, said = page_of(events), []
    monkeypatch.setattr(gr, "Warning", lambda words, duration=None: said.append(words))
    state = Watcher(events.maps.open(visitor(**{"class": "2", "against": "1", "steps": "7"}))).finished()
    assert state[page.ask["target"]] == 4 and state[page.ask["against"]] == words.LIKELY
    assert state[page.ask["steps"]] == 7 and "map for &lt;b&gt;fox" in shown(state[page.maps["is-cam"]])
    assert len(said) == 1 and "upload it" in said[0]


def test_a_link_that_has_no_answer_opens_with_its_photo_and_the_usual_classes(
    events: Events, network: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one to a class that the model does not know, which is found out when the model is asked."""
    page, said = page_of(events), []
    monkeypatch.setattr(gr, "Warning", lambda words, duration=None: said.append(words))
    query = {"class": "zebra", "example": "rocket", "steps": "7", "model": "photo11"}
    state = Watcher(events.maps.open(visitor(**query))).finished()
    assert "Done" in state[page.status] and "<img" in shown(state[page.maps["is-cam"]])
    assert state[page.ask["photo"]].endswith("rocket.jpg") and state[page.ask["steps"]] == 7
    assert state[page.ask["target"]] == 4 and state[page.ask["against"]] == words.LIKELY
    assert len(said) == 1 and said[0].startswith("The link cannot be followed. ") and "zebra" in said[0]


@pytest.mark.parametrize(
    "query", [{"steps": "0"}, {"steps": "x"}, {"example": "../x"}, {"model": "y"}, {"methods": ","}, {"against": "²"}]
)
def test_a_bad_link_says_so_and_opens_the_page(
    query: dict[str, str], events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda words, duration=None: warnings.append(words))
    state = Watcher(events.maps.open(visitor("ann", **query))).finished()
    assert "cannot be followed" in warnings[0] and "<img" in shown(state[page_of(events).maps["is-cam"]])
    only_the_model_knows = "against" in query
    assert ("Done" if only_the_model_knows else "An example") in state[page_of(events).status]


def test_the_page_opens_with_an_example_explained_once(events: Events, network: StandIn) -> None:
    page = page_of(events)
    for name in ("ann", "bob"):
        state = Watcher(events.maps.open(visitor(name))).finished()
        assert "An example" in state[page.status] and "<img" in shown(state[page.maps["is-cam"]])
        assert state[page.ask["target"]] == 4 and state[page.ask["against"]] == words.LIKELY
        assert "IS-CAM: &lt;b&gt;fox&lt;/b&gt;, not others" in shown(state[page.contrast])
    assert (network.batches, network.analysed) == (20, 1)  # the map as such, and rather than the likely others


def test_a_background_job_that_gives_way_tells_no_half_a_contrast(
    events: Events, photo: dict[str, str], network: StandIn
) -> None:
    """It takes it up again when nobody asks anything."""
    page, plain, begun = page_of(events), network.answer, threading.Event()

    def slow(analysis: Any, request: Any, progress: Any, stop: threading.Event) -> Explanation:
        if request[3] is not None and not begun.is_set():
            network.pace.clear()
            begun.set()
        return plain(analysis, request, progress, stop)

    network.answer = slow  # type: ignore[method-assign]
    job = events.desk.opening()
    assert begun.wait(PATIENCE)
    running = Watcher(events.maps.explain(asked(events, photo), visitor("bob")))
    until(lambda: "<img" in shown(running.page.get(page.maps["grad-cam"], "")))
    network.pace.set()
    running.finished()
    assert [news.explanation.complete for news in told(job) if isinstance(news, Contrasted)] == [True]
    assert "not others" in shown(Watcher(events.maps.open(visitor("cid"))).finished()[page.contrast])


def test_an_opened_page_does_not_wait_behind_visitors(events: Events, photo: dict[str, str], network: StandIn) -> None:
    """The example is explained when nobody asks anything; until then the page is ready, with finished maps only."""
    page = page_of(events)
    network.pace.clear()
    early = Watcher(events.maps.open(visitor("ann")))
    until(lambda: network.running)
    running = Watcher(events.maps.explain(asked(events, photo), visitor("bob")))
    state = early.finished()
    late = Watcher(events.maps.open(visitor("cid"))).finished()
    for each in (state, late):
        assert each[page.explain]["visible"] and each[page.maps["is-cam"]] == ""
        assert "fox" in each[page.predictions]
    network.pace.set()
    assert "Done" in running.finished()[page.status]
