"""Evaluation: which photos, what rows, one process or several, killed and resumed; real processes where it is about them."""

from __future__ import annotations

import csv
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import iscam
from iscam.__main__ import main
from iscam.engine.table import ScoreTable
from iscam.evaluation import compose
from iscam.evaluation.dataset import SYNSETS, Item, class_index, find_items, sample
from iscam.evaluation.plan import Conditions, Maps, Measures, Network
from iscam.evaluation.store import Store, state
from iscam.methods import DEFAULT_METHODS
from iscam.models.photo11 import BUNDLED_WEIGHTS
from iscam.models.torchvision import imagenet_categories
from iscam.trust.controls import CONTROLS
from iscam.trust.metrics import METRICS
from tests.cases import SMALL
from tests.conftest import ROOT

EXAMPLES = ROOT / "assets" / "examples"
QUICK = ("--methods", "grad-cam", "--metrics", "average-drop,increase,deletion", "--curve-steps", "4")
WITH_ISCAM = {**os.environ, "PYTHONPATH": str(ROOT)}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def evaluate(capsys: pytest.CaptureFixture[str]) -> Run:
    """`evaluate(folder, "--out", out, ...)` -> exit code, stdout, stderr; in this process, by photo11 unless told otherwise."""

    def run(*arguments: object) -> tuple[int, str, str]:
        model = () if {"--model", "--arch", "--checkpoint"} & set(map(str, arguments)) else ("--model", "photo11")
        try:
            code: object = main(["evaluate", *model, *(str(argument) for argument in arguments)])
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
    """By their endings; a class folder's name is the label; a table's columns come in any order, with blanks or without."""
    for name in ("b.JPEG", "a.png", "notes.txt", "dog/c.jpg", "dog/readme.md", "n02102040/d.WEBP", "empty/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_items(tmp_path)
    labels = {"a.png": None, "b.JPEG": None, "dog/c.jpg": "dog", "n02102040/d.WEBP": "n02102040"}
    assert {item.name: item.label for item in found} == labels
    assert all(item.file.exists() for item in found)
    table = tmp_path / "some.csv"
    table.write_text("class, file, left,top,right,bottom\ndog , dog/c.jpg, -1,2,3,4.5\n7,a.png,,,,\n,b.JPEG\n")
    boxed, plain, unlabelled = find_items(table)
    assert boxed == Item("dog/c.jpg", tmp_path / "dog/c.jpg", "dog", (0, 2, 3, 4.5))
    assert plain.label == "7" and plain.box is unlabelled.box is unlabelled.label is None


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("name,class\na.jpg,1\n", "no column `file`"),
        ("file,class\na.jpg,1\na.jpg,2\n", "line 3: 'a.jpg' is there twice"),
        ("file,class\n\n\na.jpg,1\na.jpg,2\n", "line 5: 'a.jpg' is there twice"),
        ("file,left,top,right,bottom\na.jpg,-5,0,-1,1\n", "is no box"),
        ("file,class\n,1\n", "line 2: no file is named"),
        ("file,left,top,right,bottom\na.jpg,5,0,1,1\n", "line 2: 5, 0, 1, 1 is no box"),
        ("file,left,top,right,bottom\na.jpg,5,x,1,1\n", "is no box"),
        ("file,left\na.jpg,5\n", "is no box"),
        ("file,left,top,right,bottom\na.jpg,1,1,inf,9\n", "is no box"),
        ("file,class\n", "no photos"),
        ('file,class\n"a.jpg,1\n', "is no CSV in UTF-8: unexpected end of data"),
    ],
)
def test_a_table_that_makes_no_sense_is_told_by_its_line(tmp_path: Path, lines: str, words: str) -> None:
    """In one sentence."""
    (tmp_path / "t.csv").write_text(lines, encoding="utf-8")
    with pytest.raises(ValueError, match=words) as problem:
        find_items(tmp_path / "t.csv")
    assert str(problem.value).endswith(".") and "\n" not in str(problem.value)


def test_what_is_no_table_or_no_name_is_said_in_a_sentence(tmp_path: Path) -> None:
    """A photo instead of a table, and a name that no file can have."""
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(ValueError, match="is no CSV in UTF-8"):
        find_items(tmp_path / "photo.jpg")
    with pytest.raises(ValueError, match="There is no a"):
        find_items(Path("a" * 5000))


