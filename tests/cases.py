"""Photos, analyses and networks that tests share, and what is counted and compared of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import iscam
from iscam import Analysis, Explainer, LoadedModel
from iscam.models.photo11 import BUNDLED_WEIGHTS
from iscam.project import EXAMPLES
from tests.conftest import loaded

# options of the command line for the bundled network on small inputs: a quarter of the work, and no names of classes
SIDE = 64
SMALL = ("--arch", "photo11", "--checkpoint", str(BUNDLED_WEIGHTS), "--input-size", str(SIDE))
CHELSEA, ROCKET = EXAMPLES / "chelsea.jpg", EXAMPLES / "rocket.jpg"


def photo_of(model: LoadedModel, seed: int = 5) -> Image.Image:
    side = model.geometry.input_size
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 255, (side, side, 3), dtype=np.uint8))


def analysed(model: LoadedModel) -> tuple[Explainer, Analysis]:
    explainer = Explainer(model)
    return explainer, explainer.analyse(photo_of(model))


def state_of(network: torch.nn.Module) -> list[object]:
    modules = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks), m.training)
        for m in network.modules()
    ]
    parameters = [(p.requires_grad, p.grad is None, p.detach().clone()) for p in network.parameters()]
    return [modules, [(r, g) for r, g, _ in parameters], torch.cat([p.flatten() for *_, p in parameters])]


class RowCounter:
    """Counts the rows that reach a network's own forward."""

    def __init__(self, model: LoadedModel) -> None:
        self.rows = 0
        self._handle = model.network.register_forward_pre_hook(self._count)

    def remove(self) -> None:
        self._handle.remove()

    def _count(self, _module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self.rows += len(inputs[0])


@cache
def photo11(side: int | None = None) -> LoadedModel:
    """The bundled network; for inputs of `side`, 64 px of which are a quarter of the work."""
    model = iscam.load_model("photo11")
    if side is None:
        return model
    small = iscam.load_model(arch="photo11", checkpoint=BUNDLED_WEIGHTS, input_size=side)
    return replace(small, categories=model.categories)


def exact_of(photo: Path, side: int | None = None) -> tuple[Explainer, Analysis]:
    """An analysis by the bundled network whose exact scores all tests of the photo share."""
    return _exact_of(photo, side)


@cache
def _exact_of(photo: Path, side: int | None) -> tuple[Explainer, Analysis]:
    explainer = Explainer(photo11(side), "exact")
    return explainer, explainer.analyse(photo)


def difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.abs(a - b).max())


class Wide(nn.Module):
    """More channels than are simply run exactly; `features` gives (B, 40, 4, 4), of which some are flat, or all classes
    equal whatever is shown."""

    def __init__(self, flat: int = 0, constant: bool = False) -> None:
        super().__init__()
        conv = nn.Conv2d(3, 40, 3, stride=4, padding=1)
        self.features, self.fc = nn.Sequential(conv, nn.ReLU()), nn.Linear(40, 6)
        with torch.no_grad():
            conv.weight[:flat], conv.bias[:flat] = 0.0, 0.5  # type: ignore[index]
            self.fc.weight *= 0 if constant else 8

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.features(x).mean((2, 3)))
        return logits


def wide(**options: int) -> LoadedModel:
    return loaded(Wide(**options).eval(), "features", 6, 16)


def noise_photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(2).integers(0, 256, (16, 16, 3), dtype=np.uint8))
