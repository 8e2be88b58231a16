"""A user's own weights: read without running code, filled into their architecture, and described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from iscam.images import Geometry

from .architectures import RESCALING, SWIN, build, count_classes, default_geometry, input_side, outline, require_size
from .describe import describe, probe_of
from .heads import find_head
from .layers import find_layers
from .loaded import LoadedModel, numbered
from .naming import find_weights, mappings, plain, spoken
from .preprocessing import Triple, make_transforms, usual_mean_std
from .reading import read_content
from .table import BUNDLED, LITE, MODELS, ModelSpec


def load_checkpoint(
    arch: str,
    checkpoint: Path,
    labels: str | Path | None,
    input_size: int | None,
    mean: Triple | None,
    std: Triple | None,
    device: str,
    head: str = "softmax",
) -> LoadedModel:
    """A user's checkpoint; see `load_model`."""
    known = (BUNDLED, LITE, *torchvision.models.list_models(module=torchvision.models))
    if arch not in known or arch.startswith(SWIN):
        raise ValueError(
            f"There is no architecture {arch!r} here: use photo11 or a torchvision classifier such as resnet50."
        )
    network, side, grey, notes = fit(arch, read_content(checkpoint), checkpoint.name)
    classes = count_outputs(network, arch)
    geometry = _geometry(arch, side, input_size, checkpoint.name)
    if arch in RESCALING and mean is None:
        notes += (
            f"No checkpoint tells whether its network rescales its input (transform_input), as torchvision's own {arch} "
            "does, so it is taken not to: if it does, give mean and std as 0.5,0.5,0.5.",
        )
    usual = usual_mean_std(arch, grey)
    network.eval()
    require_size(arch, network, geometry.input_size)
    transforms = make_transforms(geometry, mean or usual[0], std or usual[1], grey)
    spec = MODELS.get(arch) or find_layers(arch, network, probe_of(network, transforms))
    label = f"{arch} ({checkpoint.name})"
    described = describe(
        network,
        ModelSpec(arch, label, spec.layer, spec.layers, spec.head_layer, head),
        read_labels(labels, classes),
        geometry,
        transforms,
        checkpoint,
        device,
    )
    return replace(described, notes=notes)


def _geometry(arch: str, side: int | None, input_size: int | None, source: str) -> Geometry:
    """How photos are cut: for the `side` that the network was made for, if it was made for one alone."""
    if side is not None and input_size not in (None, side):
        raise ValueError(
            f"{source} was made for inputs of {side} x {side} pixels, as its position embedding says: leave the size out."
        )
    geometry, wanted = default_geometry(arch), side or input_size
    if wanted in (None, geometry.input_size):
        return geometry
    assert wanted is not None
    return replace(geometry, resize=round(wanted * geometry.resize / geometry.input_size), input_size=wanted)


def fit(arch: str, content: object, source: str) -> tuple[nn.Module, int | None, bool, tuple[str, ...]]:
    """The network of an architecture that a file's content fills, the side that its inputs must have, if there is but one,
    whether photos must be made grey for it, and what must be said.

    Raises:
        ValueError: the content does not fit; one sentence.
    """
    shapes, last = outline(arch)
    named = find_weights(content, shapes, source)
    head = find_head(shapes, last, named.inside, named.outside)
    state = dict(named.inside)
    side = input_side(arch, state)
    network = build(arch, classes=count_classes(arch, state), side=side)
    notes = list(named.said)
    left = dict(named.outside)
    if head is not None:
        network.set_submodule(head.path, head.module)
        state = {name: tensor for name, tensor in state.items() if name not in head.taken}
        left = {name: tensor for name, tensor in left.items() if name not in head.taken}
        state |= {f"{head.path}.{name}": tensor for name, tensor in head.module.state_dict().items()}
        notes.append(head.said)
    grey = widen(shapes, state, source)
    if grey:
        notes.append(f"The first convolution of {source} has one channel, so photos are made grey.")
    fill(network, state | left, source)
    return network, side, grey, tuple(notes)


def widen(shapes: Mapping[str, Tensor], state: dict[str, Tensor], source: str) -> bool:
    """Let a first convolution of one channel read the first of three, which are equal for a grey photo; whether it had one.

    Raises:
        ValueError: it has another number of channels than one and three.
    """
    first = next(name for name, tensor in shapes.items() if tensor.ndim == 4 and tensor.shape[1] == 3)
    weight = state.get(first)
    if weight is None or weight.ndim != 4 or weight.shape[1] == 3:
        return False
    if weight.shape[1] != 1:
        raise ValueError(
            f"{source} was made for inputs of {weight.shape[1]} channels: photos have three, or one if they are grey."
        )
    state[first] = torch.cat((weight, torch.zeros_like(weight).repeat(1, 2, 1, 1)), 1)
    return True


def count_outputs(network: nn.Module, arch: str) -> int:
    """How many classes a network has."""
    last = network.get_submodule(outline(arch)[1].split(".")[0])
    return len([tensor for name, tensor in last.state_dict().items() if name.endswith("weight")][-1])


def read_checkpoint(file: Path) -> dict[str, Tensor]:
    """The first state dict in a safetensors or torch file, in float32.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no weights file.
    """
    for _, state in mappings(read_content(file)):
        return {name: plain(tensor) for name, tensor in state.items()}
    raise ValueError(f"{file.name} holds no state dict: a mapping from parameter names to tensors is needed.")


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
        raise ValueError(
            f"{source} does not fit the architecture: it has {spoken(extra)}, which the architecture has not."
        )
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
