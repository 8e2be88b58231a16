"""Pictures with their captions: what is drawn for one photo in one look. HTML comes from `html.py`, pixels from `render`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iscam import show
from iscam.methods import METHODS
from iscam.notes import doubt, lies
from iscam.show import CELLS, COLOUR_MAPS, OPACITY, VIEWS

from . import html, words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from iscam import Explanation, Photo
    from iscam.results import Subject
    from iscam.ui.done.news import Contrasted

CARD_PIXELS = 640  # the longer side of a picture on the page
SMALL_PIXELS, SMALL_QUALITY = 256, 75  # of one among many


@dataclass(frozen=True)
class Look:
    """How maps are drawn, in every tab."""

    opacity: float = OPACITY
    colours: str = COLOUR_MAPS[0]
    view: str = VIEWS[0]


@dataclass(frozen=True, eq=False)
class Canvas:
    """A photo, reduced for display, with the network's crop (l, t, r, b) of it, to draw maps on in one look."""

    photo: Photo
    crop: tuple[int, int, int, int]
    look: Look

    @classmethod
    def of(cls, subject: Subject, look: Look) -> Canvas:
        return cls(subject.photo.reduced(CARD_PIXELS), subject.crop, look)

    def framed(self) -> bytes:
        """The photo with the crop that the network sees, as JPEG."""
        return show.encoded(show.crop_on_photo(self.photo, self.crop), "JPEG")

    def map_card(
        self,
        title: str,
        explanation: Explanation,
        masked: float | None,
        badge: str = "",
        blank: bool = False,
        brief: bool = False,
    ) -> str:
        """A map: its class with the probability of the photo and of the photo masked by it, its seconds and passes.

        A `badge` says that it is unfinished, which its note would repeat. `blank` marks the reason of a blank map; `brief`
        leaves out the class, for a row of maps that says it already.
        """
        lines = [
            ("" if brief else f"{explanation.category} · ") + words.per_cent(explanation.probability),
            *([] if masked is None else [f"{words.per_cent(masked)} when masked"]),
            f"{words.seconds(explanation.seconds)} · {words.passes(explanation.forward_passes)}",
            *words.of_the_class(explanation.specificity),
        ]
        # that the class is improbable is said once, above all maps
        note = explanation.note.removesuffix(doubt(explanation.category, explanation.probability)).strip()
        alt = words.map_alt(explanation.method, explanation.category, explanation.heatmap)
        return html.card(title, self._draw(explanation), alt, lines, badge, "" if badge else note, blank)

    def contrast_card(self, contrast: Contrasted) -> str:
        """What speaks for one class rather than another, with its legend."""
        explanation = contrast.explanation
        label, category = METHODS[explanation.method].label, explanation.category
        if explanation.against is None:
            others = words.some([rival.category for rival in explanation.rivals], len(explanation.rivals))
            spent = f"{words.seconds(explanation.seconds)} · {words.passes(explanation.forward_passes)}"
            error = explanation.estimated_error
            within = (
                [f"within {words.per_cent(error)} of exact"] if error else []
            )  # the status line is of the other maps
            lines = [f"rather than {others}", spent, *within, *words.of_the_class(explanation.specificity)]
            title = f"{label}: {category}, not others"
            where = words.map_alt(explanation.method, explanation.category, explanation.heatmap)
            return html.card(
                title, self._draw(explanation), f"{where}; rather than {others}", lines, note=explanation.note
            )
        against = explanation.against.category
        title = f"{category} rather than {against}"
        alt = f"{label} contrast, {title}: {lies(explanation.heatmap)}"
        lines = [f"{label}: red speaks for {category}, blue for {against}"]
        card = html.card(title, self._draw(explanation, signed=True), alt, lines, note=explanation.note)
        return card + html.colour_bar(_bar(signed=True), against, category)

    def small_card(self, title: str, heatmap: NDArray[np.float32], alt: str, lines: Sequence[str]) -> str:
        """A map (H, W) among many. There is no raw map of it, so that its cells cannot be shown."""
        view = VIEWS[0] if self.look.view == CELLS else self.look.view
        photo = self.photo.reduced(SMALL_PIXELS)
        picture = show.draw_map(photo, self.crop, heatmap, view, self.look.colours, self.look.opacity)
        return html.card(title, show.encoded(picture, "JPEG", SMALL_QUALITY), alt, lines)

    def small_frame(self, title: str, alt: str) -> str:
        """The photo with the crop that the network sees, beside small maps."""
        picture = show.crop_on_photo(self.photo.reduced(SMALL_PIXELS), self.crop)
        return html.card(title, show.encoded(picture, "JPEG", SMALL_QUALITY), alt, [])

    def card(self, title: str, explanation: Explanation, alt: str, lines: Sequence[str], note: str = "") -> str:
        """A map with lines of one's own under it."""
        return html.card(title, self._draw(explanation), alt, lines, note=note)

    def scale(self) -> str:
        """The colour bar that all maps share."""
        return html.colour_bar(_bar(self.look.colours), "0", "1, the strongest place of each map")

    def _draw(self, explanation: Explanation, signed: bool = False) -> bytes:
        look = self.look
        heatmap = show.cells(explanation.raw, signed) if look.view == CELLS else explanation.heatmap
        picture = show.draw_map(self.photo, self.crop, heatmap, look.view, look.colours, look.opacity, signed)
        return show.encoded(picture, "JPEG")


@functools.cache
def _bar(colours: str = COLOUR_MAPS[0], signed: bool = False) -> bytes:
    """A colour bar as JPEG, the same beside every map and preview."""
    return show.encoded(show.colour_bar(colours, signed), "JPEG")
