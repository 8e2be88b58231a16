"""Draws the pictures of docs/gallery.md and writes the page, figures and all.

    python -m docs.gallery

The photos are the examples, and two of them side by side; the networks those that come with the project. Some minutes on
two cores, nearly all of them for the thousand classes of EfficientNet-Lite0 and for exact maps of many steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from iscam import METHODS, Analysis, Explainer, Explanation, load_model, refine_cam
from iscam.contrast import contrast
from iscam.project import EXAMPLES
from iscam.settings import LIKELY_RIVALS, WEIGHTINGS
from iscam.show import OPACITY, crop_on_photo, draw_map, new_figure, picture_of
from iscam.trust import CONTROLS, LABELS, assess, control

PAGE = Path(__file__).with_name("gallery.md")
TEMPLATE = PAGE.with_suffix(".template.md")  # the page without its figures
FOLDER = PAGE.with_suffix("")  # of the pictures
LARGE = "efficientnet_lite0"  # the network of a thousand classes
METHOD = "is-cam"
STEPS = (1, 5, 10, 50)
PAIRS = {"photo11": ("cat", "cassette player"), "efficientnet_lite0": ("Egyptian cat", "espresso")}  # left, right
LAUNCH = {"photo11": "church", "efficientnet_lite0": "missile"}  # what each calls the rocket
METRICS = ("average-drop", "insertion")
COLOURS, PALE = "turbo", 0.65  # the opacity of a contrast
WIDTH, QUALITY = 2.45, 85  # of a picture in inches; of the JPEG


class Tile(NamedTuple):
    """A picture with its title and a line below it."""

    title: str
    line: str
    picture: Image.Image


Drawn = tuple[list[Tile], dict[str, Any]]  # what is shown, and the figures for the text


@cache
def explainer(key: str, engine: str = "fast") -> Explainer:
    """One for each network and engine, so that nothing is loaded twice."""
    return explainer(key).using(engine) if engine != "fast" else Explainer(load_model(key))


@cache
def composite() -> Image.Image:
    """The cat's half face on the left, the cup on the right: 448 x 448, two objects in one photo."""
    both = Image.new("RGB", (448, 448))
    for left, name, box in ((0, "chelsea", (140, 10, 285, 300)), (224, "coffee", (200, 0, 400, 400))):
        with Image.open(EXAMPLES / f"{name}.jpg") as photo:
            both.paste(photo.convert("RGB").crop(box).resize((224, 448), Image.Resampling.LANCZOS), (left, 0))
    return both


def example(name: str) -> Path:
    return EXAMPLES / f"{name}.jpg"


def photo_of(analysis: Analysis, line: str = "") -> Tile:
    return Tile("Photo", line, crop_on_photo(analysis.photo, analysis.crop))


def tile(title: str, line: str, analysis: Analysis, found: Explanation) -> Tile:
    opacity = PALE if found.signed else OPACITY  # a contrast is pale where nothing speaks for either
    drawn = draw_map(analysis.photo, analysis.crop, found.heatmap, "overlay", COLOURS, opacity, found.signed)
    return Tile(title, line, drawn)


