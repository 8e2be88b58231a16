"""The MODELS table, and `load_model`. Importing this module does not load torch (see `weights.py` for what does)."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from iscam.images import Geometry
from iscam.project import ASSETS

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

    from iscam.engine import Fold

DEFAULT_MODEL = "photo11"
LONGEST_NAME = 200  # letters; the suggestions for a name take a time that grows with its length
BUNDLED_WEIGHTS = ASSETS / "bundled" / "photo11.safetensors"


@dataclass(frozen=True)
class ModelSpec:
    """One row of MODELS: the default target layer and all offered layers with their map sizes (h, w), coarse to fine.

    `head_layer` is the layer before global pooling and one linear head (CAM applies there), or None.
    """

    key: str
    label: str
    layer: str
    layers: dict[str, tuple[int, int]]
    head_layer: str | None


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network in eval mode with all that is needed to explain a photo.

    `transforms` maps an RGB picture to the normalised input (3, H, W); `geometry` says which part of the photo that is.
    `head` (K, C) is the linear head's weight where CAM applies at `head_layer`, else None. `folds` are convolutions,
    each with the batch norm that alone reads it.
    """

    key: str
    label: str
    network: nn.Module
    categories: tuple[str, ...]
    layer: str
    layers: dict[str, tuple[int, int]]
    geometry: Geometry
    transforms: Callable[[Image.Image], Tensor]
    weights_file: Path | None
    head: Tensor | None
    head_layer: str | None
    folds: tuple[Fold, ...] = ()

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights file, in hexadecimal; empty for a network without one."""
        if self.weights_file is None:
            return ""
        with self.weights_file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def find_layer(self, name: str | None) -> str:
        """The layer's name (None: the model's default). Raises ValueError, with the sensible ones, if there is none."""
        if name is None:
            return self.layer
        if name not in dict(self.network.named_modules()):
            raise ValueError(f"{self.label} has no layer {name!r}: choose one of {', '.join(self.layers)}.")
        return name

    def find_class(self, name: int | str) -> int:
        """The index of a class given by its index, its digits, or its category: exact, else the only one but for case.

        Raises:
            ValueError: no such class, or several; lists the candidates.
        """
        last = len(self.categories) - 1
        if isinstance(name, str) and len(name) > LONGEST_NAME:
            raise ValueError(f"No class has a name of {len(name)} letters: try an index from 0 to {last}.")
        if isinstance(name, int) or (name.isascii() and name.isdigit()):
            index = int(name)
            if isinstance(name, bool) or not 0 <= index <= last:
                raise ValueError(f"The class index must lie between 0 and {last}, not {name}.")
            return index
        folded = [category.casefold() for category in self.categories]
        found = [i for i, category in enumerate(self.categories) if category == name]
        found = found or [i for i, category in enumerate(folded) if category == name.casefold()]
        if len(found) == 1:
            return found[0]
        problem = f"The class {name!r} is not unique" if found else f"There is no class {name!r}"
        candidates = found or self._similar(name.casefold(), folded)
        hint = ", ".join(f"{self.categories[i]} ({i})" for i in candidates) or f"an index from 0 to {last}"
        raise ValueError(f"{problem}: try {hint}.")

    def _similar(self, name: str, folded: list[str]) -> list[int]:
        """Up to ten classes whose case-folded category contains the name or is spelt much like it."""
        close = difflib.get_close_matches(name, folded, 5, 0.7)
        containing = [i for i, category in enumerate(folded) if name.strip() and name in category][:5]
        return containing + [i for i, category in enumerate(folded) if category in close and i not in containing][:5]


def _row(key: str, label: str, layers: dict[str, int], cam: bool) -> ModelSpec:
    sizes = {name: (side, side) for name, side in layers.items()}
    layer = next(iter(layers))
    return ModelSpec(key, label, layer, sizes, layer if cam else None)


MODELS = {
    row.key: row
    for row in (
        _row("photo11", "photo11", {"layer3": 8, "layer2": 16, "layer1": 32}, cam=True),
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


def load_model(
    key: str = DEFAULT_MODEL,
    *,
    arch: str | None = None,
    checkpoint: str | Path | None = None,
    labels: str | Path | None = None,
    input_size: int | None = None,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
    device: str = "cpu",
) -> LoadedModel:
    """A model of the MODELS table, or your own checkpoint of a torchvision architecture.

    Args:
        key: a key of MODELS. Weights that are not in the cache are downloaded, within a time limit.
        arch: the architecture of `checkpoint`: a torchvision builder's name, or `photo11`.
        checkpoint: weights only (.safetensors, or a torch file with a state dict; never arbitrary pickles).
        labels: a text file with one category per line.
        input_size, mean, std: how the checkpoint's network was fed, if not as torchvision feeds the architecture.
        device: `cpu` or `cuda`.

    Raises:
        ValueError: unknown names, or a checkpoint or labels that do not fit; one sentence.
        OSError: weights that cannot be read or fetched; names the file and the cache folder.
    """
    own = (labels, input_size, mean, std)
    if any(len(triple) != 3 for triple in (mean, std) if triple is not None) or (std and not min(std) > 0):
        raise ValueError("Mean and std are three numbers each, for red, green and blue, and the stds lie above 0.")
    if arch is None and checkpoint is None:
        if any(option is not None for option in own):
            raise ValueError(
                "Labels, input size, mean and std belong to a checkpoint of your own: name it, with its arch."
            )
        if key not in MODELS:
            raise ValueError(f"There is no model {key!r}: choose one of {', '.join(MODELS)}.")
    elif arch is None or checkpoint is None:
        raise ValueError("Your own weights need both an architecture (arch) and a checkpoint file.")
    from . import checkpoint as weights

    weights.require_device(device)
    if arch is None or checkpoint is None:
        return weights.load_bundled(device) if key == "photo11" else weights.load_torchvision(MODELS[key], device)
    return weights.load_checkpoint(arch, Path(checkpoint), labels, input_size, mean, std, device)
