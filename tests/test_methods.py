"""Every map against its slow twin in float64, and the laws that hold between the maps.

Tolerance of the twins: the library works in float32; the twins run in float32 differ from themselves in float64 by up to
1e-5 of a heatmap (3e-5 for Eigen-CAM on nearly constant activations).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from iscam import Analysis, Explainer, LoadedModel
from iscam.engine import Aim
from iscam.engine.scores import noise_field
from iscam.methods import METHODS
from iscam.path import PATHS
from iscam.request import Request
from iscam.settings import WEIGHTINGS, Settings
from tests import reference
from tests.cases import analysed, photo_of

Tiny = Callable[..., LoadedModel]
NETWORKS = ("TinyPooled", "TinyInplace", "TinyMlpHead", "TinyReluHead", "TinyTokens")
SAMPLES, SEED, STEPS = 3, 11, 4
TOLERANCE = 1e-4


def twin(model: LoadedModel, analysis: Analysis, method: str, c: int, path: str, weighting: str) -> reference.Pair:
    network, layer = copy.deepcopy(model.network).double(), model.layer
    x = analysis.forward.image.double()
    noise = torch.cat([noise_field((SEED, j), analysis.forward.image) for j in range(SAMPLES)]).double()
    if method == "is-cam":
        return reference.is_cam(network, layer, x, c, STEPS, path, weighting)
    if method == "score-cam":
        return reference.score_cam(network, layer, x, c, weighting)
    if method == "ss-cam":
        return reference.ss_cam(network, layer, x, c, noise)
    if method == "smooth-grad-cam++":
        return reference.smooth_grad_cam_pp(network, layer, x, c, noise)
    if method == "cam":
        return reference.cam(network, layer, x, c, network.fc.weight)
    if method == "eigen-cam":
        return reference.eigen_cam(network, layer, x)
    named: Callable[..., reference.Pair] = getattr(reference, method.replace("-", "_").replace("++", "_pp"))
    return named(network, layer, x, c)


def contrasting_twin(
    model: LoadedModel, analysis: Analysis, method: str, c: int, rivals: Sequence[int], strength: float, weighting: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """By profiles where scores are the weights, else by the method itself, asked of the contrast's own logit."""
    network, image = copy.deepcopy(model.network).double(), analysis.forward.image.double()
    if METHODS[method].score_based:
        own, *others = (twin(model, analysis, method, index, "cumulative", weighting)[0] for index in (c, *rivals))
        weights = reference.rather_than(own, others, strength)
        a, _ = reference.activations(network, model.layer, image)
        return weights, reference.weighted_sum(weights, a)
    whole = reference.Contrasted(network, c, rivals, strength)
    asked = replace(model, network=whole, spec=replace(model.spec, layer=f"network.{model.layer}"))
    if method == "cam":
        head = network.fc.weight
        more = head[c] - strength * head[list(rivals)].mean(0)
        whole.fc = torch.nn.Linear(1, 1)
        whole.fc.weight = torch.nn.Parameter(torch.cat([head, more[None]]))
    return twin(asked, analysis, method, len(analysis.probabilities), "cumulative", weighting)


def check_against_twin(
    model: LoadedModel, method: str, path: str = "cumulative", weighting: str = "probability"
) -> None:
    explainer, analysis = analysed(model)
    for c in (0, analysis.predictions[0].index):
        settings = {"steps": STEPS, "path": path, "weighting": weighting, "samples": SAMPLES, "seed": SEED}
        found = explainer.explain(analysis, method, c, **settings)  # type: ignore[arg-type]
        weights, raw = twin(model, analysis, method, c, path, weighting)
        if weights is not None:
            assert found.weights is not None
            scale = max(float(weights.abs().max()), 1e-12)
            np.testing.assert_allclose(found.weights / scale, weights.detach().numpy() / scale, atol=TOLERANCE)
        wanted = reference.heatmap(raw, analysis.forward.image.shape[2:]).detach().numpy()
        np.testing.assert_allclose(found.heatmap, wanted, atol=TOLERANCE)
        assert found.heatmap.dtype == found.raw.dtype == np.float32


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", [key for key in METHODS if key not in ("is-cam", "score-cam", "cam")])
def test_map_equals_its_twin(tiny: Tiny, method: str, name: str) -> None:
    check_against_twin(tiny(name), method)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", NETWORKS)
