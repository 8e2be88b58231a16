"""Watching and changing one layer of a network. The only file with hooks; nothing is left behind, also not by an error.

A layer's output may be a map (B, C, h, w) or the tokens of a vision transformer (B, 1 + h w, C) whose first token is the
class token; both are handed out as maps, without the class token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .devices import full_float32
from .norms import is_affine, statistics

Fold = tuple[nn.Conv2d, nn.Module]  # a convolution, and the batch norm that alone reads it


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """What one pass leaves: image (1, 3, H, W), activations (C, h, w) of the layer, logits (K,).

    The image is where the network is. The others are on the processor, as are all scores: what is worked out of them is
    little, some of it needs float64, which not every GPU has, and a GPU is slow at many small steps.
    """

    image: Tensor
    activations: Tensor
    logits: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.image.shape[2], self.image.shape[3]


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Run the body with every module in eval mode and in full float32, then put each module's mode and the precision back."""
    training = [module for module in network.modules() if module.training]
    for module in training:
        module.training = False
    try:
        with full_float32():
            yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def hooked(network: nn.Module, layer: str, change: Callable[[Any], Any]) -> Iterator[None]:
    """Replace the output of the named layer by `change(output)` while the body runs."""

    def hook(_module: nn.Module, _inputs: object, output: Any) -> Any:
        return change(output)

    handle = network.get_submodule(layer).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def as_maps(output: Tensor) -> Tensor:
    """A layer's output as maps (B, C, h, w), dropping the class token of tokens (B, 1 + h w, C).

    Raises:
        ValueError: the output is neither.
    """
    if output.ndim == 4:
        return output
    side = math.isqrt(max(output.shape[1] - 1, 0)) if output.ndim == 3 else 0
    if side == 0 or side * side != output.shape[1] - 1:
        raise ValueError(
            f"The layer's output of shape {tuple(output.shape)} is not a set of maps: choose another layer."
        )
    return output[:, 1:].transpose(1, 2).view(len(output), -1, side, side)


def record(network: nn.Module, layer: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """One pass over images (B, 3, H, W): the layer's output as it left the layer, and the logits (B, K).

    The output itself is kept and a copy goes on through the network: an in-place operation behind the layer can then not
    overwrite what was recorded, and the recorded tensor stays on the path of the gradients.
    """
    outputs: list[Tensor] = []

    def keep(output: Tensor) -> Tensor:
        outputs.append(output)
        return output.clone()

    with hooked(network, layer, keep):
        logits = network(images)
    return outputs[-1], logits


def forward_pass(network: nn.Module, layer: str, image: Tensor) -> ForwardPass:
    """One pass over image (1, 3, H, W), without gradients.

    Raises:
        ValueError: the layer's output is not a set of maps larger than 1x1.
    """
    with torch.no_grad(), undisturbed(network):
        output, logits = record(network, layer, image)
        activations = as_maps(output)[0].contiguous().cpu()
    if activations.shape[1:].numel() == 1:
        raise ValueError(f"The layer {layer!r} has a map of a single position: choose an earlier layer.")
    return ForwardPass(image, activations, logits[0].cpu())


def gradients(network: nn.Module, layer: str, image: Tensor, sides: Sequence[Sequence[int]]) -> list[Tensor]:
    """d logit / d activations, (C, h, w), of the mean logit of some classes, for each of several such sides; zeros where it
    does not depend on the layer. All by one forward pass; as activations, they are on the processor.

    Works on networks whose parameters are frozen, and touches no parameter's `.grad`.
    """
    with torch.enable_grad(), undisturbed(network):
        output, logits = record(network, layer, image.detach().clone().requires_grad_())
        scores = [logits[0, list(classes)].mean() for classes in sides]
        found = [
            torch.autograd.grad(score, output, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
            for score in scores
        ]
        return [as_maps(gradient)[0].detach().cpu() for gradient in found]


def foldable(network: nn.Module, image: Tensor) -> tuple[Fold, ...]:
    """Convolutions and the batch norms that read their output as it is, from one pass over image (1, 3, H, W).

    Whether something else reads that output too is not seen here. Parts that run more than once are left out, and so are
    convolutions whose weight is computed from other parameters.
    """
    makers: list[tuple[Tensor, nn.Conv2d]] = []  # keeps the outputs alive, so that no two of them are the same object
    readers: dict[nn.Module, list[nn.Conv2d | None]] = {}

    def made(conv: nn.Conv2d, output: Tensor) -> Tensor:
        makers.append((output, conv))
        return output

    def reads(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        found = (maker for output, maker in makers if inputs and output is inputs[0])
        readers.setdefault(norm, []).append(next(found, None))

    with torch.no_grad(), undisturbed(network), ExitStack() as stack:
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d) and module._parameters.get("weight") is not None:
                stack.enter_context(hooked(network, name, partial(made, module)))
            elif statistics(module) is not None:
                stack.callback(module.register_forward_pre_hook(reads).remove)
        network(image)
        runs, read = [conv for _, conv in makers], [conv for of in readers.values() for conv in of]
        alone = [(of[0], norm) for norm, of in readers.items() if len(of) == 1 and read.count(of[0]) == 1]
        return tuple((conv, norm) for conv, norm in alone if conv and runs.count(conv) == 1 and is_affine(norm))


def map_sizes(network: nn.Module, layers: Iterable[str], image: Tensor) -> dict[str, tuple[int, int]]:
    """Height and width of the maps of each layer that has maps larger than 1x1, from one pass over image (1, 3, H, W)."""
    sizes: dict[str, tuple[int, int]] = {}

    def measure(layer: str, output: object) -> object:
        if isinstance(output, Tensor):
            with suppress(ValueError):
                height, width = as_maps(output).shape[2:]
                if height * width > 1:
                    sizes[layer] = (height, width)
        return output

    with torch.no_grad(), undisturbed(network), ExitStack() as stack:
        for layer in layers:
            stack.enter_context(hooked(network, layer, partial(measure, layer)))
        network(image)
    return sizes
