"""Any network as a model: its layers are found, its maps are those of hooks of one's own, and it is left as it was."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms as T

import iscam
from iscam import Explainer, LoadedModel
from iscam.images import Geometry
from iscam.methods import METHODS
from iscam.show import comparison_figure, integrate
from iscam.trust import assess, ceiling
from tests.cases import difference, state_of
from tests.models.families import FAMILIES, build, first
from tests.models.networks import assert_sentence, noise_photo
from tests.tiny_models import build as tiny

PHOTO = noise_photo(120).crop((0, 10, 120, 90))


class Own(nn.Module):
    """A small classifier whose way of giving logits is chosen; `maps` gives (B, 30, 4, 4) of a side of 16."""

    def __init__(
        self, give: Callable[[Tensor], Any] = lambda logits: logits, classes: int = 5, channels: int = 3
    ) -> None:
        super().__init__()
        self.give = give
        self.maps = nn.Sequential(nn.Conv2d(channels, 30, 3, 2, 1), nn.ReLU(), nn.Conv2d(30, 30, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(30, classes)
        nn.init.normal_(self.fc.weight)

    def forward(self, x: Tensor) -> Any:
        return self.give(self.fc(self.maps(x).mean((2, 3))))


def own(*arguments: Any, seed: int = 0, **options: Any) -> Own:
    torch.manual_seed(seed)
    return Own(*arguments, **options)


def hooked_maps(network: nn.Module, layer: str, image: Tensor, c: int, maps: Callable[[Tensor], Tensor]) -> Any:
    """The layer's maps (C, h, w), the gradient of the logit there, and the logits, by hooks of this test's own."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        kept.append(output)
        return output.clone()

    handle = network.get_submodule(layer).register_forward_hook(keep)
    logits = network(image.clone().requires_grad_())
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[0, c], kept[0])
    return maps(kept[0]).detach(), maps(gradient), logits[0].detach()


