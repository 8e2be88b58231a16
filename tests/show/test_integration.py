"""How the map comes about along the path: against a slow loop, the exact engine, and plain passes of the masked photo."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from iscam import Analysis, Explainer, Explanation, LoadedModel, Progress
from iscam.engine.passes import Passes, Probe
from iscam.engine.table import ScoreTable
from iscam.path import PATHS, integration_path
from iscam.settings import WEIGHTINGS
from iscam.show.integration import CHANNELS, MAX_POINTS, Integration, integrate
from tests import reference
from tests.cases import (
    CHELSEA,
    ROCKET,
    SIDE,
    RowCounter,
    analysed,
    difference,
    exact_of,
    noise_photo,
    photo11,
    photo_of,
    state_of,
    wide,
)

Tiny = Callable[..., LoadedModel]
ENGINES = ("exact", "fast")
NETWORKS = ("TinyPooled", "TinyInplace", "TinyReluHead", "TinyTokens", "ConstantNet")
TOLERANCE = 1e-4  # of the slow twins in float64, as in test_methods.py


def slow_heatmaps(model: LoadedModel, analysis: Analysis, steps: int, path: str, weighting: str) -> list[torch.Tensor]:
    """The maps of the first 1..N steps: one channel, one step, one row at a time."""
    network, x = copy.deepcopy(model.network).double(), analysis.forward.image.double()
    c, size = analysis.predictions[0].index, (x.shape[2], x.shape[3])
    a, _ = reference.activations(network, model.layer, x)

    def heatmap(count: int) -> torch.Tensor:
        def rate(product: torch.Tensor) -> float:
            inputs = reference.path_inputs(product, steps, path)[:count]
            return sum(reference.score(network, m, c, weighting) for m in inputs) / count

        return reference.heatmap(reference.weighted_sum(reference.masked_scores(a, x, weighting, rate), a), size)

    return [heatmap(count) for count in range(1, steps + 1)]


def assert_as_slow(model: LoadedModel, engine: str, path: str, weighting: str, steps: int = 4) -> None:
    explainer = Explainer(model, engine)
    analysis = explainer.analyse(photo_of(model))
    found = integrate(explainer, analysis, None, steps, path, weighting)
    assert found.outcome.complete
    wanted = slow_heatmaps(model, analysis, steps, path, weighting)
    np.testing.assert_allclose(found.heatmaps, torch.stack(wanted).numpy(), atol=TOLERANCE)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("network", NETWORKS)
def test_maps_are_those_of_a_slow_loop(tiny: Tiny, network: str, path: str, weighting: str) -> None:
    """With few channels on either engine, because the fast one runs them exactly."""
    for engine in ENGINES:
        assert_as_slow(tiny(network), engine, path, weighting)


def test_more_steps_than_points_are_as_exact(tiny: Tiny) -> None:
    assert_as_slow(tiny("TinyPooled", flat=2), "exact", "cumulative", "probability", steps=MAX_POINTS + 3)


@pytest.mark.parametrize("bias", [-75, 40])
def test_weights_near_nothing_and_near_one_are_as_exact(tiny: Tiny, bias: float) -> None:
    """Probabilities of 1e-33, and of 1, of which there is no logit."""
    model = tiny("TinyPooled")
    with torch.no_grad():
        model.network.fc.bias[1] += bias
    explainer = Explainer(model, "exact")
    analysis = explainer.analyse(photo_of(model))
    found = integrate(explainer, analysis, 1, 3)
    for n, heatmap in enumerate(found.heatmaps, 1):
        weights = torch.zeros(len(analysis.forward.activations), dtype=torch.double)
        for m in found.multipliers[:n]:
            weights += analysis.table.averages(Passes((Probe(m),), (1.0,)), [1])[:, 0].double()
        wanted = reference.heatmap(
            reference.weighted_sum(weights / weights.max(), analysis.forward.activations.double()), heatmap.shape
        )
        np.testing.assert_allclose(heatmap, wanted.numpy(), atol=1e-3)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_last_map_is_that_of_is_cam(engine: str, path: str, weighting: str) -> None:
    """Also the channels' weights are its weights, and the changes lead from map to map."""
    exact, shared = exact_of(CHELSEA, SIDE)
    explainer = exact if engine == "exact" else Explainer(photo11())
    analysis = shared if engine == "exact" else explainer.analyse(CHELSEA)
    # before: what is run for the points tells the fast engine a little more
    wanted = explainer.explain(analysis, target="dog", path=path, weighting=weighting, steps=4)
    found = integrate(explainer, analysis, "dog", path=path, weighting=weighting, steps=4)
    assert (found.target.index, found.target.category) == (wanted.class_index, "dog")
    assert found.multipliers == integration_path(path, 4).multipliers
    assert difference(found.heatmaps[-1], wanted.heatmap) < 1e-5
    np.testing.assert_array_equal(found.carriers.weights, wanted.weights[list(found.carriers.channels)])  # type: ignore[index]
    before = [np.zeros_like(wanted.heatmap), *found.heatmaps]
    changes = [np.abs(a - b).mean() for a, b in zip(before, found.heatmaps, strict=False)]
    np.testing.assert_allclose(found.changes, changes, atol=1e-6)
    assert found.changes[0] > 0.02


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize(("photo", "side", "path"), [(CHELSEA, SIDE, PATHS[1]), (ROCKET, None, PATHS[0])])
def test_maps_of_the_fast_engine_are_near_the_exact_ones(
    photo: Path, side: int | None, path: str, weighting: str
) -> None:
    """Of all n: 0.035 was measured at most of ten steps on seven photos, and 0.044 on an input of 64 pixels."""
    wanted = integrate(*exact_of(photo, side), path=path, weighting=weighting, steps=4)
    explainer = Explainer(photo11(side))
    found = integrate(explainer, explainer.analyse(photo), path=path, weighting=weighting, steps=4)
    assert found.outcome.complete
    off = np.abs(found.heatmaps - wanted.heatmaps).max((1, 2))
    assert off.max() <= 0.04
    if photo == ROCKET:  # it would not do to show the last map N times; the cat's hardly changes on its way
        assert np.abs(wanted.heatmaps[0] - wanted.heatmaps[-1]).max() > 0.06


