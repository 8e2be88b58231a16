"""A network in a folder as the Hub stores it: `config.json` says which it is, `model.safetensors` has its weights.

What the configuration says is taken only where it is a number or a plain word: nothing in it is run, and no other file is read
because of it.
"""

from __future__ import annotations

import inspect
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from iscam.engine import UNFIT

from .adoption import adopt
from .checkpoint import fill, read_checkpoint
from .configuration import class_names, colours, number, read_json
from .download import Progress
from .hub import fetch_repository
from .loaded import LoadedModel
from .names import CONFIG, FOLDER, PREPARATION, TIMM, WEIGHTS
from .transformed import of_transformers

CROPS = {"center": "center", "squash": "squash"}  # what timm calls them


def load_stored(name: str, device: str) -> LoadedModel:
    """The network of a name as in `names`.

    Raises:
        ValueError: it is none that can be built; one sentence.
        OSError: it cannot be had; one sentence.
    """
    folder = folder_of(name)
    label = folder.resolve().name if name.startswith(FOLDER) else name.rpartition(":")[2]
    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            raise OSError(f"There is no {file} in {folder}: such a folder has {CONFIG} and {WEIGHTS}.")
    config = read_json(folder / CONFIG)
    if "architecture" in config:
        model = _of_timm(config, folder, label, device)
    elif "model_type" in config:
        preparation = read_json(folder / PREPARATION) if (folder / PREPARATION).is_file() else {}
        model = of_transformers(config, preparation, folder, label, device)
    else:
        raise ValueError(f"{CONFIG} of {label} is neither timm's, with an architecture, nor of transformers.")
    return replace(model, spec=replace(model.spec, key=name), weights_file=folder / WEIGHTS)


def folder_of(name: str, progress: Progress | None = None) -> Path:
    """Where a network is, which is downloaded if it must be. Raises ValueError and OSError, a sentence, as `load_stored`."""
    if name.startswith(FOLDER):
        return Path(name.removeprefix(FOLDER))
    return fetch_repository(repository_of(name), progress)


def repository_of(name: str) -> str:
    """ORG/NAME on the Hub. Raises ValueError, a sentence, if timm has no such network."""
    if not name.startswith(TIMM):
        return name.partition(":")[2]
    import timm

    wanted = name.removeprefix(TIMM)
    try:
        known = timm.get_pretrained_cfg(wanted)
    except RuntimeError:  # no such tag
        known = None
    if known is None or not known.hf_hub_id:
        near = timm.list_pretrained(f"{wanted.partition('.')[0].lower()}*")[:5]
        hint = f": try {', '.join(TIMM + each for each in near)}" if near else " with weights"
        raise ValueError(f"timm has no network {wanted!r}{hint}.")
    found: str = known.hf_hub_id
    return found


def filled(make: Any, file: Path, label: str) -> nn.Module:
    """The network that `make` builds, with the weights of a file; built without memory first, to see whether they fit.

    Raises:
        ValueError: it cannot be built, or they do not fit; one sentence.
    """
    state = read_checkpoint(file)
    try:
        with torch.device("meta"):
            fill(make(), state, label)
        network: nn.Module = make()
    except UNFIT as error:
        if isinstance(error, ValueError) and str(error).startswith(label):
            raise
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise ValueError(f"{CONFIG} of {label} describes no network that can be built: {reason[:200]}.") from error
    fill(network, state, label)
    return network.eval()


def _of_timm(config: dict[str, Any], folder: Path, label: str, device: str) -> LoadedModel:
    import timm

    name, arguments = config["architecture"], config.get("model_args") or {}
    if not isinstance(name, str) or not timm.is_model(name):
        raise ValueError(f"timm {timm.__version__} has no architecture {str(name)[:80]!r}, which {CONFIG} names.")
    cfg = config.get("pretrained_cfg", config)  # older folders have all on one level
    if not isinstance(cfg, dict):
        raise ValueError(f"pretrained_cfg in {CONFIG} holds no settings by name.")
    classes = int(number(config, "num_classes", 1, 100_000, cfg.get("num_classes")))
    plain = _plain_arguments(arguments)
    network = filled(
        lambda: timm.create_model(name, pretrained=False, num_classes=classes, **plain), folder / WEIGHTS, label
    )
    names, described = cfg.get("label_names", config.get("label_names")), config.get("label_descriptions")
    if isinstance(names, list) and isinstance(described, dict):
        names = [described.get(each, each) if isinstance(each, str) else each for each in names]
    size = cfg.get("input_size")
    if not isinstance(size, list) or len(size) != 3 or size[1] != size[2]:
        raise ValueError(f"input_size in {CONFIG} must be that of a square: [3, 224, 224].")
    side, share = int(number({"input_size": size[2]}, "input_size", 16, 1024)), number(cfg, "crop_pct", 0.1, 1, 1.0)
    mean, std = colours(cfg, "mean", -10), colours(cfg, "std", 1e-3)
    crop, interpolation = cfg.get("crop_mode", "center"), cfg.get("interpolation", "bilinear")
    if crop not in CROPS or (crop == "squash" and share < 1):
        raise ValueError(f"Photos are made square by {str(crop)[:40]!r} in {CONFIG}, which is not known here.")
    return adopt(
        network.to(device).to(memory_format=torch.channels_last),
        categories=class_names(names, classes),
        input_size=side,
        resize=math.floor(side / share),
        mean=mean,
        std=std,
        crop=CROPS[crop],
        interpolation=str(interpolation),
        label=label,
    )


def _plain_arguments(given: object) -> dict[str, Any]:
    """What an architecture is built with: numbers, words of letters, and lists of numbers, for none of timm's own arguments.

    Raises:
        ValueError: there is anything else; one sentence.
    """
    import timm

    refused = {*inspect.signature(timm.create_model).parameters, "pretrained_strict", "features_only", "file"}
    if not isinstance(given, dict) or len(given) > 64:
        raise ValueError(f"model_args in {CONFIG} holds no settings by name.")
    for name, value in given.items():
        if name in refused or not re.fullmatch(r"[a-z][a-z0-9_]{0,60}", name) or not _is_plain(value):
            raise ValueError(f"model_args in {CONFIG} has {name[:60]!r}, which is not taken from a file.")
    return dict(given)


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return len(value) <= 64 and all(isinstance(each, (bool, int, float)) and _is_plain(each) for each in value)
    if isinstance(value, str):
        return re.fullmatch(r"[a-z0-9_]{1,40}", value) is not None
    return value is None or (isinstance(value, (bool, int, float)) and abs(value) <= 100_000)
