"""The cells of a layer's maps, asked one by one what each is worth alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .aim import Side
from .blend import blended, totals
from .capture import ForwardPass
from .scores import finite
from .table import STORE_BYTES, ScoreTable
from .tail import Copies, keeping


class Cells:
    """The network's scores for one cell of the layer at a time, the others silenced; those that are known are not run again.

    Raises:
        ValueError: the layer has so many cells that the store has no room for their scores; one sentence.
    """

    def __init__(self, copies: Copies, forward: ForwardPass, table: ScoreTable) -> None:
        self.error: float | None = None
        self._size = forward.activations.shape[1:]  # h, w
        if self._size.numel() * forward.logits.nbytes > STORE_BYTES:
            raise ValueError("The layer has too many cells to ask them one by one: choose a deeper layer.")
        if table.cells is None:
            table.cells = forward.logits.new_full((self._size.numel(), len(forward.logits)), torch.nan)
        self._copies, self._known, self._head = copies, table.cells, table.head  # the second (h w, K)
        self._todo = self._known[:, 0].isnan().nonzero()[:, 0]  # (n,)

    @property
    def rows(self) -> int:
        return self._copies.rows

    @property
    def total(self) -> int:
        return self._copies.total(self._todo)

    def batches(self) -> Iterator[None]:
        left = self._todo
        while len(left):
            yield
            logits = finite(self._copies.run(keeping, left))  # (B, K)
            self._known[left[: len(logits)]] = logits
            left = left[len(logits) :]
        self.error = 0.0

    def probabilities(self, side: Side) -> Tensor:
        """The probability (h, w) of a class for each cell, see `blended` for several; NaN where it is not known."""
        found = self._head.probabilities(self._known)[:, list(side)]  # (h w, D)
        return blended(found, totals(found, "probability"), "probability").view(self._size)