def direct(model: LoadedModel, analysis: Analysis, found: Integration) -> torch.Tensor:
    """Probabilities (P, T) by plain passes of the masked photo."""
    masks = torch.from_numpy(found.carriers.masks)
    with torch.no_grad():
        rows = [model.network(m * masks[:, None] * analysis.forward.image) for m in found.carriers.points]
    return torch.stack(rows).softmax(-1)[..., found.target.index]


@pytest.mark.parametrize(("engine", "tolerance"), [("exact", 1e-5), ("fast", 0.03)])
def test_probabilities_are_those_of_the_masked_photo(engine: str, tolerance: float) -> None:
    """In bfloat16 where the fast engine had run it so."""
    model = photo11(SIDE)
    explainer = Explainer(model, engine)
    analysis = exact_of(CHELSEA, SIDE)[1] if engine == "exact" else explainer.analyse(CHELSEA)
    found = integrate(explainer, analysis)
    assert found.carriers.points == (0.0, *found.multipliers)
    assert found.carriers.masks.shape == (CHANNELS, *found.heatmaps.shape[1:])
    assert (found.carriers.masks.min(), found.carriers.masks.max()) == (0, 1)
    assert difference(found.carriers.probabilities, direct(model, analysis, found).numpy()) < tolerance
    assert np.ptp(found.carriers.probabilities[0]) == 0
    assert found.carriers.probabilities.max() - found.carriers.probabilities.min() > 0.3


def test_channels_come_in_the_order_of_their_shares() -> None:
    """Of weight times total activation, over all channels."""
    explainer, analysis = exact_of(ROCKET, SIDE)
    found = integrate(explainer, analysis, steps=4)
    weights = explainer.explain(analysis, steps=4).weights
    assert weights is not None
    sizes = weights * analysis.forward.activations.abs().sum((1, 2)).numpy()
    order = np.argsort(-sizes)[:CHANNELS]
    assert found.carriers.channels == tuple(order)
    np.testing.assert_allclose(found.carriers.shares, sizes[order] / sizes.sum(), rtol=1e-4)
    assert 0.05 < found.carriers.shares.sum() <= 1
    assert (np.diff(found.carriers.shares) <= 0).all()


def test_passes_are_counted_and_none_is_run_twice() -> None:
    """The exact engine lacks the blank photo alone, the fast one a few passes of the channels shown; asked again, nothing.

    But the scores of those channels are news to the fast engine's estimate of its error, for which it may run a few more.
    """
    model = replace(photo11(SIDE))
    counter = RowCounter(model)

    def rows(explainer: Explainer, analysis: Analysis, **asked: object) -> int:
        before = counter.rows
        found = integrate(explainer, analysis, **asked)  # type: ignore[arg-type]
        assert found.outcome.complete
        assert found.outcome.forward_passes == counter.rows - before
        return found.outcome.forward_passes

    explainer = Explainer(model, "exact")
    analysis = explainer.analyse(CHELSEA)
    explainer.explain(analysis, steps=2)
    assert rows(explainer, analysis, steps=2) == 1
    assert rows(explainer, analysis, steps=2, target="dog") == 0
    assert rows(explainer.using("fast"), analysis, steps=2) == 0
    fast = explainer.using("fast")
    analysis = fast.analyse(CHELSEA)
    for steps in (10, 50):
        fast.explain(analysis, steps=steps)
        first = rows(fast, analysis, steps=steps)
        assert 0 < first <= CHANNELS * min(steps, MAX_POINTS)
        assert rows(fast, analysis, steps=steps) <= first / 4
        assert rows(fast, analysis, steps=steps) == 0
        assert fast.explain(analysis, steps=steps).forward_passes == 0
    counter.remove()


