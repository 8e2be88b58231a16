"""The tab Several: photos beside the page's, with a stand-in for the network."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from iscam import Photo
from iscam.ui.asked import checks
from iscam.ui.asked.events import Events
from iscam.ui.done.bench import Bench
from iscam.ui.done.news import Analysed, Loading, Refused
from iscam.ui.done.opening import PHOTO
from iscam.ui.done.order import Order
from iscam.ui.done.several import MAP_PIXELS, MOST, Explained, of_several, weight
from iscam.ui.seen.canvas import Canvas, Look
from iscam.ui.seen.several import FACE, PAGES
from tests.ui.stand_in import StandIn, Watcher, ask, asked, carried_out, page_of, shown, until, visitor

COLOURS = ("red", "green", "blue", "white")


@pytest.fixture
def files(uploads: Path) -> list[dict[str, str]]:
    """Photos that were uploaded, `red.png` and so on, as the page tells of them."""
    for colour in COLOURS:
        Image.new("RGB", (60, 40), colour).save(uploads / f"{colour}.png")
    return [{"path": str(uploads / f"{colour}.png")} for colour in COLOURS]


@pytest.fixture
def opened(events: Events, photo: dict[str, str]) -> Callable[..., Watcher]:
    """`opened(photos, ...)`: the tab of a page that shows maps, with what it shows at its end."""
    Watcher(events.maps.explain(asked(events, photo, methods=["grad-cam"]), visitor())).finished()

    def opened(photos: Any, **changes: Any) -> Watcher:
        values = asked(events, photo, several__photos=photos, **changes)
        return Watcher(events.tabs.opened("several")(values, visitor()))

    return opened


def news_of(bench: Bench, photos: list[dict[str, str]], *methods: str) -> list[Any]:
    """But for that a model is loaded."""
    order = Order(of_several, ask(methods=methods), tuple(map(checks.upload, photos)))
    return [news for news in carried_out(bench, order) if not isinstance(news, Loading)]


def names(html: str) -> list[str]:
    return re.findall(r"<h2>(\w+)\.png</h2>", html)


def test_every_photo_has_its_maps(
    opened: Callable[..., Watcher], events: Events, files: list[dict[str, str]], network: StandIn
) -> None:
    """In the order in which they were given, each once; all of it is known when the tab is opened again."""
    page = page_of(events)
    html = shown(opened([*files, files[0]]).finished()[page.shelf["several"]])
    assert names(html) == list(COLOURS) and html.count("<figure") == 3 * len(COLOURS)
    assert html.count("&lt;b&gt;fox&lt;/b&gt;, 25.0 %") == len(COLOURS) and "<b>fox" not in html
    analysed = network.analysed
    assert shown(opened(files).finished()[page.shelf["several"]]) == html and network.analysed == analysed


def test_they_are_known_again_whatever_the_photo_of_the_page(
    opened: Callable[..., Watcher], events: Events, files: list[dict[str, str]], network: StandIn
) -> None:
    """Of which nothing depends; the class of the page counts only where the maps are for it."""
    opened(files).finished()
    another = asked(events, {"path": str(PHOTO)}, target=1, methods=["grad-cam"], several__photos=files)
    Watcher(events.maps.explain(another, visitor())).finished()
    analysed = network.analysed
    (again,) = events.tabs.opened("several")(
        another | {page_of(events).ask["methods"]: ["is-cam", "grad-cam"]}, visitor()
    )
    assert names(shown(again[page_of(events).shelf["several"]])) == list(COLOURS) and network.analysed == analysed


def test_without_photos_the_tab_is_empty(
    opened: Callable[..., Watcher], events: Events, files: list[dict[str, str]]
) -> None:
    page = page_of(events)
    assert shown(opened(files).finished()[page.shelf["several"]])
    for none in (None, []):
        assert shown(opened(none).finished()[page.shelf["several"]]) == ""


def test_the_maps_are_for_the_class_of_each_photo_or_for_that_of_the_page(
    opened: Callable[..., Watcher], events: Events, files: list[dict[str, str]]
) -> None:
    html = shown(opened(files[:1], target=2, several__whose=PAGES).finished()[page_of(events).shelf["several"]])
    assert "Grad-CAM map for dog" in html and "Most probable: &lt;b&gt;fox" in html
    html = shown(opened(files[:1], target=2).finished()[page_of(events).shelf["several"]])
    assert "Grad-CAM map for &lt;b&gt;fox" in html and "Most probable" not in html


def test_what_cannot_be_read_is_said_and_the_others_are_shown(
    opened: Callable[..., Watcher], events: Events, files: list[dict[str, str]], uploads: Path
) -> None:
    (uploads / "torn.png").write_bytes(b"no photo")
    html = shown(opened([{"path": str(uploads / "torn.png")}, *files]).finished()[page_of(events).shelf["several"]])
    assert names(html) == list(COLOURS) and "torn.png" in html and "cannot be read as a photo" in html


def test_a_method_that_cannot_serve_the_network_says_so_beside_the_others(
    opened: Callable[..., Watcher], events: Events, files: list[dict[str, str]]
) -> None:
    shelf = page_of(events).shelf["several"]
    html = shown(opened(files[:1], methods=["cam", "grad-cam"]).finished()[shelf])
    assert "CAM: CAM needs another head." in html and html.count("<figure") == 2
    html = shown(opened(files[:1], methods=["cam"]).finished()[shelf])
    assert "red.png: CAM needs another head." in html and "<figure" not in html


def test_a_run_that_is_stopped_keeps_what_was_finished(
    opened: Callable[..., Watcher], events: Events, files: list[dict[str, str]], network: StandIn
) -> None:
    """It is stopped while the maps of the third photo are made, of which nothing is shown."""
    page, analyse = page_of(events), network.analyse

    def slow_from_the_third(photo: Photo, layer: str | None) -> Any:
        if photo.name == "blue.png":
            network.pace.clear()
        return analyse(photo, layer)

    network.analyse = slow_from_the_third  # type: ignore[method-assign]
    study = opened(files, methods=["is-cam"])
    until(lambda: network.running and not network.pace.is_set())
    events.maps.halt(visitor())
    state = study.finished()
    assert "Stopped" in state[page.status] and names(shown(state[page.shelf["several"]])) == ["red", "green"]


def test_photos_are_sorted_by_what_is_known_of_them(events: Events, bench: Bench, files: list[dict[str, str]]) -> None:
    """Without asking anew; where a fact is not known they come last."""
    told = news_of(bench, files, "grad-cam")
    assert isinstance(told[0], Analysed)
    known = [
        {"probability": 0.5},
        {"probability": 0.9, "specificity": 0.2},
        {"probability": 0.1, "specificity": 0.4},
        {},
    ]
    news = [replace(each, facts=facts) for each, facts in zip(told[1:], known, strict=True)]

    def order(by: str) -> list[str]:
        return names(str(FACE.arrange(Canvas.of(told[0].subject, Look()), news, {"order": by})["several"]))

    red, green, blue, white = COLOURS
    assert order("") == [red, green, blue, white]
    assert order("probability 1") == [blue, red, green, white]
    assert order("probability -1") == [green, red, blue, white]
    assert order("specificity -1") == [blue, green, red, white]
    with pytest.raises(ValueError, match="sorted by one of"):
        order("name")


def test_how_far_a_map_depends_on_its_class_stands_below_it(bench: Bench, files: list[dict[str, str]]) -> None:
    analysed, explained = news_of(bench, files[:1], "grad-cam")
    canvas = Canvas.of(analysed.subject, Look())
    for specificity, lines in ((0.25, 1), (None, 0)):
        news = [replace(explained, maps=(replace(explained.maps[0], specificity=specificity),))]
        html = str(FACE.arrange(canvas, news, {"order": ""})["several"])
        assert html.count("class specificity 0.25") == html.count("class specificity") == lines


def test_another_order_asks_nothing(
    opened: Callable[..., Watcher], events: Events, files: list[dict[str, str]], photo: dict[str, str], network: StandIn
) -> None:
    opened(files).finished()
    engines, shelf = len(network.engines), page_of(events).shelf["several"]
    changed = events.tabs.redraw(asked(events, photo, several__photos=files, several__order="agreement 1"), visitor())
    assert names(shown(changed[shelf])) and len(network.engines) == engines


def test_one_of_the_photos_becomes_that_of_the_page(
    opened: Callable[..., Watcher], events: Events, files: list[dict[str, str]], uploads: Path
) -> None:
    """By its content, of those that the page shows; one that was deleted meanwhile is said to be."""
    box, nothing = page_of(events).ask["photo"], [{page_of(events).ask["photo"]: gr.skip()}]
    digest = checks.digest(files[1])
    assert list(events.tabs.take(digest, visitor())) == nothing
    opened(files[:2]).finished()
    assert list(events.tabs.take(digest, visitor())) == [{box: files[1]["path"]}]
    for other in (checks.digest(files[2]), files[1]["path"], None, 7, ["x"]):
        assert list(events.tabs.take(other, visitor())) == nothing
    assert list(events.tabs.take(digest, visitor("bob"))) == nothing
    (uploads / "green.png").unlink()
    with pytest.raises(gr.Error, match="cannot be opened"):
        list(events.tabs.take(digest, visitor()))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"several__photos": "x.png"}, "at most 20 photos"),
        ({"several__photos": [{"path": "x.png"}] * (MOST + 1)}, "at most 20 photos"),
        ({"several__photos": [{"path": "/etc/hostname"}]}, "not in a folder that may be read"),
        ({"several__photos": [7]}, "There is no photo"),
        ({"several__photos": [{"path": "\0"}]}, "cannot be opened"),
        ({"several__whose": "mine"}, "class of the maps"),
        ({"several__whose": ["mine"]}, "class of the maps"),
    ],
)
def test_what_nobody_can_have_chosen_is_refused(
    changes: dict[str, Any], words: str, events: Events, photo: dict[str, str], opened: Callable[..., Watcher]
) -> None:
    opened([]).finished()
    watcher = Watcher(events.tabs.opened("several")(asked(events, photo, **changes), visitor()))
    watcher.finished()
    assert words in str(watcher.error)


def test_a_file_that_has_changed_is_not_taken_for_the_one_that_was_uploaded(
    bench: Bench, files: list[dict[str, str]], uploads: Path
) -> None:
    uploaded = tuple(map(checks.upload, files[:2]))
    Image.new("RGB", (9, 9)).save(uploads / "red.png")
    order = Order(of_several, ask(methods=("grad-cam",)), uploaded)
    refused, explained = carried_out(bench, order)[-2:]
    assert isinstance(refused, Refused) and "has changed" in refused.sentence
    assert isinstance(explained, Explained) and explained.upload.name == "green.png"


def test_a_photo_among_several_is_light(bench: Bench, uploads: Path) -> None:
    """Whatever its size: twenty of them are kept for each page."""
    Image.new("RGB", (3000, 2000)).save(uploads / "large.png")
    _, explained = news_of(bench, [{"path": str(uploads / "large.png")}], "is-cam", "grad-cam")
    assert explained.photo.image.size == (256, 171) and isinstance(explained.photo, Photo)
    assert [each.heatmap.shape for each in explained.maps] == [(MAP_PIXELS, MAP_PIXELS)] * 2
    assert weight(explained) == 3 * 256 * 171 + 2 * 4 * MAP_PIXELS**2
    whole = np.zeros((30, 30))
    whole[:10, :10] = 1
    assert explained.maps[0].heatmap.mean() == pytest.approx(whole.mean(), rel=0.05)
