"""EfficientNet-Lite0: timm's network, with ImageNet weights from a package (Apache-2.0)."""

from __future__ import annotations

from .architectures import build, default_geometry, imagenet_categories
from .checkpoint import fill, read_checkpoint
from .describe import describe
from .digest import verify
from .loaded import LoadedModel
from .packaged import SHA256, WEIGHTS, packaged_weights
from .preprocessing import HALVES, make_transforms
from .table import LITE, MODELS


def load_lite(device: str) -> LoadedModel:
    """The row `efficientnet_lite0`.

    Raises:
        OSError: a package is missing, or its file is not the published one; one sentence.
    """
    file = packaged_weights()
    verify(file, SHA256, f"install {WEIGHTS} again")
    network = build(LITE)
    # the package gives the tensors other names; they stand in the same order, which the hash has just made sure of
    fill(network, dict(zip(network.state_dict(), read_checkpoint(file).values(), strict=True)), file.name)
    geometry = default_geometry(LITE)
    transforms = make_transforms(geometry, HALVES, HALVES)
    return describe(network, MODELS[LITE], imagenet_categories(), geometry, transforms, file, device)
