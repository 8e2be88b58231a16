"""What of a map lies in a box, whose pixels count by their middle. Importing this module does not load torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels of the heat map


def pointing(heatmap: Tensor, box: Box) -> float:
    """1 if the map's highest place, the first of equal ones, lies in the box, else 0, also of a blank map (1608.00507)."""
    if not heatmap.any():
        return 0.0
    row, column = divmod(int(heatmap.argmax()), heatmap.shape[1])
    left, top, right, bottom = box
    return float(left <= column + 0.5 < right and top <= row + 0.5 < bottom)


def energy(heatmap: Tensor, box: Box) -> float:
    """Which share of the map's sum lies in the box (arXiv 1910.01279); 0 of a blank map. Pixels count by their middle."""
    total = float(heatmap.sum())
    return float((heatmap * inside_of(heatmap, box)).sum()) / total if total > 0 else 0.0


def area_share(heatmap: Tensor, box: Box) -> float:
    """The box's share of the map's area, which a map that says nothing has of its energy there."""
    return float(inside_of(heatmap, box).mean())


def inside_of(heatmap: Tensor, box: Box) -> Tensor:
    """1 where a pixel's middle lies in the box, else 0: (H, W)."""
    left, top, right, bottom = box
    rows, columns = (heatmap.new_ones(length).cumsum(0) - 0.5 for length in heatmap.shape)
    across = (columns >= left) & (columns < right)
    return ((rows >= top) & (rows < bottom))[:, None].mul(across).to(heatmap)
