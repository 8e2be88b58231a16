"""Passes of the backend: folded and rough ones against the plain forward, what they leave behind, batch sizes, threads."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn

from iscam.engine.backend import SIZES, Backend
from iscam.engine.capture import foldable
from iscam.engine.devices import has_bf16
from iscam.engine.pace import BATCH_SECONDS, TRIES, Pace
from iscam.engine.streams import Crowd
from iscam.models.describe import find_folds
from tests import tiny_models

CPU = torch.device("cpu")


def filled(network: nn.Module, side: int) -> tuple[nn.Module, Tensor]:
    """A network with the statistics its norms have on seeded photos, in eval mode, and two of the photos."""
    photos = torch.randn(8, 3, side, side)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
                if module.affine:
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(0, 0.3)
        network.train()(photos)
    return network.eval(), photos[:2]


def tiny(name: str = "TinyPooled") -> tuple[nn.Module, Tensor]:
    network = tiny_models.build(name)
    return network, tiny_models.sample(network, 3)


def torchvision_network(name: str) -> tuple[nn.Module, Tensor]:
    return filled(torchvision.models.get_model(name, weights=None), 64)


def plain(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = network(images)
    return logits


def assert_same_logits(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))


class Tail(nn.Module):
    """Pooling and a linear layer behind whatever a subclass computes: (B, 6, h, w)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 5)

    def maps(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.maps(x).relu().mean((2, 3)))
        return logits


class ReadTwice(Tail):
    """What leaves the convolution is read by the norm, and added to what leaves the norm."""

    def maps(self, x: Tensor) -> Tensor:
        raw = self.conv(x)
        total: Tensor = self.norm(raw) + raw
        return total


class ConvRunsTwice(Tail):
    """One convolution, once with a norm behind it and once without."""

    def maps(self, x: Tensor) -> Tensor:
        total: Tensor = self.norm(self.conv(x)) + self.conv(-x)
        return total


class NormRunsTwice(Tail):
    """One norm behind two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(3, 6, 3)

    def maps(self, x: Tensor) -> Tensor:
        total: Tensor = self.norm(self.conv(x)) + self.norm(self.other(x))
        return total


class BatchStatistics(Tail):
    """A norm that keeps no statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(6, track_running_stats=False)


class NormFirst(Tail):
    """Pre-activation: the norm reads the photo, the convolution comes behind it; `order` is a parameter of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.order = nn.Parameter(torch.tensor([[2, 0, 1]]), requires_grad=False)

    def maps(self, x: Tensor) -> Tensor:
        maps: Tensor = self.conv(self.norm(x)[:, self.order[0]])
        return maps


@pytest.mark.parametrize("name", ["TinyPooled", "TinyInplace", "TinyMlpHead", "TinyReluHead", "TinyTokens"])
def test_logits_of_tiny_networks_are_those_of_the_plain_forward(name: str) -> None:
    """Folding batch norms changes no logits, and every convolution with a norm behind it is folded."""
    network, images = tiny(name)
    folds = find_folds(network, images[:1])
    assert len(folds) == sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert_same_logits(Backend(network, folds).logits(images), plain(network, images))


@pytest.mark.parametrize(("name", "count"), [("resnet18", 20), ("mobilenet_v3_large", 46), ("densenet121", 59)])
def test_logits_of_deep_networks_are_those_of_the_plain_forward(name: str, count: int) -> None:
    """All norms of ResNet and MobileNet stand behind a convolution; of DenseNet's 121, 62 read what was concatenated."""
    network, images = torchvision_network(name)
    folds = find_folds(network, images[:1])
    assert len(folds) == count
    assert_same_logits(Backend(network, folds).logits(images), plain(network, images))


def test_a_fold_is_a_convolution_without_bias_or_a_norm_without_weights_too() -> None:
    """Biases and scales that are missing count as 0 and 1, and are missing again afterwards."""
    for bias, affine in itertools.product((True, False), repeat=2):
        network = Tail()
        network.conv, network.norm = nn.Conv2d(3, 6, 3, bias=bias), nn.BatchNorm2d(6, affine=affine)
        network, images = filled(network, 8)
        folds = find_folds(network, images[:1])
        assert folds == ((network.conv, network.norm),)
        assert_same_logits(Backend(network, folds).logits(images), plain(network, images))
        assert (network.conv.bias is None) is not bias


