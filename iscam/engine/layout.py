"""How a layer's output holds maps: channels first or last, or as tokens. Told from what modules give in a pass, in order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

MOST_OTHERS = 16  # tokens without a place that are believed: a class, a distillation, registers
ASKEW = 2.5  # times as long on one side, held against the input: maps of modules that do not tell are not more so
# what gives and takes channels first, and so tells how an output of four dimensions is to be read
FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
)


@dataclass(frozen=True)
class Layout:
    """Maps of `size` (h, w) in an output (B, C, h, w), with `last` in (B, h, w, C), with a number of `others` in tokens
    (B, others + h w, C), the first of which have no place.

    >>> Layout((2, 2), others=1).maps(torch.zeros(1, 5, 8)).shape
    torch.Size([1, 8, 2, 2])
    """

    size: tuple[int, int]
    last: bool = False
    others: int | None = None

    def maps(self, output: Tensor) -> Tensor:
        """The maps (B, C, h, w), a view of an output."""
        if self.others is not None:
            patches = output[:, self.others :].transpose(1, 2)  # (B, C, h w)
            return patches.view(*patches.shape[:2], *self.size)
        return output.permute(0, 3, 1, 2) if self.last else output


class Reader:
    """Reads the outputs of modules in the order in which a pass over images (B, 3, H, W) gives them."""

    def __init__(self, images: Tensor) -> None:
        self._rows, self._aspect = len(images), images.shape[2] / images.shape[3]
        self._lasts: dict[torch.Size, bool] = {}  # shapes of four dimensions, as the last module that tells read them
        self._grids: list[tuple[int, int]] = []  # sizes of maps so far

    def read(self, module: nn.Module, output: object) -> Layout | None:
        """Where the maps are in what a module gives; None if there are none, or of one position."""
        if not isinstance(output, Tensor) or output.ndim not in (3, 4) or len(output) != self._rows:
            return None
        found = self._maps(module, output.shape) if output.ndim == 4 else self._tokens(output.shape[1])
        return None if found is None or math.prod(found.size) == 1 else found

    def _maps(self, module: nn.Module, shape: torch.Size) -> Layout | None:
        if isinstance(module, (*FIRST, nn.Linear)):
            self._lasts[shape] = isinstance(module, nn.Linear)
        first, last = (shape[2], shape[3]), (shape[1], shape[2])
        known = self._lasts.get(shape)
        if known is None:
            fitting = [size for size in (first, last) if size in self._grids or not self._grids]
            if not fitting or min(map(self._askew, fitting)) > math.log(ASKEW):
                return None  # the heads of an attention, for instance
            known = min(fitting, key=self._askew) != first
        size = last if known else first
        self._grids.append(size)
        return Layout(size, known)

    def _askew(self, size: tuple[int, int]) -> float:
        """How far maps are from the input's shape, 0 for those that are like it."""
        return abs(math.log(size[0] / size[1] / self._aspect))

    def _tokens(self, count: int) -> Layout | None:
        others = {
            size: count - math.prod(size) for size in reversed(self._grids)
        }  # of equal ones the latest became tokens
        fitting = [size for size in others if 0 <= others[size] <= MOST_OTHERS]
        if fitting:
            size = min(fitting, key=others.__getitem__)
            return Layout(size, others=others[size])
        side = math.isqrt(count)  # patches that no module has cut out
        if self._grids or count - side * side > MOST_OTHERS:
            return None
        return Layout((side, side), others=count - side * side)
