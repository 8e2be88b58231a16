"""Maps to hold others against: the tables CONTROLS and CEILINGS.

Controls know nothing of the network, or nothing of its classes: a metric that they win says little. A ceiling is made to win a
metric: it shows how far maps of its kind get there, and is no explanation to trust.
Importing this module does not load torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iscam.methods import METHODS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from iscam.engine import Ascent, ForwardPass

SIGMA = 1 / 4  # of the Gaussian, as a share of each side


@dataclass(frozen=True)
class Control:
    """One row of CONTROLS: `draw` takes the layer's activations (C, h, w), the input's size and a seed, and gives a map (H, W)
    in [0, 1]."""

    key: str
    label: str
    about: str
    draw: Callable[[Tensor, tuple[int, int], int], Tensor]


@dataclass(frozen=True)
class Ceiling:
    """One row of CEILINGS, which are made on demand, by many passes: `climb` takes a network, the layer's name, what a pass
    over the photo has left, and a class, and gives what is to be run for the channel weights."""

    key: str
    label: str
    about: str
    climb: Callable[[nn.Module, str, ForwardPass, int], Ascent]


def random_map(activations: Tensor, size: tuple[int, int], seed: int) -> Tensor:
    """Uniform noise of the layer's size, enlarged as every map is: as coarse and smooth as a method's."""
    import torch

    from iscam.drawing import as_heatmap

    return as_heatmap(torch.rand(activations.shape[1:], generator=torch.Generator().manual_seed(seed)), size)


def gaussian_map(activations: Tensor, size: tuple[int, int], seed: int) -> Tensor:
    """A Gaussian in the middle, where photographers put what they mean."""
    import torch

    from iscam.engine import normalise

    down, across = (torch.linspace(-0.5, 0.5, length).div(SIGMA).square().div(-2).exp() for length in size)
    return normalise((down[:, None] * across)[None])[0]


def fake_map(activations: Tensor, size: tuple[int, int], seed: int) -> Tensor:
    """All ones but for one pixel: it masks next to nothing, and so wins metrics that ask only what is lost by masking."""
    import torch

    heatmap = torch.ones(size)
    heatmap[0, 0] = 0
    return heatmap


def mean_map(activations: Tensor, size: tuple[int, int], seed: int) -> Tensor:
    """The mean of the layer's activations: where it finds something, of no class (LaFAM, arXiv 2407.06059)."""
    from iscam.drawing import as_heatmap

    return as_heatmap(activations.mean(0), size)


def opti_cam(network: nn.Module, layer: str, forward: ForwardPass, class_index: int) -> Ascent:
    """The weights by whose map the masked photo scores highest (Opti-CAM, arXiv 2301.07002): made to win Average Gain."""
    from iscam.engine import Ascent

    return Ascent(network, layer, forward, class_index)


CONTROLS = {
    row.key: row
    for row in (
        Control("random", "Random", "noise as coarse as the layer's maps", random_map),
        Control("gaussian", "Gaussian", "a blob in the middle of the photo", gaussian_map),
        Control("fake-cam", "Fake-CAM", "all ones but for one pixel", fake_map),
        Control("lafam", "LaFAM", "the mean of the layer's activations, the same for every class", mean_map),
    )
}
CEILINGS = {
    row.key: row
    for row in (Ceiling("opti-cam", "Opti-CAM", "the weights that make the masked photo score highest", opti_cam),)
}
KINDS = dict.fromkeys(CONTROLS, "control") | dict.fromkeys(CEILINGS, "ceiling")  # of what is no method
LABELS = {key: row.label for key, row in METHODS.items()} | {key: row.label for key, row in CONTROLS.items()}
LABELS |= {key: row.label for key, row in CEILINGS.items()}