def test_figures_of_ours_are_no_photos(tmp_path: Path) -> None:
    """Where `--out` lies among the photos, or is their folder, another run finds the same photos."""
    (tmp_path / "iscam-out").mkdir()
    for name in ("a.iscam.png", "iscam-out/a.iscam.png", "a.sanity.png"):
        (tmp_path / name).touch()
    (tmp_path / "iscam-benchmark").mkdir()
    for name in ("benchmark.md", "benchmark.png"):
        (tmp_path / "iscam-benchmark" / name).touch()
    for folder in (tmp_path, tmp_path / "out"):
        (folder / "parts").mkdir(parents=True)
        for name in ("figure.png", "a.png"):
            (folder / name).touch()
    (tmp_path / "class").mkdir()
    for name in ("figure.png", "benchmark.png"):
        (tmp_path / "class" / name).touch()
    names = ["a.png", "class/benchmark.png", "class/figure.png", "out/a.png"]
    assert [item.name for item in find_items(tmp_path)] == names


def test_a_larger_sample_begins_with_the_smaller_one() -> None:
    """Whatever the order in which the photos were found, and each time; another seed draws others."""
    items = [Item(f"{number}.jpg", Path(f"{number}.jpg")) for number in range(100)]
    ten = sample(items, 10, 3)
    assert len(set(ten)) == 10 and sample(items, 10, 3) == sample(items[::-1], 20, 3)[:10] == ten
    assert sample(items, 10, 4) != ten and set(sample(items, None, 3)) == set(items)


def test_a_label_is_a_synset_a_name_or_an_index() -> None:
    model = iscam.load_model("photo11")
    church = model.find_class("church")
    assert class_index("n03028079", model) == class_index("church", model) == class_index(str(church), model) == church
    with pytest.raises(ValueError, match="There is no class 'English springer'"):
        class_index("n02102040", model)
    numbers = replace(model, categories=("1", "10", "2"))  # as folders of numbers are sorted
    assert [class_index(name, numbers) for name in ("1", "10", "2", "0")] == [0, 1, 2, 0]


def test_each_synset_is_its_class_of_an_imagenet_model() -> None:
    """Of all 1000, by the categories alone, although two of them differ but in case."""
    model = replace(iscam.load_model("photo11"), categories=imagenet_categories())
    synsets = SYNSETS.read_text(encoding="utf-8").split()
    assert [class_index(synset, model) for synset in synsets] == list(range(1000))
    categories = {"n02102040": "English springer", "n03028079": "church", "n03425413": "gas pump"}
    assert {synset: model.categories[class_index(synset, model)] for synset in categories} == categories


# What is written


