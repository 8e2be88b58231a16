"""Hooks: what is recorded is right, and nothing is left behind."""

from __future__ import annotations

import copy

import pytest
import torch

from iscam.engine import capture
from tests import reference, tiny_models

NETWORKS = ("TinyPooled", "TinyInplace", "TinyMlpHead", "TinyReluHead", "TinyTokens", "ConstantNet")


def hook_count(network: torch.nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._backward_hooks) for module in network.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_activations_and_logits_equal_the_twin(name: str) -> None:
    """Also where an in-place ReLU overwrites the layer's output, and where the output is tokens."""
    network = tiny_models.build(name)
    image = tiny_models.sample(network)
    found = capture.forward_pass(network, network.layer, image)
    activations, logits = reference.activations(copy.deepcopy(network).double(), network.layer, image.double())
    torch.testing.assert_close(found.activations.double(), activations, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.logits.double(), logits, atol=1e-5, rtol=1e-5)
    assert not found.activations.requires_grad


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_equal_the_twin(name: str, frozen: bool) -> None:
    network = tiny_models.build(name).requires_grad_(not frozen)
    image = tiny_models.sample(network)
    found = capture.gradients(network, network.layer, image, [[2]])[0]
    twin = reference.gradients(copy.deepcopy(network).double(), network.layer, image.double(), 2)
    torch.testing.assert_close(found.double(), twin, atol=1e-5, rtol=1e-4)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert image.grad is None
    assert not image.requires_grad


def test_a_failing_forward_leaves_no_hook_and_no_changed_mode() -> None:
    network = tiny_models.build("FailingNet", fail_at=1).train()
    with pytest.raises(RuntimeError, match="on purpose"):
        capture.forward_pass(network, network.layer, tiny_models.sample(network))
    assert hook_count(network) == 0
    assert all(module.training for module in network.modules())


def test_modes_are_put_back_module_by_module() -> None:
    network = tiny_models.build("TinyPooled")
    network.features.train()
    before = [module.training for module in network.modules()]
    with capture.undisturbed(network):
        assert not any(module.training for module in network.modules())
    assert [module.training for module in network.modules()] == before


def test_a_layer_without_maps_is_refused() -> None:
    network = tiny_models.build("TinyPooled")
    with pytest.raises(ValueError, match="gives no maps of more than one position, but a tensor of shape"):
        capture.forward_pass(network, "fc", tiny_models.sample(network))
