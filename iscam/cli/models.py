"""`python -m iscam models`: what can be named with --model, its layers, and the methods that it serves."""

from __future__ import annotations

import argparse
import json

from iscam.methods import METHODS
from iscam.models import MODELS
from iscam.notes import refusal


def list_models(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    rows = [
        {
            "key": spec.key,
            "label": spec.label,
            "layer": spec.layer,
            "layers": {name: list(size) for name, size in spec.layers.items()},
            "methods": [key for key in METHODS if refusal(key, spec.label, spec.head_layer, spec.layer) is None],
        }
        for spec in MODELS.values()
    ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    for spec in MODELS.values():
        layers = ", ".join(f"{name} ({height}x{width})" for name, (height, width) in spec.layers.items())
        print(f"{spec.key:20} {spec.label:20} {layers}")
    return 0
