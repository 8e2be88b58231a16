"""The explainer: classes by name, notes, errors, and that nothing of it stays behind on the network."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import center_crop, resize

import iscam
from iscam import LoadedModel
from iscam.explain import Explainer
from iscam.methods import METHODS
from iscam.settings import DEFAULT_SETTINGS, WEIGHTINGS
from tests.cases import analysed, photo_of, state_of

Tiny = Callable[..., LoadedModel]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_no_trace_is_left(tiny: Tiny, method: str, fails: bool) -> None:
    """Hooks, modes, `requires_grad`, `.grad` and parameters are as before, also after a forward that raised."""
    model = tiny("FailingNet", fail_at=0)
    explainer, analysis = analysed(model)
    model.network.train()
    model.network.fc.weight.requires_grad_(False)
    before, image, grad_mode = state_of(model.network), analysis.forward.image.clone(), torch.is_grad_enabled()
    model.network.fail_at = model.network.calls + 1 if fails else 0
    passes = METHODS[method].passes(DEFAULT_SETTINGS)
    needs_a_pass = passes.probes or passes.cells or passes.gradients
    if fails and needs_a_pass:
        with pytest.raises(RuntimeError, match="on purpose"):
            explainer.explain(analysis, method, samples=2, steps=2)
    else:
        explainer.explain(analysis, method, samples=2, steps=2)
    after = state_of(model.network)
    assert after[:2] == before[:2]
    assert torch.equal(after[2], before[2])
    assert torch.equal(analysis.forward.image, image)
    assert torch.is_grad_enabled() == grad_mode


def with_categories(model: LoadedModel, *names: str) -> Explainer:
    return Explainer(replace(model, categories=names))


def test_a_class_is_found_by_index_digits_and_category(tiny: Tiny) -> None:
    explainer = with_categories(tiny("TinyPooled"), "Cardigan", "cardigan", "Tabby cat", "crane", "crane")
    find_class = explainer.model.find_class
    assert find_class(2) == find_class("2") == find_class("tabby CAT") == 2
    assert find_class("Cardigan") == 0
    assert find_class("cardigan") == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("CARDIGAN", r"not unique: try Cardigan \(0\), cardigan \(1\)\."),
        ("crane", r"not unique: try crane \(3\), crane \(4\)\."),
        ("tabby", r"no class 'tabby': try Tabby cat \(2\)\."),
        ("cradigan", r"no class 'cradigan': try Cardigan \(0\), cardigan \(1\)\."),
        ("", r"no class '': try an index from 0 to 4\."),
        ("5", r"between 0 and 4, not 5\."),
        (-1, r"between 0 and 4, not -1\."),
        ("-1", r"no class '-1'"),
        (True, r"between 0 and 4"),
        ("9" * 5000, r"^No class has a name of 5000 letters: try an index from 0 to 4\.$"),
        ("x" * 10_000_000, r"^No class has a name of 10000000 letters"),
    ],
)
def test_a_class_that_is_not_there_lists_the_candidates(tiny: Tiny, name: int | str, sentence: str) -> None:
    explainer = with_categories(tiny("TinyPooled"), "Cardigan", "cardigan", "Tabby cat", "crane", "crane")
    with pytest.raises(ValueError, match=sentence):
        explainer.model.find_class(name)


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "magic-cam"},
        {"steps": 0},
        {"path": "round"},
        {"weighting": "heavy"},
        {"samples": 0},
        {"seed": -1},
        {"target": 2, "against": 2},
        {"target": "nothing"},
    ],
)
def test_wrong_settings_are_one_sentence(tiny: Tiny, wrong: dict[str, object]) -> None:
    explainer, analysis = analysed(tiny("TinyPooled"))
    with pytest.raises(ValueError, match=r"^[^\n]+\.$"):
        explainer.explain(analysis, **wrong)  # type: ignore[arg-type]


def test_an_unknown_layer_lists_the_sensible_ones(tiny: Tiny) -> None:
    model = tiny("TinyPooled")
    with pytest.raises(ValueError, match="no layer 'layer9': choose one of features"):
        Explainer(model).analyse(photo_of(model), "layer9")


def test_predictions_are_the_softmax_of_the_plain_forward(tiny: Tiny) -> None:
    model = tiny("TinyTokens")
    _, analysis = analysed(model)
    with torch.no_grad():
        wanted = model.network(model.transforms(photo_of(model))[None]).softmax(1)[0]
    assert [p.index for p in analysis.predictions] == wanted.argsort(descending=True)[:5].tolist()
    for prediction in analysis.predictions:
        assert prediction.probability == pytest.approx(float(wanted[prediction.index]), abs=1e-6)
        assert prediction.category == model.categories[prediction.index]


def test_a_blank_map_says_why(tiny: Tiny) -> None:
    model = tiny("TinyReluHead")
    explainer, analysis = analysed(model)
    silent = model.network.silent  # a class whose logit and gradients are exactly 0
    gradient = explainer.explain(analysis, "grad-cam", silent)
    assert not gradient.heatmap.any()
    assert "gradients of the class score (0) are zero" in gradient.note
    assert "no relative drop" in explainer.explain(analysis, "ablation-cam", silent).note
    shown = explainer.explain(analysis, "grad-cam")
    assert shown.heatmap.max() == 1
    assert "blank" not in shown.note


def test_an_improbable_class_is_flagged(tiny: Tiny) -> None:
    model = tiny("TinyPooled")
    with torch.no_grad():
        model.network.fc.bias[1] -= 20
    explainer, analysis = analysed(model)
    assert "only" in explainer.explain(analysis, "cam", 1).note
    assert "only" not in explainer.explain(analysis, "cam").note


def test_the_masked_photo_is_scored_as_by_hand(tiny: Tiny) -> None:
    """f_c(E o X); a map of ones changes nothing, a blank one leaves the mean colour, and a signed one masks nothing."""
    model = tiny("TinyPooled")
    explainer, analysis = analysed(model)
    found = explainer.explain(analysis, "grad-cam", target=1)
    image = analysis.forward.image

    def by_hand(mask: float | torch.Tensor) -> float:
        with torch.no_grad():
            return float(model.network(image * mask)[0].softmax(0)[1])

    assert 0 < found.heatmap.mean() < 1
    for heatmap, mask in (
        (found.heatmap, torch.from_numpy(found.heatmap)),
        (np.ones_like(found.heatmap), 1.0),
        (np.zeros_like(found.heatmap), 0.0),
    ):
        probability = explainer.masked_probability(analysis, replace(found, heatmap=heatmap))
        assert probability == pytest.approx(by_hand(mask), abs=1e-6)
    with pytest.raises(ValueError, match="signed"):
        explainer.masked_probability(analysis, explainer.explain(analysis, "grad-cam", target=1, against=0))


def test_a_subject_is_the_analysis_without_what_is_heavy(tiny: Tiny) -> None:
    explainer, analysis = analysed(tiny("TinyPooled"))
    subject = explainer.subject(analysis)
    assert (subject.photo, subject.crop, subject.layer) == (analysis.photo, analysis.crop, analysis.layer)
    assert (subject.spec.key, subject.categories) == (explainer.model.key, explainer.model.categories)
    assert not any(isinstance(value, torch.Tensor) for value in vars(subject).values())


def test_analysis_and_explanation_are_frozen(tiny: Tiny) -> None:
    explainer, analysis = analysed(tiny("TinyPooled"))
    for thing in (analysis, explainer.explain(analysis, "cam")):
        with pytest.raises(FrozenInstanceError):
            thing.layer = "other"
        assert thing != replace(thing)


def test_the_crop_is_what_the_network_sees(tiny: Tiny) -> None:
    """The photo cut to the crop looks like the network's input, for an off-centre pattern on a wide photo."""
    model = iscam.load_model("photo11")
    generator = np.random.default_rng(0)
    coarse = Image.fromarray(generator.integers(0, 255, (9, 16, 3), dtype=np.uint8))
    photo = coarse.resize((1600, 900), Image.Resampling.BICUBIC)
    analysis = Explainer(model).analyse(photo)
    left, top, right, bottom = analysis.crop
    seen = center_crop(resize(photo, model.geometry.resize), model.geometry.input_size)
    cut = photo.crop((left, top, right, bottom)).resize(seen.size, Image.Resampling.BILINEAR)
    assert np.abs(np.asarray(seen, float) - np.asarray(cut, float)).mean() < 2
    moved = photo.crop((left + 20, top, right + 20, bottom)).resize(seen.size, Image.Resampling.BILINEAR)
    assert np.abs(np.asarray(seen, float) - np.asarray(moved, float)).mean() > 4


