"""Known evidence: four photos of different classes in a grid, of which a map for one class should find the right one.

The grid pointing game (Boehle et al., CVPR 2021, arXiv 2104.00032): of a map that knows no class a quarter lies on each photo.
Importing this module does not load torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from iscam.images import Photo
from iscam.results import Analysis

from .boxes import Box

if TYPE_CHECKING:
    from iscam.explain import Explainer

PHOTOS = 4  # of a grid, row by row
SURE = 0.5  # the probability from which on a network is sure of a photo's class


def is_sure(analysis: Analysis) -> bool:
    """Whether the photo can stand in a grid: its most probable class is more probable than all others together.

    >>> import iscam
    >>> from iscam.trust import is_sure
    >>> is_sure(iscam.Explainer(iscam.load_model("photo11")).analyse("assets/examples/chelsea.jpg"))
    True
    """
    return analysis.predictions[0].probability > SURE


def grid_of(explainer: Explainer, analyses: Sequence[Analysis]) -> Analysis:
    """Four photos as the network sees them, each at half its size, as one input: one forward pass.

    >>> import iscam
    >>> from iscam.trust import cells, grid_of
    >>> explainer = iscam.Explainer(iscam.load_model("photo11"))
    >>> analyses = [explainer.analyse(f"assets/examples/{name}.jpg") for name in ("chelsea", "rocket", "coffee", "astronaut")]
    >>> grid = grid_of(explainer, analyses)
    >>> grid.photo.size, cells(grid)[3]
    ((128, 128), (64, 64, 128, 128))
    """
    import torch
    from torch.nn.functional import interpolate

    assert len(analyses) == PHOTOS
    height, width = analyses[0].forward.size
    down, across = height // 2, width // 2
    sizes = [(h, w) for h in (down, height - down) for w in (across, width - across)]
    parts = [
        interpolate(each.forward.image.cpu(), size=size, mode="bilinear", antialias=True)
        for each, size in zip(analyses, sizes, strict=True)
    ]
    image = torch.cat([torch.cat(parts[:2], dim=3), torch.cat(parts[2:], dim=3)], dim=2)  # (1, 3, H, W)
    name = " + ".join(each.photo.name for each in analyses)
    photo = Photo(Image.fromarray(explainer.picture(image)), (width, height), name)
    return explainer.analyse_input(photo, (0, 0, width, height), image, analyses[0].layer)


def cells(grid: Analysis) -> list[Box]:
    """Where the photos of a grid lie, in its pixels: left, top, right, bottom."""
    width, height = grid.photo.size
    across, down = width // 2, height // 2
    return [
        (left, top, right, bottom)
        for top, bottom in ((0, down), (down, height))
        for left, right in ((0, across), (across, width))
    ]
