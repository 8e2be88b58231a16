"""Passes by OpenVINO: the same logits, by the same engine; refused where they would be others, and kept where they pay."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import iscam
from iscam.engine import backend as engine_backend
from iscam.engine.backend import RACE, Backend
from iscam.engine.converted import Converted, convert, has_openvino
from iscam.engine.outputs import ask
from iscam.project import EXAMPLES
from tests import tiny_models
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="needs OpenVINO (requirements-fast.txt)")


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISCAM_NO_OPENVINO")


def tiny(name: str = "TinyPooled") -> tuple[nn.Module, Tensor]:
    network = tiny_models.build(name).eval()
    return network, tiny_models.sample(network, RACE)


class Branching(nn.Module):
    """Looks at the numbers of its input to choose what it does, which a trace cannot know."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3))
        logits: Tensor = self.head(pooled if x.sum() > 0 else -pooled)
        return logits


class Drawing(nn.Module):
    """Adds what it draws at random."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x.mean((2, 3))) + torch.randn(4)
        return logits


class Remembering(nn.Module):
    """Gives the same logits at every pass, and keeps count of them."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.passes = nn.Linear(3, 4), 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def watched() -> nn.Module:
    network = tiny_models.build("TinyPooled")
    network.get_submodule(network.layer).register_forward_hook(lambda *_: None)
    return network


def test_the_logits_are_the_networks_own() -> None:
    network, images = tiny()
    backend = Backend(network, batch=3)
    found = backend.logits(images)
    assert "by OpenVINO" in backend.description
    with torch.no_grad():
        torch.testing.assert_close(found, network(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("made", [lambda x: {"logits": x}, lambda x: (x, x.mean()), lambda x: x[:, :1]])
def test_logits_are_found_in_whatever_is_returned(made: Callable[[Tensor], object]) -> None:
    network, images = tiny()

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, x: Tensor) -> object:
            return made(self.inner(x))

    wrapped = Wrapped().eval()
    with torch.no_grad():
        found, wanted = convert(wrapped, images, 1), ask(wrapped, images)
    assert found is not None
    torch.testing.assert_close(found.run(images, rough=False), wanted, rtol=1e-4, atol=1e-5)


def test_a_network_of_another_type_is_left_to_torch() -> None:
    network, images = tiny()
    backend = Backend(network.double(), batch=4)
    torch.testing.assert_close(backend.logits(images.double()).double(), network(images.double()).detach())
    assert "OpenVINO" not in backend.description


def test_by_batches_of_a_fixed_size_all_passes_are_converted() -> None:
    """Whichever comes first: the rows of an evaluation do not depend on which process has a photo."""
    network, images = tiny()
    backend = Backend(network, batch=3)
    backend.logits(images[:1])
    assert "by OpenVINO" in backend.description


def test_its_makers_are_told_nothing(tmp_path: Path) -> None:
    """OpenVINO sends what it does to a server, unless its part for that is not there."""
    program = (
        "import sys, torch; from iscam.engine.backend import Backend; from tests import tiny_models;"
        "network = tiny_models.build('TinyPooled').eval(); backend = Backend(network, batch=3);"
        "backend.logits(tiny_models.sample(network, 3)); assert 'by OpenVINO' in backend.description;"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry.')]"
    )
    environment = os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "CI": ""}
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], env=environment, check=True)
    assert not (tmp_path / "intel").exists()


def test_a_race_that_is_stopped_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_backend, "WORTH", 0)
    monkeypatch.setattr(engine_backend, "FASTER", 0)
    network, images = tiny()
    backend = Backend(network)
    passes = backend.passes(RACE, lambda start, stop: images[start:stop], lambda *_: None)
    for _ in passes:
        if "OpenVINO" in backend.description:
            break
    passes.close()
    assert "OpenVINO" not in backend.description
    backend.logits(images)
    assert "OpenVINO" in backend.description


def test_nothing_is_left_in_the_network() -> None:
    network, images = tiny()
    network.train()
    before = copy.deepcopy(network.state_dict())
    Backend(network, batch=3).logits(images)
    assert network.training and all(not module._forward_hooks for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    "network",
    [Branching(), Drawing(), Remembering(), watched()],
    ids=["branching", "drawing", "remembering", "watched"],
)
def test_a_network_that_a_trace_cannot_hold_is_left_to_torch(network: nn.Module) -> None:
    images = torch.randn(RACE, 3, 16, 16)
    with torch.no_grad():
        assert convert(network.eval(), images[:3], 1) is None
    backend = Backend(network, batch=4)
    backend.logits(images)
    assert "OpenVINO" not in backend.description


def test_it_may_be_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISCAM_NO_OPENVINO", "1")
    network, images = tiny()
    backend = Backend(network, batch=3)
    backend.logits(images)
    assert not has_openvino() and "OpenVINO" not in backend.description
    monkeypatch.delenv("ISCAM_NO_OPENVINO")
    assert has_openvino() and not has_openvino("cuda")


def test_little_work_is_not_worth_a_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_backend, "convert", lambda *_: pytest.fail("it is tried"))
    network, images = tiny()
    Backend(network).logits(images)


@pytest.mark.parametrize("faster", [True, False])
def test_what_is_faster_is_kept(faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the times of a race, which are made up here."""
    monkeypatch.setattr(engine_backend, "WORTH", 0)
    network, images = tiny()
    backend = Backend(network)
    times = iter([1.0, 2.0, 1.0 if faster else 3.0])  # a first row, the network, its converted form

    def raced(row: Tensor, total: int, rough: bool):  # type: ignore[no-untyped-def]
        yield
        return next(times)

    monkeypatch.setattr(backend, "_raced", raced)
    logits = backend.logits(images)
    assert ("OpenVINO" in backend.description) == faster
    with torch.no_grad():
        torch.testing.assert_close(logits, network(images), rtol=1e-4, atol=1e-5)
    assert next(times, None) is None


def test_a_request_that_fails_can_be_used_again() -> None:
    network, images = tiny()
    with torch.no_grad():
        found = convert(network, images[:3], 1)
    assert isinstance(found, Converted)
    with pytest.raises(RuntimeError):
        found.run(torch.zeros(1, 5, 8, 8), rough=False)
    assert len(found.run(images, rough=False)) == RACE


def test_maps_are_the_same_by_both_engines() -> None:
    """photo11's, exact within rounding and fast within the tolerance."""
    model = iscam.load_model("photo11")
    plain = iscam.Explainer(model, "exact", backend=Backend(model.network, model.folds))
    plain.backend._convertible = False
    asked = {"method": "is-cam", "steps": 2}
    photo = EXAMPLES / "chelsea.jpg"
    exact = plain.explain(plain.analyse(photo), **asked)  # type: ignore[arg-type]
    for engine, near in (("exact", 2e-5), ("fast", 0.01)):
        backend = Backend(model.network, model.folds, batch=8)
        explainer = iscam.Explainer(model, engine, backend=backend)
        found = explainer.explain(explainer.analyse(photo), **asked)  # type: ignore[arg-type]
        assert "by OpenVINO" in backend.description
        assert abs(found.heatmap - exact.heatmap).max() < near
