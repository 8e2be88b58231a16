"""`load_model`: any network by name or from a file. What is wrong with a name is said before torch is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from iscam.engine import HEADS, check_device, find_device

from .names import WORDS, is_named
from .table import BUNDLED, DEFAULT_MODEL, LITE, MODELS

if TYPE_CHECKING:
    from .loaded import LoadedModel


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
    head: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LoadedModel:
    """A model of the MODELS table, of timm, of the Hugging Face Hub or in a folder, or your own checkpoint of a torchvision
    architecture.

    Args:
        key: a key of MODELS; or `timm/resnet50.a1_in1k`, `hf-hub:ORG/NAME`, or `local-dir:FOLDER` with a config.json and a
            model.safetensors, as timm and transformers store them.
            Weights that are not in the cache are downloaded, within a time limit.
        arch: the architecture of `checkpoint`: a torchvision builder's name, or `photo11`.
        checkpoint: weights only (.safetensors, or a torch file with a state dict; never arbitrary pickles).
        labels: a text file with one category per line.
        input_size, mean, std: how the checkpoint's network was fed, if not as torchvision feeds the architecture.
        head: what the checkpoint's outputs mean: `softmax`, a photo is of one class (the default, because the shape cannot
            tell), or `sigmoid`, it may be of several. A single output is that of a class and its absence in any case.
        progress: called, while files of the Hub are fetched, with the bytes that are here and all; what it raises stops that.
        device: `cpu`, `cuda`, `cuda:0` or another number, `mps`, or `auto`, which is a GPU if torch can use one here.

    Raises:
        ValueError: unknown names, a device that is not there, or a checkpoint or labels that do not fit; one sentence.
        OSError: weights that cannot be read or fetched; names the file and the cache folder.

    >>> import iscam
    >>> len(iscam.load_model("photo11").categories)
    11
    """
    own = (labels, input_size, mean, std, head)
    if any(len(triple) != 3 for triple in (mean, std) if triple is not None) or (std and not min(std) > 0):
        raise ValueError("Mean and std are three numbers each, for red, green and blue, and the stds lie above 0.")
    if head is not None and head not in HEADS:
        raise ValueError(f"The head must be one of {', '.join(HEADS)}, not {head!r}.")
    if arch is None and checkpoint is None:
        if any(option is not None for option in own):
            raise ValueError(
                "Labels, input size, mean, std and head belong to a checkpoint of your own: name it, with its arch."
            )
        check_key(key)
    elif arch is None or checkpoint is None:
        raise ValueError("Your own weights need both an architecture (arch) and a checkpoint file.")
    check_device(device)
    from .checkpoint import load_checkpoint

    device = find_device(device)
    if arch is None or checkpoint is None:
        return _load_named(key, device, progress)
    return load_checkpoint(arch, Path(checkpoint), labels, input_size, mean, std, device, head or "softmax")


def _load_named(key: str, device: str, progress: Callable[[int, int], None] | None) -> LoadedModel:
    from .lite import load_lite
    from .named import load_named
    from .photo11 import load_bundled
    from .torchvision import load_torchvision

    if is_named(key):
        return load_named(key, device, progress)
    if key == LITE:
        return load_lite(device)
    return load_bundled(device) if key == BUNDLED else load_torchvision(MODELS[key], device)


def check_key(key: str) -> None:
    """Raises ValueError, a sentence, if no model is called so."""
    if key not in MODELS and not is_named(key):
        raise ValueError(f"There is no model {key!r}: choose one of {', '.join(MODELS)}, or {WORDS}.")
