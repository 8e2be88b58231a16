"""Laws that hold for whatever comes in: photos, names, settings, links, tables and files that hypothesis makes up."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from iscam import Prediction
from iscam.evaluation.dataset import find_items
from iscam.evaluation.store import Store
from iscam.images import Geometry, read_photo
from iscam.methods import METHODS
from iscam.models import config
from iscam.path import MAX_STEPS, PATHS, integration_path
from iscam.project import EXAMPLES
from iscam.settings import ENGINES, WEIGHTINGS
from iscam.ui.asked import checks, links
from iscam.ui.seen import html
from tests.ui.stand_in import OFFER

law = settings(
    max_examples=60,
    deadline=None,  # of a slow machine
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SENTENCE = re.compile(r"[^\n]+[.!?]")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
SIDES = st.integers(1, 40)
PHOTO = EXAMPLES / "coffee.jpg"


def pixels(width: int, height: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)


# Photos


@law
@given(SIDES, SIDES, st.integers(0, 99), st.sampled_from(["PNG", "BMP", "TIFF", "PPM"]))
def test_what_is_stored_without_loss_is_read_without_loss(width: int, height: int, seed: int, kind: str) -> None:
    wanted = pixels(width, height, seed)[..., :3]
    file = BytesIO()
    Image.fromarray(wanted).save(file, kind)
    found = read_photo(file.getvalue())
    assert found.size == found.image.size == (width, height) and found.image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(found.image), wanted)


@law
@given(SIDES, SIDES, st.integers(1, 8), st.integers(0, 99))
def test_a_photo_is_turned_as_exif_says_and_keeps_its_pixels(width: int, height: int, turn: int, seed: int) -> None:
    stored, exif, file = pixels(width, height, seed)[..., :3], Image.Exif(), BytesIO()
    exif[0x0112] = turn
    Image.fromarray(stored).save(file, "PNG", exif=exif)
    found = read_photo(file.getvalue())
    assert found.size == ((width, height) if turn < 5 else (height, width))
    assert sorted(map(bytes, np.asarray(found.image).reshape(-1, 3))) == sorted(map(bytes, stored.reshape(-1, 3)))


@law
@given(
    st.sampled_from(["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16"]), SIDES
)
def test_a_picture_of_any_mode_is_rgb(mode: str, side: int) -> None:
    shown = read_photo(Image.new(mode, (side, 3)))
    assert shown.image.mode == "RGB" and shown.image.size == (side, 3)


@law
@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF", b"II*\0", b"BM", b"P6 ", b""]),
    st.binary(),
)
def test_bytes_are_a_photo_or_a_sentence(magic: bytes, rest: bytes) -> None:
    try:
        assert read_photo(magic + rest).image.mode == "RGB"
    except ValueError as error:
        assert SENTENCE.fullmatch(str(error))


@law
@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(16, 512), st.integers(16, 512))
def test_what_the_network_sees_lies_in_the_photo(width: int, height: int, one: int, other: int) -> None:
    left, top, right, bottom = Geometry(max(one, other), min(one, other)).crop((width, height))
    assert 0 <= left < right <= width and 0 <= top < bottom <= height


# The path


@law
@given(st.sampled_from(PATHS), st.integers(1, MAX_STEPS))
def test_a_path_rises_from_nothing_and_its_weights_are_shares(path: str, steps: int) -> None:
    made = integration_path(path, steps)
    assert len(made.multipliers) == steps and made.multipliers[0] > 0
    assert all(a < b for a, b in zip(made.multipliers, made.multipliers[1:], strict=False))
    assert sum(made.weights) == pytest.approx(1)


# What clients send


@law
@given(
    st.dictionaries(
        st.sampled_from(["model", "layer", "target", "against", "steps", "methods", "path", "engine"]), JSON
    )
)
def test_settings_are_a_question_or_a_sentence(sent: dict[str, Any]) -> None:
    try:
        asked = checks.question(OFFER, {"path": str(PHOTO)}, **{"model": "photo11"} | sent)
    except ValueError as error:
        assert SENTENCE.fullmatch(str(error))
    else:
        assert asked.engine in ENGINES and 1 <= asked.settings.steps <= MAX_STEPS and set(asked.methods) <= set(METHODS)


@law
@given(
    st.lists(st.sampled_from(sorted(METHODS)), min_size=1, unique=True),
    st.integers(1, MAX_STEPS),
    st.sampled_from(PATHS),
    st.sampled_from(WEIGHTINGS),
    st.sampled_from(ENGINES),
    st.integers(0, 9),
)
def test_a_link_brings_back_what_it_was_made_of(
    methods: list[str], steps: int, path: str, weighting: str, engine: str, target: int
) -> None:
    photo = {"path": str(PHOTO)}
    asked = checks.question(OFFER, photo, "photo11", None, target, None, steps, methods, path, weighting, engine)
    back = checks.question(OFFER, **links.read(dict(parse_qsl(links.query(asked, target)))))
    assert (back.terms, back.methods, back.place) == (asked.terms, asked.methods, asked.place)


@law
@given(st.dictionaries(st.sampled_from(links.NAMES), st.text(max_size=30)))
def test_a_link_is_read_or_a_sentence(query: dict[str, str]) -> None:
    try:
        checks.question(OFFER, **{"photo": {"path": str(PHOTO)}, "model": "photo11"} | links.read(query))
    except ValueError as error:
        assert SENTENCE.fullmatch(str(error))


# What people are shown


class Reader(HTMLParser):
    """The tags and the words of a piece of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words += data


