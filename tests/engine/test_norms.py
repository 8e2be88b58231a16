"""Batch norms of any make, told by what they have and tried out: those that fold, and those that only look as if they did."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from timm.layers import BatchNormAct2d, FrozenBatchNormAct2d
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.utils import parametrizations
from torchvision.ops import FrozenBatchNorm2d

from iscam.engine.backend import Backend
from iscam.engine.capture import foldable
from iscam.engine.norms import is_affine, statistics
from iscam.models.describe import find_folds
from tests.engine.test_backend import assert_same_logits, belongings, plain

WIDTH = 6
Make = Callable[[], nn.Module]


class Own(nn.Module):
    """A batch norm written anew, with buffers alone, and no `eps` to be read."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("running_mean", "running_var", "weight", "bias"):
            self.register_buffer(name, torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight / (self.running_var + 1e-5).sqrt()
        return x * scale[:, None, None] + (self.bias - self.running_mean * scale)[:, None, None]


class Bare(Own):
    """Of mean and variance alone, whose `weight` and `bias` are missing."""

    def __init__(self) -> None:
        super().__init__()
        del self.weight, self.bias

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.running_mean[:, None, None]) / (self.running_var[:, None, None] + 1e-5).sqrt()


class Saturated(Own):
    """All of a batch norm, and then a function that is not among its children."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).tanh()


class Bounded(Own):
    """A batch norm for all inputs that are likely to come."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).clamp(-500, 500)


class Rectified(Own):
    """Its ReLU is no child of it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


class ActivatedFirst(Own):
    """Its child comes before the scale."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.act(x))


class OfTheBatch(Own):
    """The means of the rows at hand count too."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - 0.01 * x.mean((0, 2, 3), keepdim=True))


class OfTheRow(Own):
    """Scaled by how strong the row is."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 + 0.01 * x.std((1, 2, 3), keepdim=True))


class Picky(Own):
    """Takes no input but of the size that it is given in its network."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] != 7:
            raise ValueError("7 x 7 alone")
        return super().forward(x)


class Spread(Own):
    """A variance over channels and places: its weight is no vector."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.ones(WIDTH, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return batch_norm(x, self.running_mean, self.running_var, self.weight.flatten(), self.bias)


FOLDED: dict[str, Make] = {
    "BatchNorm2d": lambda: nn.BatchNorm2d(WIDTH),
    "BatchNorm2d, no weights": lambda: nn.BatchNorm2d(WIDTH, affine=False, momentum=None, eps=0.1),
    "InstanceNorm2d that tracks": lambda: nn.InstanceNorm2d(WIDTH, affine=True, track_running_stats=True),
    "FrozenBatchNorm2d": lambda: FrozenBatchNorm2d(WIDTH, eps=0.1),
    "BatchNormAct2d": lambda: BatchNormAct2d(WIDTH, eps=0.1, act_layer=nn.ReLU6),
    "BatchNormAct2d, no weights": lambda: BatchNormAct2d(WIDTH, affine=False, act_layer=nn.SiLU, momentum=None),
    "BatchNormAct2d, no activation": lambda: BatchNormAct2d(WIDTH, apply_act=False),
    "BatchNormAct2d, dropout": lambda: BatchNormAct2d(WIDTH, drop_layer=nn.Dropout, act_layer=nn.Hardswish),
    "BatchNormAct2d, learnt activation": lambda: BatchNormAct2d(WIDTH, act_layer=nn.PReLU, inplace=False),
    "FrozenBatchNormAct2d": lambda: FrozenBatchNormAct2d(WIDTH, eps=0.1),
    "own": Own,
    "own, no weights": Bare,
}
LEFT: dict[str, Make] = {
    "saturated": Saturated,
    "bounded": Bounded,
    "rectified": Rectified,
    "activated first": ActivatedFirst,
    "of the batch": OfTheBatch,
    "of the row": OfTheRow,
    "picky": Picky,
    "spread": Spread,
    "GroupNorm": lambda: nn.GroupNorm(2, WIDTH),
    "SyncBatchNorm": lambda: nn.SyncBatchNorm(WIDTH),
    "batch statistics": lambda: BatchNormAct2d(WIDTH, track_running_stats=False),
    "InstanceNorm2d": lambda: nn.InstanceNorm2d(WIDTH, affine=True),
}


