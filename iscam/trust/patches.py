"""Single deletion: whether a map ranks the parts of a photo as the network does (IDSDS, arXiv 2407.11910).

Importing this module does not load torch.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from .correlation import constant, spearman
from .curves import Score

if TYPE_CHECKING:
    from torch import Tensor

PATCHES = 4  # down and across


def single_deletion(score: Score, image: Tensor, heatmap: Tensor) -> float:
    """Spearman's correlation, -1..1, of what the class loses without each patch and of the map's sum there.

    0 if the map is constant, or all patches are worth the same. A patch that is removed shows the mean colour; the paper tunes
    networks to such photos first, which is not done here. One pass a patch: what is left ranks them as what is lost does.
    """
    import torch

    if constant(heatmap):
        return 0.0
    places = patches(*heatmap.shape)
    rows = image.repeat(len(places), 1, 1, 1)
    for row, (down, across) in zip(rows, places, strict=True):
        row[:, down, across] = 0
    sums = torch.stack([heatmap[place].cpu().double().sum() for place in places])
    return spearman(-score(rows), sums)


def patches(height: int, width: int) -> list[tuple[slice, slice]]:
    """Where they lie, row by row; they cover everything, and differ by a pixel where its sides cannot be divided."""
    downs, acrosses = (
        [slice(*ends) for ends in pairwise(length * step // PATCHES for step in range(PATCHES + 1))]
        for length in (height, width)
    )
    return [(down, across) for down in downs for across in acrosses]
