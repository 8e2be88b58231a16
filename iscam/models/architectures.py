"""Networks by the names of their architectures, torchvision's, timm's and the bundled one, without trained weights."""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from iscam.images import Geometry

from .bundled import network as bundled
from .table import BUNDLED, LITE

REGNET = "regnet"  # computes its own widths with tensors, so the meta device, which holds no numbers, cannot build it
RESCALING = ("googlenet", "inception_v3")  # as torchvision trained them, they rescale their input once more
VIT = "vit_"
SWIN = "swin"  # keeps its maps as (B, h, w, C), unlike every other architecture here


def build(arch: str, weights: object = None, classes: int | None = None, side: int | None = None) -> nn.Module:
    """A network of a torchvision architecture, of `photo11` or of `efficientnet_lite0`; a vision transformer for inputs of
    `side`. Without the auxiliary heads that Inception and GoogLeNet have in training."""
    if arch == BUNDLED:
        return bundled.Photo11Net(classes or len(bundled.CATEGORIES))
    if arch == LITE:
        import timm  # half a second that nobody else waits for

        lite: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=classes or 1000)
        return lite
    options = {} if classes is None else {"num_classes": classes}
    if side is not None and arch.startswith(VIT):
        options["image_size"] = side
    if arch in RESCALING and weights is None:
        options |= {"init_weights": False, "aux_logits": False}  # slow, and of no use before a checkpoint is filled in
    network: nn.Module = torchvision.models.get_model(arch, weights=weights, **options)
    if isinstance(network, torchvision.models.DenseNet):
        # DenseNet's forward ends in a functional ReLU that no hook can see: the same computation with it as a module
        network.features.add_module("relu5", nn.ReLU())
        parts = {"features": network.features, "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
        network = nn.Sequential(OrderedDict(**parts, classifier=network.classifier))
    return network


def default_geometry(arch: str) -> Geometry:
    """How torchvision, timm or the bundled classifier cuts photos for an architecture."""
    if arch == BUNDLED:
        return Geometry(bundled.RESIZE_SIZE, bundled.INPUT_SIZE)
    if arch == LITE:
        return Geometry(256, 224, "bicubic")
    return cut_by(torchvision.models.get_model_weights(arch).DEFAULT.transforms())


def cut_by(preset: Any) -> Geometry:
    """How a preset of torchvision's cuts photos."""
    return Geometry(preset.resize_size[0], preset.crop_size[0], preset.interpolation.value)


@functools.cache
def outline(arch: str) -> tuple[dict[str, Tensor], str]:
    """An architecture's parameters by name, as shapes without numbers, with three classes; and the path of its last layer."""
    with torch.device("cpu" if arch.startswith(REGNET) else "meta"):
        default, other = build(arch, classes=3).state_dict(), build(arch, classes=5).state_dict()
    last = next(name for name in reversed(default) if default[name].shape != other[name].shape)
    return {name: tensor.to("meta") for name, tensor in default.items()}, last.rpartition(".")[0]


def count_classes(arch: str, state: Mapping[str, Tensor]) -> int | None:
    """How many classes a checkpoint has: the rows of the last layer's weight, by the architecture's name."""
    weight = state.get(f"{outline(arch)[1]}.weight")
    return len(weight) if weight is not None and weight.ndim else None


def input_side(arch: str, state: Mapping[str, Tensor]) -> int | None:
    """The input side for which a vision transformer was made, by the places that it knows; None of other networks."""
    places = state.get("encoder.pos_embedding")  # (1, 1 + patches, width)
    if not arch.startswith(VIT) or places is None or places.ndim != 3:
        return None
    patches = math.isqrt(max(places.shape[1] - 1, 0))
    if patches < 1 or patches**2 + 1 != places.shape[1]:
        return None
    return patches * int(outline(arch)[0]["conv_proj.weight"].shape[-1])


def require_size(arch: str, network: nn.Module, side: int) -> None:
    """Raises ValueError, one sentence, if the network cannot take an input of side x side pixels."""
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, side, side))
    except (RuntimeError, AssertionError) as error:  # too small, too large for the memory, or of one size only (ViT)
        raise ValueError(
            f"{arch} cannot take an input of {side} x {side} pixels: choose another input size."
        ) from error


def imagenet_categories() -> tuple[str, ...]:
    """ImageNet's 1000 categories as torchvision's models name them."""
    return tuple(torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"])
