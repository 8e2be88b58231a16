"""Batch norms of any make: what they compute at evaluation, and what is left of them once a convolution computes it.

A norm is told by what it has: a running mean and variance per channel, perhaps a weight and a bias. Whether its own `forward`
does with them what a batch norm does, and then runs its children (a dropout, an activation) in order, is tried out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

EPS = 1e-5  # of a norm that does not tell, such as DETR's, which has it in its `forward` alone
# standard deviations of the inputs by which a norm is tried; functions that level off for large ones do so here
SPREADS = (1.0, 10.0, 1000.0)
CLOSE = 1e-4  # of the numbers that are summed: what float32 may lose of them, with room
# what somebody's module may raise where it is fed or read in a way that it was not made for
UNFIT = (RuntimeError, TypeError, ValueError, AttributeError, LookupError)


class Statistics(NamedTuple):
    """x becomes (x - mean) / sqrt(var + eps) * weight + bias: all (C,), the last two None where there are none."""

    mean: Tensor
    var: Tensor
    eps: float
    weight: Tensor | None
    bias: Tensor | None


def statistics(module: nn.Module) -> Statistics | None:
    """What a batch norm has learnt; None for any other module, and for one that keeps no statistics."""
    if isinstance(module, nn.SyncBatchNorm):
        return None  # belongs to a network that several processes share
    found: list[Any] = [getattr(module, name, None) for name in ("running_mean", "running_var", "weight", "bias")]
    mean, var, weight, bias = found
    eps = getattr(module, "eps", EPS)
    vectors = [mean, var, *(vector for vector in (weight, bias) if vector is not None)]
    if not all(isinstance(vector, Tensor) and vector.is_floating_point() and vector.ndim == 1 for vector in vectors):
        return None
    if len({len(vector) for vector in vectors}) > 1 or not isinstance(eps, (int, float)):
        return None
    return Statistics(mean, var, eps, weight, bias)


def remainder(norm: nn.Module) -> nn.Module:
    """What a norm still has to do behind a convolution that it is folded into: its children, if any."""
    return nn.Sequential(*norm.children())


def fused(conv: nn.Conv2d, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias by which a convolution gives what its norm made of its output."""
    known = statistics(norm)
    assert known is not None
    return fuse_conv_bn_weights(conv.weight, conv.bias, *known)


@torch.no_grad()
def is_affine(norm: nn.Module) -> bool:
    """Whether a norm in eval mode computes what its statistics say, row by row, and then its remainder."""
    known = statistics(norm)
    if known is None:
        return False
    mean, var = known.mean[:, None, None], known.var[:, None, None]
    deviation = (var + known.eps).sqrt()
    scale = (1 if known.weight is None else known.weight[:, None, None]) / deviation
    shift = 0 * mean if known.bias is None else known.bias[:, None, None]
    noise = torch.randn((len(SPREADS), len(mean), 8, 8), generator=torch.Generator().manual_seed(0)).to(mean)
    x = mean + deviation * noise * noise.new_tensor(SPREADS)[:, None, None, None]  # (3, C, 8, 8)
    try:
        found, wanted = norm.forward(x.clone()), remainder(norm)((x - mean) * scale + shift)
        close = (found - wanted).abs() <= CLOSE * (scale.abs() * (x.abs() + mean.abs()) + shift.abs())
        return bool(close.all()) and found.shape == x.shape
    except UNFIT:
        return False