@law
@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1, max_size=40)
    | st.text("<>&;\"'/!- ab=", min_size=1, max_size=12)
)
def test_names_are_shown_as_words_and_never_as_markup(name: str) -> None:
    pieces = {
        html.status(name): ["div"],
        html.empty_card(name, name): ["figure", "div", "figcaption", "strong", "p"],
        html.predictions([Prediction(0, name, 0.5)], "photo11"): ["table", "caption", "tr", "th", "td", "span", "td"],
        html.heading(name): ["h2"],
    }
    for piece, tags in pieces.items():
        reader = Reader()
        reader.feed(piece)
        reader.close()
        assert reader.tags == tags and name in reader.words


# Files


@law
@given(JSON, JSON, st.integers(1, 5))
def test_class_names_of_a_configuration_are_lines_or_a_sentence(names: Any, told: Any, classes: int) -> None:
    try:
        found = config.labels(names, told, classes)
    except ValueError as error:
        assert SENTENCE.fullmatch(str(error))
    else:
        assert found is None or (len(found) == classes and all(name and name.isprintable() for name in found))


@law
@given(st.binary(max_size=200) | JSON.map(lambda each: json.dumps(each).encode()))
def test_a_configuration_is_a_mapping_or_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    try:
        assert isinstance(config.read_json(tmp_path / "config.json"), dict)
    except ValueError as error:
        assert SENTENCE.fullmatch(str(error))


@law
@given(
    st.binary(max_size=100)
    | st.text('file,class\n"0.5; ', max_size=60).map(lambda each: f"file,class,left\n{each}".encode())
)
def test_a_table_of_photos_is_read_or_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    try:
        items = find_items(tmp_path / "t.csv")
    except ValueError as error:
        assert str(error).startswith(("There are no photos", str(tmp_path)))
    else:
        assert len({item.name for item in items}) == len(items) > 0


@law
@given(st.lists(st.binary(max_size=30) | JSON.map(lambda each: json.dumps(each).encode()), max_size=6))
def test_of_an_evaluation_whole_lines_are_read(tmp_path: Path, parts: list[bytes]) -> None:
    """Whatever stands between them."""
    (tmp_path / "parts").mkdir(exist_ok=True)
    own = {"file": "a.jpg", "photo": [1, None, None], "rows": []}
    text = b"\n".join([*parts, json.dumps(own).encode(), b'{"file": "cut'])
    (tmp_path / "parts" / "0.jsonl").write_bytes(text)
    found = list(Store(tmp_path).lines())
    assert own in found and all("file" in line for line in found)
