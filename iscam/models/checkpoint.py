"""Building networks and filling them: the bundled classifier, torchvision's weights, and a user's own checkpoint."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import struct
import time
import urllib.error
import urllib.request
import warnings
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import safetensors.torch
import torch
import torchvision
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn
from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor

from iscam.engine import Backend, Fold, foldable, forward_pass, map_sizes, undisturbed
from iscam.images import Geometry
from iscam.models.bundled import network as bundled

from .table import BUNDLED_WEIGHTS, MODELS, LoadedModel, ModelSpec

FETCH_SECONDS = 120.0  # for a whole download; torch.hub's own has no limit
CONNECT_SECONDS = 10.0
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
REGNET = "regnet"  # computes its own widths with tensors, so the meta device, which holds no numbers, cannot build it
SWIN = "swin"  # keeps its maps as (B, h, w, C), unlike every other architecture here
MEAN, STD = bundled.MEAN, bundled.STD


def load_bundled(device: str) -> LoadedModel:
    """The bundled classifier `photo11`."""
    network = bundled.Photo11Net()
    fill(network, read_checkpoint(BUNDLED_WEIGHTS), BUNDLED_WEIGHTS.name)
    geometry = Geometry(bundled.RESIZE_SIZE, bundled.INPUT_SIZE)
    return describe(
        network,
        MODELS["photo11"],
        bundled.CATEGORIES,
        geometry,
        make_transforms(geometry, bundled.MEAN, bundled.STD),
        BUNDLED_WEIGHTS,
        device,
    )


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


def load_untrained(spec: ModelSpec) -> LoadedModel:
    """A torchvision model with random weights, whose maps mean nothing: passes can be timed with it."""
    network, geometry = build(spec.key), default_geometry(spec.key)
    categories = tuple(torchvision.models.get_model_weights(spec.key).DEFAULT.meta["categories"])
    return describe(network, spec, categories, geometry, make_transforms(geometry, MEAN, STD), None)


def imagenet_categories() -> tuple[str, ...]:
    """ImageNet's 1000 categories as torchvision's models name them."""
    return tuple(torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"])


def has_weights(key: str) -> bool:
    """Whether a model's weights are on this machine."""
    return key == "photo11" or cached_weights(torchvision.models.get_model_weights(key).DEFAULT.url).exists()


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


def load_checkpoint(
    arch: str,
    checkpoint: Path,
    labels: str | Path | None,
    input_size: int | None,
    mean: tuple[float, float, float] | None,
    std: tuple[float, float, float] | None,
    device: str,
) -> LoadedModel:
    """A user's checkpoint; see `models.load_model`."""
    known = torchvision.models.list_models(module=torchvision.models)
    if arch != "photo11" and (arch not in known or arch.startswith(SWIN)):
        raise ValueError(
            f"There is no architecture {arch!r} here: use photo11 or a torchvision classifier such as resnet50."
        )
    state = read_checkpoint(checkpoint)
    network = build(arch, classes=count_classes(arch, state))
    fill(network, state, checkpoint.name)
    classes = count_classes(arch, network.state_dict())
    geometry = default_geometry(arch)
    if input_size is not None:
        geometry = Geometry(round(input_size * geometry.resize / geometry.input_size), input_size)
    network.eval()
    require_size(arch, network, geometry.input_size)
    spec = MODELS.get(arch) or find_layers(arch, network, geometry)
    label = f"{arch} ({checkpoint.name})"
    return describe(
        network,
        ModelSpec(arch, label, spec.layer, spec.layers, spec.head_layer),
        read_labels(labels, classes),
        geometry,
        make_transforms(geometry, mean or MEAN, std or STD),
        checkpoint,
        device,
    )


