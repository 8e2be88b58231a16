"""Pictures with their captions: what is drawn for one photo in one look. HTML comes from `text.py`, pixels from `render`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iscam.methods import METHODS, doubt
from iscam.show import render
from iscam.ui.asked import Look

from . import words as text

if TYPE_CHECKING:
    from iscam.explain import Explanation
    from iscam.images import Photo
    from iscam.ui.done import Contrasted

CARD_PIXELS = 640  # the longer side of a picture on the page
SMALL_PIXELS = 256  # of one among many


@dataclass(frozen=True, eq=False)
class Canvas:
    """A photo, reduced for display, with the network's crop of it, to draw maps on in one look."""

    photo: Photo
    crop: render.Box
    look: Look

    def framed(self) -> str:
        """The photo with the crop that the network sees."""
        jpeg = render.encoded(render.crop_on_photo(self.photo, self.crop), "JPEG")
        alt = "The photo, with what the network sees in a frame"
        return text.card("Seen by the network", jpeg, alt, [])

    def boxed(self, box: tuple[float, float, float, float] | None, area: float | None) -> str:
        """The photo with the crop that the network sees, to draw a box on; `box` in pixels of the photo, `area` its share
        of the crop."""
        jpeg = render.encoded(render.crop_on_photo(self.photo, self.crop), "JPEG")
        width, height = self.photo.size
        shown = box and (100 * box[0] / width, 100 * box[1] / height, 100 * box[2] / width, 100 * box[3] / height)
        lines = ["Draw a box around what the class is about."]
        if area is not None:
            lines = [f"The box takes up {100 * area:.1f} % of what the network sees."]
            if area == 0:
                lines = ["The network sees nothing of this box."]
        return text.drawn_on(jpeg, "The photo, to draw a box on", shown, lines)

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
            ("" if brief else f"{explanation.category} · ") + text.per_cent(explanation.probability),
            *([] if masked is None else [f"{text.per_cent(masked)} when masked"]),
            f"{text.seconds(explanation.seconds)} · {text.passes(explanation.forward_passes)}",
        ]
        # that the class is improbable is said once, above all maps
        note = explanation.note.removesuffix(doubt(explanation.category, explanation.probability)).strip()
        alt = text.map_alt(explanation)
        return text.card(title, self._draw(explanation), alt, lines, badge, "" if badge else note, blank)

    def contrast_card(self, contrast: Contrasted) -> str:
        """What speaks for one class rather than another, with its legend."""
        explanation, against = contrast.explanation, contrast.against
        label, category = METHODS[explanation.method].label, explanation.category
        title = f"{category} rather than {against}"
        alt = f"{label} contrast, {title}: strongest in the {text.place(explanation.heatmap)}"
        lines = [f"{label}: red speaks for {category}, blue for {against}"]
        card = text.card(title, self._draw(explanation, signed=True), alt, lines, note=explanation.note)
        return card + text.colour_bar(render.encoded(render.colour_bar(signed=True), "JPEG"), against, category)

    def small_card(self, title: str, heatmap: render.Map, alt: str, lines: Sequence[str]) -> str:
        """A map (H, W) among many. There is no raw map of it, so that its cells cannot be shown."""
        view = render.VIEWS[0] if self.look.view == render.CELLS else self.look.view
        photo = self.photo.reduced(SMALL_PIXELS)
        picture = render.draw_map(photo, self.crop, heatmap, view, self.look.colours, self.look.opacity)
        return text.card(title, render.encoded(picture, "JPEG"), alt, lines)

    def scale(self) -> str:
        """The colour bar that all maps share."""
        bar = render.encoded(render.colour_bar(self.look.colours), "JPEG")
        return text.colour_bar(bar, "0", "1, the strongest place of each map")

    def _draw(self, explanation: Explanation, signed: bool = False) -> bytes:
        look = self.look
        heatmap = render.cells(explanation.raw, signed) if look.view == render.CELLS else explanation.heatmap
        picture = render.draw_map(self.photo, self.crop, heatmap, look.view, look.colours, look.opacity, signed)
        return render.encoded(picture, "JPEG")
