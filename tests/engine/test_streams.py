"""Batches side by side: what they give, who may run them so, and what a container allows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from iscam.engine import devices
from iscam.engine.backend import Backend
from iscam.engine.devices import quota, set_threads
from iscam.engine.streams import Crowd, held, single_threaded, stream_count, unchanged
from tests import tiny_models

CPU = torch.device("cpu")
PATIENCE = 60.0  # seconds, a bound only


@pytest.fixture(autouse=True)
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine on which torch takes three threads, whatever this one has."""
    monkeypatch.setattr(devices, "quota", lambda: None)
    monkeypatch.delenv("ISCAM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


class Watched(nn.Module):
    """Logits (B, 2) from the photos' means; counts how many batches are in it at once, and keeps on which threads they are."""

    def __init__(self, meet: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0]))
        self.seen = [Seen(meet)]  # in a list: nothing in the module itself is changed by a pass

    def forward(self, x: Tensor) -> Tensor:
        with self.seen[0]:
            logits: Tensor = x.mean((1, 2, 3))[:, None] * self.weight
        return logits


class Seen:
    """How many are inside at once; each waits until `meet` have been there together, but for the first, who is alone."""

    def __init__(self, meet: int) -> None:
        self.most = self.inside = self.batches = 0
        self.threads: dict[str, int] = {}
        self._met = threading.Event()
        self._meet, self._lock = meet, threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.batches += 1
            first = self.batches == 1
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.threads[threading.current_thread().name] = torch.get_num_threads()
            if self.inside == self._meet:
                self._met.set()
        if not first and self._meet > 1:
            assert self._met.wait(PATIENCE), "the others did not come"

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.inside -= 1


class Keeper(Watched):
    """Keeps what it is fed between two steps of its forward, as some networks do: passes at once would mix it up."""

    def forward(self, x: Tensor) -> Tensor:
        self.kept = x
        with self.seen[0]:
            logits: Tensor = self.kept.mean((1, 2, 3))[:, None] * self.weight
        return logits


def photos(count: int) -> Tensor:
    return torch.randn((count, 3, 8, 8), generator=torch.Generator().manual_seed(5))


def test_batches_run_side_by_side_each_on_one_thread() -> None:
    """Three are inside at once, on threads of their own where torch takes one thread; the caller's number stays."""
    network = Watched(meet=3)
    logits = Backend(network, batch=2).logits(photos(20))
    torch.testing.assert_close(logits, photos(20).mean((1, 2, 3))[:, None] * network.weight.detach())
    assert network.seen[0].most == 3
    assert set(network.seen[0].threads.values()) == {1}
    assert all(name.startswith("stream") for name in network.seen[0].threads)
    assert torch.get_num_threads() == 3


