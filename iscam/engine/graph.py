"""Which steps of a computation everything passes through, read from torch's record of it."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.autograd.graph import Node

PRIME = 2**61 - 1  # numbers of paths are counted modulo this: they double with every residual branch


class Passage:
    """All paths from an input, a leaf that requires its gradient, to a result ().

    >>> import torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> y, z = x * 2, x * 3
    >>> total = y + z
    >>> passage = Passage(total.sum(), x)
    >>> passage.all_through(total), passage.all_through(y)
    (True, False)
    """

    def __init__(self, result: Tensor, source: Tensor) -> None:
        order = list(_in_order(result.grad_fn))  # a node comes after all that it was made of
        self._onward: dict[Node, int] = dict.fromkeys(order, 0)  # paths from it to the result
        back: dict[Node, int] = {}  # paths from the source to it
        for node in order:
            ends = getattr(node, "variable", None) is source
            back[node] = (int(ends) + sum(back[each] for each in _makers(node))) % PRIME
        if order:
            self._onward[order[-1]] = 1
        for node in reversed(order):
            for each in _makers(node):
                self._onward[each] = (self._onward[each] + self._onward[node]) % PRIME
        self._back, self._total = back, back[order[-1]] if order else 0

    def all_through(self, step: Tensor) -> bool:
        """Whether every path leads through the making of a tensor."""
        node = step.grad_fn
        if node is None or node not in self._back or not self._total:
            return False
        return self._back[node] * self._onward[node] % PRIME == self._total


def _makers(node: Node) -> list[Node]:
    return [each for each, _ in node.next_functions if each is not None]


def _in_order(last: Node | None) -> Iterator[Node]:
    """All nodes that lead to the last one, each after those that it was made of; without recursion, for they are many."""
    seen: set[Node] = set()
    stack = [] if last is None else [(last, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((each, False) for each in _makers(node))
