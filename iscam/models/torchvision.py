"""torchvision's networks with its published weights, from torch.hub's cache."""

from __future__ import annotations

from pathlib import Path

import torchvision

from .architectures import build, cut_by, default_geometry, imagenet_categories
from .checkpoint import read_checkpoint
from .describe import describe
from .download import Progress, fetch
from .loaded import LoadedModel
from .preprocessing import MEAN, STD, make_transforms
from .table import ModelSpec
from .weights import FILES, cache_folder


def load_torchvision(spec: ModelSpec, device: str) -> LoadedModel:
    """A torchvision model with its DEFAULT weights, through torchvision's own loader and from its cache."""
    weights = torchvision.models.get_model_weights(spec.key).DEFAULT
    file = fetch_default(spec.key)
    try:
        read_checkpoint(file)  # torchvision would unpickle anything that lies in the cache
        network = build(spec.key, weights=weights)
    except (ValueError, RuntimeError) as error:
        raise OSError(f"The weights file {file.name} in {file.parent} is damaged: delete it and try again.") from error
    transforms = weights.transforms()
    categories = tuple(weights.meta["categories"])
    return describe(network, spec, categories, cut_by(transforms), transforms, file, device)


def load_untrained(spec: ModelSpec, device: str) -> LoadedModel:
    """A model of ImageNet's classes with random weights, whose maps mean nothing: passes can be timed with it."""
    network, geometry = build(spec.key), default_geometry(spec.key)
    transforms = make_transforms(geometry, MEAN, STD)
    return describe(network, spec, imagenet_categories(), geometry, transforms, None, device)


def fetch_default(key: str, progress: Progress | None = None) -> Path:
    """The file of torchvision's DEFAULT weights in torch.hub's cache, downloaded if it is not there. Raises as `fetch`."""
    url = torchvision.models.get_model_weights(key).DEFAULT.url
    file = cache_folder() / FILES[key][0]
    if not file.exists():
        fetch(url, file, progress)
    return file