def test_is_cam_and_score_cam_equal_their_twins(tiny: Tiny, name: str, path: str, weighting: str) -> None:
    model = tiny(name, **({"flat": 2, "dead": 5} if name == "TinyPooled" else {}))
    check_against_twin(model, "is-cam", path, weighting)
    check_against_twin(model, "score-cam", path, weighting)


def test_cam_equals_its_twin(tiny: Tiny) -> None:
    check_against_twin(tiny("TinyPooled"), "cam")


def test_one_step_is_score_cam(tiny: Tiny) -> None:
    """The one-point path at multiplier 1, with either path and weighting."""
    explainer, analysis = analysed(tiny("TinyMlpHead"))
    for path in PATHS:
        for weighting in WEIGHTINGS:
            one = explainer.explain(analysis, "is-cam", steps=1, path=path, weighting=weighting)
            score = explainer.explain(analysis, "score-cam", weighting=weighting)
            np.testing.assert_array_equal(one.weights, score.weights)


def test_grad_cam_is_cam_over_the_positions_behind_global_pooling(tiny: Tiny) -> None:
    explainer, analysis = analysed(tiny("TinyPooled"))
    for c in range(5):
        cam, grad = (explainer.explain(analysis, method, c) for method in ("cam", "grad-cam"))
        np.testing.assert_allclose(grad.weights, cam.weights / 16, rtol=1e-5, atol=1e-7)


def test_logit_weights_sum_to_one_and_ignore_a_constant(tiny: Tiny) -> None:
    """Adding a constant to all logits of a class moves no channel softmax; a baseline subtracted does nothing either."""
    model = tiny("TinyPooled")
    explainer, analysis = analysed(model)
    before = explainer.explain(analysis, weighting="logit", target=1)
    assert before.weights.sum() == pytest.approx(1, abs=1e-6)
    with torch.no_grad():
        model.network.fc.bias[1] += 3
    after = explainer.explain(explainer.analyse(photo_of(model)), weighting="logit", target=1)
    np.testing.assert_allclose(after.weights, before.weights, atol=1e-5)


class Permuted(torch.nn.Module):
    """A network whose layer's channels stand in another order, and are put back behind it."""

    def __init__(self, network: torch.nn.Module, order: torch.Tensor) -> None:
        super().__init__()
        self.features = torch.nn.Sequential(network.features, Shuffle(order))
        self.back, self.rest = Shuffle(order.argsort()), network.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rest(self.back(self.features(x)).mean((2, 3)))


class Shuffle(torch.nn.Module):
    def __init__(self, order: torch.Tensor) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, self.order]


@pytest.mark.parametrize("method", [key for key in METHODS if key != "cam"])
def test_permuting_channels_permutes_weights_and_leaves_the_map(tiny: Tiny, method: str) -> None:
    """In float64, because a map whose values hardly differ makes much of the order in which float32 adds them."""
    model = tiny("TinyMlpHead")
    model = replace(model, network=model.network.double())
    order = torch.tensor([3, 0, 6, 1, 5, 4, 2])
    shuffled = replace(model, network=Permuted(model.network, order).eval())
    explainer, analysis = analysed(model)
    other, again = analysed(shuffled)
    plain = explainer.explain(analysis, method, 1, samples=2)
    permuted = other.explain(again, method, 1, samples=2)
    np.testing.assert_allclose(permuted.heatmap, plain.heatmap, atol=1e-5)
    if plain.weights is not None:
        np.testing.assert_allclose(permuted.weights, plain.weights[order], rtol=1e-4, atol=1e-6)


