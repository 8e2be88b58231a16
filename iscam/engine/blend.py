r"""Scores of several classes as those of one: what speaks for the rivals of a class, in the mean of their profiles.

The profile of class d is what each channel has of its scores over all channels,
$\pi_k^d = \alpha_k^d / \sum_j \alpha_j^d$, or on the logit scale the softmax over channels: a confident class and an
improbable one are compared alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 1e-30  # of a total, so that it can be divided by


def totals(scores: Tensor, scale: str) -> Tensor:
    """What the scores (C, D) of each class come to over the known channels: (D,), on the logit scale as log-sum-exp."""
    if scale == "logit":
        return scores.where(~scores.isnan(), -torch.inf).logsumexp(0)
    return scores.nansum(0).clamp_min(LEAST)


def blended(scores: Tensor, over: Tensor, scale: str) -> Tensor:
    """Scores (C,) whose profile is the mean of the profiles of scores (C, D), which come to `over` (D,) in all.

    Those of a class alone are left as they are. NaN where they are not known.
    """
    if scores.shape[1] == 1:
        return scores[:, 0]
    if scale == "logit":
        return (scores - over).logsumexp(1) - torch.tensor(scores.shape[1]).log()
    return (scores / over).mean(1)


def profile(weights: Tensor) -> Tensor:
    """Channel weights (C,), which are not negative, as shares of their sum; zeros if that is 0."""
    return weights / weights.sum().clamp_min(LEAST)
