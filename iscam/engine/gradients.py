"""Gradients of class scores at the layer, averaged over noisy photos where a method wants that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from .aim import Side
from .capture import ForwardPass, gradients
from .passes import Noise
from .scores import noise_field

KEPT = 16  # per photo
NOISE = 0.15  # standard deviation of the noise, of the photo's range (Smooth Grad-CAM++, arXiv 1908.01224)

Gradients = dict[tuple[Side, tuple[Noise | None, ...]], Tensor]  # by classes and noise: (C, h, w)


class Differentiation:
    """The gradients of a class, or of the mean logit of several, each averaged over photos with noise; what is known already is
    not run again."""

    def __init__(
        self,
        network: nn.Module,
        layer: str,
        forward: ForwardPass,
        noises: tuple[Noise | None, ...],
        sides: Sequence[Side],
        known: Gradients,
    ) -> None:
        self.error: float | None = None
        self.rows = 0
        self._network, self._layer, self._forward, self._noises, self._known = network, layer, forward, noises, known
        self._todo = [side for side in sides if (side, noises) not in known]
        self.total = len(noises) if self._todo else 0

    def batches(self) -> Iterator[None]:
        image = self._forward.image  # (1, 3, H, W)
        strength = NOISE * (image.amax() - image.amin())
        totals = [torch.zeros_like(self._forward.activations) for _ in self._todo]  # (C, h, w) each
        for noise in self._noises if self._todo else ():
            yield
            field = 0 if noise is None else strength * noise_field(noise, image)
            for total, found in zip(
                totals, gradients(self._network, self._layer, image + field, self._todo), strict=True
            ):
                total += found
            self.rows += 1
        for side, total in zip(self._todo, totals, strict=True):
            while len(self._known) >= KEPT:
                del self._known[next(iter(self._known))]
            self._known[side, self._noises] = total / len(self._noises)
        self.error = 0.0

    def of(self, side: Side) -> Tensor | None:
        """d logit / d activations (C, h, w) of one of the sides; None if it was stopped before that was known."""
        return self._known.get((side, self._noises))
