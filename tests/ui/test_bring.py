"""Weights that a visitor brings, where that is allowed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from iscam.models.bundled.network import CATEGORIES
from iscam.models.photo11 import BUNDLED_WEIGHTS
from iscam.ui.asked import checks
from iscam.ui.asked.events import Events
from iscam.ui.demo import build
from iscam.ui.done.bench import Bench
from iscam.ui.done.opening import PHOTO
from iscam.ui.done.worker import Worker

from .stand_in import Watcher, asked, page_of, shown, visitor


@pytest.fixture
def weights(uploads: Path) -> dict[str, str]:
    """photo11's, as they come from a browser."""
    file = uploads / "mine.safetensors"
    shutil.copy(BUNDLED_WEIGHTS, file)
    return {"path": str(file)}


@pytest.fixture
def events(hire: Callable[..., Worker]) -> Events:
    async def inside_a_loop() -> Events:
        return build(hire(Bench()), "photo11", uploads=True)[1]

    return asyncio.run(inside_a_loop())


def brought(events: Events, **given: Any) -> dict[Any, Any]:
    bring = events.desk.page.bring
    usual = {"weights": None, "arch": "photo11", "labels": "", "head": "softmax"}
    values = asked(events, {"path": str(PHOTO)}, against=-1, methods=["grad-cam"])
    return values | {bring[name]: value for name, value in (usual | given).items()}


def test_they_are_the_model_now(events: Events, weights: dict[str, str]) -> None:
    page = page_of(events)
    Watcher(events.maps.open(visitor())).finished()
    labels = "\n".join(f"kind of {name}" for name in CATEGORIES)
    watcher = Watcher(events.maps.bring(brought(events, weights=weights, labels=labels), visitor()))
    state = watcher.finished()
    assert "photo11 (mine.safetensors)" in shown(state[page.predictions]) and "kind of cat" in shown(
        state[page.predictions]
    )
    assert state[page.ask["model"]] == "own-1"
    state = Watcher(events.maps.explain(asked(events, {"path": str(PHOTO)}, model="own-1"), visitor())).finished()
    assert f"map for kind of {CATEGORIES[0]}" in shown(state[page.maps["grad-cam"]])
    (export,) = events.tabs.opened("export")(asked(events, {"path": str(PHOTO)}, model="own-1"), visitor())
    command = export[page.shelf["command"]]
    assert " --arch photo11 --checkpoint mine.safetensors --labels labels.txt " in command and "/" not in command


def test_weights_that_do_not_fit_are_answered(
    events: Events, weights: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda words, duration=None: said.append(words))
    Watcher(events.maps.bring(brought(events, weights=weights, arch="resnet18"), visitor())).finished()
    assert len(said) == 1 and "does not fit" in said[0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": None},
        {"weights": {"path": str(BUNDLED_WEIGHTS)}},  # outside of what was uploaded
        {"weights": {"path": "/etc/passwd"}},
        {"weights": {"path": "\0"}},
        {"weights": {"path": ["a"]}},
        {"weights": "mine.safetensors"},
        {"arch": "../resnet18"},
        {"arch": None},
        {"arch": "a" * 61},
        {"labels": "a" * 1_000_001},
        {"labels": ["a"]},
        {"head": "relu"},
        {"head": None},
    ],
)
def test_what_is_wrong_is_answered(events: Events, weights: dict[str, str], wrong: dict[str, object]) -> None:
    with pytest.raises(gr.Error) as caught:
        next(events.maps.bring(brought(events, **{"weights": weights} | wrong), visitor()))
    assert "\n" not in str(caught.value)


def test_other_files_and_large_ones_are_not_taken(
    events: Events, weights: dict[str, str], uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickled = uploads / "mine.pth"
    shutil.copy(BUNDLED_WEIGHTS, pickled)
    with pytest.raises(gr.Error, match="safetensors"):
        next(events.maps.bring(brought(events, weights={"path": str(pickled)}), visitor()))
    (uploads / "link.safetensors").symlink_to(BUNDLED_WEIGHTS)
    with pytest.raises(gr.Error, match="safetensors"):
        next(events.maps.bring(brought(events, weights={"path": str(uploads / "link.safetensors")}), visitor()))
    monkeypatch.setattr(checks, "MAX_WEIGHTS_BYTES", 1000)
    with pytest.raises(gr.Error, match="MB"):
        next(events.maps.bring(brought(events, weights=weights), visitor()))


def test_without_leave_there_is_no_such_event(hire: Callable[..., Worker]) -> None:
    async def inside_a_loop() -> gr.Blocks:
        return build(hire(Bench()), "photo11")[0]

    demo = asyncio.run(inside_a_loop())
    assert "bring" not in [fn.api_name for fn in demo.fns.values()]
    assert [block.elem_id for block in demo.blocks.values() if isinstance(block, gr.File)] == ["photos"]
