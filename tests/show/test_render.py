"""Pictures: the map lies where the crop lies, nothing of it is squared or stretched, and nothing else leaks out."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from iscam import Explanation, Prediction, show
from iscam.images import Geometry, Photo
from iscam.results import Outcome
from iscam.show import render

SIZE = (400, 240)
CROP = Geometry(120, 100).crop(SIZE)


def grey(size: tuple[int, int] = SIZE, shown: tuple[int, int] | None = None, level: int = 200) -> Photo:
    return Photo(Image.new("RGB", shown or size, (level,) * 3), size, "grey.png")


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


def explanation(heatmap: np.ndarray, **changes: Any) -> Explanation:
    fields: dict[str, Any] = {
        "method": "is-cam",
        "target": Prediction(3, r"tabby $\frac$ cat", 0.5),
        "rivals": (),
        "signed": False,
        "weights": None,
        "raw": heatmap[::8, ::8],
        "heatmap": heatmap.astype(np.float32),
        "outcome": Outcome(1.5, 640, 0.0, complete=True),
        "note": "",
    }
    return Explanation(**fields | changes)


def test_crop_scales_with_the_display() -> None:
    """A crop in pixels of the full photo keeps its place on a smaller display of it."""
    assert render.scaled_crop((1000, 200, 3000, 2200), (4000, 2400), (400, 240)) == (100, 20, 300, 220)
    assert render.scaled_crop((0, 0, 4000, 4), (4000, 2400), (100, 60)) == (0, 0, 100, 1)


@pytest.mark.parametrize("shown", [SIZE, (200, 120), (1000, 600)])
def test_a_map_lies_in_the_crop_and_nowhere_else(shown: tuple[int, int]) -> None:
    """The hot lower left quarter of the map is the lower left quarter of the crop; outside, the photo is dimmed."""
    heatmap = np.zeros((50, 50), np.float32)
    heatmap[25:, :25] = 1
    picture = pixels(render.draw_map(grey(shown=shown), CROP, heatmap, "heat map"))
    left, top, right, bottom = render.scaled_crop(CROP, SIZE, shown)
    hot, cold = (np.array(matplotlib.colormaps["viridis"](v, bytes=True))[:3].astype(int) for v in (1.0, 0.0))
    across, down = (right - left) // 4, (bottom - top) // 4
    assert (picture[bottom - down, left + across] == hot).all()
    for x, y in ((left + across, top + down), (right - across, top + down), (right - across, bottom - down)):
        assert (picture[y, x] == cold).all()
    assert (picture[top - 3, left + across] == round(200 * render.DIMMED)).all()
    assert (picture[top, left] == 255).all()  # the outline


def test_no_outline_where_the_network_sees_all() -> None:
    photo = grey((60, 60))
    assert (pixels(render.crop_on_photo(photo, (0, 0, 60, 60))) == 200).all()


@pytest.mark.parametrize("colours", render.COLOUR_MAPS)
@pytest.mark.parametrize("value", [0.0, 0.25, 0.5, 1.0])
def test_one_map_one_picture(colours: str, value: float) -> None:
    """The colour of a value is that of the colour map, in the heat map and in the overlay: no power, no threshold."""
    heatmap = np.full((30, 30), value, np.float32)
    colour = np.array(matplotlib.colormaps[colours](value, bytes=True))[:3].astype(int)
    middle = (SIZE[1] // 2, SIZE[0] // 2)
    assert (pixels(render.draw_map(grey(), CROP, heatmap, "heat map", colours))[middle] == colour).all()
    overlay = pixels(render.draw_map(grey(), CROP, heatmap, "overlay", colours, opacity=0.25))[middle]
    assert abs(overlay - (0.25 * colour + 0.75 * 200)).max() <= 1


def test_layer_cells_are_the_raw_map_without_smoothing() -> None:
    """Every cell of a 2x2 map is one block of one colour, in the range of a heat map; a signed one keeps its zero."""
    raw = np.array([[0, 2], [4, 1]], np.float32)
    np.testing.assert_allclose(render.cells(raw), [[0, 0.5], [1, 0.25]])
    np.testing.assert_allclose(render.cells(np.array([[-4, 2]], np.float32), signed=True), [[-1, 0.5]])
    assert not render.cells(np.full((2, 2), 3, np.float32)).any()
    picture = render.draw_map(grey(), CROP, render.cells(raw), render.CELLS, opacity=1)
    left, top, right, bottom = render.scaled_crop(CROP, SIZE, SIZE)
    inside = pixels(picture)[top + 3 : bottom - 3, left + 3 : right - 3]
    assert len(np.unique(inside.reshape(-1, 3), axis=0)) == 4
    smooth = pixels(render.draw_map(grey(), CROP, render.cells(raw), "overlay", opacity=1))
    assert len(np.unique(smooth.reshape(-1, 3), axis=0)) > 50


def test_masked_photo_keeps_what_the_map_keeps() -> None:
    ramp = np.tile(np.linspace(0, 1, 100, dtype=np.float32), (100, 1))
    left, top, right, bottom = CROP
    row = pixels(render.draw_map(grey(), CROP, ramp, "masked photo"))[(top + bottom) // 2, left:right, 0]
    assert row[1] <= 3 and row[-2] >= 197
    assert abs(row[len(row) // 2] - 100) <= 2


def test_contours_mark_levels_and_leave_flat_maps_alone() -> None:
    ramp = np.tile(np.linspace(0, 1, 100, dtype=np.float32), (100, 1))
    plain = pixels(render.draw_map(grey(), CROP, np.zeros_like(ramp), "contour"))
    drawn = pixels(render.draw_map(grey(), CROP, ramp, "contour"))
    left, top, right, _ = CROP
    assert (plain[top + 2 : top + 30, left + 2 : right - 2] == 200).all()
    changed = np.flatnonzero((drawn != plain)[top + 10].any(axis=1)) - left
    for level in render.LEVELS:
        assert np.abs(changed - level * (right - left)).min() <= 2


def test_signed_maps_diverge_from_the_middle() -> None:
    """Zero is the neutral middle; a value and its negative are at the same distance from it on the bar."""
    bar = pixels(render.coloured(np.linspace(-1, 1, 255, dtype=np.float32)[None], signed=True))[0]
    assert bar[127].min() > 230  # nearly white
    assert bar[0, 2] > bar[0, 0] and bar[-1, 0] > bar[-1, 2]  # blue, red
    heatmap = np.full((20, 20), -1, np.float32)
    masked = render.draw_map(grey(), CROP, heatmap, "masked photo", signed=True)
    assert pixels(masked).tolist() == pixels(render.draw_map(grey(), CROP, heatmap, "overlay", signed=True)).tolist()


def test_colour_bar_runs_from_least_to_most() -> None:
    bar = pixels(render.coloured(np.zeros((1, 1), np.float32)))
    drawn = pixels(render.colour_bar("viridis", size=(64, 4)))
    assert drawn.shape == (4, 64, 3)
    assert (drawn[:, 0] == bar[0, 0]).all()
    assert (drawn[:, -1] == pixels(render.coloured(np.ones((1, 1), np.float32)))[0, 0]).all()


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_pictures_say_nothing_about_where_they_come_from(format: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "at home"
    picture = Image.new("RGB", (8, 8))
    picture.info = {"exif": exif.tobytes(), "comment": b"secret", "icc_profile": b"x" * 200, "Title": "secret"}
    written = Image.open(BytesIO(render.encoded(picture, format)))
    assert not written.getexif() and not {"exif", "comment", "icc_profile", "Title"} & set(written.info)
    assert "comment" in picture.info  # the caller's picture is left alone


@pytest.mark.parametrize("count", [0, 1, 4, 12])
def test_comparison_figure_has_a_place_for_every_map(count: int) -> None:
    """Every further row makes the figure higher, and odd names, notes and blank maps do not break it."""
    heatmap = np.tile(np.linspace(0, 1, 64), (64, 1))
    maps = [explanation(heatmap) for _ in range(count)]
    if count > 1:
        maps[1] = explanation(heatmap * 0, note="The map is blank: all gradients of the class score are zero. " * 6)
        maps[0] = explanation(2 * heatmap - 1, outcome=Outcome(1.5, 640, None, complete=False))
    figure = show.comparison_figure(grey(), CROP, maps, "photo_$1$.jpg")
    one_row = show.comparison_figure(grey(), CROP, maps[:3], "photo_$1$.jpg")
    assert figure.mode == "RGB" and not figure.info
    assert (figure.height > one_row.height) == (count > 3)
    assert len(np.unique(pixels(figure).reshape(-1, 3), axis=0)) > 50


def test_render_needs_neither_torch_nor_a_window() -> None:
    """Importing and using it loads no torch, no gradio and no pyplot, which keeps figures for ever."""
    code = """
import sys
import numpy as np
from PIL import Image
from iscam import show
from iscam.show import render
from iscam.images import Photo
photo = Photo(Image.new("RGB", (40, 30)), (40, 30), "x")
render.draw_map(photo, (5, 0, 35, 30), np.eye(9, dtype=np.float32), "contour")
show.comparison_figure(photo, (5, 0, 35, 30), [])
print([name for name in ("torch", "gradio", "matplotlib.pyplot") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
