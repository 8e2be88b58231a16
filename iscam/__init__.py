"""IS-CAM and its company: what did an image classifier look at?

>>> import iscam
>>> explainer = iscam.Explainer(iscam.load_model("photo11"))
>>> analysis = explainer.analyse("assets/examples/chelsea.jpg")
>>> explainer.explain(analysis, method="is-cam").category
'cat'

Nothing heavy is loaded before it is needed: `import iscam` does not import torch.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

# How long a thread of GNU OpenMP spins before it sleeps, read when torch is loaded. On a machine with as many busy threads
# as cores (a page and its compute thread), the default lets threads wait for each other many times longer than they work.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

if TYPE_CHECKING:
    from .explain import Analysis, Explainer, Explanation, Prediction, Progress
    from .images import Photo, read_photo
    from .methods import METHODS, Method
    from .models import MODELS, LoadedModel, ModelSpec, load_model
    from .path import IntegrationPath, integration_path

__version__ = "0.1.0"
__all__ = [
    "METHODS",
    "MODELS",
    "Analysis",
    "Explainer",
    "Explanation",
    "IntegrationPath",
    "LoadedModel",
    "Method",
    "ModelSpec",
    "Photo",
    "Prediction",
    "Progress",
    "integration_path",
    "load_model",
    "read_photo",
]
_HOMES = {
    "explain": ("Analysis", "Explainer", "Explanation", "Prediction", "Progress"),
    "images": ("Photo", "read_photo"),
    "methods": ("METHODS", "Method"),
    "models": ("MODELS", "LoadedModel", "ModelSpec", "load_model"),
    "path": ("IntegrationPath", "integration_path"),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f".{home}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
