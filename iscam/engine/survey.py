"""What the modules of a network give in a pass, and whether its logits depend on that: from which layers can be chosen."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .capture import hooked, mixed, undisturbed
from .graph import Passage
from .layout import Layout, Reader
from .outputs import ask

# modules that hand on what they are given, so that no layer is called by their names
SILENT = (nn.Identity, nn.modules.dropout._DropoutNd, nn.Flatten)


@dataclass(frozen=True, eq=False)
class Output:
    """Maps of a size (h, w) that a module, the `maker`, gave when it was last called.

    `name` is that of the outermost module that hands on the same maps. They are `activated` if none is negative; `read` if
    the logits depend on them: on those of patches, of tokens; `sole` if all that the logits know of the photo they know
    through them.
    """

    name: str
    maker: nn.Module
    size: tuple[int, int]
    channels: int
    activated: bool
    tokens: bool
    read: bool
    sole: bool


@dataclass(eq=False)
class _Found:
    """What is noted of an output, and the copy of it that goes on through the network, as it was."""

    names: list[str]
    maker: nn.Module
    layout: Layout
    output: Tensor
    copy: Tensor
    version: int


def survey(network: nn.Module, image: Tensor) -> tuple[list[Output], int]:
    """All maps larger than 1x1 in a pass over image (1, 3, H, W), in its order; and how many classes there are.

    Where the logits depend on none of them, as with a head of zeros, all count as read.
    """
    found: list[_Found] = []
    with torch.enable_grad(), undisturbed(network), ExitStack() as stack:
        variable = image.detach().clone().requires_grad_()
        reader = Reader(variable)
        for name, module in network.named_modules():
            if name:
                stack.enter_context(hooked(network, name, partial(_note, found, reader, name, module)))
        logits = ask(network, variable)
        stack.close()
        score = mixed(logits)
        slopes: tuple[Tensor | None, ...] = (None,) * len(found)
        if score.requires_grad and found:
            slopes = torch.autograd.grad(score, [each.output for each in found], retain_graph=True, allow_unused=True)
    passage = Passage(score, variable)
    read = [
        slope is not None and bool(each.layout.maps(slope).any()) for each, slope in zip(found, slopes, strict=True)
    ]
    outputs = [
        _told(each, is_read or not any(read), passage.all_through(each.output))
        for each, is_read in zip(found, read, strict=True)
        if each.names
    ]
    return outputs, logits.shape[1]


def _note(found: list[_Found], reader: Reader, name: str, module: nn.Module, output: Any) -> Any:
    """Take down what a module has given; a copy of it goes on, so that nothing overwrites it."""
    layout = reader.read(module, output)
    for each in found:
        if name in each.names:
            each.names.remove(name)  # it is called again
    if layout is None:
        return output
    for each in reversed(found):
        if output is each.copy and output._version == each.version:
            if not isinstance(module, SILENT):
                each.names.append(name)
            return output
    copy = output.clone()
    found.append(_Found([name], module, layout, output, copy, copy._version))
    return copy


def _told(found: _Found, read: bool, sole: bool) -> Output:
    maps = found.layout.maps(found.output.detach())
    activated = bool((maps >= 0).all() and maps.any())
    return Output(
        found.names[-1],
        found.maker,
        found.layout.size,
        maps.shape[1],
        activated,
        found.layout.others is not None,
        read,
        sole,
    )
