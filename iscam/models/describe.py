"""From a network to a `LoadedModel`: what can be offered for it is measured, whatever it came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from iscam.engine import UNFIT, Backend, Fold, ask, columns, foldable, map_sizes, undisturbed
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
    """Put a network on its device, fast layout and eval mode, and measure what can be offered for it; see `measure`."""
    network = network.eval().to(device).to(memory_format=torch.channels_last)
    return measure(network, spec, categories, geometry, transforms, weights_file)


def measure(
    network: nn.Module,
    spec: ModelSpec,
    categories: tuple[str, ...],
    geometry: Geometry,
    transforms: Callable[[Image.Image], Tensor],
    weights_file: Path | None,
) -> LoadedModel:
    """What can be offered for a network, which is left as it is.

    Layers whose maps have a single position at this input size are left out. The category of a single output is joined by
    that of its absence.

    Raises:
        ValueError: no layer is left, or there are more or fewer categories than classes; one sentence.
    """
    probe = probe_of(network, transforms)
    with torch.no_grad(), undisturbed(network):
        outputs = columns(network(probe)).shape[1]
    measured = map_sizes(network, spec.layers, probe)
    layers = {layer: measured[layer] for layer in spec.layers if layer in measured}
    if not layers:
        height, width = probe.shape[2:]
        raise ValueError(f"No layer of {spec.label} gives maps of an input of {width} x {height} pixels.")
    layer = spec.layer if spec.layer in layers else next(iter(layers))
    weight = linear_head(network, layer, probe)
    head_layer = None if weight is None else layer
    return LoadedModel(
        # a single output is a class against its absence, whatever it is taken for
        spec=replace(
            spec, layer=layer, layers=layers, head_layer=head_layer, head=spec.head if outputs > 1 else "softmax"
        ),
        network=network,
        categories=_of_all_classes(categories, outputs),
        geometry=geometry,
        transforms=transforms,
        weights_file=weights_file,
        head_weight=weight,
        folds=find_folds(network, probe),
    )


def _of_all_classes(categories: tuple[str, ...], outputs: int) -> tuple[str, ...]:
    """The categories, as many as there are classes."""
    if outputs == 1 and len(categories) == 1:
        return (f"not {categories[0]}", *categories)
    if len(categories) != (classes := max(2, outputs)):
        raise ValueError(f"There are {len(categories)} categories for {classes} classes.")
    return categories


def probe_of(network: nn.Module, transforms: Callable[[Image.Image], Tensor]) -> Tensor:
    """Seeded noise (1, 3, H, W), or as many channels as the transforms give, where the network is and in its type."""
    shape = transforms(Image.new("RGB", (64, 64))).shape
    parameter = next(network.parameters())
    return torch.randn((1, *shape), generator=torch.Generator().manual_seed(0)).to(parameter)


def find_folds(network: nn.Module, image: Tensor) -> tuple[Fold, ...]:
    """The batch norms that can be folded into the convolutions before them; of those whose folding would change the logits,
    none of the same kind of norm behind the same kind of convolution."""
    folds = foldable(network, image)
    if not folds:
        return ()
    with torch.no_grad(), undisturbed(network):
        plain = ask(network, image).cpu()
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
