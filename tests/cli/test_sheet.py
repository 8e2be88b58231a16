"""`explain FOLDER --sheet`: which photos are meant, what the sheet calls them, and what it may not overwrite."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from iscam.__main__ import main
from iscam.show import export
from tests.cases import SMALL
from tests.cli.test_cli import is_one_sentence, names, picture


@pytest.fixture(autouse=True)
def _no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dot for the figure, which takes longer than all the rest."""
    monkeypatch.setattr(export, "comparison_figure", lambda *_: Image.new("RGB", (1, 1)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos of a folder and of a class folder in it, a file that is no photo and one that only seems to be."""
    picture(tmp_path / "photos" / "b.jpg")
    picture(tmp_path / "photos" / "a class" / "a.jpg", (100, 150))
    (tmp_path / "photos" / "list.txt").write_text("dear diary")
    (tmp_path / "photos" / "torn.jpg").write_bytes(b"no photo")
    return tmp_path / "photos"


def explain(*words: object) -> int:
    return main(["explain", *map(str, words), *SMALL, "--methods", "cam,grad-cam"])


def called(sheet: Path) -> list[str]:
    return re.findall(r'<article data-name="([^"]*)"', sheet.read_text(encoding="utf-8"))


def test_a_folder_is_shown_on_one_sheet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The photos in it and in its class folders, in the same order each time, without what was made of them before."""
    out = folder / "out"
    for _ in range(2):
        assert explain(folder, "--out", out, "--sheet") == 2
        said, complaints = capsys.readouterr()
        assert said.splitlines()[-1] == f"All on one sheet: {out / 'sheet.iscam.html'}"
        assert complaints.splitlines()[-1].startswith(f"{folder / 'torn.jpg'}: ")
        assert [name for name in names(out) if name.endswith((".png", ".html"))] == [
            "a.iscam.png",
            "b.iscam.png",
            "sheet.iscam.html",
        ]
        assert called(out / "sheet.iscam.html") == ["photos/b.jpg", "a class/a.jpg"]
        text = (out / "sheet.iscam.html").read_text(encoding="utf-8")
        assert "<b>photos/torn.jpg</b>: &quot;torn.jpg&quot; cannot be read as a photo" in text
        assert "CAM" in text and "a.iscam.png" in text and str(folder.parent) not in text


def test_a_sheet_goes_where_it_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Into a new folder too; of photos that lie together the folder is not named, and what is not there is listed."""
    sheet = folder.parent / "new" / "all.html"
    words = folder / "b.jpg", folder / "gone.jpg", "--out", folder.parent / "out", "--sheet", sheet
    assert explain(*words) == 2
    assert called(sheet) == ["b.jpg"] and "<b>gone.jpg</b>: there is no such file." in sheet.read_text(encoding="utf-8")
    assert "sheet.iscam.html" not in names(folder.parent / "out")
    assert capsys.readouterr().err == f"{folder / 'gone.jpg'}: there is no such file.\n"


def test_no_sheet_without_a_photo(folder: Path) -> None:
    assert explain(folder / "torn.jpg", "--out", folder.parent / "out", "--sheet") == 2
    assert names(folder.parent / "out") == []


def test_a_sheet_overwrites_no_photo_and_no_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, taken = folder / "b.html", folder / "c.html"
    (folder / "b.jpg").rename(photo)
    taken.mkdir()
    before = photo.read_bytes()
    for sheet, word in ((photo, "overwritten"), (taken, "is a folder"), (photo / "x.html", "is a file")):
        assert explain(photo, "--out", folder.parent / "out", "--sheet", sheet) == 2
        said, complaints = capsys.readouterr()
        assert said == "" and word in complaints and "--sheet" in complaints and is_one_sentence(complaints)
    assert photo.read_bytes() == before and names(folder.parent / "out") == []


def test_an_interrupted_run_leaves_a_sheet_of_what_was_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, calls = export._write_all, []

    def interrupted(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(export, "_write_all", interrupted)
    out = folder.parent / "out"
    assert explain(folder / "b.jpg", folder / "a class", "--out", out, "--sheet") == 130
    assert called(out / "sheet.iscam.html") == ["photos/b.jpg"]
    assert "The run was stopped before all were done." in (out / "sheet.iscam.html").read_text(encoding="utf-8")
    assert capsys.readouterr().err == "Stopped.\n"
