"""One map measured, method or control: what the metrics ask of an explainer, and what must not depend on them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from iscam import Analysis, Explainer, Explanation, LoadedModel
from iscam.project import EXAMPLES
from iscam.results import Outcome, Stopped
from iscam.trust import CEILINGS, CONTROLS, METRICS, assess, ceiling, control
from iscam.trust.faithfulness import on_map
from tests import reference
from tests.cases import RowCounter, analysed
from tests.conftest import loaded
from tests.trust.cases import case


def test_a_box_on_the_photo_is_found_on_the_map() -> None:
    """The crop (100, 50) to (300, 150) is a map of 50 x 50: four pixels across and two down are one of the map."""
    assert on_map((100, 50, 300, 150), (100, 50, 300, 150), (50, 50)) == (0, 0, 50, 50)
    assert on_map((140, 90, 180, 450), (100, 50, 300, 150), (50, 50)) == (10, 20, 20, 200)


def test_an_all_ones_map_drops_nothing_and_a_blank_one_everything_but_no_number() -> None:
    explainer, analysis, explanation = case("photo11", EXAMPLES / "chelsea.jpg")
    whole = replace(explanation, heatmap=np.ones_like(explanation.heatmap))
    box, every = (0.0, 0.0, 9999.0, 9999.0), tuple(key for key in METRICS if key != "specificity")
    again = Asked(whole)
    found = assess(
        explainer, analysis, whole, tuple(METRICS), again, box
    ).values  # a map that is one value has no correlation
    assert list(found) == list(every) and again.times == 1
    assert found["average-drop"] == pytest.approx(0, abs=1e-5) and found["adcc"] == 0
    blank = replace(explanation, heatmap=np.zeros_like(explanation.heatmap))
    found = assess(explainer, analysis, blank, every, Asked(blank), box).values
    assert all(np.isfinite(value) for value in found.values()) and found["average-drop"] > 0.5
    # without an order, pixels go in raster order either way, so that removing high ones first is removing low ones first
    assert found["road"] == pytest.approx(0, abs=1e-6)


def test_specificity_is_one_less_the_correlation_with_the_rivals_map() -> None:
    """By the maps themselves; of a control there is none, and nothing is run for it."""
    explainer, analysis, explanation = case("photo11", EXAMPLES / "chelsea.jpg")
    found = assess(explainer, analysis, explanation, ("specificity",)).values["specificity"]
    other = explainer.explain(analysis, explanation.method, analysis.predictions[1].index).heatmap
    assert found == pytest.approx(1 - np.corrcoef(explanation.heatmap.ravel(), other.ravel())[0, 1], abs=1e-3)
    assert assess(explainer, analysis, control(analysis, "lafam", 0, "x"), ("specificity",)).values == {}


def test_fake_cam_drops_next_to_nothing_and_a_blob_does_not() -> None:
    """Why average drop alone says little: the control that knows nothing wins it."""
    explainer, analysis, explanation = case("photo11", EXAMPLES / "chelsea.jpg")
    fake, blob = (
        assess(explainer, analysis, control(analysis, key, explanation.class_index, "x"), ("average-drop",))
        for key in ("fake-cam", "gaussian")
    )
    assert fake.values["average-drop"] < 0.01 < blob.values["average-drop"]


class Asked:
    """Explains any analysis by the same map, and counts how often."""

    def __init__(self, explanation: Explanation) -> None:
        self.explanation, self.times = explanation, 0

    def __call__(self, analysis: Analysis) -> Explanation:
        self.times += 1
        return self.explanation


def test_adcc_asks_for_the_map_of_the_masked_photo() -> None:
    """With the same method and class; a control is its own; an unfinished map ends it."""
    explainer, analysis, explanation = case("photo11", EXAMPLES / "chelsea.jpg")
    seen: list[Analysis] = []

    def again(changed: Analysis) -> Explanation:
        seen.append(changed)
        return explainer.explain(changed, "grad-cam", explanation.class_index)

    found = assess(explainer, analysis, explanation, ("adcc",), again).values["adcc"]
    masked = analysis.forward.image * torch.from_numpy(explanation.heatmap)
    assert len(seen) == 1 and torch.equal(seen[0].forward.image, masked) and 0 < found < 1
    centre = control(analysis, "gaussian", 0, "cat")
    values = assess(explainer, analysis, centre, ("adcc", "average-drop")).values
    parts = 1, 1 - centre.heatmap.mean(), 1 - values["average-drop"]
    assert values["adcc"] == pytest.approx(3 / sum(1 / part for part in parts))
    with pytest.raises(Stopped):
        assess(
            explainer,
            analysis,
            explanation,
            ("adcc",),
            lambda _: replace(explanation, outcome=Outcome(0.0, 0, None, complete=False)),
        )
    with pytest.raises(ValueError, match="needs the method once more"):
        assess(explainer, analysis, explanation, ("adcc",))


def test_wrong_questions_are_refused_and_a_stopped_one_ends() -> None:
    explainer, analysis, explanation = case("photo11", EXAMPLES / "chelsea.jpg")
    with pytest.raises(ValueError, match="no metric 'beauty'"):
        assess(explainer, analysis, explanation, ("beauty",))
    contrast = explainer.explain(analysis, "grad-cam", "cat", against="dog")
    with pytest.raises(ValueError, match="signed"):
        assess(explainer, analysis, contrast, ("average-drop",))
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        assess(explainer, analysis, explanation, ("deletion",), stop=stop)


def test_a_box_that_the_network_does_not_see_has_no_figures() -> None:
    explainer, analysis, explanation = case("photo11", EXAMPLES / "chelsea.jpg")
    width, height = analysis.photo.size
    assert analysis.crop[0] > 20
    found = assess(explainer, analysis, explanation, ("pointing", "energy"), box=(0, 0, 10, height))
    assert found.values == {} and found.box_area == 0
    found = assess(explainer, analysis, explanation, ("pointing", "energy"), box=(0, 0, width, height))
    assert found.values == {"pointing": 1, "energy": 1} and found.box_area == 1
    assert assess(explainer, analysis, explanation, ("pointing",)).box_area is None


def test_a_place_on_the_photo_is_sought_at_its_place_on_the_map() -> None:
    """A map of one pixel: a box of four pixels of the photo around what it shows has all, one beside it nothing."""
    explainer, analysis, explanation = case("photo11", EXAMPLES / "chelsea.jpg")
    heatmap = np.zeros_like(explanation.heatmap)
    heatmap[30, 100] = 1
    left, top, right, bottom = analysis.crop
    x = left + 100.5 * (right - left) / heatmap.shape[1]
    y = top + 30.5 * (bottom - top) / heatmap.shape[0]
    for across, wanted in ((0, 1), (10, 0)):
        box = x - 2 + across, y - 2, x + 2 + across, y + 2
        found = assess(explainer, analysis, replace(explanation, heatmap=heatmap), ("pointing", "energy"), box=box)
        assert found.values == {"pointing": wanted, "energy": wanted}


def test_metrics_share_what_they_ask_of_the_network(tiny: Callable[..., LoadedModel]) -> None:
    """By the rows that reach it: a curve of 7 steps is run once, ROAD's 18 photos once, the map of the masked photo once."""
    explainer, analysis = analysed(tiny("TinyPooled"))
    explanation = explainer.explain(analysis, "grad-cam", 0)
    for keys, wanted in (
        (("insertion",), 8),
        (("insertion", "insertion-correlation"), 8),
        (("deletion-correlation", "deletion"), 8),
        (("single-deletion",), 16),
        (("road",), 18),
        (("arcc",), 18),
        (("adcc",), 2),
        (("arcc", "road", "adcc"), 18 + 2),
    ):
        again, rows = Asked(explanation), RowCounter(explainer.model)
        values = assess(explainer, analysis, explanation, keys, again, steps=7).values
        rows.remove()
        asks = int(bool({"adcc", "arcc"} & set(keys)))  # each of which is a pass of the analysis
        assert set(values) == set(keys) and (again.times, rows.rows) == (asks, wanted + asks), keys


