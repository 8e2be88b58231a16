"""The MODELS table: what can be asked for by name. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

BUNDLED = "photo11"  # comes with the project, so that it is always there
LITE = "efficientnet_lite0"  # comes with the requirements
DEFAULT_MODEL = LITE


@dataclass(frozen=True)
class ModelSpec:
    """One row of MODELS: the default target layer and all offered layers with their map sizes (h, w), coarse to fine.

    `head_layer` is the layer before global pooling and one linear head (CAM applies there), or None. `head` says what the
    outputs mean, a key of HEADS.

    >>> MODELS["resnet18"].layer, MODELS["resnet18"].layers["layer4"]
    ('layer4', (7, 7))
    """

    key: str
    label: str
    layer: str
    layers: dict[str, tuple[int, int]]
    head_layer: str | None
    head: str = "softmax"


def _row(key: str, label: str, layers: dict[str, int], cam: bool) -> ModelSpec:
    sizes = {name: (side, side) for name, side in layers.items()}
    layer = next(iter(layers))
    return ModelSpec(key, label, layer, sizes, layer if cam else None)


MODELS = {
    row.key: row
    for row in (
        _row(BUNDLED, "photo11", {"layer3": 8, "layer2": 16, "layer1": 32}, cam=True),
        _row("vgg16", "VGG-16", {"features.29": 14, "features.22": 28, "features.15": 56}, cam=False),
        _row("resnet18", "ResNet-18", {"layer4": 7, "layer3": 14, "layer2": 28, "layer1": 56}, cam=True),
        _row("resnet50", "ResNet-50", {"layer4": 7, "layer3": 14, "layer2": 28, "layer1": 56}, cam=True),
        _row("squeezenet1_0", "SqueezeNet 1.0", {"features.12": 13, "features.10": 27, "features.5": 54}, cam=False),
        _row("squeezenet1_1", "SqueezeNet 1.1", {"features.12": 13, "features.7": 27, "features.4": 55}, cam=False),
        _row(
            "mobilenet_v3_large",
            "MobileNet V3 Large",
            {"features.16": 7, "features.12": 14, "features.6": 28, "features.3": 56},
            cam=False,
        ),
        _row(
            "densenet121",
            "DenseNet-121",
            {"features": 7, "features.denseblock3": 14, "features.denseblock2": 28},
            cam=True,
        ),
        _row(
            "efficientnet_b0",
            "EfficientNet-B0",
            {"features.8": 7, "features.5": 14, "features.3": 28, "features.2": 56},
            cam=True,
        ),
        _row(
            LITE,
            "EfficientNet-Lite0",
            # the last maps behind a ReLU of each size; blocks end in signed ones
            {"bn2": 7, "blocks.5.0.bn1": 14, "blocks.3.0.bn1": 28, "blocks.2.0.bn1": 56},
            cam=True,
        ),
        _row(
            "convnext_tiny",
            "ConvNeXt-Tiny",
            {"features.7": 7, "features.5": 14, "features.3": 28, "features.1": 56},
            cam=False,
        ),
        _row(
            "vit_b_16",
            "ViT-B/16",
            {
                f"encoder.layers.encoder_layer_{i}.ln_1": 14 for i in (11, 8, 5, 2)
            },  # behind these, patches are still read
            cam=False,
        ),
    )
}
