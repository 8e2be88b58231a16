"""Where uploads lie: in a folder of each run's own, which is gone afterwards, however the run ends."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from filelock import FileLock

from iscam.ui import uploads


def left(place: Path, name: str) -> tuple[Path, FileLock]:
    """The folder of another run, with an upload in it, and its lock."""
    other = place / f"{uploads.PREFIX}{name}"
    other.mkdir()
    (other / "theirs.png").touch()
    return other, FileLock(other.with_suffix(".lock"))


def test_a_run_has_a_folder_of_its_own_that_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(uploads.PLACE, str(tmp_path / "new"))
    with uploads.folder() as mine:
        assert os.environ[uploads.PLACE] == str(mine) and mine.parent == tmp_path / "new"
        assert stat.S_IMODE(mine.stat().st_mode) == 0o700
        (mine / "deep").mkdir()
        (mine / "deep" / "upload.png").touch()
    assert list((tmp_path / "new").iterdir()) == [] and os.environ[uploads.PLACE] == str(tmp_path / "new")
    monkeypatch.delenv(uploads.PLACE)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ZeroDivisionError), uploads.folder() as mine:
        assert mine.parent == tmp_path
        raise ZeroDivisionError
    assert uploads.PLACE not in os.environ and not mine.exists()


def test_what_a_killed_run_has_left_is_deleted_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    monkeypatch.setenv(uploads.PLACE, str(place))
    (place / "somebody's").mkdir(parents=True)
    dead, _ = left(place, "dead")
    alive, lock = left(place, "alive")
    with lock, uploads.folder() as mine:
        assert {path.name for path in place.iterdir() if path.is_dir()} == {mine.name, alive.name, "somebody's"}
    assert not dead.exists() and (alive / "theirs.png").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(uploads.PLACE, str(tmp_path / "file" / "below"))
    with pytest.raises(OSError, match=r"^Uploads cannot be put into .*below .*: name a folder with GRADIO_TEMP_DIR\.$"):
        uploads.folder().__enter__()
    assert os.environ[uploads.PLACE] == str(tmp_path / "file" / "below")
