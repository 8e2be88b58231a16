"""The gallery and the lesson: made by their command, with links that the page understands and figures that hold."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest
from PIL import Image

from docs import gallery
from iscam import Explainer, Explanation, load_model
from iscam.models import imagenet_categories
from iscam.models.bundled.network import CATEGORIES
from iscam.project import EXAMPLES
from iscam.trust import assess, control, random_heads
from iscam.ui.asked import checks, links
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
    for name, value in {"LARGE": "photo11", "METHOD": "grad-cam", "STEPS": (1,), "WIDTH": 1.0}.items():
        monkeypatch.setattr(gallery, name, value)
    said = gallery.write(tmp_path)
    written = {file.name for file in tmp_path.iterdir()}
    assert written == set(re.findall(r"\]\(gallery/([\w.]+)\)", GALLERY))
    assert written == {file.name for file in gallery.FOLDER.iterdir()}
    assert "{" not in gallery.page(said)
    assert said["two"]["cat"] > 60 and said["two"]["cup"] > 60  # per cent of each map on its own half
    assert said["blank"]["positive"] > 0 and said["blank"]["note"].startswith("The map is blank")


def test_the_gallery_page_is_its_template_with_figures() -> None:
    text = re.escape(gallery.TEMPLATE.read_text(encoding="utf-8"))
    assert re.fullmatch(re.sub(r"\\\{.+?\\\}", "[^{}]+", text), GALLERY)


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
def small() -> Explainer:
    return Explainer(load_model("photo11"))


def named(sentence: str) -> list[float]:
    """The numbers that the lesson gives where it says this; {} stands for each."""
    found = re.search(
        re.escape(re.sub(r"\s+", " ", sentence)).replace(r"\{\}", r"(-?[\d.]+\d|\d)"), " ".join(LESSON.split())
    )
    assert found, sentence
    return [float(number) for number in found.groups()]


def asked(method: str, example: str = "chelsea", **settings: object) -> Explanation:
    return small().explain(small().analyse(EXAMPLES / f"{example}.jpg"), method, **settings)  # type: ignore[arg-type]
