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
from .capture import ForwardPass, Site, hooked, undisturbed
from .outputs import ask

CLOSE = 1e-4  # of the largest logit, or of 1: logits that differ by no more are equal
KERNEL = ((1, 2, 1), (2, 4, 2), (1, 2, 1))  # sixteenths, of a cell and its neighbours

Change = Callable[[Tensor], None]  # changes the maps (B, C, h, w) of copies of the layer's output


class Tail:
    """Runs a network from a layer on, for changed copies of the layer's output, of which a pass over an image has told all.

    The first copy is run whole, and the first two alone: where the first one's logits differ, or the network cannot be run
    so, `alone` is False, and all copies are run whole. `first` are the logits (2, K) of both, or (1, K) of the first.
    """

    def __init__(self, network: nn.Module, forward: ForwardPass, one: Change, two: Change) -> None:
        self._network, self._site, self._image = network, forward.site, forward.image
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
        with torch.no_grad(), undisturbed(self._network), changing(self._network, self._site, change):
            return ask(self._network, images)

    def _record(self, change: Change) -> Tensor:
        """One whole pass; the layer's output, and what is given before it, are kept."""

        network, left = self._network, self._site.calls

        def reached(output: Any) -> Any:
            nonlocal left
            left -= 1
            if left:
                return passed(network.get_submodule(self._site.layer), output)
            self._output = output
            return _changed(self._site, output, change)

        def passed(module: nn.Module, output: Any) -> Any:
            if self._output is None:
                one = isinstance(output, Tensor) and output.ndim > 0 and len(output) == 1
                self._known.setdefault(module, []).append(output if one else None)
            return output

        with torch.no_grad(), undisturbed(network), ExitStack() as stack:
            stack.enter_context(hooked(network, self._site.layer, reached))
            for name in off_the_way(network, self._site.layer):
                stack.enter_context(hooked(network, name, partial(passed, network.get_submodule(name))))
            return ask(network, self._image)

    def _run(self, change: Change, rows: int) -> Tensor:
        """Logits (rows, K), with the modules before the layer standing still."""
        assert self._output is not None

        def repeated(known: Tensor) -> Tensor:
            return known.expand(rows, *known.shape[1:])

        def still(known: list[Tensor | None], then: Callable[..., Any]) -> Callable[..., Any]:
            left = iter(known)

            def forward(*inputs: Any, **named: Any) -> Any:
                given = next(left, None)
                return then(*inputs, **named) if given is None else repeated(given)

            return forward

        changed = _changed(self._site, repeated(self._output), change)
        layer = self._network.get_submodule(self._site.layer)
        forwards = {module: still(known, module.forward) for module, known in self._known.items()}
        forwards[layer] = still(self._known.get(layer, []), lambda *inputs, **named: changed)
        with torch.no_grad(), undisturbed(self._network), running(forwards):
            return ask(self._network, repeated(self._image))


def _changed(site: Site, output: Tensor, change: Change) -> Tensor:
    """A changed copy of a layer's output; what is not in its maps, such as a class token, is left alone."""
    copy = output.clone()
    change(site.maps(copy))
    return copy


@contextmanager
def changing(network: nn.Module, site: Site, change: Change) -> Iterator[None]:
    """Change the maps of the layer's last output in the one pass that is run while the body runs."""
    left = site.calls

    def reached(output: Any) -> Any:
        nonlocal left
        left -= 1
        return output if left else _changed(site, output, change)

    with hooked(network, site.layer, reached):
        yield


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

    def __init__(self, backend: Backend, forward: ForwardPass) -> None:
        self.rows = 0
        self._backend, self._forward = backend, forward
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
        images = self._forward.image.expand(len(batch), -1, -1, -1)
        return self._backend.timed(kind, partial(tail.logits, change(batch), images))

    def _begin(self, one: Change, two: Change) -> Tensor:
        self._tail = Tail(self._backend.network, self._forward, one, two)
        return self._tail.first


def silencing(channels: Tensor) -> Change:
    """Sets channel `channels[i]` of copy i to 0."""

    def change(maps: Tensor) -> None:
        maps[torch.arange(len(channels)), channels] = 0

    return change


def keeping(cells: Tensor) -> Change:
    """Leaves of copy i cell `cells[i]`, counted row by row, a quarter of it, and an eighth or sixteenth of the neighbours
    (Recipro-CAM, arXiv 2209.14074)."""

    def change(maps: Tensor) -> None:
        height, width = maps.shape[2:]
        kept = maps.new_zeros(len(cells), height + 2, width + 2)  # with a rim
        for i, cell in enumerate(cells.tolist()):
            row, column = divmod(cell, width)
            kept[i, row : row + 3, column : column + 3] = maps.new_tensor(KERNEL) / 16
        maps *= kept[:, None, 1:-1, 1:-1]

    return change