def by_hand(network: nn.Module, layer: str, image: Tensor, c: int, maps: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """Grad-CAM's and HiResCAM's raw maps, and what they are made of."""
    activations, gradient, logits = hooked_maps(network, layer, image, c, maps)
    return {
        "logits": logits,
        "activations": activations,
        "grad-cam": (gradient.mean((1, 2))[:, None, None] * activations).sum(0).relu(),
        "hires-cam": (gradient * activations).sum(0).relu(),
    }


def scores_by_hand(network: nn.Module, activations: Tensor, image: Tensor, c: int) -> Tensor:
    """Score-CAM's weights of every seventh channel."""
    masks = [mask_of(activation, image) for activation in activations[::7]]
    with torch.no_grad():
        return torch.tensor([0.0 if m is None else network(image * m).softmax(1)[0, c].item() for m in masks])


def mask_of(activation: Tensor, image: Tensor) -> Tensor | None:
    """In float32, as the library: untrained norms of a masked photo's even parts blow a difference of 1e-7 up to 0.1."""
    enlarged = nn.functional.interpolate(activation.float()[None, None], image.shape[2:], mode="bilinear")[0, 0]
    span = enlarged.max() - enlarged.min()
    return (enlarged - enlarged.min()) / span if span > 0 else None


@pytest.fixture(scope="module", params=FAMILIES)
def adopted(request: pytest.FixtureRequest) -> tuple[str, LoadedModel]:
    return request.param, iscam.adopt(build(request.param), input_size=FAMILIES[request.param].side)


def test_the_layer_of_each_family_is_found(adopted: tuple[str, LoadedModel]) -> None:
    name, model = adopted
    family = FAMILIES[name]
    assert (model.layer, model.layers[model.layer]) == (family.layer, family.size)
    assert (model.head_layer is not None) == family.cam
    sizes = list(model.layers.values())
    assert 1 < len(sizes) <= 4 and sizes == sorted(sizes)


@pytest.mark.parametrize("name", FAMILIES)
def test_maps_of_each_family_equal_those_of_hooks_of_ones_own(name: str) -> None:
    """In float64, because an untrained network makes much of what folding, or another row in the batch, rounds."""
    family = FAMILIES[name]
    explainer = Explainer(iscam.adopt(build(name).double(), input_size=family.side), "exact")
    analysis = explainer.analyse(PHOTO)
    c = analysis.predictions[0].index
    network = copy.deepcopy(explainer.model.network).eval()
    wanted = by_hand(network, family.layer, analysis.forward.image, c, family.maps)
    close = {"rtol": 1e-5, "atol": 1e-5, "check_dtype": False}
    torch.testing.assert_close(analysis.forward.logits, wanted["logits"], **close)
    torch.testing.assert_close(analysis.forward.activations, wanted["activations"], **close)
    for method in ("grad-cam", "hires-cam"):
        found = torch.from_numpy(explainer.explain(analysis, method).raw)
        torch.testing.assert_close(found, wanted[method], **close)
    if name in ("Inception", "MobileNet"):
        return  # whose 768 and 1,280 passes would take as long as all others
    weights = explainer.explain(analysis, "score-cam").weights
    assert weights is not None
    scores = scores_by_hand(network, wanted["activations"], analysis.forward.image, c)
    torch.testing.assert_close(torch.from_numpy(weights)[::7], scores, **close)


def test_every_method_that_can_serve_a_family_runs(adopted: tuple[str, LoadedModel]) -> None:
    """To the end, for every layer that is offered."""
    name, model = adopted
    explainer = Explainer(model, tolerance=0.3)
    for layer in list(model.layers)[: 1 if name == "Inception" else None]:
        analysis = explainer.analyse(PHOTO, layer)
        dear = (
            ("is-cam", "ss-cam")
            if layer == model.layer
            else ("is-cam", "ss-cam", "score-cam", "recipro-cam", "ablation-cam")
        )
        for method in METHODS:
            if explainer.refusal(method, layer) or (method in dear and name in ("Inception", "MobileNet", "MaxViT")):
                continue
            found = explainer.explain(analysis, method, steps=2, samples=1)
            assert found.complete and found.raw.shape == model.layers[layer] and np.isfinite(found.raw).all()


@pytest.mark.parametrize("name", ["ResNet", "Swin"])
def test_the_fast_engine_stays_within_its_tolerance(name: str) -> None:
    model = iscam.adopt(build(name), input_size=64)
    fast, exact = Explainer(model), Explainer(model, "exact")
    for layer in list(model.layers)[:2]:
        quick = fast.explain(fast.analyse(PHOTO, layer), "is-cam", steps=4)
        whole = exact.explain(exact.analyse(PHOTO, layer), "is-cam", steps=4)
        assert quick.estimated_error is not None
        assert difference(quick.heatmap, whole.heatmap) <= max(quick.estimated_error, 1e-5) <= 0.01


@pytest.mark.parametrize("name", ["ViT", "Swin"])
def test_copies_of_a_layer_with_tokens_or_channels_last(name: str) -> None:
    """Ablation-CAM and Recipro-CAM change maps where they are: what has no place stays."""
    family, model = FAMILIES[name], iscam.adopt(build(name), input_size=64)
    explainer = Explainer(model)
    analysis = explainer.analyse(PHOTO)
    network, c, k = copy.deepcopy(model.network).eval(), analysis.predictions[0].index, 5

    def silence(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        changed = output.clone()
        family.maps(changed)  # a view or a copy: the change is made on the output itself
        if name == "Swin":
            changed[..., k] = 0
        else:
            changed[:, 1:, k] = 0
        return changed

    with torch.no_grad():
        before = network(analysis.forward.image)[0, c]
        network.get_submodule(family.layer).register_forward_hook(silence)
        after = network(analysis.forward.image)[0, c]
    weights = explainer.explain(analysis, "ablation-cam").weights
    assert weights is not None
    assert weights[k] == pytest.approx(float((before - after) / before.abs()), abs=1e-4)
    assert explainer.explain(analysis, "recipro-cam").raw.shape == family.size


def test_patches_that_nobody_reads_are_not_offered() -> None:
    """Behind the last block's attention the head reads the class token alone."""
    model = iscam.adopt(build("ViT"), input_size=64)
    offered = set(model.layers)
    assert not offered & {"blocks.5", "blocks", "norm", "blocks.5.norm2", "blocks.5.attn"}
    explainer = Explainer(model)
    assert explainer.explain(explainer.analyse(PHOTO, "blocks.5.norm1"), "grad-cam").raw.any()


class Forked(nn.Module):
    """The last module to run sees a part of what the head reads; of the maps that it all comes from, some are activated."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.act = nn.Conv2d(3, 30, 4, 4), nn.BatchNorm2d(30), nn.ReLU()
        self.shift, self.left, self.right = nn.BatchNorm2d(30), nn.Tanh(), nn.Sigmoid()
        self.fc = nn.Linear(60, 5)
        nn.init.constant_(self.shift.bias, -0.3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shift(self.act(self.norm(self.stem(x))))
        return self.fc(torch.cat([self.left(x), self.right(x)], 1).mean((2, 3)))


def test_a_layer_is_offered_that_nothing_leads_past() -> None:
    """Neither branch; and of the two maps before them those that are activated."""
    torch.manual_seed(0)
    assert iscam.adopt(Forked(), input_size=16).layer == "act"


# What networks give


@dataclass
class Given:
    loss: None
    logits: Tensor


GIVEN: dict[str, Callable[[Tensor], Any]] = {
    "tensor": lambda logits: logits,
    "tuple": lambda logits: (logits, logits * 0),
    "list": lambda logits: [logits],
    "dict": lambda logits: {"features": logits * 2, "logits": logits},
    "dataclass": lambda logits: Given(None, logits),
    "positions": lambda logits: logits[:, :, None, None],
}


@pytest.mark.parametrize("kind", GIVEN)
def test_logits_are_found_in_what_a_network_gives(kind: str) -> None:
    """And all methods give the maps of the network that gives a tensor."""
    plain, wrapped = (iscam.adopt(own(give), input_size=16) for give in (GIVEN["tensor"], GIVEN[kind]))
    explainers = [Explainer(model, "exact") for model in (plain, wrapped)]
    for method in METHODS:
        one, other = (explainer.explain(explainer.analyse(PHOTO), method, 2, samples=2) for explainer in explainers)
        np.testing.assert_allclose(one.heatmap, other.heatmap, atol=1e-6)
    p, q = (e.masked_probability(a := e.analyse(PHOTO), e.explain(a, "grad-cam")) for e in explainers)
    assert p == pytest.approx(q, abs=1e-6)


@pytest.mark.parametrize(
    ("give", "said"),
    [
        (lambda logits: {"scores": logits}, "dict"),
        (lambda logits: logits[:, :, None, None].expand(-1, -1, 3, 3), "(1, 5, 3, 3)"),
    ],
)
def test_a_network_without_logits_is_refused(give: Callable[[Tensor], Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        iscam.adopt(own(give), input_size=16)
    assert_sentence(caught.value, said)


def test_a_single_output_is_a_class_against_its_absence() -> None:
    """f is the sigmoid of z, and the map that of a network with the logits (0, z)."""
    single = own(classes=1)
    twice = own(lambda z: torch.cat([0 * z, z], 1), classes=1)
    model = iscam.adopt(single, input_size=16)
    assert model.categories == ("not class", "class")
    assert iscam.adopt(single, input_size=16, categories=["ash"]).categories == ("not ash", "ash")
    other = Explainer(iscam.adopt(twice, input_size=16, categories=["no", "yes"]), "exact")
    explainer = Explainer(model, "exact")
    analysis = explainer.analyse(PHOTO)
    z = single(analysis.forward.image).item()
    assert explainer.prediction(analysis, 1).probability == pytest.approx(1 / (1 + math.exp(-z)), abs=1e-6)
    assert sum(row.probability for row in analysis.predictions) == pytest.approx(1)
    for method in METHODS:
        found, wanted = (e.explain(e.analyse(PHOTO), method, 1, samples=2) for e in (explainer, other))
        np.testing.assert_allclose(found.heatmap, wanted.heatmap, atol=1e-6)
    assert model.head_layer == model.layer and model.head_weight is not None and not model.head_weight[0].any()


# Layers


class Shared(nn.Module):
    """One block is run three times; its last output is the one that the head reads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.relu = (
            nn.Conv2d(3, 30, 4, 4),
            nn.Conv2d(30, 30, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.fc = nn.Linear(30, 5)
        self.spare, self.pair = nn.Conv2d(3, 3, 1), Pair()

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.pair(self.stem(x))
        for _ in range(3):
            x = x + self.relu(self.block(x))
        return self.fc(x.mean((2, 3)))


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.parametrize("layer", ["relu", "block"])
def test_of_a_module_that_runs_several_times_the_last_call_counts(layer: str) -> None:
    torch.manual_seed(0)
    network = Shared()
    explainer = Explainer(iscam.adopt(network, input_size=16, layer=layer))
    analysis = explainer.analyse(PHOTO)
    image = analysis.forward.image
    with torch.no_grad():
        x = network.stem(image)
        for _ in range(2):
            x = x + network.block(x).relu()
        maps = network.block(x) if layer == "block" else network.block(x).relu()

        def logits(changed: Tensor) -> Tensor:
            return network.fc((x + changed.relu()).mean((2, 3)))[0]

        torch.testing.assert_close(analysis.forward.activations, maps[0], atol=1e-6, rtol=1e-5)
        weights = []
        for k in range(30):
            silenced = maps.clone()
            silenced[:, k] = 0
            weights.append((logits(maps)[2] - logits(silenced)[2]) / logits(maps)[2].abs())
    found = explainer.explain(analysis, "ablation-cam", 2).weights
    assert found is not None
    np.testing.assert_allclose(found, torch.stack(weights).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "said"), [("spare", "never called"), ("pair", "a tuple"), ("fc", "(1, 5)"), ("nowhere", "no layer")]
)
def test_a_layer_without_maps_is_answered_by_those_that_have_some(layer: str, said: str) -> None:
    network = Shared()
    model = iscam.adopt(network, input_size=16)
    for ask in (
        lambda: iscam.adopt(network, input_size=16, layer=layer),
        lambda: Explainer(model).analyse(PHOTO, layer),
    ):
        with pytest.raises(ValueError) as caught:
            ask()
        assert_sentence(caught.value, layer, said, *model.layers)


class Stripes(nn.Module):
    """Maps that are twice as wide as high, then tokens of them, with two that have no place."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.mix, self.norm = nn.Conv2d(3, 30, (8, 4), (8, 4)), nn.Linear(30, 30), nn.LayerNorm(30)
        self.others, self.fc = nn.Parameter(torch.randn(1, 2, 30)), nn.Linear(30, 5)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.cut(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.others.expand(len(x), -1, -1), patches], 1)
        return self.fc(self.norm(x + self.mix(x).tanh()).mean(1))


def test_tokens_that_are_not_square() -> None:
    torch.manual_seed(0)
    model = iscam.adopt(Stripes(), input_size=16)
    assert (model.layer, model.layers["norm"]) == ("norm", (2, 4))
    explainer = Explainer(model)
    analysis = explainer.analyse(PHOTO)
    kept: list[Tensor] = []
    handle = model.network.norm.register_forward_hook(lambda _m, _i, output: kept.append(output))
    with torch.no_grad():
        model.network(analysis.forward.image)
    handle.remove()
    for row in range(2):
        for column in range(4):
            token = kept[0][0, 2 + 4 * row + column].detach()
            torch.testing.assert_close(analysis.forward.activations[:, row, column], token)


class Last(nn.Module):
    """Channels last from the first layer on, as many as there are rows and columns."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.mix, self.act, self.fc = nn.Conv2d(3, 4, 4, 4), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.act(self.mix(self.cut(x).movedim(1, -1))).mean((1, 2)))


def test_channels_last_are_told_by_what_made_them() -> None:
    torch.manual_seed(0)
    model = iscam.adopt(Last(), input_size=16)
    assert model.layer == "act" and model.head_layer == "act"
    analysis = Explainer(model).analyse(PHOTO)
    with torch.no_grad():
        wanted = model.network.mix(model.network.cut(analysis.forward.image).movedim(1, -1)).relu()[0]
    torch.testing.assert_close(analysis.forward.activations, wanted.permute(2, 0, 1))


# What goes in


def test_a_grey_network_is_shown_a_grey_photo() -> None:
    model = iscam.adopt(own(channels=1), input_size=16, mean=0.5, std=0.25)
    explainer = Explainer(model)
    analysis = explainer.analyse(PHOTO)
    assert analysis.forward.image.shape == (1, 1, 16, 16)
    grey = T.Compose([T.Resize(16), T.CenterCrop(16), T.Grayscale(), T.ToTensor()])(PHOTO)
    torch.testing.assert_close(analysis.forward.image[0], (grey - 0.5) / 0.25)
    picture = explainer.picture(analysis.forward.image)
    assert picture.shape == (16, 16, 3) and (picture == picture[..., :1]).all()
    for method in METHODS:
        assert explainer.explain(analysis, method, samples=2).complete
    assert 0 <= explainer.masked_probability(analysis, explainer.explain(analysis, "cam")) <= 1


@pytest.mark.parametrize("shape", ["array", "floats", "tensor", "tensor of floats", "bytes", "path"])
def test_a_photo_may_be_an_array_or_a_tensor(shape: str, tmp_path: Any) -> None:
    explainer = Explainer(iscam.adopt(own(), input_size=16))
    array = np.asarray(PHOTO)
    file = tmp_path / "photo.png"
    PHOTO.save(file)
    photos = {
        "array": array,
        "floats": array.astype(np.float32) / 255,
        "tensor": torch.from_numpy(array.copy()).permute(2, 0, 1),
        "tensor of floats": T.ToTensor()(PHOTO),
        "bytes": file.read_bytes(),
        "path": file,
    }
    found, wanted = explainer.analyse(photos[shape]), explainer.analyse(PHOTO)
    assert torch.equal(found.forward.image, wanted.forward.image) and found.crop == wanted.crop


@pytest.mark.parametrize(
    "photo", [np.zeros((3, 8, 8)), np.full((8, 8, 3), -1.0), np.full((8, 8, 3), np.nan), torch.zeros(2, 8, 8)]
)
def test_an_array_that_is_no_photo_is_refused(photo: Any) -> None:
    with pytest.raises(ValueError) as caught:
        Explainer(iscam.adopt(own(), input_size=16)).analyse(photo)
    assert_sentence(caught.value, "photo")


@pytest.mark.parametrize(
    ("said", "crop", "geometry"),
    [
        ({"resize": 32}, (35, 15, 85, 65), Geometry(32, 20)),
        ({"crop": "squash"}, (0, 0, 120, 80), Geometry(20, 20, fit="squash")),
        ({"crop": "pad"}, (0, -20, 120, 100), Geometry(20, 20, fit="pad")),
    ],
)
def test_what_the_network_sees_of_a_photo(said: dict[str, Any], crop: tuple[int, ...], geometry: Geometry) -> None:
    """As it is said; and as it is found out of transforms of one's own."""
    model = iscam.adopt(own(), input_size=20, **said)
    explainer = Explainer(model)
    analysis = explainer.analyse(PHOTO)
    assert model.geometry == geometry and analysis.crop == crop
    assert comparison_figure(analysis.photo, crop, [explainer.explain(analysis, "grad-cam")]).width > 0
    found = iscam.adopt(own(), transforms=model.transforms)
    assert found.geometry == geometry
    assert torch.equal(found.transforms(PHOTO), model.transforms(PHOTO))


def test_what_is_padded_is_the_mean() -> None:
    model = iscam.adopt(own(), input_size=24, crop="pad", mean=(0.2, 0.4, 0.6))
    seen = model.transforms(PHOTO)
    assert seen[:, 0].abs().max() < 0.02 and seen[:, 12].abs().max() > 0.1
    whole = T.Compose([T.Resize(16), T.ToTensor()])(PHOTO)  # 24 x 16
    torch.testing.assert_close(seen[0, 4:20] * iscam.models.preprocessing.STD[0] + 0.2, whole[0], atol=0.01, rtol=0)


def test_networks_of_timm_say_how_they_are_fed() -> None:
    network = build("ResNet")
    network.pretrained_cfg |= {"input_size": (3, 64, 64), "mean": (0.1, 0.2, 0.3), "crop_pct": 0.5}
    model = iscam.adopt(network)
    assert model.geometry == Geometry(128, 64, network.pretrained_cfg["interpolation"])
    black = model.transforms(Image.new("RGB", (9, 9)))[:, 0, 0]
    torch.testing.assert_close(black, -torch.tensor([0.1, 0.2, 0.3]) / torch.tensor(network.pretrained_cfg["std"]))


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({}, "input_size"),
        ({"input_size": 16, "transforms": T.ToTensor()}, "leave out"),
        ({"transforms": T.Compose([T.RandomResizedCrop(16), T.ToTensor()])}, "each time"),
        ({"transforms": T.Resize((16, 16))}, "tensor"),
        ({"input_size": 16, "head": "relu"}, "softmax"),
        ({"input_size": 16, "categories": ["ash", "elm"]}, "2 categories for 5"),
        ({"input_size": 16, "mean": (1, 2)}, "mean"),
        ({"input_size": 16, "std": 0}, "std"),
        ({"input_size": 16, "crop": "bend"}, "squash"),
        ({"input_size": 16, "interpolation": "cubic"}, "bicubic"),
        ({"input_size": 16, "resize": 8}, "crop"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(said: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError) as caught:
        iscam.adopt(own(), **said)
    assert_sentence(caught.value, word)


def test_a_network_that_cannot_take_the_input_is_refused() -> None:
    with pytest.raises(ValueError) as caught:
        iscam.adopt(build("DeiT"), input_size=48)
    assert_sentence(caught.value, "(1, 3, 48, 48)")
    with pytest.raises(ValueError) as caught:
        iscam.adopt(own(channels=4), input_size=16)
    assert_sentence(caught.value, "4 channels", "transforms")


# How it is left


@pytest.mark.parametrize("name", ["ResNet", "ViT", "Swin"])
def test_the_network_is_left_as_it_was_found(name: str) -> None:
    """In train mode but for a part, frozen but for a part, by every method."""
    network = build(name).requires_grad_(False)
    parts = list(network.children())
    parts[-1].requires_grad_()
    parts[0].eval()
    strides = [parameter.stride() for parameter in network.parameters()]
    before = state_of(network)
    explainer = Explainer(iscam.adopt(network, input_size=64), tolerance=0.2)
    analysis = explainer.analyse(PHOTO)
    for method in METHODS:
        if explainer.refusal(method) is None:
            explainer.explain(analysis, method, steps=2, samples=1)
    explainer.masked_probability(analysis, explainer.explain(analysis, "grad-cam"))
    after = state_of(network)
    assert after[:2] == before[:2] and torch.equal(after[2], before[2])
    assert [parameter.stride() for parameter in network.parameters()] == strides
    assert all("forward" not in vars(module) for module in network.modules())


CONTEXTS: dict[str, Callable[[], Any]] = {
    "inference mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@pytest.mark.parametrize("context", CONTEXTS)
def test_maps_are_the_same_inside_the_callers_contexts(context: str) -> None:
    network = own()
    plain = Explainer(iscam.adopt(network, input_size=16), "exact")
    wanted = {method: plain.explain(plain.analyse(PHOTO), method, samples=2).heatmap for method in METHODS}
    with CONTEXTS[context]():
        explainer = Explainer(iscam.adopt(network, input_size=16), "exact")
        analysis = explainer.analyse(T.ToTensor()(PHOTO))
        found = {method: explainer.explain(analysis, method, samples=2).heatmap for method in METHODS}
        values = assess(
            explainer, analysis, explainer.explain(analysis, "cam"), ("average-drop", "insertion", "road")
        ).values
        highest, steps = ceiling(explainer, analysis, "opti-cam", 1), integrate(explainer, analysis, 1, steps=4)
        assert torch.is_inference_mode_enabled() == (context == "inference mode")
        assert torch.is_autocast_enabled("cpu") == (context == "autocast")
    for method in METHODS:
        np.testing.assert_allclose(found[method], wanted[method], atol=1e-6, err_msg=method)
    seen = plain.analyse(PHOTO)
    wanted_values = assess(plain, seen, plain.explain(seen, "cam"), ("average-drop", "insertion", "road")).values
    assert values == pytest.approx(wanted_values, abs=1e-6)
    np.testing.assert_allclose(highest.heatmap, ceiling(plain, seen, "opti-cam", 1).heatmap, atol=1e-5)
    np.testing.assert_allclose(steps.heatmaps, integrate(plain, seen, 1, steps=4).heatmaps, atol=1e-5)
    later = explainer.explain(analysis, "is-cam", 3)  # what was kept inside is of use outside
    np.testing.assert_allclose(later.heatmap, plain.explain(plain.analyse(PHOTO), "is-cam", 3).heatmap, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_network_of_another_type_stays_of_it(dtype: torch.dtype) -> None:
    network = own().to(dtype)
    explainer = Explainer(iscam.adopt(network, input_size=16))
    analysis = explainer.analyse(PHOTO)
    for method in [method for method in METHODS if explainer.refusal(method) is None]:
        found = explainer.explain(analysis, method, samples=2)
        assert found.complete and found.heatmap.dtype == np.float32
    assert all(parameter.dtype == dtype for parameter in network.parameters())


def test_a_network_made_in_inference_mode_is_refused() -> None:
    with torch.inference_mode(), pytest.raises(ValueError) as caught:
        iscam.adopt(own(), input_size=16)
    assert_sentence(caught.value, "inference mode")


def test_an_adopted_network_gives_the_maps_of_a_loaded_one() -> None:
    """photo11 by its weights alone."""
    model = iscam.load_model("photo11")
    mine = iscam.adopt(model.network, transforms=model.transforms, categories=model.categories)
    assert (mine.layer, mine.layers[mine.layer], mine.head_layer) == (
        model.layer,
        model.layers[model.layer],
        model.head_layer,
    )
    assert mine.geometry == replace(model.geometry, interpolation=mine.geometry.interpolation)
    photo = "assets/examples/chelsea.jpg"
    found, wanted = (e.explain(e.analyse(photo), "grad-cam") for e in (Explainer(mine), Explainer(model)))
    assert found.category == "cat"
    np.testing.assert_allclose(found.heatmap, wanted.heatmap, atol=1e-6)


def test_tiny_networks_of_other_tests_have_the_layers_that_they_name() -> None:
    for name in ("TinyPooled", "TinyMlpHead", "TinyReluHead", "TinyTokens"):
        network = tiny(name)
        assert iscam.adopt(network, input_size=network.input_size).layer == network.layer


def test_maps_by_channels_first_are_read_so() -> None:
    """The plain case, by the same hooks as the families'."""
    model = iscam.adopt(own(), input_size=16)
    analysis = Explainer(model).analyse(PHOTO)
    maps, _, _ = hooked_maps(model.network, "maps", analysis.forward.image, 0, first)
    torch.testing.assert_close(analysis.forward.activations, maps)