def on_the_left(found: Explanation) -> float:
    """The share of the map's positive part that lies on the left half, in per cent."""
    positive = np.maximum(found.heatmap, 0)
    return 100 * float(positive[:, : positive.shape[1] // 2].sum() / positive.sum())


def alike(one: Explanation, other: Explanation) -> float:
    """Pearson's r of two maps."""
    return float(np.corrcoef(one.heatmap.ravel(), other.heatmap.ravel())[0, 1])


def two() -> Drawn:
    """Both targets of the composite, and what speaks for the one rather than for the other."""
    asked, (left, right) = explainer(LARGE), PAIRS[LARGE]
    seen = asked.analyse(composite())
    maps = [asked.explain(seen, METHOD, target=category) for category in (left, right)]
    maps.append(contrast(asked, seen, METHOD, left, right))
    titles = left, right, "the one, not the other"
    shares = [on_the_left(found) for found in maps]
    lines = [
        f"{100 * found.probability:.1f} %, {share:.0f} % on the left" for found, share in zip(maps, shares, strict=True)
    ]
    lines[2] = f"red for, blue against; {shares[2]:.0f} % of the red left"
    tiles = [tile(*each, seen, found) for *each, found in zip(titles, lines, maps, strict=True)]
    p, q = (100 * found.probability for found in maps[:2])
    return [photo_of(seen, "what is framed is seen"), *tiles], {
        "left": left, "right": right, "p": p, "q": q, "cat": shares[0], "cup": 100 - shares[1], "red": shares[2],
    }  # fmt: skip


def rivals() -> Drawn:
    """The same photo by the small network: maps as such, and rather than the likely others."""
    asked, (left, right) = explainer("photo11"), PAIRS["photo11"]
    seen = asked.analyse(composite())
    plain = [asked.explain(seen, METHOD, target=category) for category in (left, right)]
    rather = [contrast(asked, seen, METHOD, category, LIKELY_RIVALS) for category in (left, right)]
    titles = left, right, f"{left}, not others", f"{right}, not others"
    maps = [*plain, *rather]
    shares = [on_the_left(found) for found in maps]
    tiles = [
        tile(title, f"{share:.0f} % on the left", seen, found)
        for title, share, found in zip(titles, shares, maps, strict=True)
    ]
    return tiles, {"r": alike(*plain), "cat": shares[0], "other": shares[1], "rather": shares[2], "cup": 100 - shares[3],
                   "p": 100 * plain[0].probability, "q": 100 * plain[1].probability}  # fmt: skip


def steps() -> Drawn:
    """The exact map at several numbers of steps."""
    asked = explainer("photo11", "exact")
    seen = asked.analyse(example("chelsea"))
    maps = [asked.explain(seen, METHOD, steps=count) for count in STEPS]
    off = [float(np.abs(found.heatmap - maps[-1].heatmap).max()) for found in maps]
    tiles = [
        tile(f"{count} step{'s' * (count > 1)}", f"at most {100 * far:.1f} % off the last" if far else "", seen, found)
        for count, far, found in zip(STEPS, off, maps, strict=True)
    ]
    passes = [224 * count for count in STEPS]
    return tiles, {"most": 100 * max(off), "r": min(alike(found, maps[-1]) for found in maps), "last": passes[-1]}


def settings() -> Drawn:
    """Both paths with both weightings."""
    asked = explainer("photo11")
    seen = asked.analyse(example("rocket"))
    kinds = [(path, weighting) for path in ("cumulative", "linear") for weighting in WEIGHTINGS]
    maps = [asked.explain(seen, METHOD, path=path, weighting=weighting) for path, weighting in kinds]
    r = [alike(found, maps[0]) for found in maps]
    tiles = [
        tile(f"{path}, {weighting}", f"r {each:.3f} with the first", seen, found)
        for (path, weighting), each, found in zip(kinds, r, maps, strict=True)
    ]
    return tiles, {"linear": r[2], "logit": min(r[1], r[3])}


def layers() -> Drawn:
    """One class by the layers of the network, and the product of the maps."""
    asked = explainer("photo11")
    names = list(asked.model.layers)
    seen = [asked.analyse(example("rocket"), name) for name in names]
    maps = [asked.explain(each, METHOD) for each in seen]
    sizes = ["{} x {} cells".format(*asked.model.layers[name]) for name in names]
    tiles = [tile(*each) for each in zip(names, sizes, seen, maps, strict=True)]
    return [*tiles, tile("product (RefineCAM)", "of all three", seen[0], refine_cam(maps))], {
        "middle": alike(maps[0], maps[1]), "first": alike(maps[0], maps[2]),
    }  # fmt: skip


def models() -> Drawn:
    """The rocket by both networks, each for what it sees."""
    tiles, said = [], {}
    for place, key in enumerate(("photo11", LARGE)):
        asked, category = explainer(key), LAUNCH[key]
        seen = asked.analyse(example("rocket"))
        found = asked.explain(seen, METHOD, target=category)
        rather = contrast(asked, seen, "grad-cam", category, LIKELY_RIVALS)
        line = f"{key}: {category}, {100 * found.probability:.1f} %"
        tiles += [tile(METHODS[METHOD].label, line, seen, found), tile("Grad-CAM, not others", line, seen, rather)]
        said |= {f"category{place}": category, f"p{place}": 100 * found.probability}
    return tiles, said


def blank() -> Drawn:
    """A map that is blank, beside one that is not."""
    asked = explainer("photo11")
    seen = asked.analyse(example("chelsea"))
    pairs = [("ablation-cam", "cat"), ("ablation-cam", "truck"), ("grad-cam", "truck")]
    maps = [asked.explain(seen, method, target=category) for method, category in pairs]
    tiles = [
        tile(f"{METHODS[method].label}, {category}", f"{100 * found.probability:.2g} %", seen, found)
        for (method, category), found in zip(pairs, maps, strict=True)
    ]
    empty = maps[1]
    assert empty.weights is not None
    return [photo_of(seen), *tiles], {
        "note": empty.note, "positive": int((empty.weights > 0).sum()), "all": empty.weights.size,
        "highest": float(empty.raw.max()), "p": 100 * empty.probability,
    }  # fmt: skip


def controls() -> Drawn:
    """Two methods and all controls, with what they are measured to be worth."""
    asked = explainer("photo11")
    seen = asked.analyse(example("chelsea"))
    maps = [asked.explain(seen, method) for method in ("is-cam", "grad-cam")]
    maps += [control(seen, key, maps[0].class_index, maps[0].category) for key in CONTROLS]
    tiles, said = [], {}
    for found in maps:
        drop, insertion = (100 * value for value in assess(asked, seen, found, METRICS).values.values())
        tiles.append(tile(LABELS[found.method], f"Average Drop {drop:.1f} %, Insertion {insertion:.1f} %", seen, found))
        key = found.method.replace("-", "_")
        said |= {f"{key}_drop": drop, f"{key}_insertion": insertion}
    return tiles, said


PICTURES: dict[str, Callable[[], Drawn]] = {
    each.__name__: each for each in (two, rivals, steps, settings, layers, models, blank, controls)
}


def sheet(tiles: Sequence[Tile]) -> Image.Image:
    """Pictures in rows of at most four, or of three if that leaves none alone, titles above and lines below them."""
    columns = next(count for count in (4, 3, 2, 1) if len(tiles) % count == 0)
    rows, shape = len(tiles) // columns, tiles[0].picture
    height = WIDTH * shape.height / shape.width + 0.55
    figure = new_figure((columns * WIDTH, rows * height), dpi=110)
    axes = np.ravel(figure.subplots(rows, columns, gridspec_kw={"wspace": 0.04, "hspace": 0.0}))
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.01)
    for each, place in zip(tiles, axes, strict=True):
        place.imshow(np.asarray(each.picture), aspect="equal")
        place.set_axis_off()
        place.set_title(each.title, fontsize=10, fontweight="bold", pad=4)
        place.text(0.5, -0.02, each.line, transform=place.transAxes, ha="center", va="top", fontsize=8.5)
    return picture_of(figure)


def write(folder: Path, names: Iterable[str] = PICTURES) -> dict[str, dict[str, Any]]:
    """Draw pictures into a folder; their figures by the picture's name."""
    folder.mkdir(parents=True, exist_ok=True)
    said = {}
    for name in names:
        tiles, said[name] = PICTURES[name]()
        sheet(tiles).save(folder / f"{name}.jpg", quality=QUALITY, optimize=True)
    return said


def page(said: dict[str, dict[str, Any]]) -> str:
    """The page with its figures, its paragraphs filled."""
    paragraphs = TEMPLATE.read_text(encoding="utf-8").format(**said).strip().split("\n\n")
    return "\n\n".join(fill(text, 128, break_long_words=False, break_on_hyphens=False) for text in paragraphs) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(write(FOLDER)), encoding="utf-8")