@pytest.mark.parametrize("kind", [ConvRunsTwice, NormRunsTwice, BatchStatistics, NormFirst])
def test_norms_that_cannot_be_folded_are_left_out(kind: type[Tail]) -> None:
    """A fold needs a convolution and a norm with statistics behind it that each run once; other folds stay."""
    network, images = filled(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout(), kind()), 8)
    assert foldable(network, images[:1]) == ((network[0], network[1]),)
    folds = find_folds(network, images[:1])
    assert folds == ((network[0], network[1]),)
    assert_same_logits(Backend(network, folds, batch=2).logits(images), plain(network, images))


def test_nothing_is_folded_where_folding_would_change_the_logits() -> None:
    """Something besides the norm reads what leaves the convolution: that is noticed by the logits."""
    network, images = filled(ReadTwice(), 8)
    assert find_folds(network, images[:1]) == ()
    assert_same_logits(Backend(network).logits(images), plain(network, images))


def belongings(network: nn.Module) -> list[object]:
    """Everything that a pass might exchange, in a fixed order: to be compared by identity."""
    found: list[object] = []
    for module in network.modules():
        found += [module, module.training, *module._modules.values(), *module._buffers.values()]
        found += [*module._parameters.values(), *(parameter.requires_grad for parameter in module.parameters())]
        found += [
            *module._forward_hooks.values(),
            *module._forward_pre_hooks.values(),
            *module._backward_hooks.values(),
        ]
    return found


