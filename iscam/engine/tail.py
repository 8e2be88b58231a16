"""What a network runs behind a layer, alone: what comes before it is the same for every changed copy of the layer's output.

The network's own `forward` is run, with modules standing still that have nothing to do but repeat what they gave for the
photo: so that residual branches, functions between modules and whatever else is in there stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .backend import Backend
from .capture import as_maps, hooked, undisturbed

CLOSE = 1e-4  # of the largest logit, or of 1: logits that differ by no more are equal
KERNEL = ((1, 2, 1), (2, 4, 2), (1, 2, 1))  # sixteenths, of a cell and its neighbours

Change = Callable[[Tensor], Tensor]  # the layer's output (B, ...) -> another one


class Tail:
    """Runs a network from a layer on, for changed copies of the layer's output for one image (1, 3, H, W).

    The first copy is run whole, and the first two alone: where the first one's logits differ, or the network cannot be run
    so, `alone` is False, and all copies are run whole. `first` are the logits (2, K) of both, or (1, K) of the first.
    """

    def __init__(self, network: nn.Module, layer: str, image: Tensor, one: Change, two: Change) -> None:
        self._network, self._layer, self._image = network, layer, image
        self._output: Tensor | None = None  # of the layer, (1, ...)
        self._known: dict[nn.Module, list[Tensor | None]] = {}  # what modules gave before it, call by call
        self.first = self._record(one)
        self.alone = False
        try:
            again = self._run(two, 2)  # of one row, what is kept could be overwritten unnoticed
        except (RuntimeError, TypeError, ValueError):  # whatever it is that somebody's network cannot do so
            again = self.first.new_empty(0)
        if again.shape == (2, *self.first.shape[1:]):
            most = CLOSE * max(1.0, float(self.first.abs().max()))
            self.alone = bool((again[:1] - self.first).abs().max() <= most)
        if self.alone:
            self.first = torch.cat([self.first, again[1:]])
        else:
            self._known.clear()

    def logits(self, change: Change, images: Tensor) -> Tensor:
        """Logits (B, K) for the changed copies of the layer's output for equal images (B, 3, H, W)."""
        if self.alone:
            return self._run(change, len(images))
        with torch.no_grad(), undisturbed(self._network), hooked(self._network, self._layer, change):
            logits: Tensor = self._network(images)
        return logits

    def _record(self, change: Change) -> Tensor:
        """One whole pass; the layer's output, and what is given before it, are kept."""

        def reached(output: Tensor) -> Tensor:
            if self._output is None:
                self._output = output
            return change(output)

        def passed(module: nn.Module, output: Any) -> Any:
            if self._output is None:
                one = isinstance(output, Tensor) and output.ndim > 0 and len(output) == 1
                self._known.setdefault(module, []).append(output if one else None)
            return output

        network = self._network
        with torch.no_grad(), undisturbed(network), ExitStack() as stack:
            stack.enter_context(hooked(network, self._layer, reached))
            for name in off_the_way(network, self._layer):
                stack.enter_context(hooked(network, name, partial(passed, network.get_submodule(name))))
            logits: Tensor = network(self._image)
        return logits

    def _run(self, change: Change, rows: int) -> Tensor:
        """Logits (rows, K), with the modules before the layer standing still."""
        assert self._output is not None

        def repeated(known: Tensor) -> Tensor:
            return known.expand(rows, *known.shape[1:])

        def still(module: nn.Module, known: list[Tensor | None]) -> Callable[..., Any]:
            left, own = iter(known), module.forward

            def forward(*inputs: Any, **named: Any) -> Any:
                given = next(left, None)
                return own(*inputs, **named) if given is None else repeated(given)

            return forward

        changed = change(repeated(self._output))
        forwards = {module: still(module, known) for module, known in self._known.items()}
        forwards[self._network.get_submodule(self._layer)] = lambda *inputs, **named: changed
        with torch.no_grad(), undisturbed(self._network), running(forwards):
            logits: Tensor = self._network(repeated(self._image))
        return logits


def off_the_way(network: nn.Module, layer: str) -> Iterator[str]:
    """The names of the largest modules that do not hold the layer."""
    node, path = network, ""
    for step in layer.split("."):
        yield from (path + name for name, _ in node.named_children() if name != step)
        node, path = node.get_submodule(step), f"{path}{step}."


@contextmanager
def running(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Modules run other functions while the body runs."""
    own = {module: module.__dict__.get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            module.__dict__["forward"] = forward
        yield
    finally:
        for module, before in own.items():
            module.__dict__.pop("forward", None)
            if before is not None:
                module.__dict__["forward"] = before


class Copies:
    """Runs changed copies of a layer's output for one image, as many at once as is fast. `rows` counts the input rows."""

    def __init__(self, backend: Backend, layer: str, image: Tensor) -> None:
        self.rows = 0
        self._backend, self._layer, self._image = backend, layer, image
        self._tail: Tail | None = None

    @property
    def whole(self) -> bool:
        """Whether they had to be run through all of the network, because its end cannot be run alone."""
        return self._tail is not None and not self._tail.alone

    def total(self, places: Tensor) -> int:
        """How many rows it takes to run all of the places (n,), as far as is known: one is tried, in vain two."""
        return len(places) and len(places) + (2 if self.whole else 1)

    def run(self, change: Callable[[Tensor], Change], places: Tensor) -> Tensor:
        """Logits (B, K) for the first B of the places (n,); `change` makes the change of some of them."""
        tail = self._tail
        if tail is None:
            self.rows += 1 + 2  # the first one whole, then two alone
            pair = places[[0, min(1, len(places) - 1)]]
            begin = partial(self._begin, change(pair[:1]), change(pair))
            return self._backend.timed("first copies", begin)[: len(places)]
        kind = "tail" if tail.alone else "copy"
        batch = places[: self._backend.pace(kind).rows(len(places))]
        self.rows += len(batch)
        images = self._image.expand(len(batch), -1, -1, -1)
        return self._backend.timed(kind, partial(tail.logits, change(batch), images))

    def _begin(self, one: Change, two: Change) -> Tensor:
        self._tail = Tail(self._backend.network, self._layer, self._image, one, two)
        return self._tail.first


def silencing(channels: Tensor) -> Change:
    """Sets channel `channels[i]` of copy i of a layer's output to 0."""

    def change(output: Tensor) -> Tensor:
        changed = output.clone()
        rows = torch.arange(len(channels))
        as_maps(changed)[rows, channels] = 0  # a view: the class token, if any, is left alone
        return changed

    return change


def keeping(cells: Tensor) -> Change:
    """Leaves of copy i of a layer's output cell `cells[i]`, counted row by row, a quarter of it, and an eighth or sixteenth of
    the neighbours (Recipro-CAM, arXiv 2209.14074)."""

    def change(output: Tensor) -> Tensor:
        changed = output.clone()
        maps = as_maps(changed)  # (B, C, h, w), a view
        height, width = maps.shape[2:]
        kept = maps.new_zeros(len(cells), height + 2, width + 2)  # with a rim
        for i, cell in enumerate(cells.tolist()):
            row, column = divmod(cell, width)
            kept[i, row : row + 3, column : column + 3] = maps.new_tensor(KERNEL) / 16
        maps *= kept[:, None, 1:-1, 1:-1]
        return changed

    return change
