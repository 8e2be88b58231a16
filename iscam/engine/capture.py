"""Watching and changing one layer of a network. The only file with hooks; nothing is left behind, also not by an error.

Whatever the layout of a layer's output, it is handed out as maps. Of a layer that runs several times in a pass, the last
output alone is watched and changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .devices import full_float32
from .layout import Layout, Reader
from .norms import is_affine, statistics
from .outputs import ask

Fold = tuple[nn.Conv2d, nn.Module]  # a convolution, and the batch norm that alone reads it


@dataclass(frozen=True)
class Site:
    """Where the maps of a layer are: in the last of `calls` outputs, as its layout says; None if there are none."""

    layer: str
    layout: Layout | None
    calls: int
    given: str  # by the layer, in words

    def maps(self, output: Tensor) -> Tensor:
        """The maps (B, C, h, w), a view of such an output."""
        assert self.layout is not None
        return self.layout.maps(output)


class NoMaps(ValueError):
    """Raised of a layer that gives no maps larger than 1x1: half a sentence, which waits for a better choice."""


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """What one pass leaves: image (1, 3, H, W), activations (C, h, w) of the layer at a site, logits (K,).

    The image is where the network is. The others are on the processor, as are all scores: what is worked out of them is
    little, some of it needs float64, which not every GPU has, and a GPU is slow at many small steps.
    """

    image: Tensor
    activations: Tensor
    logits: Tensor
    site: Site

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.image.shape[2], self.image.shape[3]


@contextmanager
def by_itself() -> Iterator[None]:
    """Run the body as if the caller had entered no inference mode, whose tensors know no gradients, and no autocast."""
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Run the body with every module in eval mode, in full float32 and outside the caller's inference mode and autocast, then
    put all of it back."""
    training = [module for module in network.modules() if module.training]
    for module in training:
        module.training = False
    try:
        with by_itself(), full_float32():
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


@contextmanager
def watched(network: nn.Module, images: Tensor) -> Iterator[dict[str, Site]]:
    """The sites of all modules, by name, as the body runs the network over images (B, 3, H, W)."""
    sites: dict[str, Site] = {}
    reader = Reader(images)

    def seen(name: str, module: nn.Module, output: Any) -> Any:
        calls = sites[name].calls + 1 if name in sites else 1
        sites[name] = Site(name, reader.read(module, output), calls, _in_words(output))
        return output

    with ExitStack() as stack:
        for name, module in network.named_modules():
            stack.enter_context(hooked(network, name, partial(seen, name, module)))
        yield sites


def _in_words(output: object) -> str:
    return f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"


def record(network: nn.Module, layer: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """One pass over images (B, 3, H, W): the layer's last output as it left the layer, and the logits (B, K).

    The output itself is kept and a copy goes on through the network: an in-place operation behind the layer can then not
    overwrite what was recorded, and the recorded tensor stays on the path of the gradients.

    Raises:
        NoMaps: the layer is not called, or gives no tensor.
    """
    outputs: list[Any] = []

    def keep(output: Any) -> Any:
        outputs.append(output)
        return output.clone() if isinstance(output, Tensor) else output

    with hooked(network, layer, keep):
        logits = ask(network, images)
    if not outputs:
        raise NoMaps(f"The layer {layer!r} is never called, so that it gives no maps")
    if not isinstance(outputs[-1], Tensor):
        raise NoMaps(f"The layer {layer!r} gives no maps, but {_in_words(outputs[-1])}")
    return outputs[-1], logits


def forward_pass(network: nn.Module, layer: str, image: Tensor) -> ForwardPass:
    """One pass over image (1, 3, H, W), without gradients.

    Raises:
        NoMaps: the layer's output is not a set of maps larger than 1x1.
        ValueError: the network gives no logits; one sentence.
    """
    with torch.no_grad(), undisturbed(network):
        with watched(network, image) as sites:
            output, logits = record(network, layer, image)
        site = sites[layer]
        if site.layout is None:
            raise NoMaps(f"The layer {layer!r} gives no maps of more than one position, but {site.given}")
        activations = site.maps(output)[0].contiguous().cpu()
    return ForwardPass(image, activations, logits[0].cpu(), site)


def gradients(network: nn.Module, layer: str, image: Tensor, sides: Sequence[Sequence[int]]) -> list[Tensor]:
    """d logit / d activations, (C, h, w), of the mean logit of some classes, for each of several such sides; zeros where it
    does not depend on the layer. All by one forward pass; as activations, they are on the processor.

    Works on networks whose parameters are frozen, and touches no parameter's `.grad`.
    """
    with torch.enable_grad(), undisturbed(network):
        with watched(network, image) as sites:
            output, logits = record(network, layer, image.detach().clone().requires_grad_())
        scores = [logits[0, list(classes)].mean() for classes in sides]
        found = [
            torch.autograd.grad(score, output, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
            for score in scores
        ]
        return [sites[layer].maps(gradient)[0].detach().cpu() for gradient in found]


def mixed(logits: Tensor) -> Tensor:
    """The sum () of logits (B, K), each with another weight, so that they do not cancel out."""
    return (logits * torch.linspace(1, 2, logits.shape[1]).cos().to(logits)).sum()


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
    with torch.no_grad(), undisturbed(network), watched(network, image) as sites:
        network(image)
    found = {layer: sites[layer].layout for layer in layers if layer in sites}
    return {layer: layout.size for layer, layout in found.items() if layout is not None}
