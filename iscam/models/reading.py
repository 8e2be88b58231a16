"""What lies in a weights file, read without running code; and what a file is that holds no weights."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

# what torch and safetensors raise on bytes that are no weights file, beside UnpicklingError
UNREADABLE = (
    SafetensorError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AssertionError,
    AttributeError,
    TypeError,
    OSError,  # it was opened before: what is wrong then is what it says of itself
    struct.error,
)


class Aside:
    """Stands for a thing beside the weights that is of no use here: of its own kind nothing is made, nothing of it is run."""

    def __new__(cls, *_: object) -> Aside:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """What it was is forgotten."""


class Settings:
    """The same for a mapping, into which torch puts what it finds; it takes nothing but a plain one."""

    def __new__(cls, *_: object) -> Any:
        return {}


# Options, numbers, paths and settings that training programs save beside weights: allowed by name, but not as what they are
_MULTIARRAY = [f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")]
_PATHS = [f"pathlib{part}.{kind}Path" for part in ("", "._local") for kind in ("", "Pure", "Posix", "Windows")]
_LIGHTNING = (
    "lightning_fabric.utilities.data",
    "lightning.fabric.utilities.data",
    "pytorch_lightning.utilities.parsing",
)
_FACTORIES = [f"builtins.{name}" for name in ("int", "float", "list", "dict")]  # of a defaultdict
BESIDE = {
    Aside: (
        "argparse.Namespace",
        "types.SimpleNamespace",
        "numpy.dtype",
        "numpy.ndarray",
        *_MULTIARRAY,
        *_PATHS,
        *_FACTORIES,
    ),
    Settings: ("collections.defaultdict", *(f"{module}.AttributeDict" for module in _LIGHTNING)),
}
# Where the classes of networks are at home: such a thing in a file is a whole model, else something beside the weights
NETWORKS = ("torch.nn.", "torchvision.", "timm.", "transformers.", "ultralytics.", "__main__.", "models.", "model.")

# How a file starts that is no weights file -> what it is, and what can be done
STARTS = (
    (b"version https://git-lfs", "a Git LFS pointer that stands for the weights", "fetch them with git lfs pull"),
    (b"<!doctype html", "a web page", "download the file itself, by its raw or resolve link"),
    (b"<html", "a web page", "download the file itself, by its raw or resolve link"),
    (b"\x89hdf", "an HDF5 file, as Keras saves it", "convert the weights to a torch state dict"),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
)


def read_content(file: Path) -> object:
    """What a safetensors or torch file holds: tensors in their wrapping, and stand-ins for what is beside them.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no weights file, or holds more than weights; says what it is and what can be done.
    """
    if not file.is_file():
        raise OSError(f"There is no weights file {file}.")
    with file.open("rb") as opened:
        start = opened.read(1000)
    text = start.lstrip().lower()
    if found := next(((what, advice) for begins, what, advice in STARTS if text.startswith(begins)), None):
        raise ValueError(f"{file.name} is {found[0]}: {found[1]}.")
    try:
        if file.suffix == ".safetensors" or _is_safetensors(start):
            return safetensors.torch.load_file(file)
        beside: list[Any] = [(stand_in, name) for stand_in, names in BESIDE.items() for name in names]
        with warnings.catch_warnings(), torch.serialization.safe_globals(beside):
            warnings.simplefilter("ignore")  # torch wonders about pickles that are then refused anyway
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(_no_weights_only(file.name, str(error))) from error
    except UNREADABLE as error:
        if "TorchScript" in str(error):
            raise ValueError(
                f"{file.name} is a TorchScript archive, which is a program: save the model's state_dict() instead."
            ) from error
        raise ValueError(f"{file.name} is not a weights file that torch or safetensors can read.") from error


def _is_safetensors(start: bytes) -> bool:
    """Whether a file is one by its content: the length of its header, in eight bytes, and then the header, in JSON."""
    return start[5:10] == b'\0\0\0{"' or start[4:10] == b'\0\0\0\0{"'


def _no_weights_only(name: str, error: str) -> str:
    """What to say of a pickle that holds more than weights."""
    refused = f"{name} does not hold weights only, so it is not opened"
    found = re.search(r"GLOBAL ([\w.]{1,80})", error)
    if found is None:
        return f"{refused}: save the model's state_dict() instead."
    whole = found[1].startswith(NETWORKS)
    what = f"it is a whole pickled model ({found[1]})" if whole else f"beside them is {found[1]}"
    taken = ".state_dict()" if whole else '["state_dict"]'
    return (
        f"{refused}: {what}, so where you trust it save its state_dict() alone, "
        f'torch.save(torch.load("{name}", weights_only=False){taken}, "weights.pth").'
    )
