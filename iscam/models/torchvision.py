"""torchvision's networks with its published weights, from torch.hub's cache."""

from __future__ import annotations

from pathlib import Path

import torchvision

from iscam.images import Geometry

from .architectures import build, default_geometry
from .checkpoint import read_checkpoint
from .describe import describe
from .download import cached_weights, fetch
from .loaded import LoadedModel
from .preprocessing import MEAN, STD, make_transforms
from .table import BUNDLED, ModelSpec


def load_torchvision(spec: ModelSpec, device: str) -> LoadedModel:
    """A torchvision model with its DEFAULT weights, through torchvision's own loader and from its cache."""
    weights = torchvision.models.get_model_weights(spec.key).DEFAULT
    file = ensure_weights(spec.key)
    try:
        read_checkpoint(file)  # torchvision would unpickle anything that lies in the cache
        network = build(spec.key, weights=weights)
    except (ValueError, RuntimeError) as error:
        raise OSError(f"The weights file {file.name} in {file.parent} is damaged: delete it and try again.") from error
    transforms = weights.transforms()
    geometry = Geometry(transforms.resize_size[0], transforms.crop_size[0])
    return describe(network, spec, tuple(weights.meta["categories"]), geometry, transforms, file, device)


def load_untrained(spec: ModelSpec, device: str) -> LoadedModel:
    """A torchvision model with random weights, whose maps mean nothing: passes can be timed with it."""
    network, geometry = build(spec.key), default_geometry(spec.key)
    categories = tuple(torchvision.models.get_model_weights(spec.key).DEFAULT.meta["categories"])
    return describe(network, spec, categories, geometry, make_transforms(geometry, MEAN, STD), None, device)


def imagenet_categories() -> tuple[str, ...]:
    """ImageNet's 1000 categories as torchvision's models name them."""
    return tuple(torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"])


def has_weights(key: str) -> bool:
    """Whether a model's weights are on this machine."""
    return key == BUNDLED or cached_weights(torchvision.models.get_model_weights(key).DEFAULT.url).exists()


def ensure_weights(key: str) -> Path:
    """The file of a torchvision model's DEFAULT weights in torch.hub's cache, downloaded if it is not there.

    Raises:
        OSError: it could not be downloaded; one sentence with file and folder.
    """
    url = torchvision.models.get_model_weights(key).DEFAULT.url
    file = cached_weights(url)
    if not file.exists():
        fetch(url, file)
    return file
