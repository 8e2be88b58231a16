"""Evaluation: which photos, what rows, one process or several, killed and resumed; real processes where it is about them."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import iscam
from iscam.__main__ import main
from iscam.controls import CONTROLS
from iscam.dataset import Item, class_index, find_items, sample
from iscam.evaluate import Evaluation, Settings
from iscam.methods import DEFAULT_METHODS
from iscam.metrics import METRICS
from iscam.summary import RESAMPLES, as_markdown, summarise
from tests.conftest import ROOT

EXAMPLES = ROOT / "assets" / "examples"
QUICK = ("--methods", "grad-cam", "--metrics", "average-drop,increase,deletion", "--curve-steps", "4")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def evaluate(capsys: pytest.CaptureFixture[str]) -> Run:
    """`evaluate(folder, "--out", out, ...)` -> exit code, stdout, stderr; in this process."""

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code: object = main(["evaluate", *(str(argument) for argument in arguments)])
        except SystemExit as leave:
            code = leave.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return run


def photos(folder: Path, count: int) -> Path:
    """A folder of different photos: parts of the examples."""
    folder.mkdir(parents=True, exist_ok=True)
    examples = sorted(EXAMPLES.glob("*.jpg"))
    for number in range(count):
        with Image.open(examples[number % len(examples)]) as picture:
            side = min(picture.size) * (8 - number // len(examples) % 4) // 8
            picture.convert("RGB").crop((0, 0, side, side)).save(folder / f"{number:02}.jpg", quality=95)
    return folder


def read_rows(out: Path) -> list[dict[str, str]]:
    with (out / "rows.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def assert_same_rows(one: Path, other: Path) -> None:
    """All columns but the seconds, in the same order: names exactly, numbers to 1e-4."""
    first, second = read_rows(one), read_rows(other)
    assert [(row["file"], row["method"]) for row in first] == [(row["file"], row["method"]) for row in second]
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for column in a.keys() - {"file", "method", "seconds"}:
            assert float(a[column]) == pytest.approx(float(b[column]), abs=1e-4), (a["file"], a["method"], column)


# Which photos


def test_photos_are_found_in_folders_class_folders_and_tables(tmp_path: Path) -> None:
    for name in ("b.JPEG", "a.png", "notes.txt", "dog/c.jpg", "dog/readme.md", "n02102040/d.webp", "empty/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_items(tmp_path)
    labels = {"a.png": None, "b.JPEG": None, "dog/c.jpg": "dog", "n02102040/d.webp": "n02102040"}
    assert {item.name: item.label for item in found} == labels
    assert all(item.file.exists() for item in found)
    table = tmp_path / "some.csv"
    table.write_text("class,file,left,top,right,bottom\ndog,dog/c.jpg,1,2,3,4.5\n7,a.png,,,,\n", encoding="utf-8")
    boxed, plain = find_items(table)
    assert boxed == Item("dog/c.jpg", tmp_path / "dog/c.jpg", "dog", (1, 2, 3, 4.5))
    assert plain.label == "7" and plain.box is None


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("name,class\na.jpg,1\n", "no column `file`"),
        ("file,class\na.jpg,1\na.jpg,2\n", "line 3: 'a.jpg' is there twice"),
        ("file,class\n,1\n", "line 2: no file is named"),
        ("file,left,top,right,bottom\na.jpg,5,0,1,1\n", "line 2: 5, 0, 1, 1 is no box"),
        ("file,left,top,right,bottom\na.jpg,5,x,1,1\n", "is no box"),
        ("file,left\na.jpg,5\n", "is no box"),
        ("file,class\n", "no photos"),
    ],
)
def test_a_table_that_makes_no_sense_is_told_by_its_line(tmp_path: Path, lines: str, words: str) -> None:
    (tmp_path / "t.csv").write_text(lines, encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        find_items(tmp_path / "t.csv")


def test_a_larger_sample_begins_with_the_smaller_one() -> None:
    """Whatever the order in which the photos were found; another seed draws others."""
    items = [Item(f"{number}.jpg", Path(f"{number}.jpg")) for number in range(100)]
    ten = sample(items, 10, 3)
    assert len(set(ten)) == 10 and sample(items[::-1], 20, 3)[:10] == ten
    assert sample(items, 10, 4) != ten and set(sample(items, None, 3)) == set(items)


def test_a_label_is_a_synset_a_name_or_an_index() -> None:
    model = iscam.load_model("photo11")
    church = model.find_class("church")
    assert class_index("n03028079", model) == class_index("church", model) == class_index(str(church), model) == church
    with pytest.raises(ValueError, match="There is no class 'English springer'"):
        class_index("n02102040", model)
    with pytest.raises(ValueError, match="No class is known"):
        class_index(None, model)


# What is written


def test_files_and_columns_are_those_of_the_contract(tmp_path: Path, evaluate: Run) -> None:
    """All controls beside the methods; fractions in files, per cent for people; how it was measured."""
    folder, out = photos(tmp_path / "in", 3), tmp_path / "out"
    code, said, _ = evaluate(folder, "--methods", "grad-cam,eigen-cam", "--curve-steps", 5, "--out", out)
    assert code == 0
    assert {file.name for file in out.iterdir()} == {
        *("rows.csv", "summary.csv", "summary.md", "figure.png", "settings.json", "parts")
    }
    rows, metrics = read_rows(out), ["average-drop", "increase", "average-gain", "insertion", "deletion"]
    assert list(rows[0]) == ["file", "method", "class_index", "probability", *metrics, "seconds", "forward_passes"]
    names = [f"{number:02}.jpg" for number in range(3)]
    assert [(row["file"], row["method"]) for row in rows] == [
        (name, method) for name in names for method in ("grad-cam", "eigen-cam", *CONTROLS)
    ]
    assert all(0 <= float(row[key]) <= 1 for row in rows for key in metrics)
    with (out / "summary.csv").open(newline="") as file:
        summary = list(csv.DictReader(file))
    assert list(summary[0]) == ["method", "metric", "mean", "low", "high", "n"]
    for line in summary:
        values = [float(row[line["metric"]]) for row in rows if row["method"] == line["method"]]
        assert float(line["mean"]) == pytest.approx(np.mean(values), abs=1e-5)
        assert float(line["low"]) <= float(line["mean"]) + 1e-9 <= float(line["high"]) + 2e-9 and line["n"] == "3"
    assert "random (control)" in said and "5 steps" in said and "3 photos" in said
    record = json.loads((out / "settings.json").read_text())
    assert record["settings"]["threads"] == 2 and record["settings"]["batch"] == 8 and record["processes"] == 1
    assert "5 steps" in record["protocol"]["deletion"] and record["problems"] == {} and record["photos"] == 3
    with Image.open(out / "figure.png") as figure:
        assert figure.width > 500


def test_every_setting_that_a_method_heeds_has_its_row(tmp_path: Path, evaluate: Run) -> None:
    many = ("--steps", "1,3", "--path", "linear,cumulative", "--weighting", "logit,probability")
    asked = ("--methods", "is-cam,score-cam,cam", "--metrics", "average-drop")
    code, _, _ = evaluate(photos(tmp_path / "in", 1), *asked, *many, "--out", tmp_path / "out")
    names = [row["method"] for row in read_rows(tmp_path / "out")]
    paths, weightings = ("linear", "cumulative"), ("logit", "probability")
    wanted = [f"is-cam N={n} {path} {w}" for path in paths for w in weightings for n in (1, 3)]
    assert code == 0 and names == [*wanted, *(f"score-cam {w}" for w in weightings), "cam", *CONTROLS]


def test_the_labelled_class_is_explained_on_demand(tmp_path: Path, evaluate: Run) -> None:
    photos(tmp_path / "in" / "golf ball", 1)
    for target, wanted in (("label", "golf ball"), ("predicted", "gas pump")):
        code, _, _ = evaluate(tmp_path / "in", *QUICK, "--target", target, "--out", tmp_path / target)
        found = {int(row["class_index"]) for row in read_rows(tmp_path / target)}
        assert code == 0 and found == {iscam.load_model("photo11").find_class(wanted)}


def test_boxes_give_pointing_and_energy_beside_their_area(tmp_path: Path, evaluate: Run) -> None:
    """A box that the network does not see, or none, leaves the cells empty, and does not count."""
    folder = photos(tmp_path / "in", 3)
    lines = ["00.jpg,,,,", "01.jpg,0,0,9999,9999", "02.jpg,5000,5000,6000,6000"]
    (folder / "t.csv").write_text("file,left,top,right,bottom\n" + "\n".join(lines) + "\n", encoding="utf-8")
    code, said, _ = evaluate(
        folder / "t.csv", "--methods", "cam", "--metrics", "pointing,energy", "--out", tmp_path / "out"
    )
    rows = read_rows(tmp_path / "out")
    assert code == 0 and list(rows[0])[4:7] == ["pointing", "energy", "box_area"]
    cells = {(row["file"], row["pointing"], row["energy"], row["box_area"]) for row in rows if row["method"] == "cam"}
    assert cells == {("00.jpg", "", "", ""), ("01.jpg", "1.0", "1.0", "1.0"), ("02.jpg", "", "", "0.0")}
    assert "| cam | 100.0 [100.0, 100.0] | 100.0 [100.0, 100.0] |" in said
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        assert {line["n"] for line in csv.DictReader(file)} == {"1"}


def test_bad_photos_are_named_and_counted_and_never_fatal(tmp_path: Path, evaluate: Run) -> None:
    folder = photos(tmp_path / "in", 2)
    (folder / "broken.jpg").write_bytes((folder / "00.jpg").read_bytes()[:500])
    (folder / "t.csv").write_text("file\n00.jpg\nbroken.jpg\n01.jpg\ngone.jpg\n", encoding="utf-8")
    code, said, complaint = evaluate(folder / "t.csv", *QUICK, "--out", tmp_path / "out")
    assert code == 0 and "broken.jpg: " in complaint and "gone.jpg: " in complaint
    assert "2 photos that could not be measured" in said
    assert set(json.loads((tmp_path / "out" / "settings.json").read_text())["problems"]) == {"broken.jpg", "gone.jpg"}
    assert {row["file"] for row in read_rows(tmp_path / "out")} == {"00.jpg", "01.jpg"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "There is no nowhere"),
        (("empty",), "There are no photos"),
        (("in", "--target", "label"), "No class is known"),
        (("in", "--metrics", "beauty"), "no metric 'beauty'"),
        (("in", "--methods", "is-cam,x"), "no method 'x'"),
        (("in", "--metrics", "energy"), "needs boxes"),
        (("in", "--steps", "10,0"), "not a whole number"),
        (("in", "--path", "round"), "no choice 'round'"),
        (("in", "--limit", "0"), "not a whole number"),
        (("in", "--methods", "cam", "--layer", "layer1"), "just before the global pooling"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    tmp_path: Path, evaluate: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "in", 1)
    (tmp_path / "empty").mkdir()
    code, _, complaint = evaluate(*arguments, "--out", "out")
    assert code == 2 and words in complaint and "Traceback" not in complaint


def test_rows_of_other_settings_are_not_mixed(tmp_path: Path, evaluate: Run) -> None:
    """Another limit is no other setting; the same again runs nothing; controls may be named."""
    folder, out = photos(tmp_path / "in", 3), tmp_path / "out"
    assert evaluate(folder, *QUICK, "--limit", 1, "--out", out)[0] == 0
    assert len(read_rows(out)) == 4
    assert evaluate(folder, *QUICK, "--out", out)[0] == 0
    whole = (out / "rows.csv").read_bytes()
    parts = (out / "parts" / "0.jsonl").stat().st_size
    assert evaluate(folder, *QUICK[2:], "--methods", "random,grad-cam", "--out", out)[0] == 0
    assert (out / "rows.csv").read_bytes() == whole and (out / "parts" / "0.jsonl").stat().st_size == parts
    code, _, complaint = evaluate(folder, *QUICK, "--seed", 1, "--out", out)
    assert code == 2 and "another evaluation (seed: 0, now 1)" in complaint
    assert (out / "rows.csv").read_bytes() == whole
    (out / "settings.json").write_text("[]")
    code, _, complaint = evaluate(folder, *QUICK, "--out", out)
    assert code == 2 and "is not an evaluation's" in complaint


def test_a_torn_line_is_done_again(tmp_path: Path, evaluate: Run) -> None:
    folder, out = photos(tmp_path / "in", 3), tmp_path / "out"
    evaluate(folder, *QUICK, "--out", out)
    whole, part = read_rows(out), out / "parts" / "0.jsonl"
    part.write_bytes(part.read_bytes()[:-40])
    assert evaluate(folder, *QUICK, "--out", out)[0] == 0
    assert [row["file"] for row in read_rows(out)] == [row["file"] for row in whole]
    assert_same_rows(out, _copy(out, tmp_path / "whole", whole))


def _copy(out: Path, folder: Path, rows: Sequence[dict[str, str]]) -> Path:
    folder.mkdir()
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


# Intervals


def evaluation(values: np.ndarray[Any, Any]) -> Evaluation:
    """One method's average drop on as many photos as there are values, NaN where it is not known."""
    settings = Settings(
        *("photo11", None, "layer3", ("cam",), "predicted", (10,), ("cumulative",), ("probability",)),
        *("fast", 0.01, 8, 0, ("average-drop",), 28, 1, False),
    )
    rows = [
        {"file": f"{i}", "method": "cam", "average-drop": None if np.isnan(value) else float(value)}
        for i, value in enumerate(values)
    ]
    return Evaluation(settings, rows, {})