class Net(nn.Module):
    """A stem, a depthwise convolution, and a third one with torch's own norm, which is always folded; one row of 9 x 9 pixels
    becomes maps of 7 x 7."""

    def __init__(self, first: Make, second: Make) -> None:
        super().__init__()
        self.stem, self.first = nn.Conv2d(3, WIDTH, 3, bias=False), first()
        self.depthwise, self.second = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH), second()
        self.third, self.norm = nn.Conv2d(WIDTH, WIDTH, 1), nn.BatchNorm2d(WIDTH)
        self.head = nn.Linear(WIDTH, 5)
        for conv in (self.stem, self.depthwise, self.third):  # signals keep their size from layer to layer
            nn.init.normal_(conv.weight, std=(2 / conv.weight[0].numel()) ** 0.5)

    def maps(self, x: Tensor) -> Tensor:
        x = self.second(self.depthwise(self.first(self.stem(x))))
        maps: Tensor = self.norm(self.third(x))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.maps(x).relu().mean((2, 3)))
        return logits


def filled(network: nn.Module) -> tuple[nn.Module, Tensor]:
    """In eval mode, with numbers in the norms that no default would hit, and three photos."""
    with torch.no_grad():
        for module in network.modules():
            if getattr(module, "running_mean", None) is not None:
                module.running_mean.normal_(0, 1)
                module.running_var.uniform_(0.5, 2)
            if "Norm" in type(module).__name__ or isinstance(module, Own):
                if getattr(module, "weight", None) is not None:
                    module.weight.uniform_(0.5, 1.5).mul_(torch.tensor([1, -1, 1, -1, 1, 1.0]).view_as(module.weight))
                if getattr(module, "bias", None) is not None:
                    module.bias.normal_(0, 1)
    return network.eval(), 3 * torch.randn(3, 3, 9, 9)


