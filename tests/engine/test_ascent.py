"""Opti-CAM's ascent: against its slow twin, the laws of what it finds, and that it leaves nothing behind."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch import Tensor, nn

from iscam.engine import Ascent, ForwardPass, ascent, carry_out, forward_pass
from tests import reference, tiny_models
from tests.cases import Wide, state_of

NETWORKS = ("TinyPooled", "TinyInplace", "TinyMlpHead", "TinyReluHead", "TinyTokens")


def climbed(network: nn.Module, layer: str, image: Tensor, c: int) -> tuple[ForwardPass, Ascent]:
    forward = forward_pass(network, layer, image)
    found = Ascent(network, layer, forward, c)
    assert carry_out(found.batches(), None, lambda: None)
    return forward, found


def logit_by(network: nn.Module, image: Tensor, activations: Tensor, weights: Tensor, c: int) -> float:
    """Of the photo masked by the map that the weights give."""
    double = copy.deepcopy(network).double()
    raw = reference.weighted_sum(weights.double(), activations.double())
    mask = reference.mask(raw, (image.shape[2], image.shape[3]))
    return reference.score(double, image.double() * (0 if mask is None else mask), c, "logit")


@pytest.mark.parametrize("name", ["TinyPooled", "TinyInplace", "TinyReluHead", "TinyTokens"])
def test_weights_equal_their_slow_twins(name: str) -> None:
    """All 50 steps: the same network in float64 to rounding; in float32 as far as the steps carry its rounding on."""
    network = tiny_models.build(name, **({"flat": 2, "dead": 5} if name == "TinyPooled" else {}))
    image, double = tiny_models.sample(network), copy.deepcopy(network).double()
    wanted, _ = reference.opti_cam(double, network.layer, image.double(), 0, 50)
    _, exact = climbed(double, network.layer, image.double(), 0)
    _, found = climbed(network, network.layer, image, 0)
    assert exact.rows == found.rows == found.total == 50 and found.error == 0
    torch.testing.assert_close(exact.weights, wanted, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.weights.double(), wanted, rtol=0, atol=1e-4)
    assert wanted.max() > 1.3 * wanted[wanted > 0].mean()  # they have moved


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_found_scores_no_lower_than_equal_weights(name: str) -> None:
    """For every class, whatever the steps: where it begins is among what is tried. Its logit is that of the masked photo."""
    network = tiny_models.build(name)
    image, gains = tiny_models.sample(network), []
    for c in range(network.classes):
        forward, found = climbed(network, network.layer, image, c)
        assert float(found.weights.sum()) == pytest.approx(1, abs=1e-5) and bool((found.weights >= 0).all())
        ones = torch.ones_like(found.weights)
        low, high = (logit_by(network, image, forward.activations, each, c) for each in (ones, found.weights))
        assert high >= low - 1e-6 and found.logit == pytest.approx(high, abs=1e-5)
        gains.append(high - low)
    assert max(gains) > 0.01


def test_a_step_too_far_is_not_taken_for_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """With steps so large that many are: of all that was tried, the highest is kept with its weights."""
    monkeypatch.setattr(ascent, "RATE", 40.0)
    network = tiny_models.build("TinyMlpHead", seed=3)
    image, overshot = tiny_models.sample(network), 0
    for c in range(network.classes):
        forward, found = climbed(network, network.layer, image, c)
        tried = Tried(network, network.layer, forward, c)
        list(tried.batches())
        best = max(tried.seen, key=lambda look: look[0])
        assert found.logit == best[0] and torch.equal(found.weights, best[1])
        overshot += best[0] > tried.seen[-1][0]
    assert overshot


class Tried(Ascent):
    """Notes everything that it has looked at."""

    def __init__(self, *asked: object) -> None:
        super().__init__(*asked)  # type: ignore[arg-type]
        self.seen: list[tuple[float, Tensor, Tensor]] = []

    def _look_around(self, place: Tensor) -> tuple[float, Tensor, Tensor]:
        self.seen.append(super()._look_around(place))
        return self.seen[-1]


def test_channels_that_are_the_same_everywhere_weigh_nothing() -> None:
    """They only lift the map, which is brought to [0, 1]; where all are, there is no map, and nothing is run."""
    network = tiny_models.build("TinyPooled", flat=2, dead=5)
    _, found = climbed(network, network.layer, tiny_models.sample(network), 1)
    assert (found.weights == 0).nonzero().flatten().tolist() == [2, 5]
    flat = Wide(flat=40).eval()
    _, none = climbed(flat, "features", torch.randn(1, 3, 16, 16), 0)
    assert none.rows == none.total == 0 and not none.weights.any()


def test_a_network_that_sees_nothing_keeps_equal_weights() -> None:
    network = tiny_models.build("ConstantNet")
    _, found = climbed(network, network.layer, tiny_models.sample(network), 2)
    torch.testing.assert_close(found.weights, torch.full((6,), 1 / 6))


def test_it_ends_between_two_steps_and_keeps_the_best_so_far() -> None:
    network = tiny_models.build("TinyPooled")
    forward = forward_pass(network, network.layer, tiny_models.sample(network))
    stop = threading.Event()
    found = Ascent(network, network.layer, forward, 0)

    def enough() -> None:
        if found.rows == 3:
            stop.set()

    assert not carry_out(found.batches(), stop, enough)
    assert found.rows == 3 and found.error is None and float(found.weights.sum()) == pytest.approx(1)
    begun = Ascent(network, network.layer, forward, 0)
    assert not carry_out(begun.batches(), stop, lambda: None)
    assert begun.rows == 0 and torch.equal(begun.weights, torch.full((8,), 1 / 8))


@pytest.mark.parametrize("frozen", [False, True])
def test_no_trace_is_left_and_no_chance_is_in_it(frozen: bool) -> None:
    """Hooks, modes, gradients and parameters are as before, also after a pass that fails; the same is found again."""
    network = tiny_models.build("TinyMlpHead").train().requires_grad_(not frozen)
    network.features[1].eval()
    before, image, chance = state_of(network), tiny_models.sample(network), torch.get_rng_state()
    (_, one), (_, other) = (climbed(network, network.layer, image, 1) for _ in range(2))
    assert torch.equal(one.weights, other.weights) and not one.weights.requires_grad
    assert torch.equal(torch.get_rng_state(), chance)
    assert state_of(network)[:2] == before[:2] and torch.equal(state_of(network)[2], before[2])
    failing = tiny_models.build("FailingNet", fail_at=4).train().requires_grad_(not frozen)
    before = state_of(failing)
    with pytest.raises(RuntimeError, match="on purpose"):
        climbed(failing, failing.layer, image[:, :, :16, :16], 0)
    assert state_of(failing)[:2] == before[:2]


def test_scores_that_are_no_numbers_are_said_in_a_sentence() -> None:
    network = tiny_models.build("TinyMlpHead")
    forward = forward_pass(network, network.layer, tiny_models.sample(network))
    with torch.no_grad():
        network.head[2].bias[0] = float("nan")
    with pytest.raises(ValueError, match="no finite scores"):
        list(Ascent(network, network.layer, forward, 0).batches())
