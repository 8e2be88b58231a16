"""What the tab Compare shows: a job's news as pictures and words, kept to be drawn again in another look."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iscam.methods import METHODS
from iscam.notes import DISAGREE, agreement, correlations, doubt
from iscam.ui.done.news import (
    Analysed,
    Contrasted,
    Failed,
    Loading,
    Mapped,
    Measuring,
    Refused,
    Sharpening,
    Unavailable,
)
from iscam.ui.done.question import Terms

from . import html, words
from .canvas import CARD_PIXELS, Canvas, Look

if TYPE_CHECKING:
    from iscam import Explanation, Photo
    from iscam.results import Subject


@dataclass(eq=False)
class Maps:
    """The maps of one question, by method: finished or sharpening, and how far; and why there is none."""

    found: dict[str, Explanation] = field(default_factory=dict)
    masked: dict[str, float | None] = field(default_factory=dict)
    sharpening: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  # by method, or "contrast"
    contrast: Contrasted | None = None

    def take(self, news: object) -> None:
        """Learn a piece of news."""
        match news:
            case Sharpening(done=done, total=total, explanation=explanation) if explanation is not None:
                self.found[explanation.method] = explanation
                self.sharpening[explanation.method] = f"provisional, {100 * done / total:.0f} %"
            case Mapped(explanation, masked):
                self.found[explanation.method], self.masked[explanation.method] = explanation, masked
                self.sharpening.pop(explanation.method, None)
            case Refused(method, sentence):
                self.refused[method] = sentence
            case Contrasted():
                self.contrast = news

    def forget_unfinished(self) -> None:
        """Drop the maps that are still sharpening, because nobody will finish them for this page."""
        for method in self.sharpening:
            del self.found[method]
        self.sharpening.clear()

    @property
    def answered(self) -> set[str]:
        """The methods with a map, or with a sentence why there is none."""
        return self.found.keys() | self.refused.keys()

    @property
    def complete(self) -> bool:
        """Whether there are maps, and all of them are finished."""
        return bool(self.found) and all(explanation.complete for explanation in self.found.values())


@dataclass(eq=False)
class Line:
    """What the status line says: a sentence, how far the running work is (0..1), and whether the job failed."""

    sentence: str = ""
    share: float | None = None
    failed: bool = False

    def take(self, news: object) -> None:
        """Learn a piece of news. Of what says nothing here, such as a finished map, the line stays as it is."""
        match news:
            case Loading(label, done, total) if total:
                self.sentence, self.share = words.download(label, done, total), done / total
            case Loading(label):
                self.sentence, self.share = f"Loading {label} …", None
            case Unavailable(sentence):
                self.sentence, self.share = sentence, None
            case Analysed(subject):
                top, label = subject.predictions[0], subject.spec.label
                self.sentence, self.share = f"{label} sees {top.category}, {words.per_cent(top.probability)}.", None
            case Sharpening(label, done, total, left):
                self.sentence, self.share = words.progress(label, done, total, left), done / total
            case Measuring(label, done, total):
                self.sentence, self.share = f"Measuring {label} …", done / total
            case Failed(sentence):
                self.sentence, self.share, self.failed = sentence, None, True


@dataclass(eq=False)
class Shown:
    """The state behind one page. Written by the one event that follows its job, read by those that draw again.

    `terms` are those of the question, `wanted` the methods whose maps were asked for, none for a mere prediction; `example`
    says that nobody has asked, `recalled` that all was known before; `photo` is reduced; `over` says that the job is.
    """

    look: Look
    terms: Terms
    wanted: tuple[str, ...] = ()
    example: bool = False
    recalled: bool = False
    subject: Subject | None = None
    photo: Photo | None = None
    maps: Maps = field(default_factory=Maps)
    line: Line = field(default_factory=Line)
    over: bool = False

    def take(self, news: object) -> None:
        """Learn a piece of news."""
        self.maps.take(news)
        self.line.take(news)
        if isinstance(news, Analysed):
            self.subject, self.photo = news.subject, news.subject.photo.reduced(CARD_PIXELS)

    @property
    def stopped(self) -> bool:
        """Whether maps were asked for and not all are finished."""
        finished = self.maps.complete and self.maps.answered.issuperset(self.wanted)
        return self.over and bool(self.wanted) and not finished

    @property
    def explains(self) -> bool:
        """Whether there are maps, or they are on their way."""
        return self.subject is not None and bool(self.wanted) and not self.stopped

    @property
    def canvas(self) -> Canvas:
        """To draw on; there is a photo."""
        assert self.subject is not None and self.photo is not None
        return Canvas(self.photo, self.subject.crop, self.look)

    def conclusion(self) -> str:
        """The status line once the job is over."""
        if self.line.failed or not self.maps.found:
            return self.line.sentence
        maps = [*self.maps.found.values()]
        errors = [explanation.estimated_error for explanation in maps if explanation.estimated_error]
        maps += [] if self.maps.contrast is None else [self.maps.contrast.explanation]  # whose card tells its own error
        spent = words.passes(sum(explanation.forward_passes for explanation in maps))
        took = words.seconds(sum(explanation.seconds for explanation in maps))
        if self.example:
            how = "beforehand" if self.recalled else f"in {took}"
            return f"An example, explained {how} with {spent}. Choose a photo of your own, or another class."
        if self.stopped:
            return f"Stopped after {spent}: the maps show what was known by then."
        within = f", by estimate within {words.per_cent(max(errors))} of exact" if errors else ""
        return f"{'Done before' if self.recalled else 'Done'} in {took}, {spent}{within}."

    def notice(self) -> str:
        """What must be known before the maps are believed: an improbable class, and whether the methods agree."""
        maps = self.maps
        if maps.sharpening or not maps.found:
            return ""
        first = next(iter(maps.found.values()))
        sentences = [(doubt(first.category, first.probability), True)]
        if pairs := correlations(list(maps.found.values())):
            sentences.append((agreement(pairs), min(pairs.values()) < DISAGREE))
        return html.notice(sentences)

    def card(self, method: str) -> str:
        """The card of a method's map, or of why there is none."""
        title, maps = METHODS[method].label, self.maps
        if method in maps.refused:
            return html.empty_card(title, maps.refused[method])
        badge = maps.sharpening.get(method, "")
        blank = [key for key in METHODS if key in maps.found and not maps.found[key].heatmap.any()]
        masked = None if badge else maps.masked.get(method)
        return self.canvas.map_card(title, maps.found[method], masked, badge, method in blank[:1])

    def contrast_card(self) -> str:
        """The card of the contrast, or of why there is none."""
        if self.maps.contrast is None:
            return html.empty_card("Contrast", self.maps.refused["contrast"])
        return self.canvas.contrast_card(self.maps.contrast)