def describe(
    network: nn.Module,
    spec: ModelSpec,
    categories: tuple[str, ...],
    geometry: Geometry,
    transforms: Callable[[Image.Image], Tensor],
    weights_file: Path | None,
    device: str = "cpu",
) -> LoadedModel:
    """Put a network on its device, fast layout and eval mode, and measure what can be offered for it.

    Layers whose maps have a single position at this input size are left out.

    Raises:
        ValueError: no layer is left.
    """
    network = network.eval().to(device).to(memory_format=torch.channels_last)
    side = geometry.input_size
    probe = torch.randn((1, 3, side, side), generator=torch.Generator().manual_seed(0)).to(device)
    measured = map_sizes(network, spec.layers, probe)
    layers = {layer: measured[layer] for layer in spec.layers if layer in measured}
    if not layers:
        raise ValueError(f"No layer of {spec.label} gives maps of an input of {side} x {side} pixels.")
    layer = spec.layer if spec.layer in layers else next(iter(layers))
    head = linear_head(network, layer, probe)
    head_layer = None if head is None else layer
    return LoadedModel(
        spec.key,
        spec.label,
        network,
        categories,
        layer,
        layers,
        geometry,
        transforms,
        weights_file,
        head,
        head_layer,
        find_folds(network, probe),
    )


def find_folds(network: nn.Module, image: Tensor) -> tuple[Fold, ...]:
    """The batch norms that can be folded into the convolutions before them; none if folding would change the logits."""
    folds = foldable(network, image)
    if not folds:
        return ()
    with torch.no_grad(), undisturbed(network):
        plain = network(image)
        same = torch.allclose(Backend(network, folds).logits(image), plain, rtol=1e-3, atol=1e-4)
    return folds if same else ()


def linear_head(network: nn.Module, layer: str, image: Tensor) -> Tensor | None:
    """The weight (K, C) of the last linear layer, if that layer on the pooled maps gives the network's logits."""
    linears = [module for module in network.modules() if isinstance(module, nn.Linear)]
    forward = forward_pass(network, layer, image)
    if not linears or linears[-1].in_features != len(forward.activations):
        return None
    with torch.no_grad():
        logits = linears[-1](forward.activations.mean((1, 2)))
    if logits.shape != forward.logits.shape or not linears[-1].weight.any():
        return None  # an untrained head of zeros would agree with anything
    same = torch.allclose(logits, forward.logits, rtol=1e-3, atol=1e-4)
    return linears[-1].weight.detach() if same else None


def build(arch: str, weights: object = None, classes: int | None = None) -> nn.Module:
    """A network of a torchvision architecture or of `photo11`."""
    if arch == "photo11":
        return bundled.Photo11Net(classes or len(bundled.CATEGORIES))
    options = {} if classes is None else {"num_classes": classes}
    if arch in ("googlenet", "inception_v3") and weights is None:
        options["init_weights"] = False  # slow, and of no use before a checkpoint is filled in
    network: nn.Module = torchvision.models.get_model(arch, weights=weights, **options)
    if isinstance(network, torchvision.models.DenseNet):
        # DenseNet's forward ends in a functional ReLU that no hook can see: the same computation with it as a module
        network.features.add_module("relu5", nn.ReLU())
        parts = {"features": network.features, "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
        network = nn.Sequential(OrderedDict(**parts, classifier=network.classifier))
    return network


def require_device(device: str) -> None:
    """Raises ValueError, one sentence, if the device is not `cpu` or a CUDA device that is there."""
    if device not in ("cpu", "cuda"):
        raise ValueError(f"The device must be cpu or cuda, not {device!r}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("There is no CUDA device that torch can use here: choose the device cpu.")


def require_size(arch: str, network: nn.Module, side: int) -> None:
    """Raises ValueError, one sentence, if the network cannot take an input of side x side pixels."""
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, side, side))
    except (RuntimeError, AssertionError) as error:  # too small, too large for the memory, or of one size only (ViT)
        raise ValueError(
            f"{arch} cannot take an input of {side} x {side} pixels: choose another input size."
        ) from error


def default_geometry(arch: str) -> Geometry:
    """How torchvision (or the bundled classifier) crops photos for an architecture."""
    if arch == "photo11":
        return Geometry(bundled.RESIZE_SIZE, bundled.INPUT_SIZE)
    preset = torchvision.models.get_model_weights(arch).DEFAULT.transforms()
    return Geometry(preset.resize_size[0], preset.crop_size[0])


