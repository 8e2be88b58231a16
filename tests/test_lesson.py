"""The gallery and the lesson: made by their command, with links that the page understands and figures that hold."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from PIL import Image

from docs import gallery
from iscam import Analysis, Explainer, Explanation, load_model
from iscam.models import imagenet_categories
from iscam.models.bundled.network import CATEGORIES
from iscam.project import EXAMPLES
from iscam.trust import assess, by_hand, control, random_heads
from iscam.ui.asked import checks, links
from iscam.ui.done.faithfulness import CURVE_STEPS
from iscam.ui.done.offer import Offer
from tests.conftest import ROOT

LESSON = (ROOT / "docs" / "lesson.md").read_text(encoding="utf-8")
GALLERY = gallery.PAGE.read_text(encoding="utf-8")
LINKS = re.findall(r"http://127\.0\.0\.1:7860/\?([^\s)>]+)", LESSON)
KNOWN = {"photo11": CATEGORIES, "efficientnet_lite0": imagenet_categories()}
QUESTIONS = ("right for the wrong reason", "A rather than B", "A map that knows no class", "More steps do not help")
QUESTIONS += ("A control that wins", "A random head")


# The gallery


def test_the_gallery_is_made_by_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In brief: by the small network, of one step, mostly by a method of a single pass. Its pictures are those of the page."""
    brief = {
        "LARGE": "photo11",
        "METHOD": "grad-cam",
        "STEPS": (1,),
        "WIDTH": 1.0,
        "METRICS": ("average-drop", "increase"),
    }
    for name, value in brief.items():
        monkeypatch.setattr(gallery, name, value)
    said = gallery.write(tmp_path)
    written = {file.name for file in tmp_path.iterdir()}
    assert written == set(re.findall(r"\]\(gallery/([\w.]+)\)", GALLERY))
    assert written == {file.name for file in gallery.FOLDER.iterdir()}
    assert "{" not in gallery.page(said)
    assert said["two"]["cat"] > 60 and said["two"]["cup"] > 60  # per cent of each map on its own half
    assert said["blank"]["positive"] > 0 and said["blank"]["note"].startswith("The map is blank")


def test_the_gallery_page_is_its_template_with_figures() -> None:
    template, written = (" ".join(text.split()) for text in (gallery.TEMPLATE.read_text(encoding="utf-8"), GALLERY))
    assert re.fullmatch(re.sub(r"\\\{.+?\\\}", "[^{}]+?", re.escape(template)), written)


def test_pictures_are_small_and_can_be_read() -> None:
    files = [*gallery.FOLDER.iterdir()]
    assert len(files) <= 10 and sum(file.stat().st_size for file in files) < 900_000
    for file in files:
        assert file.stat().st_size < 150_000
        with Image.open(file) as picture:
            assert picture.width > 700


# The lesson


def test_the_lesson_has_its_six_questions() -> None:
    heads = re.findall(r"^## \d\. (.+)$", LESSON, re.MULTILINE)
    assert [head.lower() for head in heads] == [question.lower() for question in QUESTIONS]
    for part in LESSON.split("\n## ")[1:]:
        for word in ("You expect", "You do", "You see", "What to make of it"):
            assert f"**{word}.**" in part
        assert "http://127.0.0.1:7860/?" in part


@pytest.mark.parametrize("query", LINKS)
def test_the_page_understands_the_lessons_links(query: str) -> None:
    given = dict(parse_qsl(query))
    assert set(given) <= set(links.NAMES) and "example" in given
    question = checks.question(Offer(), **links.read(given))
    assert question.model == given["model"] and question.photo.sha256
    for name in ("class", "against"):
        assert given.get(name, CATEGORIES[0]) in {*KNOWN[given["model"]], CATEGORIES[0]}
    assert {*question.methods} == {*given["methods"].split(",")}


@cache
def explainer(key: str = "photo11") -> Explainer:
    return Explainer(load_model(key))


def seen_in(example: str, key: str = "photo11") -> Analysis:
    return explainer(key).analyse(EXAMPLES / f"{example}.jpg")


def map_of(method: str, example: str = "chelsea", **asked: Any) -> Explanation:
    return explainer().explain(seen_in(example), method, **asked)


def said(sentence: str) -> list[float]:
    """The numbers that the lesson gives where it says this, {} standing for each."""
    number = r"(-?\d+(?:\.\d+)?)"
    found = re.search(re.escape(sentence).replace(r"\{\}", number), " ".join(LESSON.split()))
    assert found, sentence
    return [float(each) for each in found.groups()]


def near(*values: float, by: float = 0.6) -> Any:
    """Per cent that may be off a little: by what another machine, and the fast engine's tolerance, may change."""
    return pytest.approx(values, abs=by)


