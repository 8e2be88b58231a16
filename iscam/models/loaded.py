"""What a loaded model is, whatever it came from. No torch is loaded here."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from iscam.engine import HEADS, Head
from iscam.images import Geometry

from .digest import sha256
from .preparation import Preparation, measure
from .table import ModelSpec

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

    from iscam.engine import Fold

LONGEST_NAME = 200  # letters; the suggestions for a name take a time that grows with its length


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network with all that is needed to explain a photo; it is in eval mode while it is used.

    `spec` has its name and its layers, as they were measured. `transforms` maps an RGB picture to the normalised input
    (3, H, W); `geometry` says which part of the photo that is. `head_weight` (K, C) is the linear head's where CAM applies
    at `head_layer`, else None. `folds` are convolutions, each with the batch norm that alone reads it. `notes` are sentences on
    what of a checkpoint was left out or read as something else.

    >>> import iscam
    >>> model = iscam.load_model("photo11")
    >>> model.layer, model.layers["layer3"], model.find_class("dog")
    ('layer3', (8, 8), 4)
    """

    spec: ModelSpec
    network: nn.Module
    categories: tuple[str, ...]
    geometry: Geometry
    transforms: Callable[[Image.Image], Tensor]
    weights_file: Path | None
    head_weight: Tensor | None
    folds: tuple[Fold, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.spec.key

    @property
    def label(self) -> str:
        return self.spec.label

    @property
    def layer(self) -> str:
        """The default target layer."""
        return self.spec.layer

    @property
    def layers(self) -> dict[str, tuple[int, int]]:
        """The offered layers with their map sizes (h, w), coarse to fine."""
        return self.spec.layers

    @property
    def head_layer(self) -> str | None:
        """The layer before global pooling and one linear head, or None."""
        return self.spec.head_layer

    @property
    def head(self) -> Head:
        """What the network's outputs mean."""
        return HEADS[self.spec.head]

    @cached_property
    def preparation(self) -> Preparation:
        """What is done to a photo before the network sees it."""
        return measure(self.geometry, self.transforms)

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights file, in hexadecimal; empty for a network without one."""
        return "" if self.weights_file is None else sha256(self.weights_file)

    def find_layer(self, name: str | None) -> str:
        """The layer's name (None: the model's default). Raises ValueError, with the sensible ones, if there is none."""
        if name is None:
            return self.layer
        if name not in dict(self.network.named_modules()):
            raise ValueError(f"{self.label} has no layer {name!r}: choose one of {', '.join(self.layers)}.")
        return name

    def find_class(self, name: int | str) -> int:
        """The index of a class given by its index, its digits, or its category: exact, else the only one but for case.

        Raises:
            ValueError: no such class, or several; lists the candidates.
        """
        last = len(self.categories) - 1
        if isinstance(name, str) and len(name) > LONGEST_NAME:
            raise ValueError(f"No class has a name of {len(name)} letters: try an index from 0 to {last}.")
        if isinstance(name, int) or (name.isascii() and name.isdigit()):
            index = int(name)
            if isinstance(name, bool) or not 0 <= index <= last:
                raise ValueError(f"The class index must lie between 0 and {last}, not {name}.")
            return index
        folded = [category.casefold() for category in self.categories]
        found = [i for i, category in enumerate(self.categories) if category == name]
        found = found or [i for i, category in enumerate(folded) if category == name.casefold()]
        if len(found) == 1:
            return found[0]
        problem = f"The class {name!r} is not unique" if found else f"There is no class {name!r}"
        candidates = found or self._similar(name.casefold(), folded)
        hint = ", ".join(f"{self.categories[i]} ({i})" for i in candidates) or f"an index from 0 to {last}"
        raise ValueError(f"{problem}: try {hint}.")

    def _similar(self, name: str, folded: list[str]) -> list[int]:
        """Up to ten classes whose case-folded category contains the name or is spelt much like it."""
        close = difflib.get_close_matches(name, folded, 5, 0.7)
        containing = [i for i, category in enumerate(folded) if name.strip() and name in category][:5]
        return containing + [i for i, category in enumerate(folded) if category in close and i not in containing][:5]


def numbered(outputs: int) -> tuple[str, ...]:
    """What the classes of a network are called that nobody has named; of a single output its one class."""
    return ("class",) if outputs == 1 else tuple(f"class {i}" for i in range(outputs))
