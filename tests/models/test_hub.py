"""Networks that are fetched from the Hub, which a server on this machine plays: whole, late, false, too large or not at all."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from iscam import load_model
from iscam.models import hub, missing_bytes
from tests.hub_server import Handler, Server
from tests.models.networks import assert_sentence
from tests.models.test_stored import logits, make, photo, store

REPO = "someone/tiny.a1_in1k"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A repository of a tiny network of timm's."""
    folder = store(tmp_path_factory.mktemp("tiny"), make(), label_names=["a", "b", "c", "d", "e"])
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def refusal(name: str, error: type[Exception], *words: str, **options: Any) -> None:
    with pytest.raises(error) as caught:
        load_model(name, **options)
    assert type(caught.value) is error
    assert_sentence(caught.value, *words)


@pytest.fixture
def interrupts() -> Iterator[Callable[[Any], None]]:
    """`interrupts(handler)`: what is done about them, here and in programs that are started, until the test ends."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, before)


def assert_nothing_left(cache: Path) -> None:
    assert not [file for file in cache.rglob("*") if "incomplete" in file.name or file.suffix == ".safetensors"]


def test_a_network_is_fetched_once_and_then_read_from_the_cache(
    monkeypatch: pytest.MonkeyPatch, cache: Path, server: Server, files: dict[str, bytes]
) -> None:
    server.repos[REPO] = files
    size = sum(len(content) for content in files.values())
    assert missing_bytes(f"hf-hub:{REPO}") == size
    assert server.asked == []
    told: list[tuple[int, int]] = []
    model = load_model(f"hf-hub:{REPO}", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (size, size)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert sorted(path.rpartition("/")[2] for path in server.asked) == sorted(files)
    image, network = model.transforms(photo()), make()
    torch.testing.assert_close(logits(model.network, image), logits(network, image))
    assert (model.key, model.label, model.categories) == (f"hf-hub:{REPO}", REPO, ("a", "b", "c", "d", "e"))
    assert model.weights_sha256 == hashlib.sha256(files["model.safetensors"]).hexdigest()
    assert model.weights_file is not None and cache in model.weights_file.parents

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert missing_bytes(f"hf-hub:{REPO}") is None
    again = load_model(f"hf-hub:{REPO}", progress=lambda *_: pytest.fail("that was fetched"))
    assert again.weights_sha256 == model.weights_sha256
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert load_model(f"hf-hub:{REPO}").categories == model.categories


def test_a_name_of_timms_is_where_timm_says(cache: Path, server: Server, files: dict[str, bytes]) -> None:
    """Without a tag it is timm's default one; the network is the one that is named, whatever the config says."""
    server.repos["timm/test_resnet.r160_in1k"] = files
    model = load_model("timm/test_resnet")
    assert (model.key, model.label, len(model.categories)) == ("timm/test_resnet", "test_resnet", 5)
    assert load_model("timm/test_resnet.r160_in1k").weights_sha256 == model.weights_sha256
    server.repos["timm/test_vit.r160_in1k"] = files
    refusal("timm/test_vit", ValueError, "model.safetensors")


def test_what_is_not_there_is_said(cache: Path, server: Server, files: dict[str, bytes]) -> None:
    refusal("hf-hub:no/body", ValueError, "no/body", "local-dir:FOLDER")
    server.repos[REPO] = {"config.json": files["config.json"], "pytorch_model.bin": b"\x80\x02."}
    refusal(f"hf-hub:{REPO}", ValueError, REPO, "model.safetensors", "pickles")
    server.repos[REPO] = {"model.safetensors": files["model.safetensors"]}
    refusal(f"hf-hub:{REPO}", ValueError, REPO, "config.json")
    server.repos[REPO] = files
    refusal(f"hf:{REPO}", ValueError, REPO, "preprocessor_config.json")
    assert server.asked == []  # it is said before anything is fetched
    assert_nothing_left(cache)


