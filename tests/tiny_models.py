"""Tiny seeded networks for the tests: eval mode, float32, a millisecond a pass.

Every class names its target layer in `layer`, its input side in `input_size` and its number of classes in `classes`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _convolutions(middle: int, outputs: int) -> nn.Sequential:
    """conv-bn-relu twice, (B, 3, S, S) -> (B, outputs, S / 4, S / 4)."""
    first, second = nn.Conv2d(3, middle, 3, stride=2, padding=1), nn.Conv2d(middle, outputs, 3, stride=2, padding=1)
    return nn.Sequential(first, nn.BatchNorm2d(middle), nn.ReLU(), second, nn.BatchNorm2d(outputs), nn.ReLU())


class TinyPooled(nn.Module):
    """Global average pooling and one linear layer: CAM applies. `features` gives (B, 8, 4, 4).

    `flat` and `dead` name a channel of the layer that is 0.7, or 0, everywhere, whatever the input.
    """

    layer, input_size, classes = "features", 16, 5

    def __init__(self, flat: int | None = None, dead: int | None = None) -> None:
        super().__init__()
        self.flat, self.dead = flat, dead
        self.features, self.fc = _convolutions(6, 8), nn.Linear(8, self.classes)

    def fix(self) -> None:
        conv, norm = self.features[3], self.features[4]
        for channel, constant in ((self.flat, 0.7), (self.dead, -1.0)):
            if channel is not None:  # without weights only the norm's shift is left, then the ReLU
                conv.weight[channel], conv.bias[channel] = 0.0, 0.0
                norm.running_mean[channel], norm.bias[channel] = 0.0, constant

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean(dim=(2, 3)))


class FailingNet(TinyPooled):
    """TinyPooled that raises RuntimeError on its `fail_at`-th forward, counted from 1, after its layer has run."""

    def __init__(self, fail_at: int = 2) -> None:
        super().__init__()
        self.fail_at, self.calls = fail_at, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        logits = super().forward(x)
        if self.calls == self.fail_at:
            raise RuntimeError(f"forward {self.calls} fails on purpose")
        return logits


class TinyInplace(nn.Module):
    """The layer `conv2` (B, 8, 4, 4), negative values included, is overwritten by the in-place ReLU right behind it."""

    layer, input_size, classes = "conv2", 16, 5

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.relu = nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(inplace=True)
        self.fc = nn.Linear(8, self.classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.relu(self.conv2(self.relu(self.bn1(self.conv1(x))))).mean(dim=(2, 3)))


class TinyMlpHead(nn.Module):
    """Two linear layers behind the pooling: CAM does not apply. `features` gives (B, 7, 5, 5)."""

    layer, input_size, classes = "features", 20, 6

    def __init__(self) -> None:
        super().__init__()
        self.features = _convolutions(6, 7)
        self.head = nn.Sequential(nn.Linear(7, 10), nn.ReLU(), nn.Linear(10, self.classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean(dim=(2, 3)))


class TinyReluHead(nn.Module):
    """SqueezeNet's head (1x1 conv, ReLU, pooling): the logit of class `silent` and its gradients are exactly 0."""

    layer, input_size, classes, silent = "features", 20, 6, 1

    def __init__(self) -> None:
        super().__init__()
        self.features = _convolutions(6, 8)
        self.classifier = nn.Sequential(nn.Conv2d(8, self.classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def fix(self) -> None:
        weight, bias = self.classifier[0].weight, self.classifier[0].bias
        weight[self.silent], bias[self.silent] = -weight[self.silent].abs(), -0.1

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x)).flatten(1)


class TinyTokens(nn.Module):
    """A one-block vision transformer, layer output (B, 1 + 4 * 4, 8). Behind the layer `unread` no patch is read."""

    layer, unread, input_size, classes = "block.ln_1", "ln", 16, 7

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.class_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.positions = nn.Parameter(torch.zeros(1, 17, 8))
        attention, mlp = nn.MultiheadAttention(8, 2, batch_first=True), nn.Sequential(nn.Linear(8, 8), nn.GELU())
        self.block = nn.ModuleDict(
            {"ln_1": nn.LayerNorm(8), "attention": attention, "ln_2": nn.LayerNorm(8), "mlp": mlp}
        )
        self.ln, self.head = nn.LayerNorm(8), nn.Linear(8, self.classes)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)  # (B, 16, 8)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), patches], dim=1) + self.positions
        y = self.block["ln_1"](x)
        x = x + self.block["attention"](y, y, y, need_weights=False)[0]
        x = x + self.block["mlp"](self.block["ln_2"](x))
        return self.head(self.ln(x)[:, 0])


class ConstantNet(nn.Module):
    """The same logits for every input; the layer `features` (B, 6, 4, 4) is computed and used with weight 0."""

    layer, input_size, classes = "features", 16, 5

    def __init__(self) -> None:
        super().__init__()
        self.features, self.logits = nn.Conv2d(3, 6, 4, stride=4), nn.Parameter(torch.zeros(self.classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits + 0.0 * self.features(x).mean(dim=(1, 2, 3))[:, None]


class SumNet(nn.Module):
    """Logit 0 is the sum of the whole input, logit 1 is 0; the layer `features` (B, 3, 16, 16) is the input itself."""

    layer, input_size, classes = "features", 16, 2

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)

    def fix(self) -> None:
        self.features.weight.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        total = self.features(x).sum(dim=(1, 2, 3))
        return torch.stack([total, 0.0 * total], dim=1)


NETWORKS = (TinyPooled, FailingNet, TinyInplace, TinyMlpHead, TinyReluHead, TinyTokens, ConstantNet, SumNet)
TINY: dict[str, type[nn.Module]] = {network.__name__: network for network in NETWORKS}


def build(name: str, seed: int = 0, **options: int) -> nn.Module:
    """The network in eval mode, filled from its own generator; torch's global random state stays as it is."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():  # the constructors draw numbers too
        network = TINY[name](**options).eval()
        generator = torch.Generator().manual_seed(seed)
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                noise = torch.randn(value.shape, generator=generator)
                if key.endswith("running_var"):
                    value.copy_(0.5 + noise.abs())
                elif value.ndim > 1:  # weights: signals keep their size from layer to layer
                    value.copy_(noise * (2.0 / value[0].numel()) ** 0.5)
                else:  # biases and means about 0, the scales of norms about 1
                    value.copy_(0.3 * noise + key.endswith("weight"))
        if hasattr(network, "fix"):
            network.fix()
    return network


def sample(network: nn.Module, count: int = 1, seed: int = 1) -> Tensor:
    """`count` seeded inputs (count, 3, S, S) of unit variance, of the side this network takes."""
    side = network.input_size
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))
