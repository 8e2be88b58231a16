"""Dockerfile and compose.yaml: what they say agrees, with each other and with what is here. No container is built."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

PORT = "7860"
TEXT = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
STEPS = [tuple(line.split(None, 1)) for line in TEXT.splitlines() if line.strip()]  # (instruction, its words)
SERVICE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["demo"]


def said(instruction: str) -> list[str]:
    return [words for name, words in STEPS if name == instruction]


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for words in said("ENV") for pair in shlex.split(words))


def test_what_is_copied_is_there_and_not_ignored() -> None:
    copied = [source for words in said("COPY") for source in words.split()[:-1]]
    assert {"app.py", "assets", "iscam", "requirements.txt"} <= set(copied)
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in ignored
    for source in copied:
        assert (ROOT / source).exists() and f"!{source}" in ignored


def test_it_runs_the_python_of_the_readme() -> None:
    asked = re.search(r'python_version: "(.*)"', (ROOT / "README.md").read_text("utf-8"))
    assert asked and said("FROM") == [f"python:{asked[1]}-slim"]


def test_it_is_no_root_who_serves() -> None:
    (user,) = said("USER")
    assert user not in ("root", "0") and any(re.search(rf"useradd .*\b{user}\b", words) for words in said("RUN"))
    order = [name for name, _ in STEPS]
    assert order.index("USER") > max(place for place, name in enumerate(order) if name in ("RUN", "COPY"))
    assert said("CMD") == ['["python", "app.py"]']


def test_ports_agree() -> None:
    assert said("EXPOSE") == [environment()["PORT"]] == [PORT] and environment()["GRADIO_SERVER_NAME"] == "0.0.0.0"
    assert SERVICE["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]  # nobody else is let in unasked


def test_it_writes_where_it_may() -> None:
    """All else is read-only."""
    assert SERVICE["read_only"] is True and SERVICE["cap_drop"] == ["ALL"]
    writable = [PurePosixPath(place.split(":")[0]) for place in SERVICE["tmpfs"]]
    writable += [PurePosixPath(place.split(":")[1]) for place in SERVICE["volumes"]]
    for name in ("HOME", "MPLCONFIGDIR", "TORCH_HOME", "HF_HOME"):
        assert any(PurePosixPath(environment()[name]).is_relative_to(place) for place in writable), name
    kept = PurePosixPath(SERVICE["volumes"][0].split(":")[1])
    assert all(PurePosixPath(environment()[name]).is_relative_to(kept) for name in ("TORCH_HOME", "HF_HOME"))


def test_the_index_of_packages_is_the_builders_choice() -> None:
    assert said("ARG") == ["PIP_EXTRA_INDEX_URL"] and list(SERVICE["build"]["args"]) == ["PIP_EXTRA_INDEX_URL"]
    assert any("requirements.txt" in words for words in said("RUN"))


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (500, False), (None, False)])
def test_the_health_check_tells_whether_it_answers(status: int | None, healthy: bool) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status or 0)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    (words,) = said("HEALTHCHECK")
    program, *arguments = json.loads(words.partition("CMD ")[2])
    assert program == "python"
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        port = server.server_port
        if status is None:
            server.server_close()
        else:
            threading.Thread(target=server.handle_request, daemon=True).start()
        told = {"PORT": str(port)}
        done = subprocess.run([sys.executable, "-I", "-S", *arguments], env=told, capture_output=True, timeout=60)
    assert (done.returncode == 0) is healthy
