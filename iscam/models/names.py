"""Names of networks that are in no table: of timm, of the Hugging Face Hub, or of a folder as the Hub stores it. No torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST_PLACE = 200  # letters of a repository's name; a folder's path may have what a path may have
LONGEST_PATH = 4096
# How a name begins -> how it goes on, for people
FORMS = {"timm/": "NAME", "hf-hub:": "ORG/NAME", "hf:": "ORG/NAME", "local-dir:": "FOLDER"}
WORDS = ", ".join(begins + rest for begins, rest in FORMS.items())
PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"


@dataclass(frozen=True)
class Name:
    """What a name says: its `kind`, a key of FORMS without its mark, and the `place`: a name of timm's, a repository,
    or a folder."""

    kind: str
    place: str

    @property
    def label(self) -> str:
        """For people: without the scheme; of a folder its own name."""
        return (
            self.place.rstrip("/\\").replace("\\", "/").rpartition("/")[2] if self.kind == "local-dir" else self.place
        )


def is_named(name: str) -> bool:
    """Whether a model's name is one of those that are in no table, which is told by how it begins.

    Raises:
        ValueError: it begins so, but does not go on as it must; one sentence.

    >>> is_named("timm/resnet50.a1_in1k"), is_named("resnet50")
    (True, False)
    """
    return any(name.startswith(begins) for begins in FORMS) and bool(parse(name))


def parse(name: str) -> Name:
    """The parts of a name.

    Raises:
        ValueError: it is none; one sentence.

    >>> parse("hf-hub:timm/resnet18.a1_in1k")
    Name(kind='hf-hub', place='timm/resnet18.a1_in1k')
    """
    begins = next((begins for begins in FORMS if name.startswith(begins)), None)
    if begins is None:
        raise ValueError(f"The name {_short(name)} is none of a network of timm, the Hub or a folder: write {WORDS}.")
    kind, place = begins[:-1], name[len(begins) :]
    if kind == "local-dir":
        if not place.strip() or len(place) > LONGEST_PATH or not place.isprintable():
            raise ValueError("Behind local-dir: stands the folder that holds config.json and model.safetensors.")
        return Name(kind, place)
    pattern = PART if kind == "timm" else f"{PART}/{PART}"
    if len(place) > LONGEST_PLACE or not re.fullmatch(pattern, place) or ".." in place or "--" in place:
        raise ValueError(
            f"The name {_short(name)} is none of a network: write {begins}{FORMS[begins]}, without spaces."
        )
    return Name(kind, place)


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:60]}...")
