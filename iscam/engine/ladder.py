"""From a few passes to a channel's average score: which passes stand for which others.

A channel's score is an average over many passes: the path of IS-CAM, or the noise samples of SS-CAM. Without any of them
it is guessed to be that of a blank photo; it can be guessed better from one pass, better still from two, and is known
from all: a ladder of rungs. Between the points of a path all class logits are interpolated in the multiplier, from
the blank photo (multiplier 0) on. Averages are compared on
the scale on which they behave additively, called `z`: the logit of a mean probability, or the mean logit itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .head import SOFTMAX, Head
from .passes import Probe

GRID = 6  # points of a path that stand for a longer one
STEPS = ((0.8,), (0.4, 0.8))  # shares of the path at which one point, and two, tell most about all of them
BACKGROUND = 0.02  # weight of classes that are out of the question, when it is learnt how logits grow along the path
FAITH = 1e-3  # in linear interpolation, when that is learnt
LEAST, MOST = 1e-30, 1 - 1e-6  # bounds of a mean probability, so that it has a logit
CHANNELS_AT_ONCE = 64  # so that what is averaged stays in the caches


@dataclass(frozen=True, eq=False)
class Rung:
    """Passes of a channel that stand for its average. `mix` (M, 1 + n) makes logits at M points, over which is averaged,
    from those of a blank photo and of the n probes."""

    probes: tuple[Probe, ...]
    mix: Tensor


NOTHING = Rung((), torch.ones(1, 1))  # a channel of which nothing is known is taken to score as the blank photo


def ladder(probes: Sequence[Probe], base: Probe | None = None) -> tuple[Rung, ...]:
    """Rungs for the average over probes (on a path, or noise samples): no pass, one, a few, and those that count as all.

    Of a path longer than GRID so many points count as all. Rungs that would be the same are left out. `base` replaces
    the one pass, if something else is known already.
    """
    on_path = all(probe.noise is None for probe in probes)
    points = _spread(probes, GRID) if on_path else tuple(probes)
    chosen = [dict.fromkeys(points[max(0, round(share * len(points)) - 1)] for share in shares) for shares in STEPS]
    if base is not None:
        chosen[0] = {base: None}
    steps = [step for step in dict.fromkeys(tuple(step) for step in chosen) if set(step) != set(points)]
    guesses = [Rung(step, _between(step, points) if on_path else _alike(step, points)) for step in steps]
    return NOTHING, *guesses, Rung(points, _between(points, probes, 2) if on_path else _alike(points, probes))


def learnt(rung: Rung, blank: Tensor, logits: Tensor, points: Tensor, head: Head = SOFTMAX) -> Rung:
    """The rung with a mix fitted to some channels: from a blank photo (K,) and the rung's probes (n, C, K) to all its
    points (M, C, K). How logits grow along a path is much the same for all channels and classes of a network."""
    weights = (head.probabilities(points).mean(0).sqrt() + BACKGROUND).flatten()
    given = (logits - blank).flatten(1) * weights  # (n, C * K)
    wanted = (points - blank).flatten(1) * weights  # (M, C * K)
    products = given @ given.T
    ridge = (FAITH * products.diagonal().mean()).clamp_min(1e-12)
    prior = rung.mix[:, 1:]
    shares = torch.linalg.solve(
        products + ridge * torch.eye(len(products)).to(ridge), given @ wanted.T + ridge * prior.T
    ).T
    return Rung(rung.probes, torch.cat([1 - shares.sum(1, keepdim=True), shares], dim=1))


def doubled(rung: Rung, probes: Sequence[Probe]) -> Rung:
    """The last rung of a longer path with twice as many points, interpolated to all its probes."""
    points = _spread(probes, 2 * len(rung.probes))
    return Rung(points, _between(points, probes, 2))


def _spread(probes: Sequence[Probe], count: int) -> tuple[Probe, ...]:
    """So many probes, evenly over the path and with its end; all if there are no more."""
    if count >= len(probes):
        return tuple(probes)
    return tuple(probes[round(len(probes) * j / count) - 1] for j in range(1, count + 1))


def halved(rung: Rung, probes: Sequence[Probe]) -> Rung | None:
    """Every other point of the last rung of a longer path, interpolated to all its probes; None if all have been run."""
    if len(rung.probes) == len(probes):
        return None
    return Rung(rung.probes[1::2], _between(rung.probes[1::2], probes, 2))


def _between(known: Sequence[Probe], targets: Sequence[Probe], order: int = 1) -> Tensor:
    """The mix that interpolates between multiplier 0 (a blank photo) and the known ones, and beyond them: a line (order 1)
    or a parabola (order 2) through those about the target."""
    nodes = [0.0, *(probe.multiplier for probe in known)]
    count = min(order + 1, len(nodes))
    mix = torch.zeros(len(targets), len(nodes))
    for row, target in enumerate(targets):
        t = target.multiplier
        right = next((i for i in range(1, len(nodes)) if nodes[i] >= t), len(nodes) - 1)
        first = min(right - 1, len(nodes) - count)
        about = range(first, first + count)
        for i in about:
            mix[row, i] = math.prod((t - nodes[j]) / (nodes[i] - nodes[j]) for j in about if j != i)
    return mix


def _alike(known: Sequence[Probe], targets: Sequence[Probe]) -> Tensor:
    """The mix in which a known target is itself, and any other is the mean of the known ones, as with noise samples."""
    mix = torch.zeros(len(targets), 1 + len(known))
    for row, target in enumerate(targets):
        if target in known:
            mix[row, 1 + known.index(target)] = 1
        else:
            mix[row, 1:] = 1 / len(known)
    return mix


def average(
    rung: Rung, blank: Tensor, logits: Tensor, columns: Sequence[int], scale: str, head: Head = SOFTMAX
) -> Tensor:
    """Average scores (C, D) of the classes in some columns, from logits of a blank photo (K,) and of the rung's probes
    (n, C, K)."""
    mix = rung.mix
    if scale == "logit":
        shares = mix.mean(0)
        return shares[0] * blank[columns] + (shares[1:, None, None] * logits[:, :, columns]).sum(0)
    parts = []
    for part in torch.split(logits, CHANNELS_AT_ONCE, dim=1):
        mixed = torch.einsum("mn,nck->mck", mix[:, 1:], part) + (mix[:, :1] * blank)[:, None]
        parts.append(head.log_probabilities(mixed[..., columns], mixed.logsumexp(-1, keepdim=True)).exp().mean(0))
    return torch.cat(parts)


def standing_for(averages: Tensor, scale: str) -> Tensor:
    """z for mean probabilities, or mean logits."""
    return averages if scale == "logit" else averages.clamp(LEAST, MOST).logit()


def averaged(z: Tensor, scale: str) -> Tensor:
    """The mean probability, or the mean logit, that z stands for."""
    return z if scale == "logit" else z.sigmoid()


def normed_weights(z: Tensor, scale: str) -> Tensor:
    """Channel weights (C,) from z: mean probabilities, or the softmax over channels of mean logits."""
    return z.softmax(0) if scale == "logit" else z.sigmoid()