class Sure(nn.Module):
    """Of the first of two classes as good as certain, by 20.72, which makes it 1 - 1e-9, and the photo's brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1)
        nn.init.constant_(self.features.weight, 0.2)
        nn.init.zeros_(self.features.bias)

    def forward(self, x: Tensor) -> Tensor:
        brightness = self.features(x).mean((1, 2, 3))
        return torch.stack([20.72 + brightness, 0 * brightness], 1)


@pytest.mark.parametrize("shade", [20, 230])
def test_what_is_nearly_certain_is_measured_as_exactly_as_anything(shade: int) -> None:
    """Half of what is lacking to 1 can still be won, and a billionth lost: in float32 it would all be 1."""
    explainer = Explainer(loaded(Sure().eval(), "features", 2, 16))
    ramp = np.linspace(shade, shade + 20, 256).astype(np.uint8).reshape(16, 16)
    analysis = explainer.analyse(Image.fromarray(np.stack([ramp] * 3, axis=2)))
    middle = control(analysis, "gaussian", 0, "x")
    found = assess(explainer, analysis, middle, ("average-drop", "increase", "average-gain")).values
    network = Sure().eval().double()

    def score(image: reference.Array) -> float:
        return reference.score(network, torch.from_numpy(image)[None], 0, "probability")

    image = analysis.forward.image[0].double().numpy()
    wanted = reference.confidence_figures(score, image, middle.heatmap.astype(float))
    assert found == pytest.approx(wanted, rel=1e-4, abs=0)
    assert found["average-drop"] < 1e-8 and (found["average-gain"] > 0.1 if shade == 20 else found["average-drop"] > 0)
    assert 1 - 1e-8 < score(image) < 1


class Late(threading.Event):
    """A stop that comes after the first look at it."""

    looks = 0

    def is_set(self) -> bool:
        self.looks += 1
        return self.looks > 1


def test_measuring_leaves_no_trace() -> None:
    """Hooks, modes, gradients and the photo are as before, in training mode and after a stop on the way too."""
    explainer, analysis, explanation = case("photo11", EXAMPLES / "chelsea.jpg")
    network, before = explainer.model.network, analysis.forward.image.clone()
    network.train()
    try:
        weights = [parameter.clone() for parameter in network.parameters()]
        found = assess(explainer, analysis, explanation, ("average-drop", "insertion", "deletion"))
        with pytest.raises(Stopped):
            assess(explainer, analysis, explanation, ("average-drop", "deletion"), stop=Late())
        assert all(module.training and not module._forward_hooks for module in network.modules())
        assert all(torch.equal(a, b) and a.grad is None for a, b in zip(network.parameters(), weights, strict=True))
    finally:
        network.eval()
    assert torch.equal(analysis.forward.image, before)
    assert found.values == pytest.approx(
        assess(explainer, analysis, explanation, ("average-drop", "insertion", "deletion")).values, abs=1e-5
    )


# What the metrics ask of an explainer


def test_probabilities_and_changed_inputs_are_the_networks_own() -> None:
    explainer, analysis, _ = case("photo11", EXAMPLES / "chelsea.jpg")
    same = explainer.changed(analysis, analysis.forward.image)
    assert torch.allclose(same.forward.logits, analysis.forward.logits, atol=1e-5)
    assert same.crop == analysis.crop and same.layer == analysis.layer and not same.table.probes
    images = torch.cat([analysis.forward.image * share for share in torch.linspace(0, 1, 21)])
    with torch.no_grad():
        wanted = explainer.model.network(images).softmax(1)[:, 3]
    found = explainer.probability(images, 3)
    assert found.dtype == torch.float64 and torch.allclose(found.float(), wanted, atol=1e-5)


def test_an_input_is_shown_as_the_photo_that_it_is() -> None:
    """The pixels of the crop, and the mean colour of the data where the input is 0."""
    explainer, analysis, _ = case("photo11", EXAMPLES / "chelsea.jpg")
    shown = explainer.picture(analysis.forward.image)
    side = shown.shape[0]
    wanted = np.asarray(analysis.photo.image.crop(analysis.crop).resize((side, side)), dtype=float)
    assert shown.shape == (side, side, 3) and np.abs(shown - wanted).mean() < 3
    mean = explainer.picture(torch.zeros(1, 3, 1, 1))[0, 0]
    assert np.abs(mean / 255 - [0.485, 0.456, 0.406]).max() < 0.01


# Controls


def test_controls_know_nothing_of_the_class_and_are_the_same_for_the_same_photo() -> None:
    explainer, analysis, _ = case("photo11", EXAMPLES / "chelsea.jpg")
    other = explainer.analyse(EXAMPLES / "rocket.jpg")
    for key in CONTROLS:
        first = control(analysis, key, 0, "x")
        assert first.method == key and first.complete and first.forward_passes == 0
        assert first.heatmap.shape == tuple(analysis.forward.image.shape[2:]) and first.heatmap.dtype == np.float32
        assert (first.heatmap.min(), first.heatmap.max()) == (0, 1)
        assert np.array_equal(first.heatmap, control(explainer.analyse(EXAMPLES / "chelsea.jpg"), key, 5, "y").heatmap)
        assert np.array_equal(first.heatmap, control(other, key, 0, "x").heatmap) != (key in ("random", "lafam"))
        assert np.array_equal(first.heatmap, control(analysis, key, 0, "x", seed=1).heatmap) != (key == "random")


def test_a_photo_without_a_file_has_its_controls_too() -> None:
    """A PIL image has no digest: its pixels say which noise it gets, whatever the class."""
    explainer, _, _ = case("photo11", EXAMPLES / "chelsea.jpg")
    pictures = [Image.open(EXAMPLES / f"{name}.jpg") for name in ("chelsea", "chelsea", "rocket")]
    first, same, other = (control(explainer.analyse(picture), "random", 0, "x").heatmap for picture in pictures)
    assert np.array_equal(first, same) and not np.array_equal(first, other)


def test_controls_look_as_they_are_called() -> None:
    """A symmetric blob whose height at a quarter of the side is that of one sigma; all ones but one; noise of the layer; the
    mean of its channels."""
    layer = torch.rand(3, 4, 4)
    fake = CONTROLS["fake-cam"].draw(layer, (9, 7), 0)
    assert int((fake == 1).sum()) == 62 and fake[0, 0] == 0
    blob = CONTROLS["gaussian"].draw(layer, (81, 41), 0)
    assert (
        blob[40, 20] == 1
        and torch.allclose(blob, blob.flip(0), atol=1e-6)
        and torch.allclose(blob, blob.flip(1), atol=1e-6)
    )
    corner = np.exp(-4)
    assert float(blob[60, 20]) == pytest.approx((np.exp(-0.5) - corner) / (1 - corner), abs=1e-4)
    mean = reference.heatmap(layer.double().mean(0), (9, 7))
    assert torch.allclose(CONTROLS["lafam"].draw(layer, (9, 7), 0).double(), mean, atol=1e-5)
    noise = CONTROLS["random"].draw(layer, (64, 64), 3)
    assert float((noise[:, 1:] - noise[:, :-1]).abs().max()) < 0.2  # smooth, as a map of 4 x 4 cells is


# Ceilings


def test_a_ceiling_is_the_map_of_the_weights_that_were_climbed_to(tiny: Callable[..., LoadedModel]) -> None:
    """Its masked photo scores higher than by the mean of the activations, where it began; a stop leaves the best so far."""
    explainer, analysis = analysed(tiny("TinyPooled", seed=3))
    mean = control(analysis, "lafam", 0, "x")
    for key in CEILINGS:
        found = ceiling(explainer, analysis, key, 3)
        assert (found.method, found.class_index, found.category) == (key, 3, "class 3") and found.yardstick is None
        assert found.complete and found.note == "" and found.forward_passes == 50 and found.estimated_error == 0
        raw = reference.weighted_sum(torch.from_numpy(found.weights).double(), analysis.forward.activations.double())
        wanted = reference.heatmap(raw, analysis.forward.size)
        np.testing.assert_allclose(found.raw, raw.numpy(), atol=1e-5)
        np.testing.assert_allclose(found.heatmap, wanted.numpy(), atol=1e-5)
        rows = [analysis.forward.image * torch.from_numpy(each.heatmap) for each in (found, mean)]
        high, low = explainer.backend.logits(torch.cat(rows))[:, 3].tolist()
        assert high > low + 0.01
        begun = ceiling(explainer, analysis, key, 3, stop=stopped())
        assert not begun.complete and begun.forward_passes == 0 and begun.note.startswith("Stopped")
        np.testing.assert_allclose(begun.heatmap, mean.heatmap, atol=1e-5)


def stopped() -> threading.Event:
    stop = threading.Event()
    stop.set()
    return stop


def test_a_ceiling_is_made_anew_for_the_masked_photo(tiny: Callable[..., LoadedModel]) -> None:
    """Of which ADCC asks; a control's map is its own."""
    explainer, analysis = analysed(tiny("TinyPooled", seed=3))
    found = ceiling(explainer, analysis, "opti-cam", 3)
    again = Asked(found)
    assert "adcc" in assess(explainer, analysis, found, ("adcc",), again).values and again.times == 1
    assert assess(explainer, analysis, found, ("specificity",)).values == {}