def test_files_and_columns_are_those_of_the_contract(tmp_path: Path, evaluate: Run) -> None:
    """All controls beside the methods; fractions in files, per cent for people; how it was measured."""
    folder, out = photos(tmp_path / "in", 3), tmp_path / "out"
    code, said, _ = evaluate(folder, "--methods", "grad-cam,eigen-cam", "--curve-steps", 5, "--out", out)
    assert code == 0
    assert {file.name for file in out.iterdir()} == {
        *("rows.csv", "summary.csv", "ranking.csv", "summary.md", "figure.png", "settings.json", "parts")
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
    heads = ["method", "metric", "mean", "low", "high", "n"]
    assert list(summary[0]) == [*heads, "difference", "difference_low", "difference_high"]
    means = {(line["method"], line["metric"]): float(line["mean"]) for line in summary}
    for line in summary:
        values = [float(row[line["metric"]]) for row in rows if row["method"] == line["method"]]
        if line["method"] == "grad-cam":  # the first, against which all others are held
            assert line["difference"] == line["difference_low"] == line["difference_high"] == ""
        else:
            wanted = means[line["method"], line["metric"]] - means["grad-cam", line["metric"]]
            assert float(line["difference"]) == pytest.approx(wanted, abs=1e-5)
        assert float(line["mean"]) == pytest.approx(np.mean(values), abs=1e-5)
        assert float(line["low"]) <= float(line["mean"]) + 1e-9 <= float(line["high"]) + 2e-9 and line["n"] == "3"
    assert "random (control)" in said and "5 steps" in said and "3 photos" in said and "Differences to grad-cam" in said
    with (out / "ranking.csv").open(newline="") as file:
        ranked = {line["metric"]: (line["photos"], line["methods"]) for line in csv.DictReader(file)}
    assert ranked["insertion"] == ranked["deletion"] == ("3", "2")
    record = json.loads((out / "settings.json").read_text())
    assert record["settings"]["threads"] == 2 and record["settings"]["batch"] == 8 and record["processes"] == 1
    assert list(record["protocol"]) == record["settings"]["metrics"] == metrics and all(record["protocol"].values())
    assert "5 steps" in record["protocol"]["deletion"] and record["problems"] == {} and record["photos"] == 3
    with Image.open(out / "figure.png") as figure:
        assert figure.width > 500


def test_every_setting_that_a_method_heeds_has_its_row(tmp_path: Path, evaluate: Run) -> None:
    """IS-CAM's steps, path and weighting, Score-CAM's weighting, and nothing of CAM's."""
    many = ("--steps", "1,3", "--path", "linear,cumulative", "--weighting", "logit,probability")
    asked = ("--methods", "is-cam,score-cam,cam", "--metrics", "average-drop")
    code, _, _ = evaluate(photos(tmp_path / "in", 1), *asked, *many, "--out", tmp_path / "out")
    names = [row["method"] for row in read_rows(tmp_path / "out")]
    paths, weightings = ("linear", "cumulative"), ("logit", "probability")
    wanted = [f"is-cam N={n} {path} {w}" for path in paths for w in weightings for n in (1, 3)]
    assert code == 0 and names == [*wanted, *(f"score-cam {w}" for w in weightings), "cam", *CONTROLS]


def test_a_ceiling_is_measured_where_it_is_named(
    tmp_path: Path, evaluate: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the controls, in passes of its own, also of the masked photo where ADCC asks for it; rows with it are not mixed
    with rows without."""
    monkeypatch.setattr("iscam.engine.ascent.STEPS", 4)
    folder, out = photos(tmp_path / "in", 1), tmp_path / "out"
    asked = ("--metrics", "average-gain,adcc", *SMALL, "--out", out)
    assert evaluate(folder, "--methods", "opti-cam,random,grad-cam", *asked)[0] == 0
    rows = read_rows(out)
    assert [row["method"] for row in rows] == ["grad-cam", *CONTROLS, "opti-cam"]
    assert len({(row["class_index"], row["probability"]) for row in rows}) == 1
    assert rows[-1]["forward_passes"] == "4" and 0 < float(rows[-1]["adcc"]) < 1
    settings = json.loads((out / "settings.json").read_text())["settings"]
    assert settings["ceilings"] == ["opti-cam"] and settings["methods"] == ["grad-cam"]
    code, _, complaint = evaluate(folder, "--methods", "grad-cam", *asked)
    assert code == 2 and "(ceilings: ['opti-cam'], now [])" in complaint
    code, _, complaint = evaluate(folder, "--methods", "opti-cam,random", *asked)
    assert code == 2 and "at least one method" in complaint
    code, _, complaint = evaluate(folder, "--methods", "opticam", *asked)
    assert code == 2 and "lafam, opti-cam)" in complaint


def test_the_scores_of_a_photo_are_let_go_before_the_next(tmp_path: Path, evaluate: Run) -> None:
    """Also if the collector sleeps."""
    gc.collect()
    before = {id(each) for each in gc.get_objects() if type(each) is ScoreTable}
    gc.disable()
    try:
        methods = ("--methods", "is-cam,grad-cam", "--metrics", "average-drop")
        assert evaluate(photos(tmp_path / "in", 3), *methods, "--out", tmp_path / "out")[0] == 0
        left = [each for each in gc.get_objects() if type(each) is ScoreTable and id(each) not in before]
        assert not left
    finally:
        gc.enable()


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
    assert "| cam | 100.0 [20.7, 100.0] | 100.0 [100.0, 100.0] |" in said  # one of one photo, by Wilson's interval
    assert "something of the boxes of 1 of the 3 photos, which take up 100.0 %" in said and "of no width" in said
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        assert {line["n"] for line in csv.DictReader(file)} == {"1"}


def test_halves_of_a_photo_share_its_energy_and_its_area(tmp_path: Path, evaluate: Run) -> None:
    """Boxes are in pixels of the photo, of which the network sees the middle; one half or the other has the map's peak."""
    with Image.open(EXAMPLES / "coffee.jpg") as picture:
        width, height = picture.size
        for side in ("left", "right"):
            picture.save(tmp_path / f"{side}.jpg")
    assert width > height
    boxes = f"left.jpg,0,0,{width / 2},{height}\nright.jpg,{width / 2},0,{width},{height}\n"
    (tmp_path / "t.csv").write_text("file,left,top,right,bottom\n" + boxes)
    asked = ("--methods", "grad-cam", "--metrics", "pointing,energy", "--out", tmp_path / "out")
    assert evaluate(tmp_path / "t.csv", *asked)[0] == 0
    rows = read_rows(tmp_path / "out")
    for method in ("grad-cam", "random", "gaussian"):
        left, right = (row for row in rows if row["method"] == method)
        for column in ("energy", "box_area", "pointing"):
            assert float(left[column]) + float(right[column]) == pytest.approx(1, abs=2e-6), (method, column)
        assert float(left["box_area"]) == pytest.approx(1 / 2, abs=0.01)
        assert 0 < float(left["energy"]) < 1


def test_bad_photos_are_named_and_counted_and_never_fatal(tmp_path: Path, evaluate: Run) -> None:
    """Damaged or missing; once it is repaired, a photo is done by the next run."""
    folder = photos(tmp_path / "in", 2)
    (folder / "broken.jpg").write_bytes((folder / "00.jpg").read_bytes()[:500])
    (folder / "t.csv").write_text("file\n00.jpg\nbroken.jpg\n01.jpg\ngone.jpg\n", encoding="utf-8")
    code, said, complaint = evaluate(folder / "t.csv", *QUICK, "--out", tmp_path / "out")
    assert code == 0 and "broken.jpg: " in complaint and "gone.jpg: " in complaint
    assert "2 photos that could not be measured" in said
    assert set(json.loads((tmp_path / "out" / "settings.json").read_text())["problems"]) == {"broken.jpg", "gone.jpg"}
    assert {row["file"] for row in read_rows(tmp_path / "out")} == {"00.jpg", "01.jpg"}
    shutil.copy(folder / "00.jpg", folder / "broken.jpg")
    code, _, complaint = evaluate(folder / "t.csv", *QUICK, "--out", tmp_path / "out")
    assert code == 0 and "broken.jpg: " not in complaint and "gone.jpg: " in complaint
    assert {row["file"] for row in read_rows(tmp_path / "out")} == {"00.jpg", "01.jpg", "broken.jpg"}


def test_a_folder_of_bad_photos_is_a_table_without_lines_and_no_success(tmp_path: Path, evaluate: Run) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    code, _, complaint = evaluate(tmp_path, *QUICK, "--out", tmp_path / "out")
    assert code == 2 and "bad.jpg: " in complaint and read_rows(tmp_path / "out") == []
    assert "none of the photos could be measured" in complaint


def test_names_that_are_no_unicode_are_written_in_utf_8(tmp_path: Path, evaluate: Run) -> None:
    """Of a photo that was measured and of one that could not be."""
    folder = tmp_path / "in"
    shutil.copy(photos(folder, 1) / "00.jpg", os.fsencode(folder) + b"/\xff.jpg")
    shutil.copy(__file__, os.fsencode(folder) + b"/\xfe.jpg")
    assert evaluate(folder, *QUICK, "--out", tmp_path / "out")[0] == 0
    assert {row["file"] for row in read_rows(tmp_path / "out")} == {"00.jpg", r"\udcff.jpg"}
    assert set(json.loads((tmp_path / "out" / "settings.json").read_text("utf-8"))["problems"]) == {"\udcfe.jpg"}


def test_a_label_that_is_no_class_leaves_out_its_photo(tmp_path: Path, evaluate: Run) -> None:
    for name in ("golf ball", "giraffe"):
        photos(tmp_path / "in" / name, 1)
    code, _, complaint = evaluate(tmp_path / "in", *QUICK, "--target", "label", "--out", tmp_path / "out")
    assert code == 0 and "giraffe/00.jpg: There is no class 'giraffe'" in complaint
    assert {row["file"] for row in read_rows(tmp_path / "out")} == {"golf ball/00.jpg"}


def test_no_input_is_overwritten(tmp_path: Path, evaluate: Run) -> None:
    """A table called like one of ours, and a photo called like our figure."""
    folder = photos(tmp_path / "in", 1)
    (folder / "rows.csv").write_text("file\n00.jpg\n", encoding="utf-8")
    code, _, complaint = evaluate(folder / "rows.csv", *QUICK, "--out", folder)
    assert code == 2 and "rows.csv would be overwritten: name another --out." in complaint
    (folder / "00.jpg").rename(folder / "figure.png")
    code, _, complaint = evaluate(folder, *QUICK, "--out", folder)
    assert code == 2 and "figure.png would be overwritten" in complaint
    assert {path.name for path in folder.iterdir()} == {"rows.csv", "figure.png"}


def test_rows_are_of_the_device_that_auto_stands_for(
    tmp_path: Path, evaluate: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a run that was begun on it by its own name goes on."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    photos(tmp_path / "in", 1)
    for device in ("cpu", "auto"):
        assert evaluate(tmp_path / "in", *QUICK, "--device", device, "--out", tmp_path / "out")[0] == 0
        record = json.loads((tmp_path / "out" / "settings.json").read_text())
        assert record["settings"]["device"] == record["device"] == "cpu"
    assert len(read_rows(tmp_path / "out")) == 5
    code, _, complaint = evaluate(tmp_path / "in", *QUICK, "--device", "cuda:1", "--out", tmp_path / "out")
    assert code == 2 and "There is no device cuda:1" in complaint


def test_processes_that_torchrun_has_not_started_are_refused(
    tmp_path: Path, evaluate: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "in", 1)
    for size in ("2", "x", ""):
        monkeypatch.setenv("WORLD_SIZE", size)
        code, said, complaint = evaluate(tmp_path / "in", *QUICK, "--out", tmp_path / "out")
        assert (code, said) == (2, "") and "torchrun has not started this" in complaint and complaint.count("\n") == 1


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
    code, said, complaint = evaluate(*arguments, "--out", "out")
    assert (code, said) == (2, "") and words in complaint and not (tmp_path / "out" / "rows.csv").exists()
    assert complaint.startswith("usage: ") or complaint.count("\n") == 1  # argparse says before how it is called


def test_what_cannot_be_done_is_said_before_torch_is_loaded(tmp_path: Path) -> None:
    folder, empty = photos(tmp_path / "in", 1), tmp_path / "empty"
    empty.mkdir()
    for asked in (["nowhere"], [str(empty)], [str(folder), "--metrics", "pointing"], [str(folder), "--steps", "x"]):
        program = f"import sys; from iscam.__main__ import main\ntry: code = main({['evaluate', *asked]})\n"
        program += "except SystemExit as leave: code = leave.code\nsys.exit(9 if 'torch' in sys.modules else code)"
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=tmp_path, env=WITH_ISCAM)
        assert run.returncode == 2, asked


def test_rows_of_other_settings_are_not_mixed(tmp_path: Path, evaluate: Run) -> None:
    """Refused, with the setting named and nothing changed; another limit is no other setting, and controls may be named."""
    folder, out = photos(tmp_path / "in", 3), tmp_path / "out"
    assert evaluate(folder, *QUICK, "--limit", 1, "--out", out)[0] == 0
    assert len(read_rows(out)) == 1 + len(CONTROLS)
    assert evaluate(folder, *QUICK, "--out", out)[0] == 0
    whole = contents(out)
    assert evaluate(folder, *QUICK[2:], "--methods", "random,grad-cam", "--out", out)[0] == 0
    assert contents(out) == whole
    for option, value, words in (
        ("--seed", "1", "(seed: 0, now 1)"),
        ("--steps", "10,20", "(steps: [10], now [10, 20])"),
        ("--layer", "layer2", "(layer: layer3, now layer2)"),
        ("--curve-steps", "5", "(curve_steps: 4, now 5)"),
    ):
        code, _, complaint = evaluate(folder, *QUICK, option, value, "--out", out)
        assert code == 2 and f"holds rows of another evaluation {words}: name another" in complaint
        assert complaint.count("\n") == 1 and contents(out) == whole
    for text in ("[]", '{"settings": []}', '{"settings": 3}'):
        (out / "settings.json").write_text(text)
        code, _, complaint = evaluate(folder, *QUICK, "--out", out)
        assert code == 2 and "another --out" in complaint and complaint.count("\n") == 1


def test_rows_of_other_inputs_or_classes_are_not_mixed(tmp_path: Path, evaluate: Run) -> None:
    """The same weights, but what is shown to them, or what their classes are called, is another thing."""
    folder, out = photos(tmp_path / "in", 1), tmp_path / "out"
    own = (*QUICK, "--arch", "photo11", "--checkpoint", BUNDLED_WEIGHTS, "--out", out)
    assert evaluate(folder, *own)[0] == 0
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"kind {i}" for i in range(11)), encoding="utf-8")
    for option, value, words in (
        ("--input-size", "96", "preprocessing: "),
        ("--std", "1,1,1", "preprocessing: "),
        ("--labels", labels, "categories_sha256: "),
    ):
        code, _, complaint = evaluate(folder, *own, option, value)
        assert code == 2 and f"rows of another evaluation ({words}" in complaint


