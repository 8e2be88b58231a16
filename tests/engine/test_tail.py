"""What follows a layer, run alone: the same logits as the whole network's, on fewer modules, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from iscam import Explainer, LoadedModel, Progress
from iscam.engine.backend import Backend
from iscam.engine.capture import ForwardPass, forward_pass
from iscam.engine.tail import Change, Copies, Tail, changing, keeping, off_the_way, running, silencing
from iscam.notes import WHOLE
from tests import tiny_models
from tests.cases import analysed

Tiny = Callable[..., LoadedModel]
NETWORKS = ("TinyPooled", "TinyInplace", "TinyMlpHead", "TinyReluHead", "TinyTokens", "ConstantNet")
CHANNELS = torch.tensor([3, 0, 3, 5])


def whole(network: nn.Module, layer: str, change: Change, image: Tensor, rows: int) -> Tensor:
    return changed_in(network, forward_pass(network, layer, image), change, rows)


def changed_in(network: nn.Module, forward: ForwardPass, change: Change, rows: int) -> Tensor:
    with torch.no_grad(), changing(network, forward.site, change):
        return network(forward.image.expand(rows, -1, -1, -1))


def counts(network: nn.Module) -> dict[str, int]:
    """Rows that each module without parts really computes, counted from now on."""
    seen: dict[str, int] = {}

    def count(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[name] = seen.get(name, 0) + len(inputs[0])

        return hook

    for name, module in network.named_modules():
        if not list(module.children()):
            module.register_forward_pre_hook(count(name))
    return seen


@pytest.mark.parametrize("name", NETWORKS)
def test_a_copy_gives_what_it_gives_in_the_whole_network(name: str) -> None:
    """Also behind an in-place ReLU that is used twice, and of tokens, of which the class token stays."""
    network = tiny_models.build(name)
    image = tiny_models.sample(network)
    tail = Tail(network, forward_pass(network, network.layer, image), silencing(CHANNELS[:1]), silencing(CHANNELS[:2]))
    assert tail.alone
    for change in (silencing(CHANNELS), keeping(torch.tensor([3, 0, 2, 1]))):
        found = tail.logits(change, image.expand(4, -1, -1, -1))
        torch.testing.assert_close(found, whole(network, network.layer, change, image, 4), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(tail.first, whole(network, network.layer, silencing(CHANNELS[:2]), image, 2))


@pytest.mark.parametrize("layer", ["layer4", "layer4.0", "layer3.1.conv1", "layer2.0.bn1", "layer1", "relu"])
def test_layers_among_residual_branches_too(layer: str) -> None:
    torch.manual_seed(0)
    network, image = models.resnet18().eval(), torch.rand(1, 3, 64, 64)
    tail = Tail(network, forward_pass(network, layer, image), silencing(CHANNELS[:1]), silencing(CHANNELS[:2]))
    assert tail.alone
    found = tail.logits(silencing(CHANNELS), image.expand(4, -1, -1, -1))
    torch.testing.assert_close(found, whole(network, layer, silencing(CHANNELS), image, 4), atol=1e-4, rtol=0)
    assert (found[0] - found[1]).abs().max() > 1e-4  # else it would not matter which channel is silenced


def test_layers_whose_maps_are_joined_with_earlier_ones() -> None:
    """DenseNet's: what is kept of one photo stands beside as many copies as there are."""
    torch.manual_seed(0)
    network, image = models.DenseNet(8, (2, 2), 16).eval(), torch.rand(1, 3, 64, 64)
    layer = "features.denseblock2.denselayer1.conv2"
    tail = Tail(network, forward_pass(network, layer, image), silencing(CHANNELS[:1]), silencing(CHANNELS[:2]))
    found = tail.logits(silencing(CHANNELS), image.expand(4, -1, -1, -1))
    assert tail.alone
    torch.testing.assert_close(found, whole(network, layer, silencing(CHANNELS), image, 4), atol=1e-4, rtol=0)


def test_what_comes_before_the_layer_is_run_once() -> None:
    network = models.resnet18().eval()
    image = torch.rand(1, 3, 64, 64)
    tail = Tail(network, forward_pass(network, "layer4", image), silencing(CHANNELS[:1]), silencing(CHANNELS[:2]))
    seen = counts(network)
    tail.logits(silencing(CHANNELS), image.expand(4, -1, -1, -1))
    assert seen["fc"] == 4
    assert not [name for name in seen if name.startswith(("layer1.", "layer2.", "layer3.", "layer4."))]


