"""Maps of one photo side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from PIL import Image

from iscam.images import Photo
from iscam.methods import METHODS
from iscam.notes import rather_than
from iscam.results import Explanation, Ground

from .render import COLOUR_MAPS, OPACITY, SIGNED_COLOURS, Box, crop_on_photo, draw_map, encoded, new_figure, picture_of


@dataclass(frozen=True, eq=False)
class Comparison:
    """What several methods say of one photo, by their keys: made by `Explainer.compare`. A notebook shows it as a figure.

    >>> import iscam
    >>> explainer = iscam.Explainer(iscam.load_model("photo11"))
    >>> found = explainer.compare("assets/examples/chelsea.jpg", ["grad-cam", "cam"])
    >>> found.explanations["cam"].category, found.figure().width > 1000
    ('cat', True)
    """

    ground: Ground
    explanations: Mapping[str, Explanation]

    def figure(self) -> Image.Image:
        """The photo, and beside it the maps with what each says."""
        return comparison_figure(self.ground.photo, self.ground.crop, tuple(self.explanations.values()))

    def _repr_png_(self) -> bytes:
        """The figure, for a notebook."""
        return encoded(self.figure())


def comparison_figure(
    photo: Photo,
    crop: Box,
    explanations: Sequence[Explanation],
    title: str = "",
    colours: str = COLOUR_MAPS[0],
    opacity: float = OPACITY,
) -> Image.Image:
    """The photo with the network's crop, then every map with its method, class, probability, seconds and note."""
    from matplotlib.cm import ScalarMappable

    signed = [explanation.signed for explanation in explanations]
    pictures = [("Photo", "what the network sees is framed", crop_on_photo(photo, crop))]
    for explanation, minus in zip(explanations, signed, strict=True):
        picture = draw_map(photo, crop, explanation.heatmap, "overlay", colours, opacity, minus)
        pictures.append((METHODS[explanation.method].label, _caption(explanation), picture))
    columns = min(4, len(pictures))
    rows = -(-len(pictures) // columns)
    width = 3.1  # inches, as all sizes here
    height = min(width * photo.image.height / photo.image.width, 5.5)
    below = 0.2 + 0.16 * max(caption.count("\n") + 1 for _, caption, _ in pictures)
    gap, top, bottom = below + 0.3, 0.35 + (0.3 if title else 0.0), below + 0.5
    tall = top + rows * height + (rows - 1) * gap + bottom
    figure = new_figure((columns * width, tall))
    edges = {"left": 0.02, "right": 0.98, "top": 1 - top / tall, "bottom": bottom / tall}
    grid = figure.add_gridspec(rows, columns, wspace=0.05, hspace=gap / height, **edges)
    for place, (heading, caption, picture) in enumerate(pictures):
        axes = figure.add_subplot(grid[place // columns, place % columns])
        axes.imshow(np.asarray(picture))
        axes.set_axis_off()
        axes.set_title(heading, fontsize=11, fontweight="bold")
        axes.text(0.5, -0.02, _plain(caption), transform=axes.transAxes, ha="center", va="top", fontsize=8.5)
    if title:
        figure.suptitle(_plain(title), fontsize=12, y=1 - 0.12 / tall, va="top")
    for scale, minus in enumerate(sorted(set(signed))):
        bar = figure.add_axes((0.1 + 0.45 * scale, 0.32 / tall, 0.35, 0.1 / tall))
        mappable = ScalarMappable(matplotlib.colors.Normalize(-1 if minus else 0, 1))
        mappable.set_cmap(SIGNED_COLOURS if minus else colours)
        figure.colorbar(mappable, bar, orientation="horizontal").ax.tick_params(labelsize=8)
    return picture_of(figure)


def _caption(explanation: Explanation) -> str:
    lines = [
        f"{explanation.category}, {100 * explanation.probability:.1f} %",
        *_wrapped(rather_than(explanation.rivals)),
        f"{explanation.seconds:.1f} s, {explanation.forward_passes:,} pass{'' if explanation.forward_passes == 1 else 'es'}"
        + (f", within {100 * explanation.estimated_error:.1f} % of exact" if explanation.estimated_error else "")
        + ("" if explanation.complete else ", stopped"),
    ]
    return "\n".join([*lines, *_wrapped(explanation.note)])


def _wrapped(note: str, width: int = 52) -> list[str]:
    import textwrap

    return textwrap.wrap(note, width, max_lines=3, placeholder=" …")


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # a dollar sign in a category or file name starts no formula
