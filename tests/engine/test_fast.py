"""The fast engine beside the exact one, on the bundled network, on SqueezeNet, and on a wide tiny network."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from iscam import Analysis, Explainer, Progress, load_model
from iscam.engine.fast import FEW_CHANNELS, FUTILE, GROWTH, PAYS, PILOTS
from iscam.engine.masks import flat_channels
from iscam.path import PATHS
from iscam.project import EXAMPLES
from iscam.settings import DEFAULT_TOLERANCE, WEIGHTINGS
from tests.cases import CHELSEA, ROCKET, SIDE, RowCounter, difference, exact_of, noise_photo, photo11, wide

HARD = 3  # steps of a question that takes nearly all passes
CONTRAST: dict[str, Any] = {"target": "dog", "against": "cat", "weighting": "logit", "steps": HARD}
SQUEEZED = "n02093754_Border_terrier.jpg"


def assert_near_exact(
    exact: Explainer, analysis: Analysis, photo: Path, method: str = "is-cam", tolerance: float = 0.01, **asked: object
) -> None:
    """Complete, within the bounds that are promised for default settings, and not far off its own estimate.

    The estimate is of a random error: on one photo in twenty the true one may be a little larger.
    """
    wanted = exact.explain(analysis, method, **asked)  # type: ignore[arg-type]
    explainer = Explainer(exact.model, "fast", tolerance)
    found = explainer.explain(explainer.analyse(photo), method, **asked)  # type: ignore[arg-type]
    off = difference(found.heatmap, wanted.heatmap)
    assert found.complete
    assert found.estimated_error is not None
    assert 0 < found.estimated_error < tolerance
    assert off <= 2 * tolerance
    assert off <= 2 * found.estimated_error
    assert np.corrcoef(found.heatmap.ravel(), wanted.heatmap.ravel())[0, 1] >= 0.999


def without_rough_passes(tolerance: float = DEFAULT_TOLERANCE) -> Explainer:
    """Of which rough passes are said to be too slow to pay, if the machine has any."""
    explainer = Explainer(photo11(SIDE), tolerance=tolerance)
    explainer.backend.pace("rough").learn(1, 1.0)
    explainer.backend.pace("precise").learn(1, 1.0 / PAYS * 1.01)
    return explainer


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize(
    ("photo", "side", "path", "steps"),
    [(CHELSEA, None, PATHS[0], 4), (CHELSEA, SIDE, PATHS[1], 10), (ROCKET, SIDE, PATHS[0], 4)],
)
def test_maps_of_photo11_are_near_the_exact_ones(
    photo: Path, side: int | None, path: str, steps: int, weighting: str
) -> None:
    assert_near_exact(*exact_of(photo, side), photo, path=path, steps=steps, weighting=weighting)


@pytest.mark.parametrize(
    ("asked", "side"),
    [
        ({"method": "score-cam"}, None),
        ({"method": "score-cam", "weighting": "logit"}, SIDE),
        ({"method": "ss-cam", "samples": 3}, SIDE),
        ({"steps": 1, "path": "linear"}, SIDE),
        ({"steps": 2}, SIDE),
        ({"target": "dog", "against": "cat", "steps": 4}, SIDE),
        (CONTRAST, SIDE),
        ({"target": "parachute", "steps": 4}, SIDE),
        ({"tolerance": 0.003, "steps": 4}, SIDE),
        ({"rivals": "nearest:3"}, SIDE),
        ({"rivals": "all", "weighting": "logit"}, SIDE),
        ({"rivals": "cat", "target": "dog", "signed": True}, SIDE),
        ({"method": "score-cam", "rivals": "nearest:3", "strength": 0.6}, SIDE),
    ],
    ids=str,
)
def test_other_questions_are_answered_as_near(asked: dict[str, Any], side: int | None) -> None:
    """Score-CAM, SS-CAM, contrasts of both kinds, an improbable class, a finer tolerance."""
    assert_near_exact(*exact_of(CHELSEA, side), CHELSEA, **asked)


def test_another_layer_is_answered_as_near() -> None:
    fast, exact = (Explainer(photo11(SIDE), engine) for engine in ("fast", "exact"))
    found, wanted = (e.explain(e.analyse(CHELSEA, "layer2"), steps=3) for e in (fast, exact))
    assert difference(found.heatmap, wanted.heatmap) <= 0.02


def live(analysis: Analysis) -> int:
    """How many channels have a mask."""
    return int((~flat_channels(analysis.forward.activations)).sum())


def test_a_hard_question_costs_little_more_than_the_exact_answer() -> None:
    """Where two classes weigh channels alike, hardly a pass can be spared: the rest is run exactly in the end.

    How many rough passes are run until then depends on how cheap the processor makes them. It is never more than a look at
    all channels, the pilots, half of the exact passes, and the block with which that half is passed.
    """
    explainer = Explainer(photo11(SIDE), tolerance=1e-4)
    analysis = explainer.analyse(CHELSEA)
    found = explainer.explain(analysis, **CONTRAST)
    exact = live(analysis) * HARD
    given_up = (live(analysis) + 2 * PILOTS * HARD + FUTILE * exact) * (1 + GROWTH)
    assert exact < found.forward_passes <= given_up + exact
    wanted = Explainer.explain(*exact_of(CHELSEA, SIDE), **CONTRAST)
    assert found.estimated_error is not None
    assert found.estimated_error < 1e-4
    assert difference(found.heatmap, wanted.heatmap) < 1e-3


def test_no_last_few_are_left_to_a_guess() -> None:
    """Without rough passes, a question that takes nearly all passes takes all of them."""
    explainer = without_rough_passes(tolerance=1e-3)
    analysis = explainer.analyse(CHELSEA)
    found = explainer.explain(analysis, **CONTRAST)
    assert found.forward_passes == live(analysis) * HARD + 1
    wanted = Explainer.explain(*exact_of(CHELSEA, SIDE), **CONTRAST)
    assert difference(found.heatmap, wanted.heatmap) < 1e-4


def test_a_long_path_is_interpolated() -> None:
    """Twenty steps come near the exact map, and fifty cost little more than ten."""
    assert_near_exact(*exact_of(CHELSEA, SIDE), CHELSEA, steps=20, path="linear")
    explainer = Explainer(photo11(SIDE))
    analysis = explainer.analyse(CHELSEA)
    ten = explainer.explain(analysis, path="linear").forward_passes
    assert explainer.explain(explainer.analyse(CHELSEA), steps=50, path="linear").forward_passes <= 1.5 * ten


@pytest.mark.shared
def test_maps_of_squeezenet_are_near_the_exact_ones(shared: Path) -> None:
    """Two steps of a small input, so that the exact map takes seconds."""
    (weights,) = (shared / "data" / "torch_home" / "hub" / "checkpoints").glob("squeezenet1_0-*.pth")
    model = load_model(arch="squeezenet1_0", checkpoint=weights, input_size=128)
    exact = Explainer(model, "exact")
    photo = shared / "data" / "photos" / SQUEEZED
    analysis = exact.analyse(photo)
    for weighting in WEIGHTINGS:
        assert_near_exact(exact, analysis, photo, steps=2, weighting=weighting)


def test_passes_are_counted_and_none_is_run_twice() -> None:
    """Another class costs at most half of the first, Score-CAM at most a pass per channel, the same question nothing."""
    model = photo11()
    explainer = Explainer(model)
    analysis = explainer.analyse(CHELSEA)
    counter = RowCounter(model)

    def rows(**asked: object) -> int:
        before = counter.rows
        explanation = explainer.explain(analysis, **asked)  # type: ignore[arg-type]
        assert explanation.complete
        assert explanation.forward_passes == counter.rows - before
        return counter.rows - before

    first = rows()
    assert rows() == 0
    assert explainer.using("fast", 0.05).explain(analysis).forward_passes == 0
    assert explainer.using("fast", 0.005).explain(analysis).forward_passes > 0
    assert rows() == 0
    assert first <= 3 * 224
    assert rows(target="dog") <= first / 2
    assert rows(method="score-cam") <= 224
    assert rows(steps=20) <= 224 / 2  # what channels have had at ten steps tells most of it
    assert rows(path="linear") < first
    run = {probe: int(analysis.table.evaluated(probe).sum()) for probe in analysis.table.probes}
    assert sum(run.values()) + 1 == counter.rows  # and the blank photo
    counter.remove()


def test_a_stop_keeps_what_is_known_and_a_second_run_goes_on() -> None:
    explainer = Explainer(photo11())
    analysis = explainer.analyse(ROCKET)
    stop, seen = threading.Event(), []

    def progress(report: Progress) -> None:
        seen.append(report.done)
        assert report.done <= report.total
        if report.done > 100:
            stop.set()

    first = explainer.explain(analysis, progress=progress, stop=stop)
    assert not first.complete
    assert "Stopped" in first.note
    assert first.heatmap.max() == 1
    assert 100 < first.forward_passes == seen[-1] <= 100 + 16
    rest = explainer.explain(analysis)
    assert rest.complete
    again = explainer.explain(explainer.analyse(ROCKET))
    assert difference(rest.heatmap, again.heatmap) <= 0.02


def test_a_stop_at_any_time_gives_a_map() -> None:
    """After every batch, with an estimate as soon as there is one, and never complete."""
    explainer = Explainer(photo11(), tolerance=0.002)
    analysis, errors, again = explainer.analyse(ROCKET), [], True
    while again:
        stop = threading.Event()
        found = explainer.explain(analysis, progress=lambda _, stop=stop: stop.set(), stop=stop)
        again = not found.complete
        assert np.isfinite(found.heatmap).all()
        assert found.forward_passes <= 16 or not again
        errors.append(found.estimated_error)
    assert None in errors
    assert errors[-1] is not None
    assert errors[-1] < 0.002


def test_previews_come_early_and_come_near() -> None:
    """The first quarter of the passes gives a map like the final one; the last previews are nearly the final one."""
    explainer = Explainer(photo11())
    previews: list[tuple[int, NDArray[np.float32]]] = []
    final = explainer.explain(
        explainer.analyse(CHELSEA), progress=lambda report: previews.append((report.done, report.preview().heatmap))
    )
    early = [heatmap for done, heatmap in previews if done <= final.forward_passes / 4][-1]
    assert np.corrcoef(early.ravel(), final.heatmap.ravel())[0, 1] > 0.9
    assert difference(previews[-1][1], final.heatmap) < 0.05
    assert len({heatmap.tobytes() for _, heatmap in previews}) > 10


def test_rough_passes_are_given_up_where_they_do_not_pay() -> None:
    """What was run roughly before counts for nothing then, and the map is as near."""
    explainer = Explainer(photo11(SIDE))
    if not explainer.backend.has_rough:
        pytest.skip("this machine has no bfloat16 arithmetic, or ISCAM_NO_BF16 denies it")
    analysis = explainer.analyse(CHELSEA)
    explainer.explain(analysis)
    slow = without_rough_passes()
    passes = analysis.table.passes
    found = slow.explain(analysis)
    assert found.forward_passes == analysis.table.passes - passes > 70
    wanted = Explainer.explain(*exact_of(CHELSEA, SIDE))
    assert found.estimated_error is not None
    assert difference(found.heatmap, wanted.heatmap) <= 0.02
    assert slow.explain(slow.analyse(CHELSEA)).complete
    assert slow.backend.pace("rough").seconds_per_row == 1.0


def test_no_photo_reaches_another_and_none_is_kept() -> None:
    """The map of a photo between others is its own, and an analysis is freed when it is dropped."""
    explainer = Explainer(photo11(), tolerance=0.02)
    kept = []
    for photo in (CHELSEA, ROCKET, CHELSEA, EXAMPLES / "coffee.jpg", CHELSEA):
        analysis = explainer.analyse(photo)
        found = explainer.explain(analysis, steps=4)
        kept.append(weakref.ref(analysis.table))
        if photo == CHELSEA:
            wanted = Explainer.explain(*exact_of(CHELSEA), steps=4)
            assert difference(found.heatmap, wanted.heatmap) <= 0.04
    del analysis
    gc.collect()
    assert [reference() for reference in kept] == [None] * 5


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_constant_network_gives_uniform_weights(weighting: str) -> None:
    """All channels score alike: there is nothing to learn, and nothing breaks."""
    explainer = Explainer(wide(constant=True))
    found = explainer.explain(explainer.analyse(noise_photo()), weighting=weighting)
    assert found.complete
    np.testing.assert_allclose(found.weights, found.weights[0], rtol=1e-3)  # type: ignore[index]


@pytest.mark.parametrize("flat", [5, 40 - FEW_CHANNELS])
def test_flat_channels_are_never_run(flat: int) -> None:
    """They have no mask and no weight; with few others left, those are run exactly."""
    model = wide(flat=flat)
    explainer = Explainer(model)
    analysis = explainer.analyse(noise_photo())
    found = explainer.explain(analysis, steps=3)
    assert not found.weights[:flat].any()  # type: ignore[index]
    assert all(not analysis.table.evaluated(probe)[:flat].any() for probe in analysis.table.probes)
    exact = explainer.using("exact").explain(explainer.analyse(noise_photo()), steps=3)
    if flat > 5:
        assert found.estimated_error == 0
        assert found.forward_passes == 3 * FEW_CHANNELS
    assert difference(found.heatmap, exact.heatmap) <= (0.02 if flat == 5 else 1e-4)


@pytest.mark.parametrize("fails_at", [1, 12])
def test_an_error_in_the_network_leaves_no_trace(fails_at: int) -> None:
    """Weights that were put in place for the passes are taken out again, and a later run is complete."""
    model = wide()
    explainer = Explainer(model)
    analysis = explainer.analyse(noise_photo())
    before = list(model.network.parameters())
    calls: list[int] = []

    def fail(*_: object) -> None:
        calls.append(1)
        if len(calls) == fails_at:
            raise RuntimeError("on purpose")

    handle = model.network.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="on purpose"):
        explainer.explain(analysis)
    handle.remove()
    assert all(now is then for now, then in zip(model.network.parameters(), before, strict=True))
    assert explainer.explain(analysis).complete


@pytest.mark.parametrize("engine", ["fast", "exact"])
def test_answers_that_are_no_numbers_get_a_sentence(engine: str) -> None:
    """A network that is sound on the photo may not be on a masked one: no map is made of that."""
    model = wide()
    explainer = Explainer(model, engine)
    analysis = explainer.analyse(noise_photo())
    handle = model.network.register_forward_hook(lambda *given: given[-1] * float("nan"))
    with pytest.raises(ValueError, match=r"^The network gives no finite scores .*\.$"):
        explainer.explain(analysis)
    handle.remove()
    assert explainer.explain(analysis).complete


def test_the_engines_share_what_they_know() -> None:
    """After the exact engine the fast one has nothing to run but the blank photo, and says so of its error."""
    explainer = Explainer(photo11(), "exact")
    analysis = explainer.analyse(CHELSEA)
    exact = explainer.explain(analysis, steps=2)
    fast = explainer.using("fast")
    assert (fast.engine, explainer.engine) == ("fast", "exact")
    assert fast.backend is explainer.backend
    found = fast.explain(analysis, steps=2)
    assert found.forward_passes == 1
    assert difference(found.heatmap, exact.heatmap) < 1e-4
    assert found.estimated_error is not None
    assert found.estimated_error < 1e-3
