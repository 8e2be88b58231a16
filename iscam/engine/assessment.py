r"""How far the fast engine's map may be off, and which steps would lower that most.

The heat map E depends on what is foreseen of the channels, $z$ (see `foresight.py`), through the weights,
$\alpha_k = \sigma(z_k)$ or the softmax of $z$, and so near the prediction its error at a place p has the variance

$$V_p = \sum_{\text{gaps}} g_p^\top \Sigma\, g_p,\qquad
g_{kp} = \frac{\partial E_p}{\partial z_k} = \alpha_k (1 - \alpha_k) \frac{\partial E_p}{\partial \alpha_k}$$

(`estimate.influence` gives the last factor). The error that is reported is MARGIN times the standard deviation at the worst
place; where the ReLU cuts the map off, less what lies below zero there, because so much of the error does not show. Of shares
$\pi_k = \alpha_k / \sum_j \alpha_j$, which are compared where a class is held against its rivals,
$\alpha_k \, \partial E / \partial \alpha_k = \pi_k (e_k - \sum_j \pi_j e_j)$ with $e = \partial E / \partial \pi$.

Running channel k through a gap takes $(\Sigma g_p)_k^2 / \Sigma_{kk}$ away from the variance, whatever it tells. So a whole
block of passes can be chosen before any of them is run, each as if those before it had been: no two are run of which one
tells what the other does, and none after enough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .aim import PROFILES, Aim
from .blend import profile
from .estimate import influence, widening
from .foresight import INTERPOLATE, Foresight, Gap, Step
from .ladder import normed_weights
from .standing import Channels

MARGIN = 4.0  # standard deviations of the map at its worst place that its error is taken to stay within
FLOOR = 1e-5  # of the estimate: float32 itself
WORST = 8  # places of the map at which the gain of a step is judged
ROUNDED = 1e-6  # of a variance is lost in rounding


class _Stake:
    """What a gap does to the map: `spread` (h * w, u) is its covariance times how the map moves with the channels (u, h * w),
    and `variance` (h * w,) what it adds to the map's."""

    def __init__(self, gap: Gap, slope: Tensor) -> None:
        self.gap = gap
        spread = gap.covariance.times(slope)  # (u, h * w)
        self.variance = (spread * slope).sum(0).clamp_min(0)
        self.spread = spread.T.contiguous()
        self._left = gap.covariance.diagonal.clone()  # (u,)
        self._taken = self.spread.new_zeros(
            0, len(self._left)
        )  # (n, u): taken.T @ taken is no longer in the covariance

    def gain(self, places: Tensor) -> Tensor:
        """By how much a step of each channel (u,) would lower the variance at some places, in the mean."""
        return self.spread[places].square().mean(0) / self._left

    def take(self, place: int) -> Tensor:
        """By how much a step of one channel lowers the variance everywhere (h * w,). It counts as taken from now on."""
        root = self._left[place].sqrt()
        column = (self.gap.covariance.column(place) - self._taken[:, place] @ self._taken) / root  # (u,)
        felt = self.spread[:, place] / root  # (h * w,)
        self._taken = torch.cat([self._taken, column[None]])
        self.spread.addr_(felt, column, alpha=-1)
        self._left = (self._left - column.square()).maximum(ROUNDED * self.gap.covariance.diagonal)
        return felt.square()


class Assessment:
    """How far the map may be off (`error`), how much of that comes from the points of the path alone (`between_points`), and
    by how much each of `steps` would lower the variance."""

    def __init__(self, channels: int, below: Tensor, stakes: Sequence[_Stake], unit: float = 1.0) -> None:
        """`below` (h * w,) is how far each place lies below zero, as the slopes in a `unit` in which float32 can hold them."""
        self._channels, self._below, self._unit = channels, below, unit
        between, self._variance = torch.zeros(2, len(below))  # (h * w,)
        for stake in stakes:
            self._variance += stake.variance
            if stake.gap.step[0] == INTERPOLATE:
                between += stake.variance
        self.between_points = self._worst(between)
        self._stakes = [stake for stake in stakes if stake.gap.step[0] != INTERPOLATE]
        self.steps = tuple(dict.fromkeys(stake.gap.step for stake in self._stakes))

    @property
    def error(self) -> float:
        return max(FLOOR, self._worst(self._variance))

    def gain(self, step: Step) -> Tensor:
        """By how much a step of each channel (C,) would lower the variance, in the mean of the worst places."""
        worst = self._errors(self._variance).topk(min(WORST, len(self._variance))).indices
        gain = torch.zeros(self._channels)
        for stake in self._stakes:
            if stake.gap.step == step:
                gain[stake.gap.channels] += stake.gain(worst)
        return gain

    def take(self, step: Step, channel: int) -> None:
        """Reckon with a step that a channel lacks as if it had been taken."""
        for stake in self._stakes:
            if stake.gap.step == step:
                (place,) = (stake.gap.channels == channel).nonzero()[:, 0].tolist()
                self._variance -= stake.take(place)

    def _errors(self, variance: Tensor) -> Tensor:
        """How far each place (h * w,) may be off, in the unit, by a variance (h * w,); negative where nothing would show."""
        return MARGIN * variance.clamp_min(0).sqrt() - self._below

    def _worst(self, variance: Tensor) -> float:
        """The largest error; what is no number could be anything."""
        worst = float(self._errors(variance).max())
        return math.inf if math.isnan(worst) else self._unit * max(0.0, worst)


def assess(channels: Channels, foreseen: Sequence[Foresight], scale: str, aim: Aim) -> Assessment:
    """How far the map may be off that is made of what is foreseen of the aim's sides."""
    weights = [normed_weights(each.z, scale).double() for each in foreseen]  # (C,) each
    largest = torch.stack(weights).max()  # of an improbable class all are tiny, but the map is as bright
    by_profiles = len(weights) > 1 and aim.by == PROFILES
    signs = (1.0, -aim.strength)[: len(weights)]
    # (C,) each: what the map is made of, and how it moves with z
    parts = [profile(weight) / profile(weights[0]).max() if by_profiles else weight / largest for weight in weights]
    combined = torch.stack([sign * part for sign, part in zip(signs, parts, strict=True)]).sum(0)  # (C,)
    raw = (combined[:, None] * channels.maps).sum(0)  # (h * w,)
    moves, below = influence(channels.maps, raw, aim.signed)  # (C, h * w), (h * w,)
    slopes: list[Tensor] = []  # (C, h * w)
    for sign, part, weight, each in zip(signs, parts, weights, foreseen, strict=True):
        # a share takes from the others
        moved = moves - (profile(weight)[:, None] * moves).sum(0) if by_profiles else moves
        # a softmax moves others too, which `moved` has told
        steep = 1 if by_profiles and scale == "logit" else 1 - weight
        slopes.append(sign * (part * steep * widening(weight, each.variances))[:, None] * moved)
    unit = float(torch.stack(slopes).abs().max().clamp_min(1e-30))  # a map that is all but blank moves by leaps
    slopes = [(slope / unit).float() for slope in slopes]
    felt = [_Stake(gap, slope[gap.channels]) for slope, each in zip(slopes, foreseen, strict=True) for gap in each.gaps]
    return Assessment(len(channels), (below / unit).float(), felt, unit)