def test_what_the_lesson_says_of_the_rocket() -> None:
    """Question 1, of which the box is typed in per cent of the photo."""
    seen, model = seen_in("rocket", "efficientnet_lite0"), explainer("efficientnet_lite0")
    width, height = seen.photo.size
    left, top, right, bottom = (float(each) / 100 for each in said("`{}, {}, {}, {}` into **Box**"))
    box = (round(left * width), round(top * height), round(right * width), round(bottom * height))
    found = model.explain(seen, "grad-cam", target="missile")
    without, alone = by_hand(model, seen, found.class_index, box)
    measured = assess(model, seen, found, ("energy",), box=box)
    blob = assess(model, seen, control(seen, "gaussian", 0, ""), ("energy",), box=box).values["energy"]
    assert said("Missile, {} %.") == near(100 * found.probability)
    assert said("takes up {} % of what the network sees") == near(100 * (measured.box_area or 0))
    assert said("has {} % of the map in it") == near(100 * measured.values["energy"])
    assert said("it has {} %. Without") == near(100 * blob)
    assert said("missile has {} %, with nothing but its inside {} %") == near(100 * without, 100 * alone)
    high = found.heatmap > 0.9
    inside = found.heatmap.shape[1] * (box[0] - seen.crop[0]) / (seen.crop[2] - seen.crop[0])
    assert high[:, : round(inside)].any() and found.heatmap[:, found.heatmap.shape[1] // 2].max() < 0.9


def test_what_the_lesson_says_of_classes() -> None:
    """Questions 2 and 3: maps that are the same for two classes, and those that are not."""
    one, other = seen_in("astronaut").probabilities[[CATEGORIES.index("gas pump"), CATEGORIES.index("cassette player")]]
    assert said("Gas pump {} %, cassette player {} %") == near(100 * one, 100 * other)
    assert said("has a class specificity of {}: it does change") == near(
        map_of("grad-cam", "astronaut").specificity, by=0.02
    )
    for note in (map_of("is-cam", "astronaut").note, map_of("is-cam", target="dog").note):
        assert note.startswith("This map is 0.99 like the one for ")
    cat, dog = (map_of("grad-cam", target=each) for each in ("cat", "dog"))
    assert said("Cat {} %, dog {} %.") == near(100 * cat.probability, 100 * dog.probability, by=0.1)
    assert said("specificity is {} for cat and {} for dog") == near(cat.specificity, dog.specificity, by=0.02)


def test_what_the_lesson_says_of_steps() -> None:
    """Question 4; the exact maps are those of the gallery."""
    for steps, (told,) in ((1, said("a cat by {} % after one step")), (50, said("and by {} % after fifty"))):
        masked = explainer().masked_probability(seen_in("chelsea"), map_of("is-cam", steps=steps))
        assert [100 * masked] == near(told, by=1)
    most = re.findall(r"differs by more than ([\d.]+) % of the brightest", GALLERY)
    assert most == [f"{said('differ by at most {} % of their')[0]:.1f}"] and "11,200 masked photos" in GALLERY


def test_what_the_lesson_says_of_controls() -> None:
    """Question 5, with curves of as many steps as the page's."""
    seen = seen_in("chelsea")
    maps = [map_of("is-cam"), map_of("grad-cam"), *(control(seen, key, 1, "cat") for key in ("gaussian", "fake-cam"))]
    rows = [assess(explainer(), seen, each, ("average-drop", "insertion"), steps=CURVE_STEPS).values for each in maps]
    drops, insertions = ([100 * row[key] for row in rows] for key in ("average-drop", "insertion"))
    told = said("IS-CAM {}, Grad-CAM {}, the Gaussian in the middle {}, Fake-CAM, which hides a single pixel, {}.")
    assert told == near(*drops) and min(drops[:2]) > drops[2]
    assert (
        said("(higher is better): {}, {}, {} and {}.") == near(*insertions, by=1)
        and max(insertions[:2]) < insertions[2]
    )


def test_what_the_lesson_says_of_random_heads() -> None:
    """Question 6: all draws of Grad-CAM; of IS-CAM one, by rough maps."""
    rows = random_heads(explainer(), seen_in("chelsea"), lambda by, seen, _: by.explain(seen, "grad-cam", target="cat"))
    drawn = [row.pearson or 0 for row in rows]
    assert said("Grad-CAM's does not: {} ({} to {}).") == near(sum(drawn) / 8, min(drawn), max(drawn), by=0.02)
    rows = random_heads(
        explainer(), seen_in("chelsea"), lambda by, seen, _: by.explain(seen, "is-cam", target="cat"), 2
    )
    mean, low, high = said("eight last layers of random numbers is {} ({} to {}).")
    assert all([row.pearson] == near(mean, by=0.015) for row in rows) and low <= mean <= high
