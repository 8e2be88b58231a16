"""The bundled classifier's network: a small residual net whose last map is 8x8 for a 128x128 input.

Source: residual blocks (He et al., arXiv 1512.03385) with squeeze-and-excitation (Hu et al., arXiv 1709.01507).
Global average pooling followed by one linear layer, so that CAM (arXiv 1512.04150) applies exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

CATEGORIES = (
    "cassette player",
    "cat",
    "chain saw",
    "church",
    "dog",
    "fish",
    "french horn",
    "gas pump",
    "golf ball",
    "parachute",
    "truck",
)
INPUT_SIZE = 128
RESIZE_SIZE = 144  # the photo's short side before the centre crop of INPUT_SIZE
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
STAGES = ((64, 2), (128, 2), (224, 1))  # channels and blocks of each stage; every stage halves the map
STEM_CHANNELS = 32


def conv_bn(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out))


class ChannelGate(nn.Module):
    """Squeeze-and-excitation: scale each channel by a number in (0, 1) computed from all channel means."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.excite(torch.relu(self.squeeze(x.mean((2, 3)))))  # (B, C)
        return x * torch.sigmoid(gate)[:, :, None, None]


class ResidualBlock(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv_bn(channels_in, channels_out, 3, stride)
        self.conv2 = conv_bn(channels_out, channels_out, 3)
        self.gate = ChannelGate(channels_out)
        same = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if same else conv_bn(channels_in, channels_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.gate(self.conv2(torch.relu(self.conv1(x))))
        return torch.relu(out + self.shortcut(x))


class Photo11Net(nn.Module):
    """Input (B, 3, 128, 128), normalised by MEAN and STD; output logits (B, 11). `layer3` is (B, 224, 8, 8), >= 0."""

    def __init__(self, classes: int = len(CATEGORIES)) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(3, STEM_CHANNELS, 5, 2), nn.ReLU())
        channels = STEM_CHANNELS
        stages = []
        for width, blocks in STAGES:
            first = ResidualBlock(channels, width, 2)
            stages.append(nn.Sequential(first, *(ResidualBlock(width, width, 1) for _ in range(blocks - 1))))
            channels = width
        self.layer1, self.layer2, self.layer3 = stages
        self.fc = nn.Linear(channels, classes)

    def features(self, x: Tensor) -> Tensor:
        """The last maps (B, 224, 8, 8), >= 0."""
        maps: Tensor = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return maps

    def classify(self, features: Tensor) -> Tensor:
        """Logits (B, K) of the last maps: their means, and one linear layer."""
        logits: Tensor = self.fc(features.mean((2, 3)))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.features(x))
