"""Passes by OpenVINO: the same logits, by the same engine; refused where they would be others, and kept where they pay."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import iscam
from iscam.engine import backend as engine_backend
from iscam.engine.backend import RACE, Backend
from iscam.engine.converted import Converted, convert, has_openvino
from iscam.project import EXAMPLES
from tests import tiny_models

pytest.importorskip("openvino", reason="needs OpenVINO (requirements-fast.txt)")


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


class Counting(nn.Module):
    """Gives other logits at every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.passes = nn.Linear(3, 4), 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        logits: Tensor = self.head(x.mean((2, 3))) + self.passes
        return logits


def test_the_logits_are_the_networks_own() -> None:
    network, images = tiny()
    backend = Backend(network, batch=3)
    found = backend.logits(images)
    assert "by OpenVINO" in backend.description
    with torch.no_grad():
        torch.testing.assert_close(found, network(images), rtol=1e-4, atol=1e-5)


def test_nothing_is_left_in_the_network() -> None:
    network, images = tiny()
    network.train()
    before = copy.deepcopy(network.state_dict())
    Backend(network, batch=3).logits(images)
    assert network.training and all(not module._forward_hooks for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("network", [Branching(), Counting()], ids=["branching", "counting"])
def test_a_network_that_a_trace_cannot_hold_is_left_to_torch(network: nn.Module) -> None:
    images = torch.randn(RACE, 3, 8, 8)
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


def test_little_work_is_not_worth_a_conversion() -> None:
    network, images = tiny()
    backend = Backend(network)
    backend.logits(images)
    assert "OpenVINO" not in backend.description


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
