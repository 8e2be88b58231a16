"""`adopt`: a network of one's own, whatever its architecture, as a `LoadedModel`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from iscam.engine import HEADS, UNFIT, NoMaps, by_itself, columns, forward_pass, undisturbed

from .describe import measure, probe_of
from .feeding import Numbers, Said, Transforms, feed
from .layers import find_layers
from .loaded import LoadedModel, numbered
from .table import ModelSpec


@by_itself()
def adopt(
    network: nn.Module,
    *,
    categories: Sequence[str] | None = None,
    transforms: Transforms | None = None,
    input_size: int | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    resize: int | None = None,
    crop: str = "center",
    interpolation: str = "bilinear",
    head: str = "softmax",
    layer: str | None = None,
    label: str = "",
) -> LoadedModel:
    """Any image classifier as a model that can be explained, measured by passes over noise and left as it was found.

    Args:
        network: takes photos (B, 3, H, W), or grey ones (B, 1, H, W), and gives logits (B, K): as a tensor, first in a tuple,
            or called `logits`. It stays on its device and in its type; it is in eval mode while it is used.
        categories: a name for each class; of a single output what it looks for.
        transforms: from an RGB picture to the normalised input (3, H, W), as in its evaluation. Or else:
        input_size, mean, std: pixels of a side; of the colours 0..1. timm's networks know them, ImageNet's colours are usual.
        resize: pixels of the photo's short side before the centre is cut out; all of it if nothing is said.
        crop: how a photo becomes a square: `center`, `squash` (bent), or `pad` (with the mean colour).
        interpolation: `bilinear` or `bicubic`.
        head: `softmax`, a photo is of one class, or `sigmoid`, it may be of several.
        layer: the one to explain, if not the one that is found.
        label: what it is called for people.

    Raises:
        ValueError: what is said is too little or does not fit, or there are no logits or no maps; one sentence.

    >>> import iscam, torchvision
    >>> model = iscam.adopt(torchvision.models.resnet18(num_classes=3), categories=["ash", "birch", "elm"], input_size=64)
    >>> model.layer, model.layers["layer3"], model.head_layer
    ('layer4', (4, 4), 'layer4')
    """
    if head not in HEADS:
        raise ValueError(f"The head must be one of {', '.join(HEADS)}, not {head!r}.")
    if any(parameter.is_inference() for parameter in network.parameters()):
        raise ValueError("The network was made in inference mode, of tensors that know no gradients: make it outside.")
    geometry, transforms = feed(network, transforms, Said(input_size, mean, std, resize, crop, interpolation))
    label, probe = label or type(network).__name__, probe_of(network, transforms)
    outputs = _count_outputs(network, probe, label)
    spec = replace(_layers(network, probe, label, layer), head=head)
    return measure(network, spec, tuple(categories or numbered(outputs)), geometry, transforms, None)


def _count_outputs(network: nn.Module, probe: Tensor, label: str) -> int:
    """How many numbers it gives for an input. Raises ValueError, one sentence, if it cannot take it."""
    try:
        with torch.no_grad(), undisturbed(network):
            given = network(probe)
    except (*UNFIT, AssertionError) as error:  # ViTs assert the size that they were made for
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise ValueError(f"{label} cannot take an input of shape {tuple(probe.shape)}: {reason}.") from error
    return columns(given).shape[1]


def _layers(network: nn.Module, probe: Tensor, label: str, layer: str | None) -> ModelSpec:
    """Its row, with the layer that is asked for first in mind."""
    spec = find_layers(label, network, probe)
    if layer is None:
        return spec
    choice = f"choose one of {', '.join(spec.layers)}"
    if layer not in dict(network.named_modules()):
        raise ValueError(f"{label} has no layer {layer!r}: {choice}.")
    try:
        size = forward_pass(network, layer, probe).activations.shape[1:]
    except NoMaps as error:
        raise ValueError(f"{error}: {choice}.") from error
    layers = spec.layers | {layer: (size[0], size[1])}
    return replace(spec, layer=layer, layers=dict(sorted(layers.items(), key=lambda item: item[1])))
