"""What a network's outputs mean: how logits become the class probabilities f_c of every formula. No torch here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Head:
    """One row of HEADS. `log_probabilities` takes logits (..., D) of some classes, and log-sum-exp (..., 1) over all of them.

    >>> import torch
    >>> HEADS["sigmoid"].probabilities(torch.tensor([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """

    key: str
    log_probabilities: Callable[[Tensor, Tensor], Tensor]

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of all classes, from their logits (..., K)."""
        return self.log_probabilities(logits, logits.logsumexp(-1, keepdim=True)).exp()


def one_of_all(logits: Tensor, total: Tensor) -> Tensor:
    """The log of the softmax: a photo is of one class."""
    return logits - total


def each_alone(logits: Tensor, total: Tensor) -> Tensor:
    """The log of the sigmoid: a photo may be of several classes, or of none."""
    return -(-logits).logaddexp(logits.new_zeros(()))


HEADS = {row.key: row for row in (Head("softmax", one_of_all), Head("sigmoid", each_alone))}
SOFTMAX = HEADS["softmax"]