def make_transforms(
    geometry: Geometry, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Callable[[Image.Image], Tensor]:
    """Resize the short side, crop the centre, scale to [0, 1], normalise."""
    transforms: Callable[[Image.Image], Tensor] = Compose(
        [Resize(geometry.resize), CenterCrop(geometry.input_size), ToTensor(), Normalize(mean, std)]
    )
    return transforms


def cached_weights(url: str) -> Path:
    """Where torch.hub keeps the weights of a URL (`TORCH_HOME` moves it)."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]


def fetch(url: str, file: Path) -> None:
    """Download weights into torch.hub's cache; the file appears whole or not at all.

    Raises:
        OSError: it could not be done within FETCH_SECONDS; one sentence with file and folder.
    """
    give_up = time.monotonic() + FETCH_SECONDS
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as answer, part.open("wb") as out:
            while chunk := answer.read1(2**20):
                out.write(chunk)
                if time.monotonic() > give_up:
                    raise TimeoutError(f"it took longer than {FETCH_SECONDS:.0f} s")
        verify_hash(part, file.name)
        os.replace(part, file)
    except (OSError, ValueError, HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        reason = getattr(cause, "strerror", None) or cause  # words without an error number
        if isinstance(error, HTTPException):
            reason = "the server's answer is broken"  # it would be quoted in full
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is also the open answer
        raise OSError(
            f"The weights {file.name} could not be downloaded ({reason}): put the file into {file.parent} by hand, "
            f"or use the bundled model photo11."
        ) from error
    finally:
        with suppress(OSError):  # nothing to remove, or the folder is no folder
            part.unlink()


def verify_hash(file: Path, name: str) -> None:
    """Compare a download with the first digits of its SHA-256 that torch.hub puts into the file's name."""
    wanted = re.search(r"-([0-9a-f]{8,})\.", name)
    with file.open("rb") as contents:
        digest = hashlib.file_digest(contents, "sha256").hexdigest()
    if wanted and not digest.startswith(wanted[1]):
        raise ValueError("what arrived is not the published file")


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


def count_classes(arch: str, state: dict[str, Tensor]) -> int | None:
    """How many classes a checkpoint has: the rows of the parameter that holds the architecture's classes."""
    device = "cpu" if arch.startswith(REGNET) else "meta"
    with torch.device(device):
        default, other = build(arch, classes=3).state_dict(), build(arch, classes=5).state_dict()
    head = next(name for name in reversed(default) if default[name].shape != other[name].shape)
    return len(state[head]) if head in state and state[head].ndim else None


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
        return tuple(f"class {i}" for i in range(classes or 0))
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


def find_layers(arch: str, network: nn.Module, geometry: Geometry) -> ModelSpec:
    """Layers of an architecture outside MODELS: for each map size the last part of the network with it, coarse to fine.

    Raises:
        ValueError: no part of the network gives maps.
    """
    if arch.startswith("vit_"):
        blocks = sum(1 for _ in network.get_submodule("encoder.layers").children())
        names = [f"encoder.layers.encoder_layer_{i}.ln_1" for i in range(blocks - 1, -1, -3)]
    else:
        pools = (nn.AdaptiveAvgPool2d, nn.MaxPool2d, nn.AvgPool2d)
        parts = [name for name, part in network.named_modules() if name and not isinstance(part, pools)]
        names = [name for name in parts if name.count(".") == 1] + [name for name in parts if "." not in name]
    image = torch.zeros(1, 3, geometry.input_size, geometry.input_size)
    measured = map_sizes(network, names, image)
    sizes = {name: measured[name] for name in names if name in measured}
    if not arch.startswith("vit_"):
        last = {size: name for name, size in sizes.items()}
        sizes = {name: size for size, name in sorted(last.items())}
    if not sizes:
        raise ValueError(f"No layer of {arch} gives maps that could be shown.")
    return ModelSpec(arch, arch, next(iter(sizes)), sizes, None)
