"""Masks: range, order of upsampling and normalising, and channels without a mask."""

from __future__ import annotations

import torch

from iscam.engine.masks import flat_channels, make_masks, normalise
from tests import reference


def test_masks_equal_the_slow_twin() -> None:
    activations = torch.randn(6, 5, 7)
    masks = make_masks(activations, (20, 30))
    for mask, channel in zip(masks, activations.double(), strict=True):
        twin = reference.mask(channel, (20, 30))
        assert twin is not None
        torch.testing.assert_close(mask, twin.float(), atol=2e-6, rtol=0)


def test_every_mask_reaches_both_ends() -> None:
    masks = make_masks(100 * torch.randn(8, 4, 4) - 300, (32, 32))
    assert torch.equal(masks.amin((1, 2)), torch.zeros(8))
    assert torch.equal(masks.amax((1, 2)), torch.ones(8))


def test_a_constant_map_becomes_zeros_and_no_nan() -> None:
    assert torch.equal(normalise(torch.full((1, 4, 4), 3.7)), torch.zeros(1, 4, 4))


def test_flat_channels_are_found_at_layer_resolution() -> None:
    """0.7 everywhere is flat, also where upsampling it would round differently from pixel to pixel."""
    activations = torch.stack([torch.full((3, 3), 0.7), torch.zeros(3, 3), torch.eye(3)])
    assert flat_channels(activations).tolist() == [True, True, False]
