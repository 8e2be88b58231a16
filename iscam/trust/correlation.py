"""How alike two sets of numbers are. Importing this module does not load torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def pearson(one: Tensor, other: Tensor) -> float:
    """The correlation of two maps, or of as many numbers, -1..1; 0 if one of them is constant."""
    a, b = (values.flatten() - values.mean() for values in (one.cpu().double(), other.cpu().double()))
    size = float(a.norm() * b.norm())
    return min(1.0, max(-1.0, float(a @ b) / size)) if size > 0 else 0.0


def spearman(one: Tensor, other: Tensor) -> float:
    """The rank correlation of two maps, or of as many numbers, -1..1; 0 if one of them is constant."""
    return pearson(_ranks(one), _ranks(other))


def constant(values: Tensor) -> bool:
    """Whether all values are equal."""
    return bool(values.min() == values.max())


def _ranks(values: Tensor) -> Tensor:
    """The place of each value among all; equal ones share the middle of theirs."""
    _, inverse, counts = values.flatten().unique(return_inverse=True, return_counts=True)  # type: ignore[no-untyped-call]
    ranks: Tensor = (counts.cumsum(0) - (counts - 1) / 2)[inverse]
    return ranks
