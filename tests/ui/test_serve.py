"""The server's edges."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.blocks import Block, BlocksConfig
from gradio.components import Component
from gradio.state_holder import SessionState

from iscam.project import EXAMPLES
from iscam.ui.demo import build
from iscam.ui.done.bench import Bench
from iscam.ui.done.opening import PHOTO
from iscam.ui.done.worker import Worker
from tests.conftest import ROOT


def test_building_loads_no_weights_and_opens_no_connection(tmp_path: Path) -> None:
    code = """
import socket, sys
def refuse(*arguments):
    raise AssertionError("a connection was opened")
socket.socket.connect = socket.socket.connect_ex = refuse
from iscam.ui.demo import build
from iscam.ui.done.worker import Worker
def start():
    raise OSError("there is none here")
demo, _ = build(Worker(start))
print("torch" in sys.modules, [fn.api_name for fn in demo.fns.values() if fn.api_visibility == "public"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False ['explain']"


def test_an_update_costs_what_it_changes(
    bench: Bench, hire: Callable[[Bench], Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradio would answer the same, after it had made every component anew that an event may change."""
    made: list[Component] = []
    begin = Component.__init__

    def counted(self: Component, *given: Any, **named: Any) -> None:
        made.append(self)
        begin(self, *given, **named)

    def plain(update: Any) -> Any:
        """Gradio says of a gr.HTML that is skipped that the properties which it has not stay as they are."""
        return {key: value for key, value in update.items() if key != "props"} if isinstance(update, dict) else update

    async def compared() -> None:
        demo, events = build(hire(bench), "photo11")
        work = events.desk.page.work
        (maps,) = [fn for fn in demo.fns.values() if fn.api_name == "maps"]
        monkeypatch.setattr(Component, "__init__", counted)
        for updates, changed in (
            ({work["status"]: gr.skip()}, 0),
            ({work["status"]: "a line"}, 0),
            ({work["status"]: "a line", work["stop"]: gr.update(visible=True), work["explain"]: gr.skip()}, 1),
            (events.desk.updates.busy(True), 2),
        ):
            theirs = await gr.Blocks.postprocess_data(demo, maps, dict(updates), None)
            assert len(made) > 40
            made.clear()
            ours = await demo.postprocess_data(maps, dict(updates), None)
            assert list(map(plain, ours)) == list(map(plain, theirs)) and len(made) == changed
            made.clear()

    asyncio.run(compared())


def test_a_visitor_costs_no_descriptions_of_components(
    bench: Bench, hire: Callable[[Bench], Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are what Gradio would make; what becomes of one visitor's page is not seen by another."""

    async def compared() -> None:
        demo, events = build(hire(bench), "photo11")
        status, steps = events.desk.page.work["status"], events.desk.page.ask["steps"]
        plain = {key: BlocksConfig.config_for_block(key, [], block) for key, block in demo.blocks.items()}
        first = SessionState(demo)
        assert first.config_values == plain and len(plain) > 100
        made: list[Block] = []
        describe = Block.get_config
        monkeypatch.setattr(Block, "get_config", lambda self, cls=None: (made.append(self), describe(self, cls))[1])
        first._update_value_in_config(status._id, "a secret")
        first[steps._id] = gr.Slider(1, 7, value=3, render=False)
        first._update_config(steps._id)
        made.clear()
        second = SessionState(demo)
        assert made == [] and second.config_values == plain and second[steps._id] is steps
        assert first.config_values[status._id]["props"]["value"] == "a secret"
        assert first.config_values[steps._id]["props"]["maximum"] == 7

    asyncio.run(compared())


def test_examples_are_there() -> None:
    assert PHOTO.is_file() and len(list(EXAMPLES.glob("*.jpg"))) == 4 and (EXAMPLES / "LICENSES.md").is_file()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--arch", "resnet18"], "--checkpoint"),
        (["--arch", "resnet18", "--checkpoint", "nowhere.pth"], "nowhere.pth"),
        (["--head", "sigmoid"], "--arch"),
        (["--port", "99999"], "from 1 to 65535"),
        (["--port", "http"], "from 1 to 65535"),
        (["--allow-uploads", "--host", "0.0.0.0"], "--allow-uploads"),
        (["--allow-uploads", "--host", "192.168.0.7"], "--allow-uploads"),
        (["--model", "resnet18", "--arch", "resnet18", "--checkpoint", "nowhere.pth"], "--model"),
    ],
)
def test_options_that_do_not_fit_are_answered_at_once(options: list[str], word: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "app.py", *options], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2 and word in done.stderr.splitlines()[-1]
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "argparse" in loaded and not {"torch", "gradio"} & loaded


def test_on_a_space_nobody_brings_weights() -> None:
    done = subprocess.run(
        [sys.executable, "app.py", "--allow-uploads", "--host", "127.0.0.1"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"SPACE_ID": "somebody/space"},
    )
    assert done.returncode == 2 and "--allow-uploads" in done.stderr.splitlines()[-1]