def test_a_constant_network_gives_uniform_weights(tiny: Tiny) -> None:
    explainer, analysis = analysed(tiny("ConstantNet"))
    for weighting in WEIGHTINGS:
        weights = explainer.explain(analysis, weighting=weighting).weights
        np.testing.assert_allclose(weights, weights[0], rtol=1e-6)
        assert weights[0] > 0


def test_flat_and_dead_channels_get_no_weight_and_no_nan(tiny: Tiny) -> None:
    explainer, analysis = analysed(tiny("TinyPooled", flat=2, dead=5))
    for method in METHODS:
        explanation = explainer.explain(analysis, method, samples=2, steps=3)
        assert np.isfinite(explanation.heatmap).all(), method
        if METHODS[method].score_based and explanation.weights is not None:
            assert explanation.weights[2] == explanation.weights[5] == 0, method


def test_a_target_class_of_its_own_run_equals_the_column_of_a_shared_run(tiny: Tiny) -> None:
    model = tiny("TinyTokens")
    explainer, analysis = analysed(model)
    explainer.explain(analysis, target=0)
    for c in range(1, 7):
        shared = explainer.explain(analysis, target=c)
        alone = explainer.explain(explainer.analyse(photo_of(model)), target=c)
        assert shared.forward_passes == 0
        np.testing.assert_allclose(shared.weights, alone.weights, rtol=1e-5, atol=1e-7)


CLASS_SPECIFIC = [key for key, row in METHODS.items() if row.class_specific]
BY_CHANNELS = [key for key in CLASS_SPECIFIC if key != "recipro-cam"]  # whose map is no sum of weighted channels


@pytest.mark.parametrize("method", BY_CHANNELS)
def test_the_contrast_is_the_difference_and_turns_its_sign_with_the_classes(tiny: Tiny, method: str) -> None:
    model = tiny("TinyPooled")
    explainer, analysis = analysed(model)
    forth = explainer.explain(analysis, method, 0, 3, samples=2)
    back = explainer.explain(analysis, method, 3, 0, samples=2)
    np.testing.assert_allclose(forth.heatmap, -back.heatmap, atol=1e-6)
    assert np.abs(forth.heatmap).max() == pytest.approx(1)
    single = [explainer.explain(analysis, method, c, samples=2).weights for c in (0, 3)]
    raw = reference.contrast(analysis.forward.activations.double(), *(torch.from_numpy(w).double() for w in single))
    wanted = reference.signed_heatmap(raw, analysis.forward.image.shape[2:])
    np.testing.assert_allclose(forth.heatmap, wanted, atol=1e-4)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize(("rivals", "strength"), [("nearest:2", 0.6), ("all", 1.0), ("3", 1.0)])
@pytest.mark.parametrize("method", BY_CHANNELS)
def test_what_speaks_for_a_class_rather_than_its_rivals_equals_its_twin(
    tiny: Tiny, method: str, rivals: str, strength: float, weighting: str
) -> None:
    model = tiny("TinyPooled")
    explainer, analysis = analysed(model)
    c = analysis.predictions[1].index if rivals == "nearest:2" else 0
    ranked = [index for index in analysis.forward.logits.argsort(descending=True).tolist() if index != c]
    held = {"nearest:2": ranked[:2], "all": ranked, "3": [3]}[rivals]
    settings = {"steps": STEPS, "weighting": weighting, "samples": SAMPLES, "seed": SEED}
    found = explainer.explain(analysis, method, c, rivals=rivals, strength=strength, **settings)
    assert [rival.index for rival in found.rivals] == held and not found.signed and found.against is None
    weights, raw = contrasting_twin(model, analysis, method, c, held, strength, weighting)
    assert found.weights is not None
    scale = max(float(weights.abs().max()), 1e-12)
    np.testing.assert_allclose(found.weights / scale, weights.detach().numpy() / scale, atol=TOLERANCE)
    wanted = reference.heatmap(raw, analysis.forward.image.shape[2:]).detach().numpy()
    np.testing.assert_allclose(found.heatmap, wanted, atol=TOLERANCE)
    signed = explainer.explain(analysis, method, c, rivals=rivals, strength=strength, signed=True, **settings)
    raw = reference.weighted_sum(weights, analysis.forward.activations.double())
    wanted = reference.signed_heatmap(raw, analysis.forward.image.shape[2:]).detach().numpy()
    np.testing.assert_allclose(signed.heatmap, wanted, atol=TOLERANCE)
    assert (signed.against is not None) == (rivals == "3") and signed.signed


