"""`python -m iscam models`: what can be named with --model, its layers, and the methods that it serves."""

from __future__ import annotations

import argparse
import json

from iscam.methods import METHODS
from iscam.models import MODELS, ModelSpec, load_model, missing_bytes
from iscam.notes import refusal

from .files import complain
from .network import fetching


def list_models(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    specs = list(MODELS.values()) if options.name is None else [_loaded(options.name)]
    rows = [
        {
            "key": spec.key,
            "label": spec.label,
            "layer": spec.layer,
            "layers": {name: list(size) for name, size in spec.layers.items()},
            "methods": [key for key in METHODS if refusal(key, spec.label, spec.head_layer, spec.layer) is None],
        }
        for spec in specs
    ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    for spec in specs:
        layers = ", ".join(f"{name} ({height}x{width})" for name, (height, width) in spec.layers.items())
        print(f"{spec.key:20} {spec.label:20} {layers}")
    return 0


def _loaded(name: str) -> ModelSpec:
    """The row of a model as it is measured, after it has been downloaded if need be."""
    if size := missing_bytes(name):
        complain(f"{size / 1e6:.0f} MB are downloaded.")
    with fetching(name) as progress:
        return load_model(name, progress=progress).spec
