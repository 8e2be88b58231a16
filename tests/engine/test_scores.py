"""The loop over masked passes and its store: what is known is not run again, and the store stays within its bound."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch

from iscam import LoadedModel
from iscam.engine import backend, scores
from iscam.engine.passes import Passes, Probe
from iscam.engine.table import ScoreTable
from iscam.explain import Explainer
from tests import tiny_models
from tests.cases import RowCounter

Tiny = Callable[..., LoadedModel]
SCALES = ("logit", "probability")


def test_no_pair_is_run_twice(tiny: Tiny) -> None:
    """The rows that reach the network are those of new (channel, multiplier) pairs, and `forward_passes` says so."""
    model = tiny("TinyPooled", flat=2)
    explainer = Explainer(model)
    analysis = explainer.analyse(photo_of(model))
    counter = RowCounter(model)

    def rows(**settings: object) -> int:
        before = counter.rows
        explanation = explainer.explain(analysis, **settings)  # type: ignore[arg-type]
        assert explanation.forward_passes == counter.rows - before
        return counter.rows - before

    assert rows(method="is-cam", steps=10) == 7 * 10  # 8 channels, one of them flat
    assert rows(method="is-cam", steps=10) == 0
    assert rows(method="is-cam", steps=10, weighting="logit", target=3) == 0
    assert rows(method="is-cam", steps=10, target=1, against=4) == 0
    assert rows(method="score-cam") == 0  # multiplier 1 is the 4th of 10 cumulative steps
    assert rows(method="is-cam", steps=10, path="linear") == 7 * 6  # 0.1, 0.3, 0.6 and 1.0 are known
    assert rows(method="ss-cam", samples=3) == 7 * 3
    assert rows(method="ss-cam", samples=5, target=2) == 7 * 2
    assert rows(method="ablation-cam") == 8 + 1  # a flat channel can be silenced; one is run both ways
    assert rows(method="ablation-cam", target=4) == 0
    assert rows(method="recipro-cam") == 4 * 4 + 1
    assert rows(method="recipro-cam", target=2) == 0
    assert rows(method="grad-cam") == 1
    assert rows(method="layer-cam") == 0


def photo_of(model: LoadedModel) -> object:
    from PIL import Image

    side = model.geometry.input_size
    pixels = torch.randint(0, 255, (side, side, 3), generator=torch.Generator().manual_seed(5), dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def test_stop_is_answered_before_the_next_batch_and_nothing_is_lost(tiny: Tiny) -> None:
    model = tiny("TinyMlpHead")
    explainer = Explainer(model)
    analysis = explainer.analyse(photo_of(model))
    stop = threading.Event()
    seen: list[int] = []

    def progress(step: object) -> None:
        seen.append(step.done)  # type: ignore[attr-defined]
        if step.done >= 20:  # type: ignore[attr-defined]
            stop.set()

    first = explainer.explain(analysis, progress=progress, stop=stop)
    assert not first.complete
    assert first.estimated_error is None
    assert first.forward_passes == seen[-1] < 70
    rest = explainer.explain(analysis)
    assert rest.complete
    assert rest.forward_passes == 70 - first.forward_passes
    fresh = explainer.explain(explainer.analyse(photo_of(model)))
    torch.testing.assert_close(rest.weights, fresh.weights, atol=1e-6, rtol=1e-5)


def test_a_stop_set_before_runs_nothing(tiny: Tiny) -> None:
    model = tiny("TinyPooled")
    explainer = Explainer(model)
    stop = threading.Event()
    stop.set()
    for method in ("is-cam", "ss-cam", "ablation-cam", "grad-cam", "smooth-grad-cam++"):
        explanation = explainer.explain(explainer.analyse(photo_of(model)), method=method, stop=stop)
        assert not explanation.complete, method
        assert explanation.forward_passes == 0, method
        assert not explanation.heatmap.any(), method


def test_previews_begin_with_the_strongest_channels(tiny: Tiny) -> None:
    model = tiny("TinyMlpHead")
    explainer = Explainer(model)
    analysis = explainer.analyse(photo_of(model))
    strength = analysis.forward.activations.abs().sum((1, 2))
    maps: list[object] = []

    def progress(step: object) -> None:
        preview = step.preview()  # type: ignore[attr-defined]
        known = torch.from_numpy(preview.weights) != 0
        if known.any() and not known.all():
            assert strength[known].min() >= strength[~known].max()
        assert not preview.complete
        maps.append(preview.heatmap)

    final = explainer.explain(analysis, progress=progress)
    assert len(maps) > 2
    assert not (maps[0] == maps[-1]).all()
    assert (maps[-1] == final.heatmap).all()


@pytest.mark.parametrize("most", [1, 3, 64])
def test_batch_size_does_not_change_the_map(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Tolerance: logits of one row differ by about 1e-6 between batch sizes."""
    model = tiny("TinyTokens")
    explainer = Explainer(model)
    wanted = explainer.explain(explainer.analyse(photo_of(model)), steps=3)
    monkeypatch.setitem(backend.SIZES, "cpu", (most,))
    explainer = Explainer(model)
    found = explainer.explain(explainer.analyse(photo_of(model)), steps=3)
    torch.testing.assert_close(found.weights, wanted.weights, atol=1e-6, rtol=1e-5)