def test_recipro_cam_sets_cells_against_those_of_rivals(tiny: Tiny) -> None:
    """By what each cell has of the scores of all cells; two classes as they are."""
    model = tiny("TinyMlpHead")
    explainer, analysis = analysed(model)
    network, x = copy.deepcopy(model.network).double(), analysis.forward.image.double()
    maps = [reference.recipro_cam(network, model.layer, x, c)[1].flatten() for c in range(6)]
    signed = explainer.explain(analysis, "recipro-cam", 1, rivals="all", strength=0.7, signed=True)
    every = reference.rather_than(maps[1], [maps[c] for c in range(6) if c != 1], 0.7).view(5, 5)
    assert np.abs(signed.heatmap).max() == pytest.approx(1)
    np.testing.assert_allclose(signed.raw, every.numpy(), atol=1e-5)
    found = explainer.explain(analysis, "recipro-cam", 1, rivals="all", strength=0.7)
    np.testing.assert_allclose(found.raw, every.relu().numpy(), atol=1e-5)
    single = explainer.explain(analysis, "recipro-cam", 1, rivals="4", signed=True)
    wanted = reference.rather_than(maps[1], [maps[4]], 1.0).view(5, 5)
    np.testing.assert_allclose(single.raw, wanted.numpy(), atol=1e-5)
    against = explainer.explain(analysis, "recipro-cam", 1, against=4)
    np.testing.assert_allclose(against.raw, (maps[1] - maps[4]).view(5, 5).numpy(), atol=1e-5)


@pytest.mark.parametrize("method", CLASS_SPECIFIC)
def test_rivals_that_count_nothing_leave_the_map_as_it_is(tiny: Tiny, method: str) -> None:
    explainer, analysis = analysed(tiny("TinyPooled"))
    plain = explainer.explain(analysis, method, 1, samples=2)
    found = explainer.explain(analysis, method, 1, samples=2, rivals="all", strength=0)
    np.testing.assert_array_equal(found.heatmap, plain.heatmap)
    np.testing.assert_array_equal(found.weights, plain.weights)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_rivals_cost_no_pass_and_their_order_means_nothing(tiny: Tiny, weighting: str) -> None:
    """The scores of all classes are kept; those of an average are the same whichever comes first."""
    model = tiny("TinyTokens")
    explainer = Explainer(model, "exact")
    analysis = explainer.analyse(photo_of(model))
    explainer.explain(analysis, target=0, weighting=weighting)
    for rivals in ("all", "nearest:3", "nearest:999", 2, "2"):
        assert explainer.explain(analysis, target=1, weighting=weighting, rivals=rivals).forward_passes == 0
    forth, back = (
        explainer.answer(analysis, Request(METHODS["is-cam"], Aim(1, rivals), Settings(weighting=weighting)))
        for rivals in ((2, 4, 5), (5, 2, 4))
    )
    np.testing.assert_allclose(forth.heatmap, back.heatmap, atol=1e-6)


def test_methods_refuse_what_they_cannot_serve(tiny: Tiny) -> None:
    explainer, analysis = analysed(tiny("TinyInplace"))  # a linear head, but a ReLU between the layer and the pooling
    with pytest.raises(ValueError, match="one linear layer"):
        explainer.explain(analysis, "cam")
    with pytest.raises(ValueError, match="same map for every class"):
        explainer.explain(analysis, "eigen-cam", 0, 1)
