"""Gradients of class scores at the layer, averaged over noisy photos where a method wants that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from .capture import ForwardPass, gradients
from .passes import Noise
from .scores import noise_field

KEPT = 16  # classes per photo
NOISE = 0.15  # standard deviation of the noise, of the photo's range (Smooth Grad-CAM++, arXiv 1908.01224)

Gradients = dict[tuple[int, tuple[Noise | None, ...]], Tensor]  # by class and noise: (C, h, w)


class Differentiation:
    """The gradients of some classes, each averaged over photos with noise; those that are known already are not run again."""

    def __init__(
        self,
        network: nn.Module,
        layer: str,
        forward: ForwardPass,
        noises: tuple[Noise | None, ...],
        classes: Sequence[int],
        known: Gradients,
    ) -> None:
        self.error: float | None = None
        self.rows = 0
        self._network, self._layer, self._forward, self._noises, self._known = network, layer, forward, noises, known
        self._todo = [index for index in classes if (index, noises) not in known]
        self.total = len(self._todo) * len(noises)

    def batches(self) -> Iterator[None]:
        image = self._forward.image  # (1, 3, H, W)
        strength = NOISE * (image.amax() - image.amin())
        for class_index in self._todo:
            total = torch.zeros_like(self._forward.activations)  # (C, h, w)
            for noise in self._noises:
                yield
                field = 0 if noise is None else strength * noise_field(noise, image)
                total += gradients(self._network, self._layer, image + field, class_index)
                self.rows += 1
            while len(self._known) >= KEPT:
                del self._known[next(iter(self._known))]
            self._known[class_index, self._noises] = total / len(self._noises)
        self.error = 0.0

    def of(self, class_index: int) -> Tensor | None:
        """d logit / d activations (C, h, w) of a class; None if it was stopped before that was known."""
        return self._known.get((class_index, self._noises))
