r"""What the fast engine foresees: every channel's average score from a few passes, and how far the map may then be off.

Notation as in `methods.py`. $z_k$ is the average score of channel k on the scale on which steps add up: the logit of its mean
probability, or its mean logit. It is reached in steps, one for each rung of the ladder and one that undoes the rounding of
rough passes,

$$z_k = z_k^0 + d_k^1 + d_k^2 + \ldots$$

A step is known for the channels that have taken it. For the others it is predicted (`estimate.krige`) by a linear trend in
what is known of them, plus a random field over the channels in which those with similar masks differ alike:

$$d = X \beta + u,\qquad \beta \sim N(0, s^2 S),\qquad u \sim N(0, s^2 (q K + (1 - q) I)),\qquad
K_{kl} = e^{-|H_k - H_l| / \ell}$$

which gives a mean for each missing step, and the covariance $\Sigma$ of what it may be off: a `Gap`. Steps are taken to be
independent. The heat map E depends on $z$ through the weights, $\alpha_k = \sigma(z_k)$ or the softmax of $z$, and so near
the prediction its error at a place p has the variance

$$V_p = \sum_{\text{gaps}} g_p^\top \Sigma\, g_p,\qquad
g_{kp} = \frac{\partial E_p}{\partial z_k} = \alpha_k (1 - \alpha_k) \frac{\partial E_p}{\partial \alpha_k}$$

(`estimate.influence` gives the last factor). The error that is reported is MARGIN times the standard deviation at the worst
place. Of shares $\pi_k = \alpha_k / \sum_j \alpha_j$, which are compared where a class is held against its rivals,
$\alpha_k \, \partial E / \partial \alpha_k = \pi_k (e_k - \sum_j \pi_j e_j)$ with $e = \partial E / \partial \pi$.

Running channel k through a gap would take $(\Sigma g_p)_k^2 / \Sigma_{kk}$ away from the variance: that is its gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .aim import PROFILES, Aim
from .blend import profile
from .estimate import influence, krige, standardised, widening
from .ladder import halved, normed_weights
from .passes import Probe
from .standing import Channels, Known, SideScores, Standing

MARGIN = 4.0  # standard deviations of the map at its worst place that its error is taken to stay within
FLOOR = 1e-5  # of the estimate: float32 itself
WORST = 8  # places of the map at which the gain of a pass is judged
# What is expected of a step before anything is known of it, as a standard deviation of z that counts as two values:
CLIMB_GUESS = 0.08  # of the last climb
ROUND_GUESS = 0.06
LEFT_GUESS = 0.5  # of what is left of the rounding when the few points of a channel are precise, as a share of it
ROUNDING = (0.05,)  # rounding errors of channels have next to nothing to do with each other
BETWEEN_POINTS = 0.2  # which part of the change by halving the points of a path may be their error
MINGLED = 0.95  # share of the random field in that error

CLIMB, ROUND, FINISH, DOUBLE, INTERPOLATE = "climb", "round", "finish", "double", "interpolate"
Step = tuple[str, int]  # one of these, and the rung to which it leads


@dataclass(frozen=True, eq=False)
class Gap:
    """A step that some channels (u,) lack, and the covariance (u, u) of what their `z` may be off because of it."""

    step: Step
    channels: Tensor
    covariance: Tensor


@dataclass(frozen=True, eq=False)
class Assessment:
    """How far the map may be off, how much of that comes from the points of the path alone, and by how much each step of
    each channel (C,) would lower the variance."""

    error: float
    between_points: float
    gains: dict[Step, Tensor]


class Foresight:
    """What is foreseen of one side: `z` (C,) with the missing steps predicted, and the `gaps` in it."""

    def __init__(self, known: Known, standing: Standing, scores: SideScores, probes: Sequence[Probe]) -> None:
        self._known, self._standing, self._scores = known, standing, scores
        self._exact = standing.fine[
            known.full
        ]  # bool (C,): nothing is missing but points between those of a longer path
        self.gaps: list[Gap] = []
        z = self._climbed()
        if known.has_rough:
            z = self._precise(z)
        z = torch.where(self._exact, scores.high[known.full], z)
        self.z = self._doubled(z)
        self._between(probes)

    @property
    def variances(self) -> Tensor:
        """Of what z (C,) may be off."""
        found = torch.zeros_like(self.z, dtype=torch.double)
        for gap in self.gaps:
            found[gap.channels] += gap.covariance.diagonal()
        return found

    def _climbed(self) -> Tensor:
        """z (C,) on the full rung, each climb predicted where it has not been made."""
        standing, low = self._standing, self._scores.low
        z = low[0]
        for rung in range(1, self._known.full + 1):
            wanted = ~standing.has[rung] & ~self._exact
            climbed = low[rung]
            if wanted.any():
                climb = (low[rung] - low[rung - 1]).double()
                made = standing.has[rung] & standing.has[rung - 1]
                guess = CLIMB_GUESS if rung > 1 else 0.0
                mean = self._krige((CLIMB, rung), climb, made, wanted, self._features(z, rung), guess=guess)
                climbed = climbed.masked_scatter(wanted, (z[wanted] + mean).float())
            z = climbed
        return z

    def _precise(self, z: Tensor) -> Tensor:
        """z (C,) as precise passes would give it: what rough ones are off is learnt on the audit's rung."""
        standing, low, high = self._standing, self._scores.low, self._scores.high
        full, audit = self._known.full, self._known.audit
        shift = high[audit] - low[audit]
        both = standing.rough[audit] & standing.fine[audit]
        wanted = ~standing.fine[audit] & ~self._exact
        if wanted.any():
            mean = self._krige(
                (ROUND, audit), shift.double(), both, wanted, self._features(z, 2), ROUNDING, ROUND_GUESS
            )
            shift = shift.masked_scatter(wanted, mean.float())
        wanted = standing.fine[audit] & standing.has[full] & ~self._exact
        if wanted.any():  # precise at a few points only
            left = (high[full] - low[full] - shift)[self._exact & standing.rough[full]].double()
            guess = LEFT_GUESS * shift[both].double().square().mean().sqrt()
            variance = (left.square().sum() + 2 * guess**2) / (len(left) + 2)
            channels = wanted.nonzero()[:, 0]
            self.gaps.append(Gap((FINISH, full), channels, variance * torch.eye(len(channels)).to(variance)))
        return z + shift

    def _doubled(self, z: Tensor) -> Tensor:
        """z (C,) on the last rung, when a longer path has been given finer points than the full rung has."""
        standing, high = self._standing, self._scores.high
        for rung in range(self._known.full + 1, len(self._known.rungs)):
            wanted = ~standing.fine[rung]
            finer = high[rung]
            if wanted.any():
                change = (high[rung] - high[rung - 1]).double()
                mean = self._krige((DOUBLE, rung), change, ~wanted, wanted, self._features(z, 2))
                finer = finer.masked_scatter(wanted, (z[wanted] + mean).float())
            z = finer
        return z

    def _between(self, probes: Sequence[Probe]) -> None:
        """What interpolation between the last rung's points may be off: a part of what half of the points change."""
        last, at_full = len(self._known.rungs) - 1, len(self._known.rungs) - 1 == self._known.full
        if coarser := halved(self._known.rungs[last], probes):
            stands = (self._standing.has if at_full else self._standing.fine)[last].nonzero()[:, 0]
            here = (self._scores.low if at_full else self._scores.high)[last]
            change = (here[stands] - self._scores.average(coarser, stands, precise=not at_full)).double()
            variance = (BETWEEN_POINTS * change.std()) ** 2
            field = self._known.channels.field
            field = MINGLED * field + (1 - MINGLED) * torch.eye(len(field)).to(field)  # (C, C)
            self.gaps.append(Gap((INTERPOLATE, last), torch.arange(len(field)), variance * field))

    def _krige(
        self,
        step: Step,
        values: Tensor,
        made: Tensor,
        wanted: Tensor,
        features: Tensor,
        shares: Sequence[float] = (),
        guess: float = 0.0,
    ) -> Tensor:
        """The step's mean (u,) for the channels that want it, from those that have made it; their gap is kept."""
        mean, covariance = krige(self._known.channels.field, features, values, made, wanted, shares, guess)
        self.gaps.append(Gap(step, wanted.nonzero()[:, 0], covariance))
        return mean

    def _features(self, z: Tensor, rung: int) -> Tensor:
        """What the climb to a rung may depend on (C, F): where a channel stands, its mask, what its first pass told."""
        channels = self._known.channels
        coverage = channels.masks.mean(1)  # (C,)
        if rung == 1:
            return standardised(coverage, coverage.square(), channels.maps.amax(1).clamp_min(1e-9).log())
        return standardised(z, coverage) if rung == 2 else standardised(z, z - self._scores.low[1])


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
    moves = influence(channels.maps, raw, aim.signed)  # (C, h * w)
    variance, between_points = torch.zeros_like(raw), torch.zeros_like(raw)  # (h * w,)
    felt: list[tuple[Gap, Tensor]] = []
    for sign, part, weight, each in zip(signs, parts, weights, foreseen, strict=True):
        moved = (
            moves - (profile(weight)[:, None] * moves).sum(0) if by_profiles else moves
        )  # a share takes from the others
        steep = (
            1 if by_profiles and scale == "logit" else 1 - weight
        )  # a softmax moves others too, which `moved` has told
        slope = sign * (part * steep * widening(weight, each.variances))[:, None] * moved  # (C, h * w)
        for gap in each.gaps:
            spread = gap.covariance @ slope[gap.channels]  # (u, h * w)
            share = (spread * slope[gap.channels]).sum(0).clamp_min(0)  # (h * w,)
            variance += share
            felt.append((gap, spread))
            if gap.step[0] == INTERPOLATE:
                between_points += share
    worst = variance.topk(min(WORST, len(variance))).indices
    gains: dict[Step, Tensor] = {}
    for gap, spread in felt:
        if gap.step[0] != INTERPOLATE:
            gain = gains.setdefault(gap.step, variance.new_zeros(len(channels)))  # (C,)
            gain[gap.channels] += (spread[:, worst].square() / gap.covariance.diagonal()[:, None]).mean(1)
    error = max(FLOOR, MARGIN * float(variance.max().sqrt()))
    return Assessment(error, MARGIN * float(between_points.max().sqrt()), gains)
