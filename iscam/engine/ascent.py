"""Opti-CAM (arXiv 2301.07002): the channel weights by whose map the masked photo scores highest for a class."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor, nn

from .capture import ForwardPass, record, undisturbed
from .masks import flat_channels, make_masks
from .scores import finite

STEPS = 50
RATE = 0.1  # at which Adam learns
DECAYS = 0.9, 0.999  # of Adam's means of the gradient and of its square (arXiv 1412.6980)
SMALL = 1e-8


class Ascent:
    r"""Gradient ascent, by Adam, to the highest logit of a class for the photo masked by the map
    $s(U(\sum_k \mathrm{softmax}(w)_k A_k))$, which is upsampled and brought to [0, 1].

    It begins at equal weights, and no chance is in it. Channels that are the same everywhere weigh nothing. `weights` (C,) are
    the best that were tried so far, `logit` is what they reach: a last step too far, or a stop, loses nothing.
    """

    def __init__(self, network: nn.Module, layer: str, forward: ForwardPass, class_index: int) -> None:
        self.error: float | None = None
        self.rows = 0
        self.logit = -float("inf")
        self._network, self._layer, self._forward, self._class = network, layer, forward, class_index
        flat = flat_channels(forward.activations)
        self.weights = (~flat).to(forward.activations) / max(1, int((~flat).sum()))  # (C,)
        self._start = torch.zeros_like(self.weights).masked_fill(flat, -float("inf"))
        self.total = 0 if flat.all() else STEPS

    def batches(self) -> Generator[None, None, None]:
        """Run it, giving control back before every step. Raises ValueError as `finite` does."""
        place = self._start  # (C,), w in the formula
        slopes, squares = torch.zeros_like(place), torch.zeros_like(place)  # Adam's means, each (C,)
        for step in range(1, self.total + 1):
            yield
            logit, weights, slope = self._look_around(place)
            self.rows += 1
            if logit > self.logit:
                self.logit, self.weights = logit, weights
            slopes = slopes.lerp(slope, 1 - DECAYS[0])
            squares = squares.lerp(slope.square(), 1 - DECAYS[1])
            mean, square = slopes / (1 - DECAYS[0] ** step), squares / (1 - DECAYS[1] ** step)
            place = place + RATE * mean / (square.sqrt() + SMALL)
        self.error = 0.0

    def _look_around(self, place: Tensor) -> tuple[float, Tensor, Tensor]:
        """The logit at a place w (C,), the weights softmax(w) (C,), and d logit / dw (C,), by one pass. Touches no `.grad`."""
        image, activations = self._forward.image, self._forward.activations
        with torch.enable_grad(), undisturbed(self._network):
            variable = place.detach().requires_grad_()
            weights = variable.softmax(0)
            raw = (weights[:, None, None] * activations).sum(0)  # (h, w)
            _, logits = record(self._network, self._layer, image * make_masks(raw[None], self._forward.size).to(image))
            logit = finite(logits)[0, self._class]
            (slope,) = torch.autograd.grad(logit, variable, allow_unused=True, materialize_grads=True)
        return logit.item(), weights.detach(), slope