def contents(out: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in out.rglob("*") if file.is_file()}


def test_the_same_again_runs_nothing(tmp_path: Path, evaluate: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """No photo is looked at, and every file is as it was."""
    folder, out = photos(tmp_path / "in", 2), tmp_path / "out"
    assert evaluate(folder, *QUICK, "--out", out)[0] == 0
    whole = contents(out)
    monkeypatch.setattr("iscam.evaluation.run.Explainer.analyse", None)
    assert evaluate(folder, *QUICK, "--out", out)[0] == 0
    assert contents(out) == whole


def test_rows_of_another_photo_of_the_same_name_are_not_taken(tmp_path: Path, evaluate: Run) -> None:
    """Nor those of another label or box; what has not changed is not done again."""
    folder, out = photos(tmp_path / "in", 4), tmp_path / "out"
    table, asked = folder / "t.csv", ("--methods", "cam", "--target", "label", "--metrics", "energy", "--out", out)
    heads = "file,class,left,top,right,bottom\n"
    table.write_text(heads + "".join(f"0{i}.jpg,0,0,0,100,100\n" for i in range(4)))
    assert evaluate(table, *asked)[0] == 0
    assert lines(out) == 4
    shutil.copy(folder / "03.jpg", folder / "00.jpg")
    table.write_text(table.read_text().replace("01.jpg,0", "01.jpg,7").replace("02.jpg,0,0,0,100", "02.jpg,0,0,0,50"))
    assert evaluate(table, *asked)[0] == 0
    assert lines(out) == 7
    copied, labelled, boxed, same = (row for row in read_rows(out) if row["method"] == "gaussian")
    assert {**copied, "file": "03.jpg"} == same
    assert labelled["class_index"] == "7" and float(boxed["box_area"]) < float(same["box_area"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full, as Linux has")
def test_a_full_disk_ends_an_evaluation_which_then_goes_on(tmp_path: Path, evaluate: Run) -> None:
    folder, out = photos(tmp_path / "in", 2), tmp_path / "out"
    (out / "parts").mkdir(parents=True)
    (out / "parts" / "0.jsonl").symlink_to("/dev/full")
    code, _, complaints = evaluate(folder, *QUICK, "--out", out)
    assert code == 2 and "0.jsonl cannot be written (No space left on device)" in complaints.splitlines()[-1]
    (out / "parts" / "0.jsonl").unlink()
    assert evaluate(folder, *QUICK, "--out", out)[0] == 0 and lines(out) == 2


def test_a_torn_line_is_done_again(tmp_path: Path, evaluate: Run) -> None:
    folder, out = photos(tmp_path / "in", 3), tmp_path / "out"
    evaluate(folder, *QUICK, "--out", out)
    whole, part = shutil.copytree(out, tmp_path / "whole"), out / "parts" / "0.jsonl"
    part.write_bytes(part.read_bytes()[:-40])
    assert evaluate(folder, *QUICK, "--out", out)[0] == 0
    assert_same_rows(out, whole)
    assert lines(out) == lines(whole) + 1  # the torn line is still there, and now ended


def test_two_runs_on_one_folder_tear_no_line(tmp_path: Path) -> None:
    """They do the work twice, but each reads all that both have found, a photo once."""
    conditions = Conditions(
        Network("photo11", None, "", "", "cpu", "layer3"),
        Maps(("cam",), "predicted", (10,), ("cumulative",), ("probability",), "fast", 0.01, 8, 0),
        Measures(("average-drop",), 28, 1, False, False),
    )
    items = [Item(f"{number}.jpg", tmp_path / f"{number}.jpg") for number in range(40)]

    def run(name: str) -> None:
        store = Store(tmp_path)
        store.claim(conditions)
        for item in items:
            store.add(0, {"file": item.name, "photo": state(item), "rows": [{"by": name * 2000}]})

    with ThreadPoolExecutor() as pool:
        list(pool.map(run, "abcd"))
    assert len(list(Store(tmp_path).lines())) == 4 * len(items)  # empty ones may stand between them
    rows = Store(tmp_path).rows(items)
    assert list(rows) == [item.name for item in items] and all(len(row) == 1 for row in rows.values())


# Processes


ASKED = (
    *("--methods", "is-cam,grad-cam", "--steps", "3", "--metrics", "average-drop,increase,deletion"),
    *("--curve-steps", "3", "--threads", "1", *SMALL),
)
PHOTOS = 12


def command(processes: int, folder: Path, out: Path) -> list[str]:
    """Of one process or of several; standalone, because the port that torchrun uses else may be taken."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
    program = (sys.executable, *(launcher if processes > 1 else ()), "-m", "iscam")
    return [*program, "evaluate", str(folder), *ASKED, "--out", str(out)]


def finish(processes: int, folder: Path, out: Path) -> None:
    run = subprocess.run(command(processes, folder, out), cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr


@contextmanager
def started(processes: int, folder: Path, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run that has done three photos and has more to do; nothing of it is left behind."""
    quiet = subprocess.DEVNULL
    run = subprocess.Popen(command(processes, folder, out), cwd=ROOT, stdout=quiet, stderr=quiet)
    try:
        deadline = time.monotonic() + 200
        while lines(out) < 3:
            assert run.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        yield run
    finally:
        if run.poll() is None:
            kill(run.pid, *workers_of(run.pid))
            run.wait()


def lines(out: Path) -> int:
    return sum(part.read_bytes().count(b"\n") for part in out.glob("parts/*.jsonl"))


def workers_of(launcher: int) -> list[int]:
    """The processes that evaluate for a launcher."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(launcher)], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def kill(*processes: int) -> None:
    """All at once, so that none can heed what befalls another; until none of them runs."""
    for signal_number in (signal.SIGSTOP, signal.SIGKILL):
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal_number)
    listed = ["ps", "-o", "stat=", "-p", ",".join(map(str, processes))]
    while any(state[0] != "Z" for state in subprocess.run(listed, capture_output=True, text=True).stdout.split()):
        time.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Photos, and what one process finds of them."""
    folder = photos(tmp_path_factory.mktemp("photos"), PHOTOS)
    out = tmp_path_factory.mktemp("undisturbed")
    assert main(["evaluate", str(folder), *ASKED, "--out", str(out)]) == 0
    return folder, out


def assert_taken_up(out: Path, done: dict[str, bytes], alone: Path) -> None:
    """What was done before stands, the rest follows it, and the rows are those of a run that was let alone."""
    assert lines(out) == PHOTOS
    assert all(contents(out / "parts")[name].startswith(text) for name, text in done.items())
    assert_same_rows(alone, out)


def test_a_killed_run_can_be_taken_up_by_more_processes(tmp_path: Path, undisturbed: tuple[Path, Path]) -> None:
    """Each does half of what is left; the rows are those of one process that was let alone, none lost and none done twice."""
    folder, alone = undisturbed
    with started(1, folder, tmp_path) as run:
        kill(run.pid)
    done = contents(tmp_path / "parts")
    left = PHOTOS - lines(tmp_path)
    assert 0 < left <= PHOTOS - 3 and not (tmp_path / "rows.csv").exists()
    finish(2, folder, tmp_path)
    assert (tmp_path / "parts" / "1.jsonl").read_bytes().count(b"\n") == left // 2
    assert_taken_up(tmp_path, done, alone)


def test_a_killed_worker_ends_the_run_and_costs_no_photo_that_was_done(
    tmp_path: Path, evaluate: Run, undisturbed: tuple[Path, Path]
) -> None:
    """And one process can take it up."""
    folder, alone = undisturbed
    with started(2, folder, tmp_path) as run:
        os.kill(workers_of(run.pid)[-1], signal.SIGKILL)
        assert run.wait(120) != 0
    done = contents(tmp_path / "parts")
    assert 3 <= lines(tmp_path) < PHOTOS and not (tmp_path / "rows.csv").exists()
    assert evaluate(folder, *ASKED, "--out", tmp_path)[0] == 0
    assert_taken_up(tmp_path, done, alone)


def test_what_several_processes_refuse_is_said_in_a_sentence(undisturbed: tuple[Path, Path]) -> None:
    """By each of them, and without a traceback of theirs."""
    folder, alone = undisturbed
    run = subprocess.run(
        [*command(2, folder, alone), "--seed", "1"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert run.returncode != 0 and run.stderr.count("holds rows of another evaluation (seed: 0, now 1)") == 2
    assert "DistBackendError" not in run.stderr and "Connection closed" not in run.stderr


def test_contrastive_maps_are_rows_of_their_own(tmp_path: Path, evaluate: Run) -> None:
    """Beside the plain ones; a method of no class has but one row. Specificity is measured where there is any."""
    folder, out = photos(tmp_path / "in", 2), tmp_path / "out"
    asked = ("--methods", "cam,eigen-cam", "--metrics", "average-drop,specificity", "--rivals", "none,nearest:2,all")
    assert evaluate(folder, *asked, "--strength", "0.5", "--out", out)[0] == 0
    rows = read_rows(out)
    names = ["cam", "cam rivals=nearest:2 strength=0.5", "cam rivals=all strength=0.5", "eigen-cam"]
    assert [row["method"] for row in rows if row["file"] == rows[0]["file"]] == [*names, *CONTROLS]
    plain, held = (float(rows[place]["specificity"]) for place in (0, 2))
    assert 0 < plain < held < 2
    assert rows[3]["specificity"] == "" and rows[-1]["specificity"] == ""
    for wrong, said in ((("--rivals", "zebra"), "zebra"), (("--strength", "0.5"), "--rivals")):
        code, _, complaints = evaluate(folder, *asked[:4], *wrong, "--out", tmp_path / "other")
        assert code == 2 and said in complaints and len(complaints.splitlines()) == 1
    explainer = iscam.Explainer(iscam.load_model("photo11"))
    analysis = explainer.analyse(folder / rows[0]["file"])
    wanted = explainer.explain(analysis, "cam", rivals="all", strength=0.5).specificity
    assert held == pytest.approx(wanted, abs=1e-5)


def test_maps_are_tried_on_grids_of_photos(tmp_path: Path, evaluate: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of a grid's four classes is asked for; photos that are not sure, or of a class that is there, stand in none."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("chelsea", "coffee", "rocket", "astronaut"):
        shutil.copy(EXAMPLES / f"{name}.jpg", folder)
    shutil.copy(EXAMPLES / "chelsea.jpg", folder / "again.jpg")
    asked = ("--grid", folder, "--methods", "grad-cam", "--rivals", "none,nearest:5", "--out", out)
    code, _, complaints = evaluate(*asked)
    assert code == 2 and "no grid can be made" in complaints  # of the astronaut the network is not sure
    monkeypatch.setattr("iscam.trust.grid.SURE", 0.4)
    (folder / "broken.jpg").write_bytes(b"no photo")
    code, _, complaints = evaluate(*asked)
    assert code == 0 and "broken.jpg: " in complaints  # left out of all grids, and named
    rows = read_rows(out)
    kinds = ["grad-cam", "grad-cam rivals=nearest:5", *CONTROLS]
    assert [row["method"] for row in rows] == 4 * kinds
    assert len({row["class_index"] for row in rows}) == 4 and len({row["file"] for row in rows}) == 1
    assert sum(name in rows[0]["file"] for name in ("chelsea", "again")) == 1
    shares = [float(row["grid-pointing"]) for row in rows if row["method"] == "lafam"]
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    table = (out / "summary.md").read_text(encoding="utf-8")
    assert "1 grids" in table and "| lafam (control) | 25.0 [25.0, 25.0] |" in table
    whole = contents(out)
    assert evaluate(*asked)[0] == 0 and contents(out) == whole  # known, so nothing is measured again
    for wrong in (
        ("--metrics", "grid-pointing", folder),
        ("--grid", folder, folder),
        (),
        ("--grid", folder, "--target", "label"),
    ):
        assert evaluate(*wrong, "--out", tmp_path / "other")[0] == 2


def test_no_photo_stands_in_two_grids_and_no_class_twice_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four photos, each twice: two grids; what one lacks is taken for the next; a smaller set begins with the same ones."""
    monkeypatch.setattr("iscam.trust.grid.SURE", 0.4)
    explainer = iscam.Explainer(iscam.load_model("photo11"))
    names = ("chelsea", "coffee", "rocket", "astronaut")
    items = [Item(f"{name} {turn}", EXAMPLES / f"{name}.jpg") for name in names for turn in (1, 2)]
    found, problems = compose(explainer, items, "layer3", None)
    assert [[part.name for part in grid.parts] for grid in found] == [
        [f"{name} {turn}" for name in names] for turn in (1, 2)
    ]
    assert compose(explainer, items, "layer3", 1) == (found[:1], {}) and problems == {}


def test_the_defaults_are_those_of_the_page() -> None:
    """Default methods and the metrics that need no more than passes."""
    from iscam.trust.metrics import DEFAULT_METRICS

    assert DEFAULT_METHODS == ("is-cam", "score-cam", "grad-cam", "grad-cam++")
    assert DEFAULT_METRICS == ("average-drop", "increase", "average-gain", "insertion", "deletion")
    assert all(METRICS[key].needs in ("masked", "curve") for key in DEFAULT_METRICS)