def test_intervals_cover_the_mean_as_often_as_they_say() -> None:
    """Over 200 samples of 40 from a skewed distribution about 95 of 100 cover its mean; the same sample gives the same."""
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        values = generator.beta(2, 5, 40)
        (line,) = summarise(evaluation(values))
        assert line.mean == pytest.approx(values.mean()) and line.n == 40
        covered += line.low <= 2 / 7 <= line.high
    assert 180 <= covered <= 198
    assert summarise(evaluation(values)) == summarise(evaluation(values))


def test_the_bootstrap_equals_plain_loops() -> None:
    """Drawing photos with replacement and averaging those that are known, one resample at a time."""
    values = np.array([0.1, 0.9, np.nan, 0.4, 0.3])
    generator, means = np.random.default_rng(0), []
    for _ in range(RESAMPLES // 100):
        for chosen in generator.integers(0, len(values), (100, len(values))):
            known = [values[i] for i in chosen if not np.isnan(values[i])]
            means.append(sum(known) / len(known) if known else np.nan)
    (line,) = summarise(evaluation(values))
    assert line.n == 4 and line.mean == pytest.approx(0.425)
    assert (line.low, line.high) == pytest.approx(tuple(np.nanquantile(means, (0.025, 0.975))))


def test_nothing_measured_is_a_table_without_lines() -> None:
    empty = evaluation(np.array([]))
    assert "0 photos" in as_markdown(empty, [])


# Processes


def command(processes: int, folder: Path, out: Path, *arguments: str) -> list[str]:
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", str(processes)) if processes > 1 else ()
    asked = ("--methods", "is-cam,grad-cam", "--steps", "3", "--metrics", "average-drop,increase,deletion")
    return [
        *(sys.executable, *launcher, "-m", "iscam", "evaluate", str(folder), *asked, "--curve-steps", "3"),
        *("--threads", "1", "--out", str(out), *arguments),
    ]


def start(processes: int, folder: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(processes, folder, out),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def finished(processes: int, folder: Path, out: Path) -> None:
    run = subprocess.run(command(processes, folder, out), cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr


def lines(out: Path) -> int:
    return sum(part.read_bytes().count(b"\n") for part in out.glob("parts/*.jsonl"))


def wait_for_lines(out: Path, count: int) -> None:
    deadline = time.monotonic() + 200
    while lines(out) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_processes_share_the_work_and_any_number_can_go_on(tmp_path: Path) -> None:
    """Two processes give the rows of one. Killed at any point, whole or by one worker, and taken up by another number of
    processes, an evaluation gives those rows too, none lost and none twice."""
    folder = photos(tmp_path / "in", 12)
    alone, two, whole, worker = (tmp_path / name for name in ("alone", "two", "whole", "worker"))
    finished(1, folder, alone)
    finished(2, folder, two)
    assert {part.name for part in (two / "parts").iterdir()} == {"0.jsonl", "1.jsonl"}
    assert_same_rows(alone, two)

    run = start(1, folder, whole)
    wait_for_lines(whole, 3)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    before = lines(whole)
    assert 3 <= before < 12 and not (whole / "rows.csv").exists()
    finished(2, folder, whole)
    assert lines(whole) == 12
    assert_same_rows(alone, whole)

    run = start(2, folder, worker)
    wait_for_lines(worker, 2)
    os.kill(workers_of(run.pid)[-1], signal.SIGKILL)
    assert run.wait(120) != 0
    before = lines(worker)
    assert 2 <= before <= 12 and not (worker / "rows.csv").exists()
    finished(1, folder, worker)
    assert lines(worker) == 12
    assert_same_rows(alone, worker)


def workers_of(launcher: int) -> list[int]:
    """The processes that evaluate for a launcher."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(launcher)], capture_output=True, text=True, check=True)
    return [int(pid) for pid in found.stdout.split()]


def test_the_defaults_are_those_of_the_page() -> None:
    """Default methods and the metrics that need no more than passes."""
    from iscam.metrics import DEFAULT_METRICS

    assert DEFAULT_METHODS == ("is-cam", "score-cam", "grad-cam", "grad-cam++")
    assert set(METRICS) - set(DEFAULT_METRICS) == {"adcc", "road", "pointing", "energy"}