class Forgetful(nn.Module):
    """Gives something else each time it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


class Awkward(nn.Module):
    """A network of which the part behind `layer` cannot be run alone: it asks `way` for the reason."""

    layer = "second"

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3)
        self.forgetful, self.fc = Forgetful(), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if self.way == "overwrites":
            x += 1
        x = self.second(x)
        if self.way == "forgets":
            self.forgetful.calls = self.forgetful.calls % 2
            x = self.forgetful(x)
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("way", ["overwrites", "forgets"])
def test_where_it_cannot_be_run_alone_it_is_run_whole(way: str) -> None:
    """What was kept must not be overwritten, and what differs from the whole network's logits is not believed."""
    network, image = Awkward(way).eval(), torch.rand(1, 3, 12, 12)
    forward = forward_pass(network, "second", image)
    tail = Tail(network, forward, silencing(CHANNELS[:1]), silencing(CHANNELS[:2]))
    assert not tail.alone
    network.forgetful.calls = 0
    found = tail.logits(silencing(CHANNELS), image.expand(4, -1, -1, -1))
    network.forgetful.calls = 0
    torch.testing.assert_close(found, changed_in(network, forward, silencing(CHANNELS), 4))


@pytest.mark.parametrize(("method", "copies"), [("ablation-cam", 8), ("recipro-cam", 16)])
def test_the_note_says_when_every_pass_was_whole(
    tiny: Tiny, method: str, copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("TinyPooled")
    explainer, analysis = analysed(model)
    reports: list[Progress] = []
    alone = explainer.explain(analysis, method, 1, progress=reports.append)
    assert WHOLE not in alone.note and alone.forward_passes == reports[-1].done == reports[-1].total == copies + 1

    def cannot(self: Tail, change: object, rows: int) -> Tensor:
        raise RuntimeError("no")

    monkeypatch.setattr(Tail, "_run", cannot)
    explainer = Explainer(model)
    analysis = explainer.analyse_input(analysis.photo, analysis.crop, analysis.forward.image, model.layer)
    found = explainer.explain(analysis, method, 1, progress=reports.append)
    assert WHOLE in found.note  # two were tried in vain
    assert found.forward_passes == reports[-1].done == reports[-1].total == copies + 2
    torch.testing.assert_close(torch.from_numpy(found.raw), torch.from_numpy(alone.raw), atol=1e-5, rtol=1e-4)
    assert WHOLE not in explainer.explain(analysis, method, 2).note  # nothing was run for it


def test_copies_are_counted_as_the_rows_that_enter_the_network() -> None:
    network = tiny_models.build("TinyPooled")
    forward = forward_pass(network, "features", tiny_models.sample(network))
    entered: list[int] = []
    network.register_forward_pre_hook(lambda _module, inputs: entered.append(len(inputs[0])))
    copies = Copies(Backend(network, batch=3), forward)
    places, found = torch.arange(8), 0
    while found < 8:
        found += len(copies.run(silencing, places[found:]))
    assert entered == [1, 2, 3, 3] and copies.rows == 9
    assert not copies.whole


def test_a_cell_is_kept_with_a_share_of_its_neighbours() -> None:
    found = torch.ones(3, 2, 3, 3)
    keeping(torch.tensor([0, 4, 5]))(found)
    found *= 16
    assert found[0, 0].tolist() == [[4, 2, 0], [2, 1, 0], [0, 0, 0]]
    assert found[1, 1].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert found[2, 0].tolist() == [[0, 1, 2], [0, 2, 4], [0, 1, 2]]


def test_modules_beside_a_layer_are_the_largest_that_do_not_hold_it() -> None:
    network = models.resnet18()
    assert [*off_the_way(network, "layer4")] == [
        *("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3"),
        *("avgpool", "fc"),
    ]
    assert [*off_the_way(network, "layer1.0.conv1")][-4:] == [
        "layer1.0.bn1",
        "layer1.0.relu",
        "layer1.0.conv2",
        "layer1.0.bn2",
    ]


def test_no_trace_is_left_also_by_a_run_that_fails() -> None:
    network = tiny_models.build("TinyPooled").train()
    own = network.fc.__dict__["forward"] = network.fc.forward  # as of somebody who runs another function there
    with pytest.raises(RuntimeError, match="on purpose"), running({network.features: len, network.fc: len}):
        raise RuntimeError("on purpose")
    assert "forward" not in network.features.__dict__ and network.fc.__dict__["forward"] is own
    forward = forward_pass(network, "features.3", tiny_models.sample(network))
    Tail(network, forward, silencing(CHANNELS[:1]), silencing(CHANNELS[:2]))
    assert all("forward" not in module.__dict__ for module in network.modules() if module is not network.fc)
    assert all(module.training and not module._forward_hooks for module in network.modules())
