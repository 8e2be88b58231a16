"""The opening example, whose answers come with the project."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

import iscam
from iscam.models import DEFAULT_MODEL, MODELS
from iscam.models.packaged import SHA256
from iscam.ui.asked.events import Events
from iscam.ui.demo import build
from iscam.ui.done import opening
from iscam.ui.done.bench import Bench
from iscam.ui.done.news import Analysed, Contrasted, Mapped
from iscam.ui.done.question import ordered
from iscam.ui.done.worker import Worker
from iscam.ui.seen import words

from .stand_in import StandIn, Watcher, asked, page_of, shown, visitor

HALF = 1e-3  # what half precision and another processor may change


@pytest.fixture(scope="module")
def news() -> list[object]:
    return opening.shipped()[1]


def test_a_page_shows_it_at_once(network: StandIn, hire: Callable[[Bench], Worker]) -> None:
    """Without a network, which is made ready meanwhile."""

    def load(key: str) -> StandIn:
        loaded.append(key)
        return network

    async def inside_a_loop() -> Events:
        return build(hire(Bench(load)))[1]  # type: ignore[arg-type]

    loaded: list[str] = []
    events = asyncio.run(inside_a_loop())
    network.pace.clear()  # nothing is computed
    state = Watcher(events.maps.open(visitor())).finished()
    page = page_of(events)
    assert "tiger cat" in shown(state[page.predictions]) and "EfficientNet-Lite0" in shown(state[page.predictions])
    assert all(
        "map for tiger cat" in shown(state[page.maps[key]]) for key in opening.example(MODELS[DEFAULT_MODEL]).methods
    )
    assert "An example, explained beforehand" in shown(state[page.status])
    network.pace.set()


def test_it_is_known_to_who_asks_for_it_later(events: Events, network: StandIn) -> None:
    """On a page that has begun with another model."""
    Watcher(events.maps.open(visitor())).finished()
    engines, values = len(network.engines), asked(events, {"path": str(opening.PHOTO)}, model=DEFAULT_MODEL, layer=None)
    state = Watcher(
        events.maps.new_model(values | {page_of(events).ask["against"]: words.LIKELY}, visitor())
    ).finished()
    assert "Done before" in shown(state[page_of(events).status]) and len(network.engines) == engines


def test_it_is_what_the_network_gives(news: list[object]) -> None:
    """Photo, weights, classes, and every map that takes few passes."""
    first, *maps, contrast = news
    explainer = iscam.Explainer(iscam.load_model(DEFAULT_MODEL))
    analysis = explainer.analyse(opening.PHOTO)
    assert isinstance(first, Analysed)
    assert first.subject.place == explainer.subject(analysis).place and first.subject.weights_sha256 == SHA256
    assert first.subject.spec == explainer.model.spec and first.subject.crop == analysis.crop
    assert first.subject.preparation == explainer.model.preparation
    np.testing.assert_allclose(first.subject.probabilities, analysis.probabilities, atol=HALF)
    assert [each.explanation.method for each in maps if isinstance(each, Mapped)] == ordered(
        opening.example(MODELS[DEFAULT_MODEL]).methods
    )
    for each in maps:
        assert isinstance(each, Mapped)
        found = each.explanation
        if found.method != "is-cam":
            anew = explainer.explain(analysis, found.method)
            errors = (found.estimated_error or 0) + (anew.estimated_error or 0)
            assert found.target.index == anew.target.index
            np.testing.assert_allclose(found.heatmap, anew.heatmap, atol=HALF + errors)
    assert isinstance(contrast, Contrasted) and contrast.explanation.complete


def test_its_is_cam_is_what_the_network_gives(news: list[object]) -> None:
    """To within a tolerance at which it takes fewer passes."""
    (shipped,) = (each.explanation for each in news if isinstance(each, Mapped) and each.explanation.method == "is-cam")
    explainer = iscam.Explainer(iscam.load_model(DEFAULT_MODEL), tolerance=0.1)
    anew = explainer.explain(explainer.analyse(opening.PHOTO), "is-cam")
    assert shipped.estimated_error is not None and anew.estimated_error is not None
    np.testing.assert_allclose(
        shipped.heatmap, anew.heatmap, atol=HALF + shipped.estimated_error + anew.estimated_error
    )
    assert np.corrcoef(shipped.heatmap.ravel(), anew.heatmap.ravel())[0, 1] > 0.99
