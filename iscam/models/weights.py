"""Which weights of the table's models are on this machine, and how large the others are. No torch here."""

from __future__ import annotations

import os
from pathlib import Path

from .packaged import packaged_weights
from .table import BUNDLED, LITE

FILES = {  # of torchvision's DEFAULT weights: their names in torch.hub's cache, and megabytes
    "vgg16": ("vgg16-397923af.pth", 553),
    "resnet18": ("resnet18-f37072fd.pth", 47),
    "resnet50": ("resnet50-11ad3fa6.pth", 103),
    "squeezenet1_0": ("squeezenet1_0-b66bff10.pth", 5),
    "squeezenet1_1": ("squeezenet1_1-b8a52dc0.pth", 5),
    "mobilenet_v3_large": ("mobilenet_v3_large-5c1a4163.pth", 22),
    "densenet121": ("densenet121-a639ec97.pth", 32),
    "efficientnet_b0": ("efficientnet_b0_rwightman-7f5810bc.pth", 21),
    "convnext_tiny": ("convnext_tiny-983f1562.pth", 114),
    "vit_b_16": ("vit_b_16-c867db91.pth", 346),
}


def cache_folder() -> Path:
    """Where torch.hub keeps weights; `TORCH_HOME` moves it."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub" / "checkpoints"


def has_weights(key: str) -> bool:
    """Whether a model's weights are on this machine."""
    if key == LITE:
        try:
            return packaged_weights().is_file()
        except OSError:
            return False
    return key == BUNDLED or (cache_folder() / FILES[key][0]).exists()


def missing_megabytes(key: str) -> int | None:
    """How much must be downloaded before a model of the table can be used; None if its weights are here, or cannot be.

    >>> missing_megabytes("photo11") is None
    True
    """
    return None if key not in FILES or has_weights(key) else FILES[key][1]
