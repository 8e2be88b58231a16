"""Which layers of a network give maps, and whether its last maps feed a linear head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from iscam.engine import forward_pass, map_sizes
from iscam.images import Geometry

from .table import ModelSpec


def find_layers(arch: str, network: nn.Module, geometry: Geometry) -> ModelSpec:
    """Layers of an architecture outside MODELS: for each map size the last part of the network with it, coarse to fine.

    Raises:
        ValueError: no part of the network gives maps.
    """
    if arch.startswith("vit_"):
        blocks = sum(1 for _ in network.get_submodule("encoder.layers").children())
        names = [f"encoder.layers.encoder_layer_{i}.ln_1" for i in range(blocks - 1, -1, -3)]
    else:
        pools = (nn.AdaptiveAvgPool2d, nn.MaxPool2d, nn.AvgPool2d)
        parts = [name for name, part in network.named_modules() if name and not isinstance(part, pools)]
        names = [name for name in parts if name.count(".") == 1] + [name for name in parts if "." not in name]
    image = torch.zeros(1, 3, geometry.input_size, geometry.input_size)
    measured = map_sizes(network, names, image)
    sizes = {name: measured[name] for name in names if name in measured}
    if not arch.startswith("vit_"):
        last = {size: name for name, size in sizes.items()}
        sizes = {name: size for size, name in sorted(last.items())}
    if not sizes:
        raise ValueError(f"No layer of {arch} gives maps that could be shown.")
    return ModelSpec(arch, arch, next(iter(sizes)), sizes, None)


def linear_head(network: nn.Module, layer: str, image: Tensor) -> Tensor | None:
    """The weight (K, C) of the last linear layer, on the processor, if the layer on the pooled maps gives the network's
    logits."""
    linears = [module for module in network.modules() if isinstance(module, nn.Linear)]
    forward = forward_pass(network, layer, image)
    if not linears or linears[-1].in_features != len(forward.activations):
        return None
    own: tuple[Tensor, Tensor | None] = linears[-1].weight, linears[-1].bias
    weight, bias = (None if values is None else values.detach().cpu() for values in own)
    assert weight is not None
    logits = linear(forward.activations.mean((1, 2)), weight, bias)
    if logits.shape != forward.logits.shape or not weight.any():
        return None  # an untrained head of zeros would agree with anything
    same = torch.allclose(logits, forward.logits, rtol=1e-3, atol=1e-4)
    return weight if same else None
