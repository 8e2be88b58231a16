"""Weights that are fetched: out of reach, cut off, damaged, or there already. The server is on this machine."""

from __future__ import annotations

import gc
import hashlib
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from iscam import Explainer, load_model
from iscam.images import Geometry
from iscam.models import download
from tests.models.networks import Trap, assert_sentence, build, noise_photo


def unreachable(*_arguments: object, **_options: object) -> object:
    raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))


class Handler(BaseHTTPRequestHandler):
    """Serves the content the server holds, or does what the server's `manner` says."""

    def do_GET(self) -> None:
        content, manner = self.server.content, self.server.manner
        if manner == "garbage":
            self.wfile.write(b"no http at all\r\n\r\n")
            return
        if manner == "missing":
            self.send_error(404)
            return
        if manner == "trickling headers":
            with suppress(OSError):
                while not self.server.finished.wait(0.02):
                    self.wfile.write(b"HTTP/1.1 200 and so on ")
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) + {"cut off": 1, "trickle": 10**6}.get(manner, 0)))
        self.end_headers()
        with suppress(OSError):  # the client gives up
            while manner == "trickle" and not self.server.finished.wait(0.02):
                self.wfile.write(b".")
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A server on this machine that stands in for the one with the weights."""

    content, manner = b"not the published file", ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """All downloads go to a server on this machine, past any proxy."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with Server(("127.0.0.1", 0), Handler) as serving:
        serving.finished = threading.Event()

        def redirect(_url: str, timeout: float) -> object:
            return direct.open(serving.address, timeout=timeout)

        monkeypatch.setattr(urllib.request, "urlopen", redirect)
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield serving
        serving.finished.set()
        serving.shutdown()
        thread.join()


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache: the folder that torch.hub would keep weights in."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub" / "checkpoints"


def assert_not_fetched(cache: Path, *words: str) -> None:
    """One sentence with file and folder, and no file left behind."""
    with pytest.raises(OSError, match="could not be downloaded") as caught:
        load_model("resnet18")
    assert_sentence(caught.value, "resnet18-f37072fd.pth", str(cache), "photo11", *words)
    assert not list(cache.parent.rglob("*.p*"))


def test_without_a_network_the_file_and_the_folder_are_named(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    assert_not_fetched(cache, "(Name or service not known)")


def test_a_download_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch, cache: Path, server: Server) -> None:
    monkeypatch.setattr(download, "FETCH_SECONDS", 1.0)
    server.manner = "trickle"
    assert_not_fetched(cache, "longer than 1 s")


def test_headers_that_trickle_are_given_up(monkeypatch: pytest.MonkeyPatch, cache: Path, server: Server) -> None:
    monkeypatch.setattr(download, "ANSWER_SECONDS", 1.0)
    server.manner = "trickling headers"
    assert_not_fetched(cache, "did not answer within 1 s")


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    with Server(("127.0.0.1", 0), Handler) as silent:  # it listens, but nobody answers
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        monkeypatch.setattr(
            urllib.request, "urlopen", lambda _url, timeout: direct.open(silent.address, timeout=timeout)
        )
        monkeypatch.setattr(download, "CONNECT_SECONDS", 0.5)
        assert_not_fetched(cache, "timed out")


@pytest.mark.parametrize(
    ("manner", "words"),
    [
        ("", "what arrived is not the published file"),
        ("cut off", "what arrived is not the published file"),
        ("missing", "Not Found"),
        ("garbage", "the server's answer is broken"),
    ],
)
def test_a_server_that_delivers_something_else(cache: Path, server: Server, manner: str, words: str) -> None:
    server.manner = manner
    assert_not_fetched(cache, words)
    gc.collect()  # an answer that was left open warns now


def test_a_cache_that_cannot_hold_files(cache: Path, server: Server) -> None:
    cache.parent.parent.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="could not be downloaded") as caught:
        load_model("resnet18")
    assert str(cache) in str(caught.value)


def test_a_download_arrives_whole_and_once(tmp_path: Path, server: Server) -> None:
    """The name ends in the first digits of the content's SHA-256, as torch.hub's names do."""
    server.content = b"weights" * 1000
    name = f"tiny-{hashlib.sha256(server.content).hexdigest()[:8]}.pth"
    download.fetch(f"https://example.org/{name}", tmp_path / "new" / name)
    assert [file.name for file in (tmp_path / "new").iterdir()] == [name]
    assert (tmp_path / "new" / name).read_bytes() == server.content


@pytest.mark.parametrize("damage", ["text", "cut", "empty", "other", "pickle"])
def test_a_damaged_file_in_the_cache_is_named(monkeypatch: pytest.MonkeyPatch, cache: Path, damage: str) -> None:
    """torch.hub does not look at a file that is there already; nothing is fetched, and nothing in it is executed."""
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    cache.mkdir(parents=True)
    file, sprung = cache / "squeezenet1_1-b8a52dc0.pth", cache / "sprung"
    if damage == "text":
        file.write_text("<html>Log in to the network first</html>\n" * 50)
    elif damage == "pickle":
        torch.save({"features.0.weight": Trap(sprung)}, file)
    else:
        torch.save(build("squeezenet1_0" if damage == "other" else "squeezenet1_1").state_dict(), file)
        if damage != "other":
            data = file.read_bytes()
            file.write_bytes(data[: len(data) // 2] if damage == "cut" else b"")
    with pytest.raises(OSError, match="is damaged: delete it and try again") as caught:
        load_model("squeezenet1_1")
    assert_sentence(caught.value, file.name, str(cache))
    assert not sprung.exists()


def test_weights_in_the_cache_need_no_network(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    cache.mkdir(parents=True)
    file, network = cache / "squeezenet1_1-b8a52dc0.pth", build("squeezenet1_1")
    torch.save(network.state_dict(), file)
    model = load_model("squeezenet1_1")
    assert len(model.categories) == 1000
    assert model.categories[281] == "tabby"
    assert model.weights_file == file
    assert model.geometry == Geometry(256, 224)
    with torch.no_grad():
        image = model.transforms(noise_photo())[None]
        torch.testing.assert_close(model.network(image), network(image), rtol=1e-4, atol=1e-5)


@pytest.mark.shared
@pytest.mark.usefixtures("torch_home")
def test_the_real_squeezenet_knows_a_dog(shared: Path) -> None:
    explainer = Explainer(load_model("squeezenet1_0"))
    best = explainer.analyse(shared / "data" / "photos" / "n02086079_Pekinese.jpg").predictions[0]
    assert best.category == "Pekinese"