def test_one_stream_is_the_callers_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is but one core, nothing is handed to another thread."""
    monkeypatch.setattr(devices, "quota", lambda: 1)
    network = Watched()
    Backend(network, batch=2).logits(photos(6))
    assert list(network.seen[0].threads) == [threading.current_thread().name]


def test_a_network_that_keeps_something_between_passes_runs_one_at_a_time() -> None:
    """It is told by what its modules hold after the first batch, and all logits are right."""
    network = Keeper()
    backend = Backend(network, batch=2)
    assert "3 batches at once" in backend.description
    logits = backend.logits(photos(30))
    torch.testing.assert_close(logits, photos(30).mean((1, 2, 3))[:, None] * network.weight.detach())
    assert network.seen[0].most == 1
    assert "at once" not in backend.description


@pytest.mark.parametrize("name", ["TinyPooled", "TinyInplace", "TinyTokens"])
def test_what_networks_hold_is_unchanged_by_a_pass(name: str) -> None:
    """A pass of an ordinary network changes nothing in it."""
    network = tiny_models.build(name)
    before = held(network)
    with torch.no_grad():
        network(tiny_models.sample(network))
    assert unchanged(before, held(network))


def test_every_way_of_keeping_something_is_seen() -> None:
    """A new attribute, another value of one, a longer list, a buffer that is written to or exchanged."""

    def another(network: nn.Module) -> None:
        network.register_buffer("count", torch.zeros(1))

    ways = {
        "new": lambda network: setattr(network, "fresh", 1),
        "another number": lambda network: setattr(network, "number", 300.5),
        "longer": lambda network: network.lists.append(1),
        "written": lambda network: network.count.add_(1),
        "exchanged": another,
    }
    for way, change in ways.items():
        network = nn.Sequential(nn.Linear(2, 2))
        network.lists, network.number = [], 2
        network.register_buffer("count", torch.zeros(1))
        before = held(network)
        assert unchanged(before, held(network))
        change(network)
        assert not unchanged(before, held(network)), way


def test_what_is_on_its_way_when_it_is_stopped_is_kept() -> None:
    """A generator that is closed waits for the batches inside and hands them out; what waited is not run."""
    network, found = Watched(meet=2), {}
    backend = Backend(network, batch=2)
    passes = backend.passes(40, lambda start, stop: photos(40)[start:stop], found.__setitem__)
    next(passes)
    next(passes)  # the first batch is through, alone
    next(passes)
    passes.close()
    assert 2 <= len(found) < 20
    assert sum(len(logits) for logits in found.values()) == 2 * network.seen[0].batches
    for start, logits in found.items():
        torch.testing.assert_close(
            logits, photos(40)[start : start + 2].mean((1, 2, 3))[:, None] * network.weight.detach()
        )


def test_an_error_in_a_batch_comes_to_the_caller_when_the_others_are_through() -> None:
    """It is raised where the passes are asked for; no batch is inside any more, and the network is as it was."""
    network = Watched()
    fed = iter(range(100))

    def make(start: int, stop: int) -> Tensor:
        if next(fed) == 5:
            raise RuntimeError("on purpose")
        return photos(40)[start:stop]

    weight = network.weight
    with pytest.raises(RuntimeError, match="on purpose"):
        list(Backend(network, batch=2).passes(40, make, lambda start, logits: None))
    assert network.seen[0].inside == 0
    assert network.weight is weight


def test_a_batch_that_ran_alone_tells_nothing_of_the_pace() -> None:
    """Beside idle streams it is faster than it will be: such times would choose sizes that are slow in company."""
    crowd = Crowd(2)
    assert not crowd.join()
    assert crowd.join()
    assert crowd.leave()
    assert not crowd.leave()
    backend = Backend(Watched(meet=3))
    backend.logits(photos(1))
    assert backend.pace("precise").seconds_per_row == float("inf")


def test_there_are_as_many_streams_as_cores_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch has threads, or as a container's quota says; one on a GPU, which runs a batch on all it has."""
    assert stream_count(CPU) == 3
    monkeypatch.setattr(devices, "quota", lambda: 2)
    assert stream_count(CPU) == 2
    monkeypatch.setenv("ISCAM_THREADS", "3")  # said by somebody who knows
    assert stream_count(CPU) == 3
    assert stream_count(torch.device("cuda")) == 1


def test_torch_can_be_held_to_one_thread() -> None:
    """While the body runs, also if it raises; afterwards there are as many as before."""
    with pytest.raises(RuntimeError, match="on purpose"), single_threaded():
        assert torch.get_num_threads() == 1
        raise RuntimeError("on purpose")
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(
    ("limits", "cores"),
    [
        ({"": "max 100000"}, None),
        ({}, None),
        ({"": "200000 100000"}, 2),
        ({"": "max 100000", "a/b": "150000 100000"}, 2),
        ({"": "400000 100000", "a": "300000 100000", "a/b": "max 100000"}, 3),
        ({"": "50000 100000"}, 1),
        ({"": "nonsense"}, None),
    ],
)
def test_the_quota_of_a_container_is_heeded(tmp_path: Path, limits: dict[str, str], cores: int | None) -> None:
    """The least of the process's group and those above it; a part of a core is a whole one."""
    (tmp_path / "own").write_text("1:name=systemd:/x\n0::/a/b\n")
    (tmp_path / "groups" / "a" / "b").mkdir(parents=True)
    for group, text in limits.items():
        (tmp_path / "groups" / group / "cpu.max").write_text(text)
    assert quota(tmp_path / "groups", tmp_path / "own") == cores


def test_without_groups_there_is_no_quota(tmp_path: Path) -> None:
    """On another system than Linux, or with the first version of groups."""
    assert quota(tmp_path, tmp_path / "none") is None
    (tmp_path / "own").write_text("3:cpu:/a\n")
    assert quota(tmp_path, tmp_path / "own") is None


def test_programs_take_no_more_threads_than_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    """ISCAM_THREADS has the last word."""
    monkeypatch.setattr(devices, "quota", lambda: 2)
    monkeypatch.delenv("ISCAM_THREADS", raising=False)
    set_threads()
    assert torch.get_num_threads() == 2
    monkeypatch.setenv("ISCAM_THREADS", "4")
    set_threads()
    assert torch.get_num_threads() == 4
