"""A folder as the Hugging Face Hub stores one of timm's networks: config.json and model.safetensors. Nothing in it is run."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from iscam.images import Geometry

from .architectures import imagenet_categories
from .checkpoint import fill, read_checkpoint
from .config import MOST_CLASSES, SIDES, Feed, arguments, choice, feed_of, labels, mapping, number, whole
from .describe import describe, probe_of
from .hub import WEIGHTS
from .layers import find_layers
from .loaded import LoadedModel, numbered
from .preprocessing import MEAN, STD
from .reading import UNREADABLE

FITS = {"center": "center", "squash": "squash", "border": "pad"}  # timm's words for what Geometry calls so
# What timm's maker of networks takes for itself, or hands to what fetches, loads or wraps: never set by a config
KEPT = {"features_only", "feature_cls", "feature_cfg", "out_indices", "device", "dtype", "pruned", "cfg", "model_cfg"}
# What makers of networks raise on arguments that make no sense
FAILURES = (*UNREADABLE, ArithmeticError, MemoryError, RecursionError)
SPARE = 1_000_000  # numbers that a network may have beyond twice those of its file


@dataclass(frozen=True)
class Stored:
    """What a config says of a network: how it is built and fed, and what its classes are called."""

    architecture: str
    classes: int
    arguments: dict[str, Any]
    fixed: bool
    feed: Feed
    categories: tuple[str, ...]


def load_stored(
    folder: Path, said: Mapping[str, Any], key: str, label: str, device: str, architecture: str | None = None
) -> LoadedModel:
    """The network of a folder.

    Args:
        folder: holds `model.safetensors`.
        said: what its config.json says.
        key, label: its name, and what it is called for people.
        architecture: a name of timm's, if not the one that the config says.

    Raises:
        ValueError: the config says what is not sane or not known here, or the weights do not fit it; one sentence.
        OSError: there are no weights.
    """
    file = folder / WEIGHTS
    if not file.is_file():
        raise OSError(f"There is no {WEIGHTS} in {folder}: weights in other files, such as pickles, are not opened.")
    stored = read_stored(said, architecture)
    state = read_checkpoint(file)
    network = build_stored(stored, state, label)
    geometry, transforms = feeding(stored.feed)
    return described(network, key, label, "softmax", stored.categories, geometry, transforms, file, device)


def described(
    network: nn.Module,
    key: str,
    label: str,
    head: str,
    categories: tuple[str, ...],
    geometry: Geometry,
    transforms: Callable[[Image.Image], Tensor],
    file: Path,
    device: str,
) -> LoadedModel:
    """A filled network with its layers, found as those of any network are.

    Raises:
        ValueError: it cannot take its input, or gives no maps; one sentence.
    """
    network.eval()
    try:
        spec = find_layers(label, network, probe_of(network, transforms))
    except AssertionError as error:  # transformers of a fixed size assert it
        raise ValueError(f"{label} cannot take the input that its config.json says.") from error
    spec = replace(spec, key=key, head=head)
    return describe(network, spec, categories, geometry, transforms, file, device)


def read_stored(said: Mapping[str, Any], architecture: str | None = None) -> Stored:
    """What is used of a config of timm's; nothing else of it has any effect.

    Raises:
        ValueError: something in it is not sane, or not known here; one sentence.
    """
    import timm  # seconds that nobody else waits for

    known = mapping(said, "pretrained_cfg") or said  # old ones have no such part
    name = architecture or said.get("architecture") or known.get("architecture")
    if not isinstance(name, str) or not timm.is_model(name) or "." in name:
        raise ValueError(
            f"The architecture {str(name or '')[:60]!r} in config.json is none of timm's: this library reads those, and image "
            "classifiers of transformers."
        )
    feed = feed_of(known, MEAN, STD)
    given = arguments(mapping(said, "model_args"), _kept(), "model_args")
    classes = whole(said if "num_classes" in said else known, "num_classes", 1, MOST_CLASSES, 1000)
    if given.pop("num_classes", classes) != classes:
        raise ValueError("In the network's config model_args has another num_classes than the rest.")
    if given.get("in_chans", feed.channels) != feed.channels:
        raise ValueError("In the network's config model_args has another in_chans than input_size.")
    if isinstance(given.get("img_size"), (int, float)):
        number(given, "img_size", *SIDES, feed.side)
    names = said.get("label_names") or known.get("label_names") or said.get("labels") or known.get("labels")
    told = said.get("label_descriptions") or known.get("label_descriptions")
    usual = imagenet_categories() if classes == 1000 else numbered(classes)
    fixed = choice(
        {"fixed_input_size": str(known.get("fixed_input_size", False))}, "fixed_input_size", ("True", "False"), ""
    )
    return Stored(name, classes, given, fixed == "True", feed, labels(names, told, classes) or usual)


def _kept() -> set[str]:
    """The names of arguments that a config may not set."""
    import timm
    from timm.models import build_model_with_cfg, load_pretrained

    makers: tuple[Callable[..., object], ...] = (timm.create_model, build_model_with_cfg, load_pretrained)
    return (KEPT | {name for maker in makers for name in inspect.signature(maker).parameters}) - {
        "num_classes",
        "in_chans",
    }


def build_stored(stored: Stored, state: dict[str, Tensor], label: str) -> nn.Module:
    """The network, filled with a file's tensors: by their names, or else as timm reads old ones of the architecture.

    It is built without numbers first, and not at all if it had many more of them than the file.

    Raises:
        ValueError: the config describes no network of timm's, or the tensors are not those of it; one sentence.
    """
    with torch.device("meta"):
        outline = _create(stored, label).state_dict()
    require_like(outline, state, label)
    network = _create(stored, label)
    try:
        fill(network, state, WEIGHTS)
    except ValueError:
        try:
            return _create(stored, label, dict(state))
        except ValueError:
            pass
        raise
    return network


def require_like(outline: Mapping[str, Tensor], state: Mapping[str, Tensor], label: str) -> None:
    """Raises ValueError, one sentence, if a network has many more numbers than the file that is to fill it."""
    wanted, found = (sum(tensor.numel() for tensor in tensors.values()) for tensors in (outline, state))
    if wanted > 2 * found + SPARE:
        raise ValueError(
            f"config.json describes a network of {wanted:,} numbers, but {WEIGHTS} of {label} has {found:,}: fetch both again."
        )


def _create(stored: Stored, label: str, state: dict[str, Tensor] | None = None) -> nn.Module:
    """By timm, without its own weights. Raises ValueError, one sentence, if it cannot."""
    import timm

    feed = asdict(stored.feed)
    overlay = {name: feed[name] for name in ("mean", "std", "crop_pct", "crop_mode", "interpolation")} | {
        "input_size": (stored.feed.channels, stored.feed.side, stored.feed.side),
        "fixed_input_size": stored.fixed,
        "num_classes": stored.classes,
        "label_offset": None,
        "custom_load": False,
        "state_dict": state,
        "source": "",  # with these five, nothing but the tensors that are given can be loaded
        "url": None,
        "file": None,
        "hf_hub_id": None,
        "hf_hub_filename": None,
    }
    options = stored.arguments | ({"in_chans": 1} if stored.feed.channels == 1 else {})
    try:
        network: nn.Module = timm.create_model(
            stored.architecture,
            pretrained=state is not None,
            pretrained_cfg_overlay=overlay,
            num_classes=stored.classes,
            **options,
        )
    except FAILURES as error:
        raise ValueError(
            f"The config.json of {label} describes no {stored.architecture} that timm could build: use another one."
        ) from error
    return network


def feeding(feed: Feed) -> tuple[Geometry, Callable[[Image.Image], Tensor]]:
    """Which part of a photo is seen, and timm's own transforms, grey ones for a network of one channel."""
    from timm.data.transforms_factory import create_transform
    from torchvision.transforms import Compose, Grayscale

    made: Callable[[Image.Image], Tensor] = create_transform(
        input_size=(feed.channels, feed.side, feed.side),
        interpolation=feed.interpolation,
        mean=feed.mean,
        std=feed.std,
        crop_pct=feed.crop_pct,
        crop_mode=feed.crop_mode,
    )
    geometry = Geometry(math.floor(feed.side / feed.crop_pct), feed.side, feed.interpolation, FITS[feed.crop_mode])
    return geometry, made if feed.channels == 3 else Compose([Grayscale(), made])
