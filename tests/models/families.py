"""Small networks of twelve families of timm's with random weights, and where their maps are, told by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import timm
import torch
from timm.models.densenet import DenseNet
from timm.models.vgg import VGG
from torch import Tensor, nn

CLASSES = 6


@dataclass(frozen=True)
class Family:
    """How one is built, the side of its input, the layer that should be found, and its maps (C, h, w) in the output."""

    build: Callable[[], nn.Module]
    side: int
    layer: str
    size: tuple[int, int]
    maps: Callable[[Tensor], Tensor]
    cam: bool = False


def first(output: Tensor) -> Tensor:
    return output[0]


def last(output: Tensor) -> Tensor:
    return output[0].permute(2, 0, 1)


def tokens(others: int) -> Callable[[Tensor], Tensor]:
    return lambda output: output[0, others:].T.reshape(output.shape[2], 4, 4)


def _timm(name: str, **options: object) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=CLASSES, **options)


SWIN = {"img_size": 64, "window_size": 4, "embed_dim": 24, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 3, 4)}
FAMILIES = {
    "ResNet": Family(_timm("test_resnet"), 64, "layer4", (2, 2), first, cam=True),
    "RegNet": Family(_timm("regnetx_002"), 64, "s4", (2, 2), first, cam=True),
    "ConvNeXt": Family(_timm("test_convnext"), 64, "stages", (2, 2), first),
    "EfficientNet": Family(_timm("test_efficientnet"), 64, "bn2", (2, 2), first, cam=True),
    "MobileNet": Family(_timm("mobilenetv2_050"), 64, "bn2", (2, 2), first, cam=True),
    "DenseNet": Family(lambda: DenseNet(8, (2, 2, 2), num_classes=CLASSES), 64, "features", (4, 4), first, cam=True),
    "VGG": Family(
        lambda: VGG([8, "M", 16, "M", 16, "M", 24, "M"], num_classes=CLASSES, mlp_ratio=0.01),
        64,
        "features.10",
        (8, 8),
        first,
    ),
    "Inception": Family(_timm("inception_v3"), 96, "Mixed_6e", (4, 4), first),
    "ViT": Family(_timm("test_vit", img_size=64), 64, "blocks.5.norm1", (4, 4), tokens(1)),
    "DeiT": Family(
        _timm("deit_tiny_distilled_patch16_224", img_size=64, embed_dim=48, depth=4),
        64,
        "blocks.3.norm1",
        (4, 4),
        tokens(2),
    ),
    "Swin": Family(_timm("swin_tiny_patch4_window7_224", **SWIN), 64, "norm", (2, 2), last, cam=True),
    "MaxViT": Family(_timm("test_maxvit", img_size=64), 64, "norm", (2, 2), first, cam=True),
}


def build(name: str) -> nn.Module:
    """In train mode, as it comes from its maker; seeded, and its head as loud as a trained one's."""
    torch.manual_seed(0)
    network = FAMILIES[name].build()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Linear) and module.out_features == CLASSES:
                module.weight.normal_(std=0.5)
    return network
