"""What a visitor's page shows: a job's news as pictures and words, kept to be drawn again in another look."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iscam import render
from iscam.methods import METHODS
from iscam.models import MODELS

from . import text
from .checks import Look
from .tasks import Analysed, Contrasted, Loading, Mapped, Refused, Sharpening, Unavailable
from .worker import Failed, Job

if TYPE_CHECKING:
    from iscam.explain import Explanation
    from iscam.images import Photo

CARD_PIXELS = 640  # the longer side of a picture on the page


@dataclass(eq=False)
class Shown:
    """The state behind one page. Written by the one handler that follows `job`, read by the one that redraws."""

    job: Job
    look: Look
    photo: Photo | None = None
    crop: render.Box = (0, 0, 1, 1)
    maps: dict[str, Explanation] = field(default_factory=dict)  # by method
    sharpening: dict[str, str] = field(default_factory=dict)  # method -> how far its map is
    refused: dict[str, str] = field(default_factory=dict)  # method, or "contrast" -> why
    contrast: Contrasted | None = None
    sentence: str = ""
    share: float | None = None  # of the running method's passes
    failed: bool = False
    left: threading.Event = field(default_factory=threading.Event)  # nobody follows the job for this page any more

    def take(self, news: object) -> None:
        """Learn a piece of news."""
        self.share = None
        match news:
            case Loading(label):
                self.sentence = f"Loading {label}: the first time, its weights may have to be downloaded …"
            case Unavailable(sentence):
                self.sentence = sentence
            case Analysed(model=model, photo=photo, crop=crop, predictions=(top, *_)):
                self.photo, self.crop = photo.reduced(CARD_PIXELS), crop
                self.sentence = f"{MODELS[model].label} sees {top.category}, {text.per_cent(top.probability)}."
            case Sharpening(explanation, done, total, left):
                self.maps[explanation.method] = explanation
                self.sharpening[explanation.method] = f"provisional, {100 * done / total:.0f} %"
                label = METHODS[explanation.method].label
                self.sentence = f"{label}: {done:,} of {text.passes(total)}, {text.seconds(left)} left"
                self.share = done / total
            case Mapped(explanation):
                self.maps[explanation.method] = explanation
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

    def conclusion(self) -> str:
        """The status line once the job is over."""
        if self.failed or not self.maps:
            return self.sentence
        maps = self.maps.values()
        spent = text.passes(sum(explanation.forward_passes for explanation in maps))
        took = text.seconds(sum(explanation.seconds for explanation in maps))
        if self.job.background:
            return f"An example, explained in {took} with {spent}. Choose a photo of your own, or another class."
        if not all(explanation.complete for explanation in maps):
            return f"Stopped after {spent}: the maps show what was known by then."
        errors = [explanation.estimated_error for explanation in maps if explanation.estimated_error]
        within = f", within {text.per_cent(max(errors))} of exact" if errors else ""
        return f"Done in {took}, {spent}{within}."

    def framed(self) -> str:
        """The photo with the crop that the network sees."""
        assert self.photo is not None
        jpeg = render.encoded(render.crop_on_photo(self.photo, self.crop), "JPEG")
        return text.card(
            "Photo", jpeg, "The photo, with what the network sees in a frame", ["The network sees the frame."]
        )

    def card(self, method: str) -> str:
        """The card of a method's map, or of why there is none."""
        title = METHODS[method].label
        if method in self.refused:
            return text.empty_card(title, self.refused[method])
        explanation, badge = self.maps[method], self.sharpening.get(method, "")
        first_blank = next((key for key, other in tuple(self.maps.items()) if not other.heatmap.any()), None)
        lines = [
            f"{explanation.category} · {text.per_cent(explanation.probability)}",
            f"{text.seconds(explanation.seconds)} · {text.passes(explanation.forward_passes)}",
        ]
        if badge:  # the note of an unfinished map would say that it is unfinished
            return text.card(title, self._draw(explanation), text.map_alt(explanation), lines, badge)
        blank = method == first_blank
        return text.card(title, self._draw(explanation), text.map_alt(explanation), lines, "", explanation.note, blank)

    def contrast_card(self) -> str:
        """The card of what speaks for one class rather than another, with its legend, or of why there is none."""
        if self.contrast is None:
            return text.empty_card("Contrast", self.refused["contrast"])
        explanation, against = self.contrast.explanation, self.contrast.against
        label, category = METHODS[explanation.method].label, explanation.category
        title = f"{category} rather than {against}"
        alt = f"{label} contrast, {title}: strongest in the {text.place(explanation.heatmap)}"
        lines = [f"{label}: red speaks for {category}, blue for {against}"]
        card = text.card(title, self._draw(explanation, signed=True), alt, lines, note=explanation.note)
        return card + text.colour_bar(render.encoded(render.colour_bar(signed=True), "JPEG"), against, category)

    def scale(self) -> str:
        """The colour bar that all maps share."""
        bar = render.encoded(render.colour_bar(self.look.colours), "JPEG")
        return text.colour_bar(bar, "0", "1, the strongest place of each map")

    def _draw(self, explanation: Explanation, signed: bool = False) -> bytes:
        assert self.photo is not None
        look = self.look
        picture = render.draw_map(
            self.photo, self.crop, explanation.heatmap, look.view, look.colours, look.opacity, signed
        )
        return render.encoded(picture, "JPEG")
