"""What the tab Compare shows: a job's news as pictures and words, kept to be drawn again in another look."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from iscam.methods import METHODS, doubt
from iscam.models import MODELS
from iscam.ui.asked import Look
from iscam.ui.done import Analysed, Contrasted, Failed, Loading, Mapped, Measuring, Refused, Sharpening, Unavailable

from . import words as text
from .canvas import CARD_PIXELS, Canvas

if TYPE_CHECKING:
    from iscam.explain import Explanation, Subject
    from iscam.images import Photo


@dataclass(eq=False)
class Shown:
    """The state behind one page. Written by the one event that follows its job, read by those that draw again.

    `example` says that nobody has asked, `recalled` that all was known before, `settings` what was asked.
    """

    look: Look
    example: bool = False
    recalled: bool = False
    settings: dict[str, object] = field(default_factory=dict)
    subject: Subject | None = None
    photo: Photo | None = None  # reduced
    maps: dict[str, Explanation] = field(default_factory=dict)  # by method
    masked: dict[str, float | None] = field(default_factory=dict)  # by method
    sharpening: dict[str, str] = field(default_factory=dict)  # method -> how far its map is
    refused: dict[str, str] = field(default_factory=dict)  # method, or "contrast" -> why
    contrast: Contrasted | None = None
    sentence: str = ""
    share: float | None = None  # of the running method's passes
    failed: bool = False
    over: bool = False

    def take(self, news: object) -> None:
        """Learn a piece of news."""
        self.share = None
        match news:
            case Loading(label):
                self.sentence = f"Loading {label}: the first time, its weights may have to be downloaded …"
            case Unavailable(sentence):
                self.sentence = sentence
            case Analysed(subject):
                self.subject, self.photo = subject, subject.photo.reduced(CARD_PIXELS)
                top = subject.predictions[0]
                self.sentence = f"{MODELS[subject.model].label} sees {top.category}, {text.per_cent(top.probability)}."
            case Sharpening(label, done, total, left, explanation):
                self.sentence, self.share = text.progress(label, done, total, left), done / total
                if explanation is not None:
                    self.maps[explanation.method] = explanation
                    self.sharpening[explanation.method] = f"provisional, {100 * done / total:.0f} %"
            case Measuring(label, done, total):
                self.sentence, self.share = f"Measuring {label} …", done / total
            case Mapped(explanation, masked):
                self.maps[explanation.method], self.masked[explanation.method] = explanation, masked
                self.sharpening.pop(explanation.method, None)
            case Refused(method, sentence):
                self.refused[method] = sentence
            case Contrasted():
                self.contrast = news
            case Failed(sentence):
                self.sentence, self.failed = sentence, True

    def forget_unfinished(self) -> None:
        """Drop the maps that are still sharpening, because nobody will finish them for this page."""
        for method in self.sharpening:
            del self.maps[method]
        self.sharpening.clear()

    @property
    def complete(self) -> bool:
        """Whether there are maps, and all of them are finished."""
        return self.over and bool(self.maps) and all(explanation.complete for explanation in self.maps.values())

    @property
    def canvas(self) -> Canvas:
        """To draw on; there is a photo."""
        assert self.subject is not None and self.photo is not None
        return Canvas(self.photo, self.subject.crop, self.look)

    def conclusion(self) -> str:
        """The status line once the job is over."""
        if self.failed or not self.maps:
            return self.sentence
        maps = self.maps.values()
        spent = text.passes(sum(explanation.forward_passes for explanation in maps))
        took = text.seconds(sum(explanation.seconds for explanation in maps))
        if self.example:
            return f"An example, explained in {took} with {spent}. Choose a photo of your own, or another class."
        if not all(explanation.complete for explanation in maps):
            return f"Stopped after {spent}: the maps show what was known by then."
        errors = [explanation.estimated_error for explanation in maps if explanation.estimated_error]
        within = f", within {text.per_cent(max(errors))} of exact" if errors else ""
        return f"{'Done before' if self.recalled else 'Done'} in {took}, {spent}{within}."

    def notice(self) -> str:
        """What must be known before the maps are believed: an improbable class, and whether the methods agree."""
        if self.sharpening or not self.maps:
            return ""
        first = next(iter(self.maps.values()))
        sentences = [(doubt(first.category, first.probability), True)]
        bright = {key: explanation.heatmap.ravel() for key, explanation in self.maps.items()}
        bright = {key: values for key, values in bright.items() if values.std() > 0}
        if len(bright) > 1:
            pairs = {
                (METHODS[one].label, METHODS[other].label): float(np.corrcoef(bright[one], bright[other])[0, 1])
                for one, other in combinations((key for key in METHODS if key in bright), 2)
            }
            sentences.append((text.agreement(pairs), min(pairs.values()) < text.DISAGREE))
        return text.notice(sentences)

    def card(self, method: str) -> str:
        """The card of a method's map, or of why there is none."""
        title = METHODS[method].label
        if method in self.refused:
            return text.empty_card(title, self.refused[method])
        badge = self.sharpening.get(method, "")
        first_blank = next((key for key in METHODS if key in self.maps and not self.maps[key].heatmap.any()), None)
        masked = None if badge else self.masked.get(method)
        return self.canvas.map_card(title, self.maps[method], masked, badge, method == first_blank)

    def contrast_card(self) -> str:
        """The card of the contrast, or of why there is none."""
        if self.contrast is None:
            return text.empty_card("Contrast", self.refused["contrast"])
        return self.canvas.contrast_card(self.contrast)
