"""A user's own weights: read without running code, filled into their architecture, and described."""

from __future__ import annotations

import pickle
import struct
import warnings
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
import torchvision
from safetensors import SafetensorError
from torch import Tensor, nn

from .architectures import SWIN, build, count_classes, default_geometry, require_size
from .describe import describe, probe_of
from .layers import find_layers
from .loaded import LoadedModel, numbered
from .preprocessing import MEAN, STD, make_transforms
from .table import BUNDLED, MODELS, ModelSpec

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights")
PREFIXES = ("module.", "_orig_mod.", "model.")
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
    struct.error,
)


def load_checkpoint(
    arch: str,
    checkpoint: Path,
    labels: str | Path | None,
    input_size: int | None,
    mean: tuple[float, float, float] | None,
    std: tuple[float, float, float] | None,
    device: str,
    head: str = "softmax",
) -> LoadedModel:
    """A user's checkpoint; see `load_model`."""
    known = torchvision.models.list_models(module=torchvision.models)
    if arch != BUNDLED and (arch not in known or arch.startswith(SWIN)):
        raise ValueError(
            f"There is no architecture {arch!r} here: use photo11 or a torchvision classifier such as resnet50."
        )
    state = read_checkpoint(checkpoint)
    network = build(arch, classes=count_classes(arch, state))
    fill(network, state, checkpoint.name)
    classes = count_classes(arch, network.state_dict())
    geometry = default_geometry(arch)
    if input_size is not None:
        resize = round(input_size * geometry.resize / geometry.input_size)
        geometry = replace(geometry, resize=resize, input_size=input_size)
    network.eval()
    require_size(arch, network, geometry.input_size)
    transforms = make_transforms(geometry, mean or MEAN, std or STD)
    spec = MODELS.get(arch) or find_layers(arch, network, probe_of(network, transforms))
    label = f"{arch} ({checkpoint.name})"
    return describe(
        network,
        ModelSpec(arch, label, spec.layer, spec.layers, spec.head_layer, head),
        read_labels(labels, classes),
        geometry,
        transforms,
        checkpoint,
        device,
    )


def read_checkpoint(file: Path) -> dict[str, Tensor]:
    """The state dict in a safetensors or torch file, out of common wrappers and without common prefixes, in float32.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no weights file.
    """
    if not file.is_file():
        raise OSError(f"There is no weights file {file}.")
    try:
        if file.suffix == ".safetensors":
            content: object = safetensors.torch.load_file(file)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch wonders about pickles that are then refused anyway
                content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file.name} does not hold weights only, so it is not opened: save the model's state_dict() instead."
        ) from error
    except UNREADABLE as error:
        raise ValueError(f"{file.name} is not a weights file that torch or safetensors can read.") from error
    while isinstance(content, dict) and (inner := [content[w] for w in WRAPPERS if isinstance(content.get(w), dict)]):
        content = inner[0]
    if (
        not isinstance(content, dict)
        or not content
        or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    ):
        raise ValueError(f"{file.name} holds no state dict: a mapping from parameter names to tensors is needed.")
    state = dict(content)
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def fill(network: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load a state dict that fits exactly.

    Raises:
        ValueError: names the first parameter that is missing, superfluous or of another shape.
    """
    wanted = network.state_dict()
    for name, tensor in wanted.items():
        if name not in state:
            if name.endswith("num_batches_tracked"):
                continue  # a counter that old checkpoints lack and inference does not read
            raise ValueError(f"{source} does not fit the architecture: it has no {name}.")
        if state[name].shape != tensor.shape:
            found, needed = (tuple(t.shape) for t in (state[name], tensor))
            raise ValueError(f"{source} does not fit the architecture: {name} is {found}, not {needed}.")
    if extra := next((name for name in state if name not in wanted), None):
        raise ValueError(f"{source} does not fit the architecture: it has {extra}, which the architecture has not.")
    with torch.no_grad():
        for name, tensor in wanted.items():  # not load_state_dict: MNASNet's wants a version number beside the tensors
            if name in state:
                tensor.copy_(state[name])


def read_labels(file: str | Path | None, classes: int | None) -> tuple[str, ...]:
    """Categories from a text file with one per line, or numbered ones.

    Raises:
        ValueError: their number is not the number of classes.
        OSError: the file cannot be read.
    """
    if file is None:
        return numbered(classes or 0)
    if not Path(file).is_file():
        raise OSError(f"There is no labels file {file}.")
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"The labels file {Path(file).name} is not UTF-8 text.") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != classes:
        raise ValueError(f"The labels file {Path(file).name} has {len(names)} lines for {classes} classes.")
    return names
