"""Names of networks that are stored as the Hugging Face Hub stores them: `timm/NAME`, `hf-hub:ORG/NAME`, `hf:ORG/NAME` and
`local-dir:FOLDER`. No torch here."""

from __future__ import annotations

import re

CONFIG, WEIGHTS, PREPARATION = "config.json", "model.safetensors", "preprocessor_config.json"  # files of a folder
TIMM, FOLDER = "timm/", "local-dir:"
REPOSITORIES = ("hf-hub:", "hf:")
PART = r"[A-Za-z0-9_](?:[\w.-]{0,94}\w)?"
FORMS = "timm/NAME, hf-hub:ORG/NAME, hf:ORG/NAME or local-dir:FOLDER"


def is_stored(name: str) -> bool:
    """Whether a name is one of these, well-formed or not.

    >>> is_stored("timm/resnet50.a1_in1k"), is_stored("resnet50")
    (True, False)
    """
    return name.startswith((TIMM, FOLDER, *REPOSITORIES))


def check_name(name: str) -> None:
    """Raises ValueError, a sentence, if a name of these has not the form that it must have."""
    if name.startswith(FOLDER):
        if not name.removeprefix(FOLDER):
            raise ValueError(f"{FOLDER} is followed by a folder with config.json and model.safetensors.")
        return
    place = name if name.startswith(TIMM) else name.partition(":")[2]
    if not re.fullmatch(f"{PART}/{PART}", place, re.ASCII) or ".." in place or "--" in place:
        raise ValueError(f"{name[:120]!r} is no name of a stored network: such a name is {FORMS}.")
