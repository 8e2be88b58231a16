"""How photos become the input of somebody's network: as is said, as timm says of its own, or as transforms are found to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor, nn

from iscam.images import INTERPOLATIONS, Geometry

from .preprocessing import make_transforms, measured, usual_mean_std

Transforms = Callable[[Image.Image], Tensor]
Numbers = float | Sequence[float]


@dataclass(frozen=True)
class Said:
    """What is said of a network's input, in pixels and in colours 0..1; see `adopt`."""

    input_size: int | None
    mean: Numbers | None
    std: Numbers | None
    resize: int | None
    crop: str
    interpolation: str


def feed(network: nn.Module, transforms: Transforms | None, said: Said) -> tuple[Geometry, Transforms]:
    """Which part of a photo is seen, and the transforms that make the input of it.

    Raises:
        ValueError: nothing is said, or what does not fit; one sentence.
    """
    if transforms is not None:
        if any(value is not None for value in (said.input_size, said.mean, said.std, said.resize)):
            raise ValueError("Transforms say how photos become the input: leave out input_size, mean, std and resize.")
        return measured(transforms), transforms
    known: dict[str, Any] = getattr(network, "pretrained_cfg", None) or {}  # of timm
    size, resize, interpolation = said.input_size, said.resize, said.interpolation
    if size is None:
        if "input_size" not in known:
            raise ValueError(
                "Say how photos become the network's input: by transforms, or by input_size, mean and std."
            )
        size = int(known["input_size"][-1])
        resize = resize or math.floor(size / known.get("crop_pct", 1))
        interpolation = known.get("interpolation", interpolation)
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"Photos are resized by one of {', '.join(INTERPOLATIONS)}, not by {interpolation!r}.")
    channels = _channels(network)
    usual = usual_mean_std("", channels == 1)
    mean = _for_each("mean", said.mean, known.get("mean"), usual[0][:channels])
    std = _for_each("std", said.std, known.get("std"), usual[1][:channels])
    if not min(std) > 0:
        raise ValueError("Photos are divided by std, so each must lie above 0.")
    geometry = Geometry(
        max(resize or size, size) if said.resize is None else said.resize, size, interpolation, said.crop
    )
    return geometry, make_transforms(geometry, mean, std)


def _channels(network: nn.Module) -> int:
    """Of the input, as the first convolution has them."""
    found = next((module.in_channels for module in network.modules() if isinstance(module, nn.Conv2d)), 3)
    if found not in (1, 3):
        raise ValueError(f"The network takes inputs of {found} channels: say by transforms how a photo becomes one.")
    return found


def _for_each(
    name: str, said: Numbers | None, known: Sequence[float] | None, usual: Sequence[float]
) -> tuple[float, ...]:
    """A number for each channel, of as many as are usual: what is said, else what the network knows."""
    if said is None:
        found = tuple(known or usual)
        return (
            found if len(found) == len(usual) else (sum(found) / len(found),)
        )  # a grey network of a coloured one's make
    numbers = (float(said),) * len(usual) if isinstance(said, (int, float)) else tuple(float(each) for each in said)
    if len(numbers) != len(usual):
        raise ValueError(f"The network takes {len(usual)} channels, so {name} is one number or {len(usual)}.")
    return numbers
