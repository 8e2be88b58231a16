"""A heat map and a photo in, pictures for people out. Pure functions of arrays and images; neither torch nor a window.

A heat map belongs to the network's crop of the photo, so every picture is the whole photo: dimmed outside the crop, the
crop outlined, the map inside it. The map is shown as it is, never squared, stretched or cut off at a threshold.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from iscam.images import Photo

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Map = npt.NDArray[np.float32]

Box = tuple[int, int, int, int]

COLOUR_MAPS = ("viridis", "magma", "cividis", "turbo", "jet")
OPACITY = 0.5  # of a map over its photo
SIGNED_COLOURS = "RdBu_r"  # red: for the class, blue: for the other one; told apart by colour-blind people too
CELLS = "layer cells"  # the view without smoothing
VIEWS = ("overlay", "heat map", "masked photo", "contour", CELLS)
LEVELS = (0.25, 0.5, 0.75)  # of the contour lines, drawn thicker from level to level
DIMMED = 0.35  # brightness of what the network did not see


def scaled_crop(crop: Box, size: tuple[int, int], shown: tuple[int, int]) -> Box:
    """The crop (l, t, r, b), given in pixels of a photo of `size` (w, h), in pixels of a display of it of `shown` (w, h)."""
    (left, top, right, bottom), (across, down) = crop, (shown[0] / size[0], shown[1] / size[1])
    left, right = round(left * across), round(right * across)
    top, bottom = round(top * down), round(bottom * down)
    return left, top, max(right, left + 1), max(bottom, top + 1)  # at least a pixel, of the thinnest strip too


def coloured(heatmap: Map, colours: str = COLOUR_MAPS[0], signed: bool = False) -> Image.Image:
    """A heat map (H, W) in [0, 1], or [-1, 1] if `signed`, in colours. Which colours a signed map has is fixed."""
    values = np.clip(heatmap, -1, 1) / 2 + 0.5 if signed else np.clip(heatmap, 0, 1)
    table = matplotlib.colormaps[SIGNED_COLOURS if signed else colours]
    return Image.fromarray(np.asarray(table(values, bytes=True))[..., :3].copy())


def crop_on_photo(photo: Photo, crop: Box, inside: Image.Image | None = None) -> Image.Image:
    """The photo with the crop outlined and the rest dimmed; `inside`, of the crop's displayed size, replaces the crop."""
    box = scaled_crop(crop, photo.size, photo.image.size)
    picture = photo.image.point([round(DIMMED * value) for value in range(256)] * 3)
    picture.paste(inside or photo.image.crop(box), box[:2])
    if box != (0, 0, *picture.size):
        left, top, right, bottom = box
        width = max(1, round(max(picture.size) / 400))
        ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), outline="white", width=width)
    return picture


def cells(raw: Map, signed: bool = False) -> Map:
    """A raw map (h, w) in the range of a heat map, at the layer's own resolution: what was known before it was smoothed."""
    low = 0.0 if signed else float(raw.min())
    span = float(np.abs(raw - low).max())
    return np.asarray((raw - low) / span if span > 0 else np.zeros_like(raw), np.float32)


def draw_map(
    photo: Photo,
    crop: Box,
    heatmap: Map,
    view: str = "overlay",
    colours: str = COLOUR_MAPS[0],
    opacity: float = OPACITY,
    signed: bool = False,
) -> Image.Image:
    """One heat map (H, W) on its photo, as one of VIEWS. `opacity` 0 to 1 is the map's share of an overlay.

    A signed map ([-1, 1], a contrast of two classes) cannot mask a photo: that view falls back to the overlay. "layer cells"
    is an overlay of the map's values as they are, without smoothing, for a map from `cells`.
    """
    box = scaled_crop(crop, photo.size, photo.image.size)
    shown = photo.image.crop(box)
    between = Image.Resampling.NEAREST if view == CELLS else Image.Resampling.BILINEAR
    resized = Image.fromarray(np.asarray(heatmap, np.float32)).resize(shown.size, between)
    values: Map = np.asarray(resized, np.float32)
    if view == "heat map":
        inside = coloured(values, colours, signed)
    elif view == "contour":
        inside = _contours(shown, values, colours, signed)
    elif view == "masked photo" and not signed:
        inside = Image.fromarray((np.asarray(shown) * np.clip(values, 0, 1)[..., None]).astype(np.uint8))
    else:
        inside = Image.blend(shown, coloured(values, colours, signed), opacity)
    return crop_on_photo(photo, crop, inside)


def _contours(shown: Image.Image, values: Map, colours: str, signed: bool) -> Image.Image:
    """Lines of equal value on the crop, labelled in per cent of the map's maximum."""
    from matplotlib.patheffects import AbstractPathEffect, withStroke

    figure, axes = _canvas(shown.size)
    axes.imshow(np.asarray(shown), extent=(0, shown.width, shown.height, 0))
    levels = [*(-level for level in reversed(LEVELS) if signed), *LEVELS]
    if min(values.shape) > 1:  # a strip of one pixel has no lines
        widths = [1 + 2.5 * abs(level) for level in levels]
        lines = axes.contour(
            np.arange(shown.width) + 0.5,
            np.arange(shown.height) + 0.5,
            values,
            levels=levels,
            cmap=SIGNED_COLOURS if signed else colours,
            vmin=-1 if signed else 0,
            vmax=1,
            linewidths=widths,
        )
        halo: list[AbstractPathEffect] = [withStroke(linewidth=2.5, foreground="#000a")]  # to stand out from any photo
        lines.set_path_effects([withStroke(linewidth=4.5, foreground="#0008")])
        for label in axes.clabel(lines, fmt=lambda level: f"{100 * level:.0f} %", fontsize=9):
            label.set_path_effects(halo)
    return picture_of(figure)


def colour_bar(colours: str = COLOUR_MAPS[0], signed: bool = False, size: tuple[int, int] = (256, 12)) -> Image.Image:
    """The colours from the least (left) to the most (right), to be put beside maps that share the scale."""
    return coloured(
        np.tile(np.linspace(-1 if signed else 0, 1, size[0], dtype=np.float32), (size[1], 1)), colours, signed
    )


def encoded(picture: Image.Image, format: str = "PNG", quality: int = 88) -> bytes:
    """The picture as PNG or JPEG bytes, the latter of a `quality`, without EXIF or any other word about where it comes from."""
    plain = picture.copy()
    plain.info = {}
    buffer = BytesIO()
    plain.save(buffer, format, quality=quality, subsampling=0)
    return buffer.getvalue()


def new_figure(inches: tuple[float, float], dpi: int = 130) -> Figure:
    """A figure that no window and no global state of matplotlib knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, dpi=dpi)
    FigureCanvasAgg(figure)
    return figure


def _canvas(size: tuple[int, int]) -> tuple[Figure, Axes]:
    """A figure of exactly `size` (w, h) pixels, without margins."""
    figure = new_figure((size[0] / 100, size[1] / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    return figure, axes


def picture_of(figure: Figure) -> Image.Image:
    """The drawn figure."""
    canvas: Any = figure.canvas
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names may be of any script: what has no glyph is a box
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
