"""The one place where a network's output is read: whatever it returns, as logits of its classes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def ask(network: nn.Module, images: Tensor) -> Tensor:
    """The logits (B, K) of images (B, 3, H, W). Raises ValueError as `logits_of`."""
    return logits_of(network(images))


def logits_of(output: object) -> Tensor:
    """Logits (B, K) in what a network returns; see `columns`, and raises as that does.

    A single logit z is given as (0, z), whose softmax is the sigmoid of z: the first class is that the second is not there.

    >>> logits_of({"loss": None, "logits": torch.tensor([[3.0]])})
    tensor([[0., 3.]])
    """
    found = columns(output)
    return torch.cat([torch.zeros_like(found), found], dim=1) if found.shape[1] == 1 else found


def scores_in(output: object) -> Tensor:
    """A tensor that a network returns, the first of a tuple or list, or what is called `logits`.

    Raises:
        ValueError: there is no such thing in it; one sentence.
    """
    found = output
    if isinstance(found, Mapping):
        found = found.get("logits")
    elif hasattr(found, "logits"):  # a dataclass, or the named tuple of a network with auxiliary classifiers
        found = found.logits
    elif isinstance(found, (tuple, list)) and found:
        found = found[0]
    if not isinstance(found, Tensor):
        raise ValueError(
            f"The network returns a {type(output).__name__}, and no logits in it: a tensor is needed, or a tuple that "
            "begins with it, or something with `logits`."
        )
    return found


def columns(output: object) -> Tensor:
    """What a network returns for each photo (B, outputs).

    Raises:
        ValueError: there is no such thing in it, or it has another shape; one sentence.
    """
    found = scores_in(output)
    rows = found[:, None] if found.ndim == 1 else found
    if rows.ndim > 2 and rows.shape[2:].numel() == 1:
        rows = rows.flatten(1)
    if rows.ndim != 2 or not rows.shape[1]:
        raise ValueError(
            f"The network returns a tensor of shape {tuple(found.shape)}: that of a classifier is (photos, classes)."
        )
    return rows