@pytest.mark.parametrize("size", [(10000, 1), (1, 10000), (30000, 40), (1, 1)])
def test_extremely_long_photos_do_not_fill_the_memory(size: tuple[int, int]) -> None:
    model = iscam.load_model("photo11")
    seen: list[tuple[int, int]] = []

    def transforms(image: Image.Image) -> torch.Tensor:
        seen.append(image.size)
        return model.transforms(image)

    Explainer(replace(model, transforms=transforms)).analyse(Image.new("RGB", size, "red"))
    assert max(seen[0]) <= 10 * min(seen[0])


def test_cutting_the_far_ends_does_not_move_the_crop() -> None:
    """A mark in the middle of a long photo stays where the plain transforms put it."""
    model = iscam.load_model("photo11")
    photo = Image.new("RGB", (6001, 150), "grey")
    photo.paste("white", (2990, 60, 3010, 90))
    analysis = Explainer(model).analyse(photo)
    plain = model.transforms(photo)
    difference = (analysis.forward.image[0] - plain).abs().mean(0)
    assert float(difference.max()) < 0.5  # normalised units; the mark itself stands 2 above the grey


def test_importing_the_package_loads_no_torch() -> None:
    import subprocess

    code = "import sys, iscam; iscam.METHODS, iscam.MODELS, iscam.read_photo; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "False"


def test_public_names_resolve() -> None:
    for name in iscam.__all__:
        assert getattr(iscam, name) is not None
    with pytest.raises(AttributeError, match="attribute nothing"):
        _ = iscam.nothing


ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.shared
def test_real_squeezenet_on_real_photos(shared: Path, torch_home: Path) -> None:
    """A border terrier is recognised, and every cheap map lies on finite ground and is not blank."""
    explainer = Explainer(iscam.load_model("squeezenet1_0"))
    analysis = explainer.analyse(shared / "data" / "photos" / "n02093754_Border_terrier.jpg")
    assert analysis.predictions[0].category == "Border terrier"
    for method in ("grad-cam", "grad-cam++", "xgrad-cam", "hires-cam", "layer-cam", "eigen-cam"):
        explanation = explainer.explain(analysis, method)
        assert explanation.heatmap.max() == 1, method
        assert explanation.note == "", method
    score = explainer.explain(analysis, "score-cam")
    assert score.complete
    assert 0 < score.forward_passes <= 512
    for weighting in WEIGHTINGS:
        asked = {"target": "Norfolk terrier", "weighting": weighting}
        other = explainer.explain(analysis, "score-cam", **asked)  # type: ignore[arg-type]
        assert other.complete and other.forward_passes <= score.forward_passes / 4
        assert explainer.explain(analysis, "score-cam", **asked).forward_passes == 0  # type: ignore[arg-type]
