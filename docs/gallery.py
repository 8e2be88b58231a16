"""Draws the pictures of docs/gallery.md and writes the page, figures and all.

    python -m docs.gallery

The photos are the examples, and two of them side by side; the networks those that come with the project. Four minutes on
two cores, nearly all of them for the thousand classes of EfficientNet-Lite0 and for exact maps of many steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from iscam import METHODS, Analysis, Explainer, Explanation, load_model, refine_cam
from iscam.contrast import contrast
from iscam.project import EXAMPLES
from iscam.settings import LIKELY_RIVALS, WEIGHTINGS
from iscam.show import crop_on_photo, draw_map, new_figure, picture_of
from iscam.trust import CONTROLS, LABELS, assess, control

PAGE = Path(__file__).with_name("gallery.md")
FOLDER = PAGE.with_suffix("")  # of the pictures
LARGE = "efficientnet_lite0"  # the network of a thousand classes
METHOD = "is-cam"
STEPS = (1, 5, 10, 50)
PAIRS = {"photo11": ("cat", "cassette player"), "efficientnet_lite0": ("Egyptian cat", "espresso")}  # left, right
LAUNCH = {"photo11": "church", "efficientnet_lite0": "missile"}  # what each calls the rocket
METRICS = ("average-drop", "insertion")
COLOURS = "turbo"
WIDTH, QUALITY = 2.45, 85  # of a picture in inches; of the JPEG


TEXT = """# A gallery

Written, figures and pictures, by `python -m docs.gallery`, with the networks that come with the project: `photo11`, which knows
eleven classes, and `efficientnet_lite0`, which knows a thousand. The photos are the examples, and two of them side by side.
A framed square is what the network sees. Every map is scaled to its own maximum; contrasts are red for a class and blue for the
other. [lesson.md](lesson.md) has questions that can be asked of some of these. Maps of IS-CAM have ten steps by the fast engine,
within 1 % of the exact map, unless something else is said.

## Two objects, two targets

![A photo of half a cat and a cup, with maps for both classes and their contrast](gallery/two.jpg)

`efficientnet_lite0` gives this photo {two[left]} {two[p]:.1f} % and {two[right]} {two[q]:.1f} %. IS-CAM's map for the one has
{two[cat]:.0f} % of its sum on the cat's half, that for the other {two[cup]:.0f} % on the cup's. What speaks for the cat *rather than*
the cup, in red, lies on the cat's half to {two[red]:.0f} %.

## A class, and that class rather than others

![The same photo by the small network, for two classes as such and rather than others](gallery/rivals.jpg)

`photo11` knows no cups: it says cat {rivals[p]:.0f} % and, of the cup, cassette player {rivals[q]:.0f} %. IS-CAM's maps for the two
are nearly one (r {rivals[r]:.2f}; {rivals[cat]:.0f} % and {rivals[other]:.0f} % on the cat's half), with the spoon brightest in both:
they show where the layer finds something. Asked what speaks for a class rather than for the likely others, they part: {rivals[rather]:.0f} % on the cat's half, and {rivals[cup]:.0f} % on the cup's.

## From 1 step to 50

![IS-CAM's exact map at one, five, ten and fifty steps](gallery/steps.jpg)

Exact maps for cat. No place of them differs by more than {steps[most]:.1f} % of the brightest from the one of fifty steps, and none
is less alike than r {steps[r]:.4f}; the last shows the network {steps[last]:,} masked photos, the first 224. On this photo one step says
the same.

## Paths and weightings

![IS-CAM's map for church by both paths and both weightings](gallery/settings.jpg)

The rocket, which `photo11` takes for a church. Both paths give the same map to the eye (r {settings[linear]:.4f}), and so do both
weightings here (r {settings[logit]:.3f} at the least): settings about which one could argue do not decide what this map shows.

## Layers

![IS-CAM's map for church by three layers, and their product](gallery/layers.jpg)

The last layer sees in 8 x 8 cells, earlier ones finer, and something else: r with the last layer's map is {layers[middle]:.2f} for
`layer2` and {layers[first]:.2f} for `layer1`, which lights up on edges and lamps. The product keeps what all three show, the
rocket's upper part, in finer outline.

## Models

![The rocket by two networks, each for what it sees](gallery/models.jpg)

The same photo is {models[category0]} by {models[p0]:.1f} % to `photo11` and {models[category1]} by {models[p1]:.1f} % to
`efficientnet_lite0`. IS-CAM's maps have their brightest places near the rocket in both; Grad-CAM, asked what speaks for the class
rather than for likely others, shows of the second network that it looks at the masts beside the rocket as well.

## A blank map

![A blank map of Ablation-CAM beside two others](gallery/blank.jpg)

Ablation-CAM for truck, to which the network gives {blank[p]:.2f} % here, is blank. {blank[positive]} of {blank[all]} channels do have
a positive weight, but at no place do they outweigh the others: the sum is nowhere above {blank[highest]:.0f}, and so nothing is
left after the ReLU. That is an answer, *nothing here speaks for a truck*, where Grad-CAM's map for the same class shows the cat's
eyes, as bright as any map is. The page says: "{blank[note]}"

## Controls beside methods

![Two methods and four controls, with Average Drop and Insertion](gallery/controls.jpg)

A blob in the middle, which knows nothing of photo or network, loses {controls[gaussian_drop]:.1f} % of the cat's probability
(Average Drop, lower is better) where IS-CAM's map loses {controls[is_cam_drop]:.1f} % and Grad-CAM's {controls[grad_cam_drop]:.1f} %,
and wins Insertion too ({controls[gaussian_insertion]:.1f} % against {controls[is_cam_insertion]:.1f} % and
{controls[grad_cam_insertion]:.1f} %): the cat is in the middle. Fake-CAM hides one pixel and loses {controls[fake_cam_drop]:.1f} %.
LaFAM, the mean of all channels, is what IS-CAM shows here. A figure is worth what it is worth beside these.
"""


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
    return Tile(
        title,
        line,
        draw_map(analysis.photo, analysis.crop, found.heatmap, "overlay", COLOURS, signed=found.signed),
    )


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
    titles = left, right, f"{left} − {right}"
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
    maps = [asked.explain(seen, "is-cam", steps=count) for count in STEPS]
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
        probability = f"{category}, {100 * found.probability:.1f} %"
        tiles += [tile(f"{METHODS[METHOD].label}, {key}", probability, seen, found)]
        tiles += [tile(f"Grad-CAM, not others, {key}", probability, seen, rather)]
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


def sheet(tiles: Sequence[Tile], width: float = WIDTH) -> Image.Image:
    """Pictures in rows of at most four, or of three if that leaves none alone, titles above and lines below them."""
    columns = next(count for count in (4, 3, 2, 1) if len(tiles) % count == 0)
    rows, shape = len(tiles) // columns, tiles[0].picture
    height = width * shape.height / shape.width + 0.55
    figure = new_figure((columns * width, rows * height), dpi=110)
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
    """The page with its figures."""
    return TEXT.format(**said)


if __name__ == "__main__":
    PAGE.write_text(page(write(FOLDER)), encoding="utf-8")