def probes(count: int) -> list[Probe]:
    return [Probe(multiplier=float(i)) for i in range(1, count + 1)]


def fill(table: ScoreTable, wanted: list[Probe], channels: int, classes: int) -> torch.Tensor:
    logits = torch.randn(len(wanted), channels, classes)
    for row, probe in enumerate(wanted):
        table.put([probe] * channels, torch.arange(channels), logits[row])
    return logits


def test_the_table_gives_back_what_was_put_in() -> None:
    table = ScoreTable(torch.randn(40), channels=6)
    wanted = probes(3)
    table.reserve(wanted, [7])
    logits = fill(table, wanted, 6, 40)
    for index in range(40):
        for row, probe in enumerate(wanted):
            found, probabilities = (table.averages(Passes((probe,), (1.0,), scale), [index])[:, 0] for scale in SCALES)
            torch.testing.assert_close(found, logits[row, :, index])
            torch.testing.assert_close(probabilities, logits.softmax(-1)[row, :, index])
    mean = table.averages(Passes(tuple(wanted), (0.5, 0.25, 0.25)), [7, 3])
    shares = torch.tensor([0.5, 0.25, 0.25])[:, None, None]
    torch.testing.assert_close(mean, (shares * logits.softmax(-1)[..., [7, 3]]).sum(0))
    assert table.passes == 18


def test_a_store_that_is_full_keeps_the_probable_and_the_wanted_classes_exactly() -> None:
    photo_logits = torch.arange(1000.0)
    table = ScoreTable(photo_logits, channels=10, limit=10 * 4 * 5 * 200)  # room for 5 blocks of 200 columns
    table.reserve(probes(2), [3])
    first = fill(table, probes(2), 10, 1000)
    table.reserve(probes(5), [3])
    assert table.bytes_used <= 10 * 4 * 5 * 200
    for index in (3, 999, 850):
        found, probabilities = (
            table.averages(Passes(tuple(probes(2)), (0.5, 0.5), scale), [index]) for scale in SCALES
        )
        torch.testing.assert_close(found[:, 0], first[..., index].mean(0))
        torch.testing.assert_close(probabilities[:, 0], first.softmax(-1)[..., index].mean(0))


def test_a_class_that_is_wanted_twice_is_kept_once() -> None:
    """As the target is that is the rival of another class too."""
    table = ScoreTable(torch.arange(1000.0), channels=10, limit=10 * 4 * 2 * 100)
    table.reserve(probes(2), [3, 3, 4])
    assert [table.column(index) for index in (3, 4)] == [0, 1] and table.column(999) == 98


def test_more_classes_than_there_is_room_for_are_refused() -> None:
    """Nothing is forgotten for them, and a few are always kept."""
    table = ScoreTable(torch.arange(1000.0), channels=10, limit=10 * 4 * 2 * 100)
    table.reserve(probes(2), [3])
    first = fill(table, probes(2), 10, 1000)
    with pytest.raises(ValueError, match="1000 classes would take too much memory"):
        table.reserve(probes(2), range(1000))
    found = table.averages(Passes(tuple(probes(2)), (0.5, 0.5), "logit"), [3])
    torch.testing.assert_close(found[:, 0], first[..., 3].mean(0))
    ScoreTable(torch.arange(1000.0), channels=10, limit=10 * 4 * 2 * 8).reserve(probes(2), range(16))


def test_a_class_that_was_not_kept_is_run_again_rather_than_guessed() -> None:
    table = ScoreTable(torch.arange(1000.0), channels=10, limit=10 * 4 * 2 * 100)
    table.reserve(probes(2), [3])
    fill(table, probes(2), 10, 1000)
    assert not table.missing(probes(2)).any()
    table.reserve(probes(2), [4])
    assert table.missing(probes(2)).all()
    assert table.bytes_used <= 10 * 4 * 2 * 100


def test_a_narrow_store_forgets_what_the_request_does_not_need() -> None:
    table = ScoreTable(torch.arange(1000.0), channels=10, limit=10 * 4 * 3 * 30)
    table.reserve(probes(3), [3])
    fill(table, probes(3), 10, 1000)
    other = [Probe(multiplier=-float(i)) for i in range(1, 4)]
    table.reserve(other, [3])
    assert table.missing(other).all()
    assert table.bytes_used <= 10 * 4 * 3 * 30


def test_noise_is_the_same_for_every_channel_and_seeded() -> None:
    image = tiny_models.sample(tiny_models.build("TinyPooled"))
    assert torch.equal(scores.noise_field((1, 2), image), scores.noise_field((1, 2), image))
    assert not torch.equal(scores.noise_field((1, 2), image), scores.noise_field((1, 3), image))
    assert not torch.equal(scores.noise_field((1, 2), image), scores.noise_field((2, 2), image))