@pytest.mark.parametrize("rough", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_a_pass_leaves_nothing_behind(rough: bool, fails: bool) -> None:
    """The same parameters, buffers, modules, modes and hooks, with the same values, also when the forward raises."""
    network, images = tiny("FailingNet")
    network.fail_at = 0  # not before it is told to
    network.fc.bias.requires_grad_(False)
    network.features[2].train()
    network.register_forward_hook(lambda *_: None)
    before, values = belongings(network), copy.deepcopy(network.state_dict())
    backend = Backend(network, find_folds(network, images[:1]))
    assert "2 batch norms folded" in backend.description
    backend.logits(images, rough)
    if fails:
        network.fail_at = network.calls + 1
        with pytest.raises(RuntimeError, match="on purpose"):
            backend.logits(images, rough)
    after = belongings(network)
    assert len(after) == len(before)
    assert all(now is then for now, then in zip(after, before, strict=True))
    assert all(torch.equal(value, values[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_passes_keep_no_graph() -> None:
    """Logits need no gradient though the network's parameters do."""
    network, images = tiny()
    assert not Backend(network).logits(images).requires_grad


def test_folds_of_another_network_are_left_out() -> None:
    """A copy in a network's place, or one that shares only the convolution of a fold, runs as its own plain forward."""
    network, images = tiny()
    folds = find_folds(network, images[:1])
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin.features[1].weight += 0.5
    assert "folded" not in Backend(twin, folds).description
    assert_same_logits(Backend(twin, folds).logits(images), plain(twin, images))
    twin.features[0] = network.features[0]
    assert_same_logits(Backend(twin, folds).logits(images), plain(twin, images))


@pytest.mark.parametrize("name", ["TinyPooled", "resnet18"])
def test_rough_logits_are_near_the_precise_ones(name: str) -> None:
    """bfloat16 has 8 bits: its logits, handed out in float32, are others, by less than a few per cent of their size."""
    if not has_bf16(CPU):
        pytest.skip("this machine has no bfloat16 arithmetic, or ISCAM_NO_BF16 denies it")
    network, images = torchvision_network(name) if name == "resnet18" else tiny(name)
    backend = Backend(network, find_folds(network, images[:1]))
    assert backend.has_rough
    precise, rough = backend.logits(images), backend.logits(images, rough=True)
    assert precise.dtype == rough.dtype == torch.float32
    assert 1e-4 < float((rough - precise).norm() / precise.norm()) < 0.04


def test_rough_passes_read_weights_that_have_been_rounded_before() -> None:
    """Weights are put in place in bfloat16, folded or not, rather than rounded in every pass; short vectors are not."""
    network, images = tiny("TinyInplace")
    seen: list[torch.dtype] = []
    parts = (network.conv1, network.conv2, network.fc)
    network.register_forward_pre_hook(lambda *_: seen.extend(p.dtype for part in parts for p in part.parameters()))
    backend = Backend(network, find_folds(network, images[:1]))
    for rough, weight in ((False, torch.float32), (True, torch.bfloat16)):
        seen.clear()
        backend.logits(images[:1], rough)
        assert seen == [weight, torch.float32] * 3


def test_rough_passes_round_neither_norms_nor_whole_numbers() -> None:
    """A norm that is not folded, its counter and a parameter of indices serve rough passes as they are."""
    network, images = filled(NormFirst(), 8)
    backend = Backend(network, find_folds(network, images[:1]))
    precise, rough = backend.logits(images), backend.logits(images, rough=True)
    assert rough.dtype == torch.float32
    assert 0 < float((rough - precise).norm() / precise.norm()) < 0.04
    assert network.norm.num_batches_tracked.dtype == torch.int64
    assert network.norm.num_batches_tracked == 1


def test_the_description_names_what_makes_passes_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 where there is any, and the number of norms folded where there are any."""
    network, images = tiny()
    folds = find_folds(network, images)
    assert ("bfloat16" in Backend(network).description) == has_bf16(CPU)
    monkeypatch.setenv("ISCAM_NO_BF16", "1")
    assert Backend(network).description == "float32"
    assert Backend(network, folds).description == "float32, 2 batch norms folded"


def test_seconds_count_every_call() -> None:
    """The time in the network grows with every pass, of either kind, and is 0 before the first."""
    network, images = tiny()
    backend = Backend(network)
    assert backend.seconds == 0
    for rough in (False, True, False):
        before = backend.seconds
        backend.logits(images, rough)
        assert backend.seconds > before


def test_every_kind_of_pass_has_its_own_pace() -> None:
    """A precise pass tells nothing of how long a rough one takes."""
    network, images = tiny()
    backend = Backend(network)
    backend.logits(images[:1])
    assert math.isfinite(backend.pace("precise").seconds_per_row)
    assert backend.pace("rough").seconds_per_row == math.inf
    backend.logits(images[:1], rough=True)
    assert math.isfinite(backend.pace("rough").seconds_per_row)


def test_the_gain_of_rough_passes_is_known_when_both_kinds_have_been_timed() -> None:
    """It is the ratio of their times per row."""
    backend = Backend(tiny()[0])
    assert backend.gain is None
    backend.pace("precise").learn(1, 0.3)
    assert backend.gain is None
    backend.pace("rough").learn(1, 0.1)
    assert backend.gain == pytest.approx(3)


class Hungry(nn.Module):
    """Has memory for so many rows at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.fc = most, nn.Linear(12, 3)
        self.rows: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        if len(x) > self.most:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return self.fc(x.flatten(1))


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize("batch", [None, 8])
def test_a_batch_that_finds_no_memory_is_run_in_smaller_ones(streams: int, batch: int | None) -> None:
    """Each row once, and no such batch again; where not even a row has room, that is said."""
    images, network = torch.randn(70, 3, 2, 2), Hungry(3)
    backend = Backend(network, batch=batch)
    backend._streams, backend._crowd, backend._separable = streams, Crowd(streams), True
    refused: list[set[int]] = []  # sizes, by call: which of them there is time for depends on the machine
    for _ in range(2):
        network.rows.clear()
        assert_same_logits(backend.logits(images), plain(network.fc, images.flatten(1)))
        assert sum(rows for rows in network.rows if rows <= 3) == 70
        refused.append({rows for rows in network.rows if rows > 3})
        assert all(network.rows.count(rows) <= streams + 1 for rows in refused[-1])  # as many as are on their way
    assert refused[0].isdisjoint(refused[1]) and (batch is None or refused[0])
    network.most = 0
    with pytest.raises(RuntimeError, match="allocate memory"):
        backend.logits(images)


def paced(seconds_per_row: Callable[[int], float], batches: int = 30) -> tuple[Pace, list[int]]:
    """A pace that has been fed with batches of its own choice, and their sizes."""
    pace, chosen = Pace(SIZES["cpu"]), []
    for _ in range(batches):
        chosen.append(pace.rows(1000))
        pace.learn(chosen[-1], chosen[-1] * seconds_per_row(chosen[-1]))
    return pace, chosen


def test_sizes_are_tried_from_small_to_large() -> None:
    """Each of them TRIES times before a choice is made."""
    _, chosen = paced(lambda rows: 1e-3 / rows, TRIES * len(SIZES["cpu"]))
    assert chosen == [size for size in SIZES["cpu"] for _ in range(TRIES)]


@pytest.mark.parametrize("best", SIZES["cpu"])
def test_the_pace_settles_on_the_best_size(best: int) -> None:
    """Whichever it is, and whatever is to be seen of those before it; the others are tried again now and then."""
    pace, chosen = paced(lambda rows: 1e-3 if rows == best else 2e-3, 1000)
    assert chosen[-1] == best
    assert chosen.count(best) > 960
    assert min(chosen.count(size) for size in SIZES["cpu"]) > TRIES
    assert pace.seconds_per_row == pytest.approx(1e-3)


def test_a_slow_batch_decides_nothing() -> None:
    """The first of each size pays for planning, and a busy machine may slow any: a hundredfold time changes nothing."""
    tries = TRIES * len(SIZES["cpu"])
    for slow in (range(0, tries, TRIES), [tries - TRIES], range(tries, tries + 3)):
        batches = itertools.count()
        pace, chosen = paced(lambda rows, n=batches, slow=slow: (100 if next(n) in slow else 1) * 1e-4 / rows)
        assert chosen == paced(lambda rows: 1e-4 / rows)[1]
        assert pace.seconds_per_row == pytest.approx(1e-4 / SIZES["cpu"][-1])


def test_tries_that_a_busy_machine_has_spoilt_are_made_up_for() -> None:
    """The best size is found though all its first tries took ten times as long."""
    batches = itertools.count()
    _, chosen = paced(lambda rows: (10 if next(batches) < 10 and rows == 8 else 1) * (1e-4 if rows == 8 else 2e-4), 200)
    assert chosen[: TRIES * len(SIZES["cpu"])].count(8) == TRIES
    assert set(chosen[-50:]) == {8}


def test_a_quick_batch_decides_nothing() -> None:
    """Of many small batches a few are quick by luck, whatever they take on the whole."""
    batches = itertools.count()
    took = {1: 3e-3, 4: 2e-3, 8: 4e-3, 16: 5e-3}
    _, chosen = paced(lambda rows: 1e-3 if rows == 1 and next(batches) % 8 == 1 else took[rows], 400)
    assert chosen[-200:].count(4) > 190


@pytest.mark.parametrize("last", SIZES["cpu"][:-1])
def test_no_batch_is_tried_that_would_take_too_long(last: int) -> None:
    """A size waits while it would exceed BATCH_SECONDS at the time per row that is known; the smallest always runs."""
    following = SIZES["cpu"][SIZES["cpu"].index(last) + 1]
    for share, largest in ((1.01, last), (0.99, following)):
        _, chosen = paced(lambda _, share=share: share * BATCH_SECONDS / following)
        assert max(chosen) == largest
    assert set(paced(lambda _: 2 * BATCH_SECONDS)[1]) == {SIZES["cpu"][0]}


def test_a_size_that_has_proved_too_slow_is_not_tried_again() -> None:
    """Small batches may promise more than large ones keep: TRIES batches are longer than BATCH_SECONDS, and no more."""
    _, chosen = paced(lambda rows: 0.005 if rows < 8 else 0.03, 200)
    assert chosen.count(8) == TRIES
    assert chosen.count(16) <= TRIES


def test_a_batch_has_no_more_rows_than_are_left() -> None:
    """At least one and at most what is left, at any time; the size that would be next anyway, if so many are left."""
    for batches in (0, 3, 5, 30):
        pace, _ = paced(lambda rows: 1e-3 / rows, batches)
        full = pace.rows(1000)
        for left in range(1, 40):
            rows = pace.rows(left)
            assert 1 <= rows <= left
            assert rows == full or left < full


def test_the_last_rows_are_run_in_the_best_batches_they_allow() -> None:
    """Of the sizes that are not too large for them, the one with the least time per row."""
    pace, _ = paced(lambda rows: 1e-3 / rows)
    assert [pace.rows(left) for left in (15, 7, 3)] == [8, 4, 1]
    pace, _ = paced(lambda rows: 1e-3 * rows)
    assert [pace.rows(left) for left in (15, 7, 3)] == [1, 1, 1]


def test_batches_of_other_sizes_teach_nothing() -> None:
    """Remainders leave the time per row and the next size as they were."""
    pace = Pace(SIZES["cpu"])
    assert pace.seconds_per_row == math.inf
    for _ in range(2 * TRIES):
        pace.learn(3, 1e-9)
        pace.learn(17, 1e-9)
    assert pace.seconds_per_row == math.inf
    assert pace.rows(1000) == SIZES["cpu"][0]
    pace, _ = paced(lambda rows: 1e-3 / rows)
    pace.learn(5, 1e-9)
    assert pace.seconds_per_row == pytest.approx(1e-3 / SIZES["cpu"][-1])
