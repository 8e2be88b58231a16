"""What a visitor asks, checked."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iscam.methods import DEFAULT_METHODS, METHODS
from iscam.models import DEFAULT_MODEL, MODELS
from iscam.settings import DEFAULT_ENGINE, DEFAULT_SETTINGS, Settings

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
    """What a visitor asks of a photo; None means the default layer or the top class."""

    photo: Photo
    model: str = DEFAULT_MODEL
    layer: str | None = None
    target: int | str | None = None
    against: int | str | None = None
    methods: tuple[str, ...] = DEFAULT_METHODS
    settings: Settings = DEFAULT_SETTINGS
    engine: str = DEFAULT_ENGINE

    @property
    def terms(self) -> Terms:
        """What it asks, without the photo."""
        return Terms(self.settings, self.engine, self.target, self.against)

    @property
    def place(self) -> tuple[str, str, str]:
        """Which analysis answers it: the photo's digest, the model and the layer."""
        return self.photo.sha256, self.model, self.layer or MODELS[self.model].layer

    @property
    def maps(self) -> Hashable:
        """By what its maps are known again, all of them."""
        return self.place, self.methods, self.target, self.against, self.settings, self.engine

    def key(self, method: str, target: int, against: int | str | None = None) -> Hashable:
        """By what the answer of a method is known again: the settings that the method heeds."""
        row = METHODS[method]
        engine = self.engine if row.score_based else None
        return self.place, method, target, against, engine, tuple(row.heeded(self.settings).items())
