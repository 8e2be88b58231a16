"""Weights, labels and configurations to begin with: a small network's, in the wrappings of the world."""

from __future__ import annotations

import functools
import io
import json
import tempfile
from pathlib import Path

import safetensors.torch
import timm
import torch

import iscam
from iscam.models.bundled.network import CATEGORIES
from iscam.models.photo11 import BUNDLED_WEIGHTS

TIMMS = "test_resnet"  # timm's smallest, 0.4 million parameters


def read(name: str, data: bytes) -> object:
    """As a network of one's own is."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if name.startswith(("config", "stored")):
            for file, content in _stored().items():
                (folder / file).write_bytes(content)
            (folder / ("config.json" if name == "config" else "model.safetensors")).write_bytes(data)
            return iscam.load_model(f"local-dir:{folder}")
        own = folder / ("weights.safetensors" if name == "safetensors" else "weights.pth")
        labels = None
        own.write_bytes(data if name != "labels" else Path(BUNDLED_WEIGHTS).read_bytes())
        if name == "labels":
            own = own.rename(own.with_suffix(".safetensors"))
            labels = folder / "labels.txt"
            labels.write_bytes(data)
        return iscam.load_model(arch="photo11", checkpoint=own, labels=labels)


def seeds() -> dict[str, bytes]:
    """By name; each can be read."""
    state = {name: tensor.float() for name, tensor in safetensors.torch.load_file(BUNDLED_WEIGHTS).items()}
    half = {name: tensor.half() for name, tensor in state.items()}
    wrapped = {"state_dict": {f"module.{name}": tensor for name, tensor in half.items()}, "epoch": 3, "loss": 0.5}
    return {
        "torch": _saved(half),
        "wrapped": _saved(wrapped),
        "legacy": _saved(half, _use_new_zipfile_serialization=False),
        "safetensors": Path(BUNDLED_WEIGHTS).read_bytes(),
        "labels": "\n".join(f"klass {name} é" for name in CATEGORIES).encode(),
        "config": _stored()["config.json"],
        "stored": _stored()["model.safetensors"],
    }


def _saved(content: object, **options: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)  # type: ignore[arg-type]
    return file.getvalue()


@functools.cache
def _stored() -> dict[str, bytes]:
    """A folder as the Hub stores it."""
    torch.manual_seed(0)
    network = timm.create_model(TIMMS, num_classes=3)
    config = {
        "architecture": TIMMS,
        "num_classes": 3,
        "label_names": ["ash", "birch", "elm"],
        "pretrained_cfg": network.pretrained_cfg | {"num_classes": 3},
    }
    return {
        "config.json": json.dumps(config).encode(),
        "model.safetensors": safetensors.torch.save(network.state_dict()),
    }
