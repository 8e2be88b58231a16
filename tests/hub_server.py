"""A small server that plays the Hugging Face Hub, as huggingface_hub knows it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from iscam.models import hub

COMMIT = "0123456789" * 4


class Hub(BaseHTTPRequestHandler):
    """Serves folders as repositories; `asked` is what was asked for."""

    root: Path
    asked: list[str]

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        self.asked.append(f"{self.command} {self.path}")
        org, name, *_, file = self.path.partition("?")[0].strip("/").split("/")
        folder = self.root / org / name
        found = folder / file
        if not found.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if folder.is_dir() else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = found.read_bytes()
        length = (folder / "claims").read_text() if (folder / "claims").exists() else str(len(content))
        self.send_response(200)
        for head, value in (("ETag", f'"{file}"'), ("X-Repo-Commit", COMMIT), ("Content-Length", length)):
            self.send_header(head, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """The Hub, empty, and an empty cache of it."""

    class Mine(Hub):
        root, asked = tmp_path / "hub", []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    for function in ("hf_hub_download", "try_to_load_from_cache"):
        named: dict[str, Any] = {"cache_dir": tmp_path / "cache"}
        if function == "hf_hub_download":
            named["endpoint"] = endpoint
        monkeypatch.setattr(hub, function, partial(getattr(hub, function), **named))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield Mine
    server.shutdown()
    server.server_close()
