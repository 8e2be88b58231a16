"""The server's edges."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from iscam.project import EXAMPLES
from iscam.ui.demo import start_model
from iscam.ui.seen.layout import OPENING


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


def test_the_page_starts_with_resnet18_only_if_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert start_model() == "photo11"
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth").touch()
    assert start_model() == "resnet18"


def test_examples_are_there() -> None:
    assert OPENING.is_file() and len(list(EXAMPLES.glob("*.jpg"))) == 4 and (EXAMPLES / "LICENSES.md").is_file()