def test_long_paths_are_run_at_a_few_points() -> None:
    explainer = Explainer(photo11(SIDE))
    found = integrate(explainer, explainer.analyse(ROCKET), steps=50)
    assert found.heatmaps.shape[0] == len(found.changes) == len(found.multipliers) == 50
    assert len(found.carriers.points) == len(found.carriers.probabilities) == 1 + MAX_POINTS
    assert found.carriers.points[0] == 0
    assert found.carriers.points[-1] == found.multipliers[-1]
    assert set(found.carriers.points[1:]) < set(found.multipliers)
    assert np.isfinite(found.carriers.probabilities).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_one_step_is_one_map(engine: str) -> None:
    explainer = Explainer(photo11(SIDE), engine)
    analysis = explainer.analyse(CHELSEA)
    found = integrate(explainer, analysis, steps=1)
    assert found.carriers.points == (0.0, 1.0)
    assert found.heatmaps.shape[0] == 1
    assert difference(found.heatmaps[0], explainer.explain(analysis, "score-cam").heatmap) < 0.02
    assert found.changes[0] == pytest.approx(found.heatmaps[0].mean(), abs=1e-6)


def test_rough_passes_do_not_reach_the_exact_engine() -> None:
    """After the fast engine its maps and probabilities are the same as without."""
    fast = Explainer(photo11(SIDE))
    analysis = fast.analyse(CHELSEA)
    integrate(fast, analysis, steps=4)
    found, wanted = (
        integrate(fast.using("exact"), analysis, steps=4),
        integrate(*exact_of(CHELSEA, SIDE), steps=4),
    )
    assert difference(found.heatmaps, wanted.heatmaps) < 1e-4
    assert difference(found.carriers.probabilities, wanted.carriers.probabilities) < 1e-4


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_other_paths_that_are_known_do_no_harm(weighting: str) -> None:
    """Passes of Score-CAM, of SS-CAM and of another path lie between those of the path, or say nothing of it."""
    wanted = integrate(*exact_of(CHELSEA, SIDE), weighting=weighting)
    explainer = Explainer(photo11(SIDE))
    analysis = explainer.analyse(CHELSEA)
    explainer.explain(analysis, "score-cam")
    explainer.explain(analysis, "ss-cam", samples=2)
    integrate(explainer, analysis, steps=13, path="linear")
    found = integrate(explainer, analysis, weighting=weighting)
    assert difference(found.heatmaps, wanted.heatmaps) <= 0.04


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_stop_at_any_time_gives_maps(engine: str, weighting: str) -> None:
    """Before the first batch and after every one; never complete before all is run, and then as without a stop."""
    explainer = Explainer(wide(), engine)
    analysis, unfinished = explainer.analyse(noise_photo()), 0
    stop = threading.Event()
    stop.set()
    found = integrate(explainer, analysis, steps=3, weighting=weighting, stop=stop)
    assert (found.outcome.complete, found.outcome.forward_passes, found.carriers.channels) == (False, 0, ())
    assert not found.heatmaps.any()
    while not found.outcome.complete:
        stop = threading.Event()
        found = integrate(explainer, analysis, None, 3, "linear", weighting, lambda _, stop=stop: stop.set(), stop)
        unfinished += not found.outcome.complete
        assert np.isfinite(found.heatmaps).all()
        assert len(found.heatmaps) == 3
        assert found.outcome.forward_passes <= 17
        if engine == "exact":  # the fast one estimates nothing once it is stopped
            wanted = explainer.explain(analysis, steps=3, path="linear", weighting=weighting, stop=set_event())
            assert difference(found.heatmaps[-1], wanted.heatmap) < 1e-5
    assert unfinished >= 3
    assert np.isfinite(found.carriers.probabilities).all()
    again = integrate(explainer, explainer.analyse(noise_photo()), None, 3, "linear", weighting)
    assert difference(found.heatmaps, again.heatmaps) <= (1e-4 if engine == "exact" else 0.03)


