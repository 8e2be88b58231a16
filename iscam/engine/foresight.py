r"""What the fast engine foresees: every channel's average score from a few passes, and what that may be off.

Notation as in `methods.py`. $z_k$ is the average score of channel k on the scale on which steps add up: the logit of its mean
probability, or its mean logit. It is reached in steps, one for each rung of the ladder and one that undoes the rounding of
rough passes,

$$z_k = z_k^0 + d_k^1 + d_k^2 + \ldots$$

A step is known for the channels that have taken it. For the others it is predicted (`estimate.krige`) by a linear trend in
what is known of them, plus a random field over the channels in which those with similar masks differ alike:

$$d = X \beta + u,\qquad \beta \sim N(0, s^2 S),\qquad u \sim N(0, s^2 (q K + (1 - q) I)),\qquad
K_{kl} = e^{-|H_k - H_l|^2 / 2 \ell^2}$$

which gives a mean for each missing step, and the covariance $\Sigma$ of what it may be off: a `Gap`. Steps are taken to be
independent. What that does to the map is told in `assessment.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .estimate import Covariance, krige, standardised
from .ladder import halved
from .passes import Probe
from .standing import AUDIT, Known, SideScores, Standing

# What is expected of a step before anything is known of it, as a standard deviation of z that counts as two values:
CLIMB_GUESS = 0.08  # of the last climb
ROUND_GUESS = 0.03
LEFT_GUESS = 0.5  # of what is left of the rounding when the few points of a channel are precise, as a share of it
ROUNDING = (0.05,)  # rounding errors of channels have next to nothing to do with each other
BETWEEN_POINTS = 0.2  # which part of the change by halving the points of a path may be their error
MINGLED = 0.95  # share of the random field in that error

CLIMB, ROUND, FINISH, DOUBLE, INTERPOLATE = "climb", "round", "finish", "double", "interpolate"
Step = tuple[str, int]  # one of these, and the rung to which it leads


@dataclass(frozen=True, eq=False)
class Gap:
    """A step that some channels lack, and the covariance of what their `z` may be off because of it."""

    step: Step
    covariance: Covariance

    @property
    def channels(self) -> Tensor:
        """(u,)."""
        return self.covariance.channels


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
        found = torch.zeros_like(self.z)
        for gap in self.gaps:
            found[gap.channels] += gap.covariance.diagonal
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
        """z (C,) as precise passes would give it: what rough ones are off is learnt on one rung."""
        standing, low, high = self._standing, self._scores.low, self._scores.high
        full = self._known.full
        shift = high[AUDIT] - low[AUDIT]
        both = standing.rough[AUDIT] & standing.fine[AUDIT]
        wanted = ~standing.fine[AUDIT] & ~self._exact
        if wanted.any():
            mean = self._krige(
                (ROUND, AUDIT), shift.double(), both, wanted, self._features(z, 2), ROUNDING, ROUND_GUESS
            )
            shift = shift.masked_scatter(wanted, mean.float())
        wanted = standing.fine[AUDIT] & standing.has[full] & ~self._exact
        if wanted.any():  # precise at a few points only
            left = (high[full] - low[full] - shift)[self._exact & standing.rough[full]].double()
            guess = LEFT_GUESS * shift[both].double().square().mean().sqrt()
            variance = (left.square().sum() + 2 * guess**2) / (len(left) + 2)
            field = self._known.channels.field
            apart = Covariance.of(field, wanted.nonzero()[:, 0], float(variance), share=0.0)
            self.gaps.append(Gap((FINISH, full), apart))
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
            self.gaps.append(
                Gap((INTERPOLATE, last), Covariance.of(field, torch.arange(len(field)), float(variance), MINGLED))
            )

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
        self.gaps.append(Gap(step, covariance))
        return mean

    def _features(self, z: Tensor, rung: int) -> Tensor:
        """What the climb to a rung may depend on (C, F): where a channel stands, its mask, what its first pass told."""
        channels = self._known.channels
        coverage = channels.coverage
        if rung == 1:
            return standardised(coverage, coverage.square(), channels.maps.amax(1).clamp_min(1e-9).log())
        return standardised(z, coverage) if rung == 2 else standardised(z, z - self._scores.low[1])