@pytest.mark.parametrize("name", FOLDED)
def test_every_norm_that_scales_and_shifts_is_folded(name: str) -> None:
    """Behind a convolution and behind a depthwise one; what it does besides it still does, in either kind of pass."""
    network, images = filled(Net(FOLDED[name], FOLDED[name]))
    before, values, state = belongings(network), copy.deepcopy(network.state_dict()), torch.get_rng_state()
    folds = find_folds(network, images[:1])
    own = [(network.stem, network.first), (network.depthwise, network.second), (network.third, network.norm)]
    assert list(folds) == own
    backend = Backend(network, folds)
    wanted = plain(network, images)
    assert wanted.std(0).max() > 0.01
    torch.testing.assert_close(backend.logits(images), wanted, rtol=1e-5, atol=1e-5)
    rough = backend.logits(images, rough=True)
    assert 0 < float((rough - wanted).norm() / wanted.norm()) < 0.05
    after = belongings(network)
    assert len(after) == len(before) and all(now is then for now, then in zip(after, before, strict=True))
    assert all(torch.equal(value, values[key]) for key, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", FOLDED)
def test_a_folded_norm_is_not_run(name: str) -> None:
    """It is what the time is saved by."""
    network, images = filled(Net(FOLDED[name], FOLDED[name]))
    backend = Backend(network, find_folds(network, images[:1]))
    backend.logits(images)
    for norm in (network.first, network.second, network.norm):
        norm.forward = lambda *_: pytest.fail("it is run")
    backend.logits(images)


@pytest.mark.parametrize("name", LEFT)
@pytest.mark.parametrize("behind_the_stem", [True, False])
def test_a_norm_that_does_something_else_is_left_out_alone(name: str, behind_the_stem: bool) -> None:
    """The others are folded, and the logits are those of the plain forward, also for photos a hundred times as strong."""
    other = FOLDED["BatchNormAct2d"]
    network, images = filled(Net(LEFT[name], other) if behind_the_stem else Net(other, LEFT[name]))
    folds = foldable(network, images[:1])
    left = network.first if behind_the_stem else network.second
    assert len(folds) == 2 and left not in [norm for _, norm in folds]
    assert find_folds(network, images[:1]) == folds
    for strength in (1, 100):
        found = Backend(network, folds, batch=len(images)).logits(strength * images)  # some look at the whole batch
        assert_same_logits(found, plain(network, strength * images))


def test_modules_without_statistics_are_no_norms() -> None:
    """Nor are those whose statistics are whole numbers, one number, or of several lengths."""
    assert statistics(nn.Conv2d(3, 6, 1)) is None
    assert statistics(nn.LayerNorm(6)) is None
    whole, single, uneven = Own(), Own(), Own()
    whole.running_mean = torch.ones(WIDTH, dtype=torch.int64)
    single.running_mean = torch.tensor(1.0)
    uneven.bias = torch.ones(1)
    assert statistics(whole) is None
    assert statistics(single) is None
    assert statistics(uneven) is None
    assert not is_affine(nn.ReLU())


# What the logits alone can tell


class ReadBesides(Net):
    """What leaves the depthwise convolution is read by its norm, and by a sum."""

    def maps(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.first(self.stem(x)))
        maps: Tensor = self.norm(self.third(self.second(x) + x))
        return maps


class ReadOfTheNorm(Net):
    """Something is read of a norm itself, which is not there while it is folded."""

    def maps(self, x: Tensor) -> Tensor:
        return super().maps(x) * self.second.num_features


class Standardised(nn.Conv2d):
    """A convolution that undoes any scale of its weight (https://arxiv.org/abs/1903.10520)."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / (weight.std((1, 2, 3), keepdim=True) + 1e-5)
        return self._conv_forward(x, weight, self.bias)


@pytest.mark.parametrize("kind", [ReadBesides, ReadOfTheNorm])
def test_a_kind_that_does_not_fit_leaves_the_other_kinds_folded(kind: type[Net]) -> None:
    """Kinds are told by the classes of norm and convolution."""
    network, images = filled(kind(FOLDED["FrozenBatchNorm2d"], FOLDED["BatchNormAct2d"]))
    assert len(foldable(network, images[:1])) == 3
    before = belongings(network)
    folds = find_folds(network, images[:1])
    assert folds == ((network.stem, network.first), (network.third, network.norm))
    assert_same_logits(Backend(network, folds).logits(images), plain(network, images))
    assert all(now is then for now, then in zip(belongings(network), before, strict=True))


def test_a_convolution_that_changes_its_weight_is_a_kind_of_its_own() -> None:
    """The same norms behind other convolutions stay folded."""
    network = Net(FOLDED["BatchNorm2d"], FOLDED["BatchNorm2d"])
    network.depthwise = Standardised(WIDTH, WIDTH, 3, padding=1, groups=WIDTH)
    network, images = filled(network)
    assert len(foldable(network, images[:1])) == 3
    folds = find_folds(network, images[:1])
    assert folds == ((network.stem, network.first), (network.third, network.norm))
    assert_same_logits(Backend(network, folds).logits(images), plain(network, images))


def test_a_convolution_whose_weight_is_computed_from_others_is_left_as_it_is() -> None:
    """There is no weight of it that could be exchanged."""
    network = Net(FOLDED["BatchNorm2d"], FOLDED["BatchNormAct2d"])
    parametrizations.weight_norm(network.depthwise)
    network, images = filled(network)
    folds = find_folds(network, images[:1])
    assert folds == foldable(network, images[:1]) == ((network.stem, network.first), (network.third, network.norm))
    assert_same_logits(Backend(network, folds).logits(images), plain(network, images))


class TwoReaders(Net):
    """Two norms read the same convolution."""

    def maps(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        maps: Tensor = self.norm(self.third(self.first(x) + self.second(x)))
        return maps


def test_two_norms_behind_one_convolution_are_left_out() -> None:
    network, images = filled(TwoReaders(FOLDED["BatchNorm2d"], FOLDED["BatchNorm2d"]))
    folds = find_folds(network, images[:1])
    assert folds == ((network.third, network.norm),)
    assert_same_logits(Backend(network, folds).logits(images), plain(network, images))
