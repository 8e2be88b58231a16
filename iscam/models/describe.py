"""From a network to a `LoadedModel`: what can be offered for it is measured, whatever it came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from iscam.engine import UNFIT, Backend, Fold, foldable, map_sizes, undisturbed
from iscam.images import Geometry

from .layers import linear_head
from .loaded import LoadedModel
from .table import ModelSpec


def describe(
    network: nn.Module,
    spec: ModelSpec,
    categories: tuple[str, ...],
    geometry: Geometry,
    transforms: Callable[[Image.Image], Tensor],
    weights_file: Path | None,
    device: str = "cpu",
) -> LoadedModel:
    """Put a network on its device, fast layout and eval mode, and measure what can be offered for it.

    Layers whose maps have a single position at this input size are left out.

    Raises:
        ValueError: no layer is left.
    """
    network = network.eval().to(device).to(memory_format=torch.channels_last)
    side = geometry.input_size
    probe = torch.randn((1, 3, side, side), generator=torch.Generator().manual_seed(0)).to(device)
    measured = map_sizes(network, spec.layers, probe)
    layers = {layer: measured[layer] for layer in spec.layers if layer in measured}
    if not layers:
        raise ValueError(f"No layer of {spec.label} gives maps of an input of {side} x {side} pixels.")
    layer = spec.layer if spec.layer in layers else next(iter(layers))
    head = linear_head(network, layer, probe)
    return LoadedModel(
        spec=replace(spec, layer=layer, layers=layers, head_layer=None if head is None else layer),
        network=network,
        categories=categories,
        geometry=geometry,
        transforms=transforms,
        weights_file=weights_file,
        head=head,
        folds=find_folds(network, probe),
    )


def find_folds(network: nn.Module, image: Tensor) -> tuple[Fold, ...]:
    """The batch norms that can be folded into the convolutions before them; of those whose folding would change the logits,
    none of the same kind of norm behind the same kind of convolution."""
    folds = foldable(network, image)
    if not folds:
        return ()
    with torch.no_grad(), undisturbed(network):
        plain = network(image).cpu()
    if _unchanged(network, folds, image, plain):
        return folds
    kinds = dict.fromkeys(_kind(fold) for fold in folds)
    fitting = [k for k in kinds if _unchanged(network, [f for f in folds if _kind(f) == k], image, plain)]
    kept = tuple(fold for fold in folds if _kind(fold) in fitting)
    return kept if _unchanged(network, kept, image, plain) else ()


def _kind(fold: Fold) -> tuple[type[nn.Module], ...]:
    return tuple(type(module) for module in fold)


def _unchanged(network: nn.Module, folds: Sequence[Fold], image: Tensor, plain: Tensor) -> bool:
    """Whether the logits with the folds are those of the network as it is."""
    try:
        with undisturbed(network):
            return torch.allclose(Backend(network, folds).logits(image), plain, rtol=1e-3, atol=1e-4)
    except UNFIT:  # it reads something of a norm that has given its place
        return False
