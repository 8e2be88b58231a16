"""How a map comes about, as it is shown. No torch is loaded here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iscam.results import Outcome, Prediction


@dataclass(frozen=True, eq=False)
class Carriers:
    """The T channels that carry a map, strongest first, with their IS-CAM `weights` (T,), their `shares` (T,) of the sum
    over all channels of positive weight times total activation, and their `masks` (T, H, W) in [0, 1].

    `probabilities` (P, T) of the class at the multipliers `points`, of which the first is 0, the blank photo, and the last
    the path's end; NaN where a stopped run has not come.
    """

    channels: tuple[int, ...]
    weights: NDArray[np.float32]
    shares: NDArray[np.float32]
    masks: NDArray[np.float32]
    points: tuple[float, ...]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Integration:
    """How the map of one class comes about along a path of N steps.

    `heatmaps` (N, H, W) in [0, 1]: the map made of the first n steps; the last is IS-CAM's own. `changes` (N,): the mean
    absolute difference of each map from the one before, of the first from a blank one. `carriers`: the channels that carry
    the map. `outcome` counts the input rows run by this call; its error is that of IS-CAM's map.
    """

    target: Prediction
    multipliers: tuple[float, ...]
    heatmaps: NDArray[np.float32]
    changes: NDArray[np.float32]
    carriers: Carriers
    outcome: Outcome