def test_what_is_too_large_is_not_fetched(
    monkeypatch: pytest.MonkeyPatch, cache: Path, server: Server, files: dict[str, bytes]
) -> None:
    server.repos[REPO] = files
    monkeypatch.setitem(hub.LIMITS, "model.safetensors", len(files["model.safetensors"]) - 1)
    refusal(f"hf-hub:{REPO}", ValueError, REPO, "MB")
    with pytest.raises(ValueError, match="MB"):
        missing_bytes(f"hf-hub:{REPO}")
    assert server.asked == []


@pytest.mark.parametrize(
    ("manner", "words"),
    [
        ("false", "not the published file"),
        ("more", "more arrived than was announced"),
        ("gone", "the Hub cannot be reached"),
        ("ill", "status 503"),
    ],
)
def test_a_hub_that_fails(cache: Path, server: Server, files: dict[str, bytes], manner: str, words: str) -> None:
    server.repos[REPO], server.manner = files, manner
    refusal(f"hf-hub:{REPO}", OSError, REPO, words, "photo11")
    assert_nothing_left(cache)


def test_a_hub_that_is_slow_is_given_up(
    monkeypatch: pytest.MonkeyPatch, cache: Path, server: Server, files: dict[str, bytes]
) -> None:
    """A byte now and then, so that no wait for the next one ever grows long."""
    server.repos[REPO], server.manner = files, "slow"
    monkeypatch.setattr(hub, "FETCH_SECONDS", 2.0)
    refusal(f"hf-hub:{REPO}", OSError, "longer than 2 s")
    assert any(path.endswith("model.safetensors") for path in server.asked)
    assert_nothing_left(cache)


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN])
def test_what_progress_raises_stops_a_download(
    handler: Any, cache: Path, server: Server, files: dict[str, bytes], interrupts: Callable[[Any], None]
) -> None:
    """Also of a program that a shell has started in the background."""
    interrupts(handler)
    server.repos[REPO], server.manner = files, "slow"
    calls: list[int] = []

    def stop(done: int, _total: int) -> None:
        calls.append(done)
        if len(calls) > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_model(f"hf-hub:{REPO}", progress=stop)
    assert len(calls) == 4
    assert_nothing_left(cache)


def test_without_a_network_it_is_said_why(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    refusal(f"hf-hub:{REPO}", OSError, REPO, "cannot be reached", "photo11")
    with pytest.raises(OSError, match="cannot be reached"):
        missing_bytes(f"hf-hub:{REPO}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refusal(f"hf-hub:{REPO}", OSError, REPO, "HF_HUB_OFFLINE", "photo11")


def test_a_hub_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    with Server() as silent:  # it listens, but nobody answers
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.server_port}")
        monkeypatch.setattr(hub, "ASK_SECONDS", 1.0)
        with pytest.raises(OSError, match="longer than 1 s") as caught:
            missing_bytes(f"hf-hub:{REPO}")
        assert_sentence(caught.value, REPO)


def test_nobodys_token_is_sent(
    monkeypatch: pytest.MonkeyPatch, cache: Path, server: Server, files: dict[str, bytes]
) -> None:
    """A page that others use must not open to them what its owner alone may read."""
    seen: list[str | None] = []
    answer = Handler._answer
    monkeypatch.setattr(
        Handler, "_answer", lambda self, body: (seen.append(self.headers.get("Authorization")), answer(self, body))[1]
    )
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 30)
    server.repos[REPO] = files
    load_model(f"hf-hub:{REPO}")
    assert set(seen) == {None}


def test_models_of_the_list_say_what_they_lack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert missing_bytes("photo11") is None
    assert missing_bytes("resnet18") == pytest.approx(46_830_571, rel=0.05)
    weights = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"")
    assert missing_bytes("resnet18") is None
    with pytest.raises(ValueError, match="resnet19"):
        missing_bytes("resnet19")


def test_a_disk_is_not_filled(monkeypatch: pytest.MonkeyPatch, server: Server, files: dict[str, bytes]) -> None:
    server.repos[REPO] = files
    monkeypatch.setattr(hub, "SPARE_BYTES", 10**18)
    with pytest.raises(OSError, match="no room on the disk"):
        load_model(f"hf-hub:{REPO}")
    assert server.asked == []
