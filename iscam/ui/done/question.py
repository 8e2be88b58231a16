"""What a visitor asks, checked."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from PIL import Image

from iscam.contrast import contrasting
from iscam.methods import DEFAULT_METHODS, METHODS
from iscam.models import DEFAULT_MODEL, MODELS, ModelSpec
from iscam.notes import refusal
from iscam.settings import DEFAULT_ENGINE, DEFAULT_SETTINGS, LIKELY_RIVALS, Settings

from .offer import Own

if TYPE_CHECKING:
    from iscam import Photo


@dataclass(frozen=True)
class Terms:
    """How maps were asked for: light enough for a page to remember, unlike a question, which holds a full-size photo."""

    settings: Settings = DEFAULT_SETTINGS
    engine: str = DEFAULT_ENGINE
    target: int | str | None = None
    against: int | str | None = None


@dataclass(frozen=True, eq=False)
class Question:
    """What a visitor asks of a photo; None means the default layer or the top class. `row` is what is known of the
    model, `own` how it is loaded if it is somebody's own."""

    photo: Photo
    row: ModelSpec = MODELS[DEFAULT_MODEL]
    layer: str | None = None
    target: int | str | None = None
    against: int | str | None = None
    methods: tuple[str, ...] = DEFAULT_METHODS
    settings: Settings = DEFAULT_SETTINGS
    engine: str = DEFAULT_ENGINE
    own: Own | None = None

    @property
    def model(self) -> str:
        """Its key."""
        return self.row.key

    @property
    def terms(self) -> Terms:
        """What it asks, without the photo."""
        return Terms(self.settings, self.engine, self.target, self.against)

    def light(self) -> Question:
        """The same without the photo's pixels, which are seldom needed and much to send."""
        return replace(self, photo=replace(self.photo, image=Image.new("RGB", (1, 1))))

    @property
    def contrasts(self) -> bool:
        """Whether there is a contrast: with a class that is named, or with the likely others where a method can tell."""
        able = METHODS[self.contrasting].class_specific
        return able if self.against == LIKELY_RIVALS else self.against is not None

    @property
    def contrasting(self) -> str:
        """The chosen method that contrasts two classes: the first that can; the first of all if none can."""
        row, layer = self.row, self.place[2]
        able = contrasting(self.methods, lambda key: refusal(key, row.label, row.head_layer, layer))
        return able or self.methods[0]

    @property
    def place(self) -> tuple[str, str, str]:
        """Which analysis answers it: the photo's digest, the model and the layer."""
        return self.photo.sha256, self.model, self.layer or self.row.layer

    @property
    def maps(self) -> Hashable:
        """By what its maps are known again, all of them."""
        return self.place, self.methods, self.target, self.against, self.settings, self.engine

    def key(self, method: str, target: int, against: int | str | None = None) -> Hashable:
        """By what the answer of a method is known again: the settings that the method heeds."""
        row = METHODS[method]
        engine = self.engine if row.score_based else None
        return self.place, method, target, against, engine, tuple(row.heeded(self.settings).items())


def ordered(methods: tuple[str, ...]) -> list[str]:
    """The cheapest first, so that the first map is there at once."""
    return sorted(methods, key=lambda key: METHODS[key].effort)
