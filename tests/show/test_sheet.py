"""A sheet of many photos: nothing gets out of it or into it, it says what is known, and it grows on the disk."""

from __future__ import annotations

import base64
import hashlib
import shutil
import tempfile
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from iscam import Prediction
from iscam.show import new_sheet
from iscam.show.sheet import FEW, LONGEST, Sheet
from tests.show.sheets import EVIL, STEPS, pair, subject, written


class Read(HTMLParser):
    """The elements of a page, (tag, attributes) each, and what stands in them by tag."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "input"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.elements if name == tag]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("sheet"))


def test_no_name_gets_out_of_its_place(file: Path) -> None:
    """Nor does a sentence: no element and no attribute is there that a name has made, and every element is closed."""
    page, evil = Read(file), EVIL.replace("\u202e", "?")
    assert len(page.of("script")) == len(page.of("style")) == 1
    assert not any(key.startswith("on") for _, found in page.elements for key in found)
    assert page.of("article")[1]["data-category"] == evil
    assert page.of("option")[-2:] == [{"value": evil}, {"value": "cat"}]
    assert f"{evil}: {evil} cannot be read." == "".join(page.texts["b"][:1] + page.texts["li"][:1])


def test_a_sheet_stands_alone(file: Path) -> None:
    """All pictures are inside, and the policy allows the style and the script that are there, and nothing else."""
    page = Read(file)
    assert {str(found.get("src") or found.get("href") or "data:")[:5] for _, found in page.elements} == {"data:"}
    assert "http" not in file.read_text(encoding="utf-8").replace("http-equiv", "")
    policy = page.of("meta")[1]["content"] or ""
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256("".join(page.texts[kind]).encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_cards_stand_as_given_and_say_what_they_are_sorted_by(file: Path) -> None:
    page = Read(file)
    cards = page.of("article")
    assert [card["data-name"] for card in cards] == ["b 10.jpg", "a.jpg", "b 9.jpg"]
    assert [float(card["data-probability"] or "") for card in cards] == [0.9, 0.2, 0.6]
    first, second, third = (float(card["data-agreement"] or "") for card in cards)
    assert first == 1 and abs(second) < 0.2 and 0.5 < third < 1
    assert float(cards[0]["data-specificity"] or "") < 0.2 < 0.8 < float(cards[1]["data-specificity"] or "")
    assert "data-specificity" not in cards[2]
    said = " ".join(text for texts in page.texts.values() for text in texts)
    assert "The maps agree: their correlations are 1.00 to 1.00." in said and "The two maps disagree" in said
    assert "1 photo with maps that disagree: two correlate by less than 0.5." in said
    assert "photo11, layer layer3 · steps 10." in said and "rivals" not in said and "stopped" not in said
    assert "sorted by that of IS-CAM" in said and "a.jpg.iscam.png" in said
    alts = [found["alt"] or "" for found in page.of("img")]
    assert sum("IS-CAM map for cat: strongest at the" in alt for alt in alts) == 2
    assert len(alts) == 3 * 3 + 1 and all(alts)


@pytest.mark.parametrize(("rivals", "said"), [(0, ""), (1, "rather than dog"), (3, "rather than dog and 2 more")])
def test_a_card_says_what_its_class_is_held_against(tmp_path: Path, rivals: int, said: str) -> None:
    seen = subject()
    held = [replace(each, rivals=(Prediction(2, "dog", 0.1),) * rivals) for each in pair(seen, 1.0, None)]
    with new_sheet(tmp_path, STEPS) as sheet:
        sheet.add("a.jpg", seen, held)
        sheet.write(tmp_path / "sheet.html")
    assert [text for text in Read(tmp_path / "sheet.html").texts["p"] if "rather" in text] == ([said] if said else [])


def test_what_no_card_says_cannot_be_sorted_by(tmp_path: Path) -> None:
    with new_sheet(tmp_path, STEPS) as sheet:
        sheet.add("x.jpg", seen := subject(), pair(seen, 1, None)[:1])
        sheet.write(tmp_path / "sheet.html", stopped=True)
    page = Read(tmp_path / "sheet.html")
    assert [found["value"] for found in page.of("option")] == [
        "",
        "probability 1",
        "probability -1",
        "name 1",
        "",
        "cat",
    ]
    assert "The run was stopped before all were done." in "".join(page.texts["p"])


def test_a_thousand_photos_fill_the_disk_a_little_and_the_memory_not_at_all(tmp_path: Path) -> None:
    """Of the worst photos, of noise: what a card takes is bounded by its pictures' size, and none of it is kept."""
    with tempfile.TemporaryFile(dir=tmp_path) as cards:
        sheet = Sheet(cards, STEPS)
        seen = subject(size=(1200, 1200))
        sizes = []
        for number in range(3):
            sheet.add(f"{number}.jpg", seen, pair(seen, 1, 0.5))
            sizes.append(cards.tell())
        assert sizes[2] - sizes[1] == sizes[1] - sizes[0] < 3 * 40_000
        del vars(sheet)["_cards"]
        assert len(repr(vars(sheet))) < 1000
    assert list(tmp_path.iterdir()) == []


def test_pictures_are_small_and_have_their_size(file: Path) -> None:
    for found in Read(file).of("img")[1:]:
        kind, content = str(found["src"]).split(",", 1)
        picture = Image.open(BytesIO(base64.b64decode(content)))
        assert (kind, max(picture.size)) == ("data:image/jpeg;base64", LONGEST)
        assert picture.size == (int(found["width"] or 0), int(found["height"] or 0))


def test_a_sheet_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there before stays."""
    file = tmp_path / "sheet.html"
    file.write_text("before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with new_sheet(tmp_path, STEPS) as sheet, pytest.raises(OSError, match="No space"):
        sheet.add("x.jpg", seen := subject(), pair(seen, 1, 0.5))
        sheet.write(file)
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.html"] and file.read_text() == "before"


def test_many_that_could_not_be_read_are_folded(tmp_path: Path) -> None:
    """A few are there to be read at once."""
    with new_sheet(tmp_path, STEPS) as sheet:
        sheet.add("x.jpg", seen := subject(), pair(seen, 1, 0.5))
        opened = []
        for _ in range(FEW + 1):
            sheet.miss("torn.jpg", "This is no photo.")
            sheet.write(tmp_path / "sheet.html")
            opened += ["open" in found for found in Read(tmp_path / "sheet.html").of("details")]
    assert opened == [True] * FEW + [False]
