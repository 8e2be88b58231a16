"""Networks by names that are in no table: of timm, of the Hugging Face Hub, or of a folder as the Hub stores it. No torch here
until one is loaded."""

from __future__ import annotations

import difflib
from pathlib import Path

from .config import read_json
from .download import Progress
from .hub import CONFIG, PREPROCESSOR, WEIGHTS, fetch, missing
from .loaded import LoadedModel
from .names import Name, is_named, parse
from .packaged import packaged_weights
from .table import LITE, MODELS
from .weights import missing_megabytes

OF_TIMM, OF_TRANSFORMERS = (CONFIG, WEIGHTS), (CONFIG, WEIGHTS, PREPROCESSOR)


def load_named(key: str, device: str, progress: Progress | None = None) -> LoadedModel:
    """The network of a name; see `load_model`.

    Raises:
        ValueError: there is none of that name, or it is none that can be read; one sentence.
        OSError: it could not be fetched, or a folder or a library is not here; one sentence.
    """
    name, folder = parse(key), folder_of(key, progress)
    said = read_json(folder / CONFIG)
    if "model_type" not in said or "architecture" in said:
        from .stored import load_stored

        architecture = name.place.partition(".")[0] if name.kind == "timm" else None
        return load_stored(folder, said, key, name.label, device, architecture)
    if name.kind in ("timm", "hf-hub"):
        raise ValueError(
            f"{name.place} is a network of transformers, as its config.json says: name it as hf:{name.place}."
        )
    from .classifiers import load_classifier

    return load_classifier(folder, said, read_json(folder / PREPROCESSOR), key, name.label, device)


def folder_of(key: str, progress: Progress | None = None) -> Path:
    """Where the files of a name are, which are fetched if they must be. Raises as `load_named`."""
    name = parse(key)
    if name.kind == "local-dir":
        return Path(name.place)
    return fetch(_repository(name), _files(name), progress)


def ensure_weights(key: str, progress: Progress | None = None) -> Path:
    """The file of the weights of a model of the table or of a name, downloaded if it is not there; `progress` is told the
    bytes, and may raise to stop that.

    Raises:
        ValueError, OSError: it cannot be had; one sentence.
    """
    if is_named(key):
        return folder_of(key, progress) / WEIGHTS
    if key == LITE:
        return packaged_weights()
    from .torchvision import fetch_default

    return fetch_default(key, progress)


def missing_bytes(key: str) -> int | None:
    """How many bytes must be downloaded before a model can be loaded; None if it is here already.

    Args:
        key: a key of MODELS, or another name that `load_model` takes.

    Raises:
        ValueError: there is no such model, or what there is cannot be read; one sentence.
        OSError: the Hub, which knows it, cannot be reached; one sentence.

    >>> missing_bytes("photo11") is None
    True
    """
    if is_named(key):
        name = parse(key)
        return None if name.kind == "local-dir" else missing(_repository(name), _files(name))
    if key not in MODELS:
        raise ValueError(f"There is no model {key!r}: choose one of {', '.join(MODELS)}.")
    megabytes = missing_megabytes(key)
    return None if megabytes is None else megabytes * 10**6


def _files(name: Name) -> tuple[str, ...]:
    return OF_TRANSFORMERS if name.kind == "hf" else OF_TIMM


def _repository(name: Name) -> str:
    """Where the weights of a name are on the Hub.

    Raises:
        ValueError: timm knows no such name, or has no weights of it there; one sentence, with names that are alike.
    """
    if name.kind != "timm":
        return name.place
    import timm

    architecture, _, tag = name.place.partition(".")
    if not timm.is_model(architecture):
        alike = difflib.get_close_matches(architecture, timm.list_models(), 4, 0.5)
        hint = f"names like it are {', '.join(alike)}" if alike else "timm.list_models() lists its names"
        raise ValueError(f"There is no network {architecture!r} in timm: {hint}.")
    known = timm.list_models(f"{architecture}.*", pretrained=True)
    if tag and name.place not in known:
        others = ", ".join(known[:4]) or "none"
        raise ValueError(f"timm has no weights {tag!r} of {architecture}: those that it has are {others}.")
    settings = timm.get_pretrained_cfg(name.place)
    place = settings.hf_hub_id if settings is not None else None
    if not place:
        raise ValueError(f"timm has no weights of {name.place} on the Hugging Face Hub: choose another network.")
    return str(place)
