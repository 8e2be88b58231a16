"""What all tests share: the folder of real photos and weights, seeds, and tiny networks as loaded models."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from iscam import LoadedModel, ModelSpec
from iscam.images import Geometry
from iscam.models.describe import describe
from iscam.models.preprocessing import MEAN, STD, make_transforms
from tests import tiny_models

pytest_plugins = ["tests.hub_server"]

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("ISCAM_THREADS", "1")  # also of the programs that tests start; see `_seeded_and_calm`
os.environ.setdefault("ISCAM_NO_OPENVINO", "1")  # when a network is converted depends on how fast the machine is
SHARED = Path(os.environ.get("ISCAM_SHARED", ROOT.parent / "shared")).resolve()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not (SHARED / "data").is_dir():
        for item in items:
            if "shared" in item.keywords:
                item.add_marker(pytest.mark.skip(reason=f"the test data are not at {SHARED} (ISCAM_SHARED names them)"))


@pytest.fixture(autouse=True)
def _seeded_and_calm() -> Iterator[None]:
    """Seeded; on one thread: where the cores are busy, two threads wait for each other many times longer than they work."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def shared() -> Path:
    """The folder with real photos and weights; tests that use it are marked `shared`."""
    return SHARED


@pytest.fixture
def torch_home(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Real SqueezeNet weights in torch.hub's cache; tests that use it are marked `shared`."""
    home = SHARED / "data" / "torch_home"
    monkeypatch.setenv("TORCH_HOME", str(home))
    return home


def loaded(network: nn.Module, layer: str, classes: int, side: int) -> LoadedModel:
    """A network of the tests as a loaded model with one layer."""
    spec = ModelSpec("tiny", "Tiny", layer, {layer: (0, 0)}, None)
    geometry = Geometry(side, side)
    categories = tuple(f"class {i}" for i in range(classes))
    return describe(network, spec, categories, geometry, make_transforms(geometry, MEAN, STD), None)


@pytest.fixture
def tiny() -> Callable[..., LoadedModel]:
    """`tiny("TinyPooled", flat=2)`: a tiny network as a loaded model."""

    def make(name: str, **options: int) -> LoadedModel:
        network = tiny_models.build(name, **options)
        return loaded(network, network.layer, network.classes, network.input_size)

    return make
