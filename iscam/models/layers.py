"""Which layers of a network give maps that can be explained, and whether its last maps feed a linear head."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from iscam.engine import Output, forward_pass, logits_of, survey

from .table import ModelSpec

OFFERED = 4  # layers at most
NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")  # of a block among others, in a module's name
# what hands on what another module has made, or a mixture of neighbours of it
POOLS = (
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.Softmax,
)
PROJECTIONS = (nn.Linear, nn.modules.conv._ConvNd)  # half a step: their norm, or their activation, is still to come


def find_layers(label: str, network: nn.Module, image: Tensor) -> ModelSpec:
    """The row of a network that is in no table. Its layers are, for each map size from coarse to fine, the last one that is
    read and that nothing leads past, activated if there is the choice; all by passes over an image (1, 3, H, W).

    Where all maps have one size, as tokens do, it is the last such layer and those of its kind in other blocks.

    Raises:
        ValueError: no part of the network gives maps; one sentence.
    """
    outputs, classes = survey(network, image)
    sizes = sorted({output.size for output in outputs})
    best = [found for size in sizes if (found := _best(_of_size(outputs, size, classes)))]
    if not best:
        raise ValueError(f"No layer of {label} gives maps that could be shown.")
    if len(best) == 1:
        best = _of_its_kind(best[0], outputs)
    layers = {output.name: output.size for output in best[:OFFERED]}
    return ModelSpec(label, label, next(iter(layers)), layers, None)


def _of_size(outputs: Sequence[Output], size: tuple[int, int], classes: int) -> list[Output]:
    """What can be chosen from, in the order of the pass: the outputs of a size that are read, and no mere pools."""
    found = [
        output for output in outputs if output.size == size and output.read and not isinstance(output.maker, POOLS)
    ]
    features = [output for output in found if not isinstance(output.maker, PROJECTIONS) and output.channels != classes]
    return features or found


def _best(outputs: Sequence[Output]) -> Output | None:
    """The last that nothing leads past, or the one before if that is activated and the last is not; else, and of tokens, of
    which a class token is led past anything, the last."""
    if outputs and outputs[-1].tokens:
        return outputs[-1]
    sole = [output for output in outputs if output.sole][-2:]
    activated = [output for output in sole if output.activated]
    return next(reversed(activated or sole or outputs), None)


def _of_its_kind(best: Output, outputs: Sequence[Output]) -> list[Output]:
    """The output, and those of modules whose names differ by numbers only, from late to early, evenly chosen."""
    kind = NUMBER.sub("#", best.name)
    alike = [each for each in outputs if NUMBER.sub("#", each.name) == kind and each.size == best.size and each.read]
    return alike[::-1][:: max(1, len(alike) // OFFERED)]


def linear_head(network: nn.Module, layer: str, image: Tensor) -> Tensor | None:
    """The weight (K, C) of the last linear layer, on the processor, if the layer on the pooled maps gives the network's
    logits."""
    linears = [module for module in network.modules() if isinstance(module, nn.Linear)]
    forward = forward_pass(network, layer, image)
    activations, wanted = forward.activations.float(), forward.logits.float()
    if not linears or linears[-1].in_features != len(activations):
        return None
    own: tuple[Tensor, Tensor | None] = linears[-1].weight, linears[-1].bias
    weight, bias = (None if values is None else values.detach().float().cpu() for values in own)
    assert weight is not None
    logits = logits_of(linear(activations.mean((1, 2))[None], weight, bias))[0]
    if logits.shape != wanted.shape or not weight.any():
        return None  # an untrained head of zeros would agree with anything
    if not torch.allclose(logits, wanted, rtol=1e-3, atol=1e-4):
        return None
    return weight if len(weight) > 1 else torch.cat([torch.zeros_like(weight), weight])  # a single logit is (0, z)