def set_event() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_a_stop_before_the_points_are_run_is_not_complete() -> None:
    """The map is known then; what the channels shown score is partly not a number, which says so."""
    explainer = Explainer(photo11())
    analysis = explainer.analyse(CHELSEA)
    wanted = explainer.explain(analysis)
    stop, reports = threading.Event(), []

    def progress(report: Progress) -> None:
        reports.append(report)
        stop.set()

    found = integrate(explainer, analysis, progress=progress, stop=stop)
    assert not found.outcome.complete
    assert 0 < found.outcome.forward_passes < reports[0].total
    assert difference(found.heatmaps[-1], wanted.heatmap) < 1e-5
    assert np.isnan(found.carriers.probabilities).any()
    rest = integrate(explainer, analysis, stop=threading.Event())
    assert rest.outcome.complete
    assert found.outcome.forward_passes + rest.outcome.forward_passes == reports[0].total
    assert np.isfinite(rest.carriers.probabilities).all()


def test_progress_goes_on_to_the_end_with_maps() -> None:
    explainer, seen = Explainer(photo11(SIDE)), []
    maps: list[Explanation] = []

    def progress(report: Progress) -> None:
        seen.append(report.done)
        assert report.done <= report.total
        maps.append(report.preview())

    found = integrate(explainer, explainer.analyse(ROCKET), progress=progress)
    assert seen == sorted(seen)
    assert seen[-1] == found.outcome.forward_passes
    assert difference(maps[-1].heatmap, found.heatmaps[-1]) < 1e-5


@pytest.mark.parametrize("engine", ENGINES)
def test_flat_channels_are_never_run(engine: str) -> None:
    explainer = Explainer(wide(flat=5), engine)
    analysis = explainer.analyse(noise_photo())
    found = integrate(explainer, analysis, steps=3, weighting="logit")
    assert min(found.carriers.channels) >= 5
    assert all(not analysis.table.evaluated(probe)[:5].any() for probe in analysis.table.probes)


def test_a_layer_of_flat_channels_gives_blank_maps() -> None:
    explainer = Explainer(wide(flat=40), "exact")
    found = integrate(explainer, explainer.analyse(noise_photo()), steps=3)
    assert found.outcome.complete
    assert found.carriers.channels == ()
    assert found.carriers.masks.shape == (0, 16, 16)
    assert found.carriers.probabilities.shape == (4, 0)
    assert not found.heatmaps.any()
    assert not found.changes.any()


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_narrow_store_is_enough(tiny: Tiny, weighting: str) -> None:
    """Where there is room for few classes, probabilities and maps stay exact."""
    model = tiny("TinyPooled")
    explainer = Explainer(model, "exact")
    analysis = explainer.analyse(photo_of(model))
    narrow = replace(analysis, table=ScoreTable(analysis.forward.logits, 8, limit=1000))
    wanted = integrate(explainer, analysis, 3, weighting=weighting)
    found = integrate(explainer, narrow, 3, weighting=weighting)
    assert narrow.table.bytes_used <= 1000 < analysis.table.bytes_used
    assert difference(found.heatmaps, wanted.heatmaps) < 1e-4
    assert difference(found.carriers.probabilities, wanted.carriers.probabilities) < 1e-5


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"path": "round"}, {"weighting": "heavy"}, {"target": "nothing"}, {"steps": 101}], ids=str
)
def test_wrong_settings_are_one_sentence(tiny: Tiny, wrong: dict[str, object]) -> None:
    explainer, analysis = analysed(tiny("TinyPooled"))
    with pytest.raises(ValueError, match=r"^[^\n]+\.$"):
        integrate(explainer, analysis, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("explained", [False, True])
def test_no_trace_is_left(tiny: Tiny, explained: bool, fails: bool) -> None:
    """Hooks, modes, `requires_grad`, `.grad` and parameters are as before, also after a forward that raised."""
    model = tiny("FailingNet", fail_at=0)
    explainer, analysis = analysed(model)
    if explained:
        explainer.explain(analysis, steps=2)  # then the blank photo is the first to be run
    model.network.train()
    model.network.fc.weight.requires_grad_(False)
    before, grad_mode = state_of(model.network), torch.is_grad_enabled()
    model.network.fail_at = model.network.calls + 1 if fails else 0
    if fails:
        with pytest.raises(RuntimeError, match="on purpose"):
            integrate(explainer, analysis, steps=2)
    else:
        integrate(explainer, analysis, steps=2)
    after = state_of(model.network)
    assert after[:2] == before[:2]
    assert torch.equal(after[2], before[2])
    assert torch.is_grad_enabled() == grad_mode
