"""A server on this machine that plays the Hugging Face Hub, as huggingface_hub knows it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Handler(BaseHTTPRequestHandler):
    """Answers as the Hub does for the repositories that the server holds, or as its `manner` says."""

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self._answer(None)

    def _answer(self, body: bytes | None) -> None:
        repo, _, file = self.path.lstrip("/").partition("/resolve/main/")
        files, manner = self.server.repos.get(repo), self.server.manner
        if files is None or file not in files or manner == "ill":
            self.send_response(503 if manner == "ill" else 404)
            if manner != "ill":
                self.send_header("X-Error-Code", "RepoNotFound" if files is None else "EntryNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content, weights = files[file], file.endswith(".safetensors")
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        digest = hashlib.sha256(content).hexdigest()
        self.send_header("ETag", f'"{digest if weights else digest[:40]}"')
        if body is None and weights:
            content = b"x" * len(content) if manner == "false" else content * (1000 if manner == "more" else 1)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body is not None:
            return
        with suppress(OSError):  # the client gives up
            if not weights or manner in ("", "false", "more"):
                self.wfile.write(content)
            elif manner == "gone":
                self.wfile.write(content[:1000])
                self.server.socket.close()
            else:
                for i in range(len(content)):
                    self.wfile.write(content[i : i + 1])
                    if self.server.finished.wait(0.02):
                        break

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A server on this machine that stands in for the Hub."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.manner, self.asked, self.finished = "", list[str](), threading.Event()

    def handle_error(self, *_: object) -> None:
        """A connection that the client has left is nothing to tell of."""


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of huggingface_hub's."""
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "home" / "hub"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Server]:
    with Server() as serving:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{serving.server_port}")
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield serving
        serving.finished.set()
        serving.shutdown()
        thread.join()
