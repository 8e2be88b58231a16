"""What measuring a map comes to. No torch is loaded here."""

from __future__ import annotations

from dataclasses import dataclass, field

from .curves import Curve


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """What the metrics say of one map: fractions by metric key, curves by "insertion" and "deletion".

    `box_area` is the box's share of the map's area; None without a box.
    """

    values: dict[str, float]
    curves: dict[str, Curve] = field(default_factory=dict)
    box_area: float | None = None
