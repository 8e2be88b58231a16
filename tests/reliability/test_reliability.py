"""A small part of what `python -m tests.reliability` tries, and that its checks can fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import Served, running_app

from . import abuse, fuzz, inputs, load, photos
from .mutation import mutated


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with running_app(tmp_path_factory.mktemp("app")) as served:
        yield served


@pytest.mark.parametrize(("reader", "count"), [("photos", 400), ("weights", 40)])
def test_changed_files_give_a_result_or_a_sentence(reader: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within whatever time a busy machine takes."""
    monkeypatch.setattr(fuzz, "HANGS", 60.0)
    monkeypatch.setattr(fuzz, "KILLED", 120.0)
    found = fuzz.fuzz(reader, count, first=50_000)
    assert found.wrong == [] and found.tried == count and found.refused > 0 < found.read


def test_the_same_number_makes_the_same_file() -> None:
    seeds = photos.seeds()
    made = [mutated(seeds, number) for number in range(200)]
    assert made == [mutated(seeds, number) for number in range(200)]
    assert len({data for _, data in made}) > 180 and {name for name, _ in made} == set(seeds)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise KeyError('x')", "raises KeyError"),
        ("raise ValueError('bad')", "says no sentence"),
        ("raise ValueError('A bad \\x1b[31m name.')", "cannot be printed"),
        ("time.sleep(0.3)", "took 0."),
        ("bytearray(600_000_000)", "MB"),
        ("os._exit(3)", "ended its process"),
        ("time.sleep(99)", "hung"),
    ],
)
def test_what_is_wrong_is_found(code: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a reader that fails at the fourth file."""
    reader = tmp_path / "poor_reader.py"
    reader.write_text(
        "import os, time\nread_so_far = []\ndef seeds(): return {'a': b'aaaaaaaa'}\n"
        f"def read(name, data):\n    read_so_far.append(data)\n    if len(read_so_far) == 5:\n        {code}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    if "0.3" in code:
        monkeypatch.setattr(fuzz, "HANGS", 0.2)
    else:
        monkeypatch.setattr(fuzz, "HANGS", 60.0)
    if "99" in code:
        monkeypatch.setattr(fuzz, "KILLED", 3.0)
    found = fuzz.fuzz("poor_reader", 6)
    assert found.tried == 6 and len(found.wrong) == 1 and words in found.wrong[0]
    assert found.wrong[0].startswith("file 3 ")


def test_hostile_photos_are_shown_or_refused(app: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "HANGS", 60.0)
    rows = [inputs._library(inputs.files()), inputs._no_files(tmp_path), inputs._names(app, photos.seeds()["png"])]
    assert [row for row in rows if not row.holds] == []


def test_each_of_a_crowd_gets_its_own_map(app: Served) -> None:
    rows = load.crowd(app, 5)
    assert [row for row in rows[:-1] if not row.holds] == []  # the last is about how fast this machine is


def test_a_wrong_map_is_seen(app: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a visitor who is told of another photo."""
    plain = load.Visitor.upload
    swapped = load.photo(3)
    monkeypatch.setattr(load.Visitor, "upload", lambda self, name, data: plain(self, name, swapped))
    assert not load.crowd(app, 2)[2].holds


def test_abuse_is_refused(app: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abuse, "PROMPT", 60.0)
    rows = list(abuse.tried(app, tmp_path))
    assert [row for row in rows if not row.holds] == [] and sum(row.count for row in rows) > 700


def test_a_server_that_is_slow_is_seen() -> None:
    feeling = load.Pulse("")
    feeling.seconds = [0.01] * 99 + [1.5]
    assert not feeling.row("it").holds
    feeling.seconds = [0.2] * 9
    assert not feeling.row("it").holds
    feeling.seconds = [0.01, 0.02, 0.5]
    assert feeling.row("it").holds
