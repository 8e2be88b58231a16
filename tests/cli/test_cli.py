"""The command line: the files it leaves, its exit codes and sentences, and that a wrong argument loads no torch."""

from __future__ import annotations

import errno
import functools
import hashlib
import inspect
import json
import math
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from PIL.ExifTags import Base as ExifTag
from tqdm import tqdm

import iscam
from iscam import MODELS, Analysis, Explainer, Explanation, cli
from iscam.__main__ import main
from iscam.drawing import Request
from iscam.methods import DEFAULT_METHODS, METHODS
from iscam.models.bundled.network import CATEGORIES
from iscam.models.photo11 import BUNDLED_WEIGHTS
from iscam.show import export
from tests.cases import SMALL
from tests.conftest import ROOT
from tests.models.test_stored import make, store

Line = Callable[..., tuple[int, str, str]]
SUFFIXES = (".iscam.json", ".iscam.npz", ".iscam.png")
OWN = ("--arch", "photo11", "--checkpoint", BUNDLED_WEIGHTS)


@pytest.fixture
def explain(capsys: pytest.CaptureFixture[str]) -> Line:
    """`explain(photo, "--out", folder, ...)` -> exit code, stdout, stderr; by CAM, the cheapest, and of the smallest model,
    unless told otherwise."""

    def run(*arguments: object) -> tuple[int, str, str]:
        methods = () if "--methods" in arguments else ("--methods", "cam")
        model = () if {"--model", "--arch", "--checkpoint"} & set(map(str, arguments)) else ("--model", "photo11")
        try:
            code: object = main(["explain", *model, *methods, *(str(argument) for argument in arguments)])
        except SystemExit as leave:
            code = leave.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dot for the figure, which takes longer than all the rest, in tests that are not about it."""
    monkeypatch.setattr(export, "comparison_figure", lambda *_: Image.new("RGB", (1, 1)))


def picture(file: Path, size: tuple[int, int] = (200, 160), orientation: int | None = None) -> Path:
    """A file with a waved picture, so that no map of it is blank; stored as it is, shown as `orientation` says."""
    file.parent.mkdir(parents=True, exist_ok=True)
    across, down = np.meshgrid(np.linspace(0, 9, size[0]), np.linspace(0, 7, size[1]))
    waves = np.stack([np.sin(across * down), np.sin(down), np.cos(across)], -1)
    exif = Image.Exif()
    if orientation is not None:
        exif[ExifTag.Orientation] = orientation
        exif[ExifTag.Artist] = "nobody else's business"
    kind = {".png": "PNG"}.get(file.suffix, "JPEG")
    Image.fromarray((127 * waves + 128).astype(np.uint8)).save(file, kind, exif=exif)
    return file


def record_of(folder: Path, stem: str) -> dict[str, Any]:
    """The JSON record, in which NaN and infinities, that no other program could read, are not allowed."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    read: dict[str, Any] = json.loads((folder / f"{stem}.iscam.json").read_text("utf-8"), parse_constant=refuse)
    return read


def maps_of(folder: Path, stem: str) -> dict[str, np.ndarray[Any, Any]]:
    with np.load(folder / f"{stem}.iscam.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir()) if folder.exists() else []


def files_of(*stems: str) -> list[str]:
    return sorted(stem + suffix for stem in stems for suffix in SUFFIXES)


def is_one_sentence(text: str) -> bool:
    """A line for people: neither Python's nor the system's own words."""
    return (
        text.count("\n") == 1 and text.endswith(".\n") and not any(w in text for w in ("Traceback", "Errno", "Error"))
    )


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def is_prediction(value: object) -> bool:
    return (
        isinstance(value, dict)
        and list(value) == ["index", "category", "probability"]
        and type(value["index"]) is int
        and CATEGORIES[value["index"]] == value["category"]
        and type(value["probability"]) is float
        and 0 <= value["probability"] <= 1
    )


def test_a_photo_leaves_the_three_files_of_the_contract(tmp_path: Path, explain: Line) -> None:
    """Names, keys, types, ranges and meanings, of a photo that its EXIF turns by 90 degrees."""
    photo = picture(tmp_path / "on its side.jpg", (300, 200), orientation=6)
    out = tmp_path / "new" / "folders"
    methods = ("is-cam", "grad-cam", "eigen-cam")
    code, said, complaints = explain(photo, "--methods", ",".join(methods), "--steps", 1, "--out", out)
    assert (code, complaints) == (0, "")
    assert photo.name in said
    assert "on its side.iscam.png" in said
    assert names(out) == files_of("on its side")

    maps = maps_of(out, photo.stem)
    rivals = [f"{method}.rival" for method in methods if METHODS[method].class_specific]
    assert sorted(maps) == sorted([*methods, *(f"{method}.raw" for method in methods), *rivals, "mean"])
    for method in methods:
        heatmap, raw = maps[method], maps[f"{method}.raw"]
        assert (heatmap.shape, raw.shape) == ((128, 128), (8, 8))
        assert (heatmap.dtype, raw.dtype) == (np.float32, np.float32)
        assert (heatmap.min(), heatmap.max()) == (0, 1)

    with Image.open(out / "on its side.iscam.png") as figure:
        figure.load()
        assert figure.format == "PNG"
        assert min(figure.size) > 200
        assert not figure.getexif()
        assert not figure.info

    record = record_of(out, photo.stem)
    assert list(record) == [
        *(
            "schema",
            "photo",
            "photo_size",
            "crop",
            "preparation",
            "model",
            "head",
            "weights_sha256",
            "layer",
            "engine",
            "settings",
            "target",
        ),
        *("predictions", "methods", "versions"),
    ]
    assert record["schema"] == 1
    assert record["photo"] == "on its side.jpg"
    assert record["photo_size"] == [200, 300]
    left, top, right, bottom = record["crop"]
    assert all(type(edge) is int for edge in record["crop"])
    assert 0 <= left < right <= 200
    assert 0 <= top < bottom <= 300
    assert right - left == bottom - top == pytest.approx(200 * 128 / 144, abs=1)  # of the short side, as the crop's is
    assert (left + right, top + bottom) == pytest.approx((200, 300), abs=2)  # central
    words = (
        "resized to 144 on the short side (bilinear), centre 128 x 128, mean 0.485 0.456 0.406, std 0.229 0.224 0.225"
    )
    assert said.startswith(f"photo11 sees photos {words}\n")
    assert record["preparation"] == {
        **{"resize": 144, "input_size": 128, "interpolation": "bilinear", "fit": "center"},
        **{"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "grey": False, "words": words},
    }
    assert record["model"] == "photo11"
    assert record["weights_sha256"] == hashlib.sha256(BUNDLED_WEIGHTS.read_bytes()).hexdigest()
    assert record["layer"] == "layer3"
    assert record["engine"] == "fast"
    assert record["settings"] == {
        **{"steps": 1, "path": "cumulative", "weighting": "probability", "seed": 0, "samples": 8, "tolerance": 0.01}
    }
    assert is_prediction(record["target"])
    assert len(record["predictions"]) == 5
    assert all(is_prediction(prediction) for prediction in record["predictions"])
    assert record["target"] == record["predictions"][0]
    probabilities = [prediction["probability"] for prediction in record["predictions"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert list(record["methods"]) == list(methods)
    for method, row in record["methods"].items():
        assert list(row)[:5] == ["seconds", "forward_passes", "estimated_error", "complete", "note"]
        assert list(row)[5:] == ["specificity", "likeness", "rival"]
        assert row["likeness"] == pytest.approx(correlation(maps[method], maps["mean"]), abs=1e-6)
        if METHODS[method].class_specific:
            assert row["specificity"] == pytest.approx(1 - correlation(maps[method], maps[f"{method}.rival"]), abs=1e-6)
            assert is_prediction(row["rival"]) and row["rival"] == record["predictions"][1]
        else:
            assert row["specificity"] is row["rival"] is None
        assert type(row["seconds"]) is float
        assert row["seconds"] >= 0
        assert type(row["forward_passes"]) is int
        assert row["forward_passes"] in {"is-cam": range(1, 225), "grad-cam": (1,), "eigen-cam": (0,)}[method]
        assert (0 < row["estimated_error"] < 0.01) if method == "is-cam" else (row["estimated_error"] == 0.0)
        assert row["complete"] is True
        assert isinstance(row["note"], str)
    wanted = {name: version(name) for name in ("torch", "torchvision", "numpy", "pillow", "matplotlib")}
    assert record["versions"] == {"iscam": iscam.__version__, "python": platform.python_version(), **wanted}


@pytest.mark.usefixtures("no_figure")
def test_every_setting_reaches_the_method_and_the_record(
    tmp_path: Path, explain: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = picture(tmp_path / "a.png")
    asked: list[tuple[Explainer, Request]] = []
    real = Explainer.answer

    def spy(self: Explainer, analysis: Analysis, request: Request, *others: Any, **named: Any) -> Explanation:
        asked.append((self, request))
        return real(self, analysis, request, *others, **named)

    monkeypatch.setattr(Explainer, "answer", spy)
    settings = {"steps": 3, "path": "linear", "weighting": "logit", "samples": 2, "seed": 5}
    options = [word for key, value in settings.items() for word in (f"--{key}", value)]
    chosen = ("--methods", "smooth-grad-cam++", "--tolerance", "0.25", "--layer", "layer2", "--target", "dog")
    assert explain(photo, *options, *chosen, "--out", tmp_path / "out")[0] == 0

    asking, request = asked[0]
    assert request.settings.record() == settings
    assert asking.tolerance == 0.25
    record = record_of(tmp_path / "out", "a")
    assert record["settings"] == {**settings, "tolerance": 0.25}
    assert record["layer"] == "layer2"
    assert record["target"]["category"] == "dog"
    explainer = iscam.Explainer(iscam.load_model("photo11"), tolerance=0.25)
    wanted = explainer.explain(explainer.analyse(photo, "layer2"), "smooth-grad-cam++", "dog", samples=2, seed=5)
    maps = maps_of(tmp_path / "out", "a")
    np.testing.assert_allclose(maps["smooth-grad-cam++"], wanted.heatmap, atol=1e-4)
    assert maps["smooth-grad-cam++.raw"].shape == (16, 16)


@pytest.mark.usefixtures("no_figure")
def test_without_options_four_methods_and_the_folder_iscam_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The defaults of the contract, without their 2000 passes."""
    real = Explainer.answer

    def cheap(self: Explainer, analysis: Analysis, request: Request, progress: Any) -> Explanation:
        asked.append(request.method.key)
        return real(self, analysis, self.request(analysis, "cam"), progress)

    asked: list[str] = []
    monkeypatch.setattr(Explainer, "answer", cheap)
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "a.jpg")
    assert main(["explain", "a.jpg"]) == 0
    assert tuple(asked) == DEFAULT_METHODS == ("is-cam", "score-cam", "grad-cam", "grad-cam++")
    assert names(tmp_path / "iscam-out") == files_of("a")
    assert record_of(tmp_path / "iscam-out", "a")["settings"]["steps"] == 10
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("no_figure")
def test_equal_stems_are_numbered_and_all_results_kept(tmp_path: Path, explain: Line) -> None:
    photos = [picture(tmp_path / where) for where in ("1/a.jpg", "2/a.png", "3/a-2.jpg", "4/a.jpg", "5/b.jpg")]
    out = tmp_path / "out"
    assert explain(*photos, photos[0], "--out", out)[0] == 0
    assert names(out) == files_of("a", "a-2", "a-2-2", "a-3", "b", "a-4")
    assert record_of(out, "a-2")["photo"] == "a.png"
    assert record_of(out, "a-2-2")["photo"] == "a-2.jpg"
    assert explain(photos[0], "--out", out)[0] == 0  # another run replaces what an earlier one left
    assert len(names(out)) == 18


@pytest.mark.usefixtures("no_figure")
def test_a_pattern_in_quotes_is_the_files_that_match_it(
    tmp_path: Path, explain: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the shell has not put them in its place; a file of that very name comes first."""
    for name in ("b.jpg", "a.jpg", "c.png", "d[1].jpg", "d1.jpg"):
        picture(tmp_path / name)
    (tmp_path / "folder.jpg").mkdir()
    monkeypatch.chdir(tmp_path)
    code, _, complaints = explain("[ab].jpg", "d[1].jpg", "--out", "out")
    assert (code, complaints) == (0, "")
    assert names(tmp_path / "out") == files_of("a", "b", "d[1]")
    code, _, complaints = explain("*.gif", "c.*", "--out", "more")
    assert code == 2 and is_one_sentence(complaints)
    assert complaints == "*.gif: no file matches this pattern.\n" and names(tmp_path / "more") == files_of("c")
    assert explain("f*", "--out", "none")[0] == 2


@pytest.mark.usefixtures("no_figure")
@pytest.mark.parametrize(
    ("program", "called"), [("bin/iscam", "iscam"), ("iscam.exe", "iscam"), ("iscam/__main__.py", "python -m iscam")]
)
def test_the_program_goes_by_the_name_by_which_it_was_called(
    program: str, called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [program])
    assert cli.make_parser().format_usage().startswith(f"usage: {called} [-h]")


def test_what_must_be_known_of_a_map_is_said_below_its_photo(tmp_path: Path, explain: Line) -> None:
    """As its record has it; nothing of a map of which there is nothing to say."""
    _, said, _ = explain(ROOT / "assets/examples/chelsea.jpg", "--methods", "score-cam,grad-cam", "--out", tmp_path)
    methods = json.loads((tmp_path / "chelsea.iscam.json").read_text())["methods"]
    assert methods["score-cam"]["note"] and not methods["grad-cam"]["note"]
    assert said.splitlines()[-1] == f"  Score-CAM: {methods['score-cam']['note']}" and "  Grad-CAM" not in said


def test_what_was_guessed_of_a_photo_is_said_and_recorded(tmp_path: Path, explain: Line) -> None:
    dim = np.linspace(0, 3000, 160 * 120).reshape(120, 160).astype(np.uint16)
    Image.fromarray(dim).save(tmp_path / "dim.png")
    code, _, complaints = explain(tmp_path / "dim.png", "--out", tmp_path)
    assert code == 0 and is_one_sentence(complaints)
    assert "dim.png: The photo's values, none of which is above 3000, were taken for 12-bit ones." in complaints
    assert "12-bit" in record_of(tmp_path, "dim")["methods"]["cam"]["note"]


@pytest.mark.usefixtures("no_figure")
def test_an_input_is_never_overwritten(tmp_path: Path, explain: Line) -> None:
    """Not a photo that has the name of a result, not one behind a link, not the labels."""
    beside = picture(tmp_path / "x.iscam.png")
    photos = [picture(tmp_path / "x.jpg"), beside, picture(tmp_path / "y.jpg"), picture(tmp_path / "else" / "y2.jpg")]
    (tmp_path / "y.iscam.npz").symlink_to(photos[3])
    labels = tmp_path / "z.iscam.json"
    labels.write_text("\n".join(CATEGORIES))
    photos.append(picture(tmp_path / "z.jpg"))
    before = {file: file.read_bytes() for file in (*photos, labels)}
    assert explain(*photos, *OWN, "--labels", labels, "--out", tmp_path)[0] == 0
    assert {file: file.read_bytes() for file in before} == before
    assert (tmp_path / "y.iscam.npz").is_symlink()
    stems = ("x-2", "x.iscam", "y-2", "y2", "z-2")
    assert set(files_of(*stems)) < set(names(tmp_path))
    assert record_of(tmp_path, "x-2")["photo"] == "x.jpg"


@pytest.mark.usefixtures("no_figure")
def test_folders_and_circular_links_in_the_way_of_results_are_no_trouble(tmp_path: Path, explain: Line) -> None:
    photos = [picture(tmp_path / "a.jpg"), picture(tmp_path / "b.jpg")]
    (tmp_path / "out" / "a.iscam.npz").mkdir(parents=True)
    (tmp_path / "out" / "b.iscam.png").symlink_to("b.iscam.png")
    code, _, complaints = explain(*photos, "--out", tmp_path / "out")
    assert (code, complaints) == (0, "")
    assert names(tmp_path / "out") == sorted([*files_of("a-2", "b"), "a.iscam.npz"])


@pytest.mark.usefixtures("no_figure")
@pytest.mark.parametrize("failing", [0, 1, 2])
@pytest.mark.parametrize("step", ["write", "replace"])
@pytest.mark.parametrize("problem", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_files_appear_whole_or_not_at_all(
    tmp_path: Path,
    explain: Line,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    failing: int,
    problem: BaseException,
) -> None:
    """Whichever of the three cannot be written or put in place: none of that photo, all of the one before."""
    photos = [picture(tmp_path / "a.jpg"), picture(tmp_path / "b.jpg")]
    calls: list[object] = []
    write, replace = Path.write_bytes, os.replace

    def fails() -> bool:
        calls.append(step)
        return len(calls) == 3 + failing + 1

    def write_half(self: Path, data: bytes) -> int:
        if fails():
            write(self, data[: len(data) // 2])
            raise problem
        return write(self, data)

    def replace_or_fail(source: Path, target: Path) -> None:
        if fails():
            raise problem
        replace(source, target)

    if step == "write":
        monkeypatch.setattr(Path, "write_bytes", write_half)
    else:
        monkeypatch.setattr(os, "replace", replace_or_fail)
    code, _, complaints = explain(*photos, "--out", tmp_path / "out")
    assert names(tmp_path / "out") == files_of("a")
    record_of(tmp_path / "out", "a")
    maps_of(tmp_path / "out", "a")
    if isinstance(problem, KeyboardInterrupt):
        assert (code, complaints) == (130, "Stopped.\n")
    else:
        assert code == 2
        assert is_one_sentence(complaints)
        assert "b.iscam.png" in complaints
        assert "No space left on device" in complaints


@pytest.mark.usefixtures("no_figure")
def test_a_bad_photo_is_named_and_the_others_are_done(tmp_path: Path, explain: Line) -> None:
    good = [picture(tmp_path / "first.jpg"), picture(tmp_path / "last.png")]
    damaged, empty, folder = tmp_path / "cut off.jpg", tmp_path / "empty.png", tmp_path / "folder"
    damaged.write_bytes(good[0].read_bytes()[:200])
    empty.touch()
    folder.mkdir()
    overlong, missing = tmp_path / ("y" * 300 + ".jpg"), tmp_path / "missing.jpg"
    bad = [damaged, empty, folder, overlong, missing]
    code, said, complaints = explain(good[0], *bad, good[1], "--out", tmp_path / "out")
    assert code == 2
    assert names(tmp_path / "out") == files_of("first", "last")
    assert [line.split(":")[0] for line in said.splitlines()[1:]] == ["first.jpg", "last.png"]
    told = complaints.splitlines(keepends=True)
    assert len(told) == len(bad)
    assert all(is_one_sentence(line) for line in told)
    for file in bad:
        assert sum(line.startswith(f"{file}: ") for line in told) == 1
    assert f"{folder}: there are no photos in this folder.\n" in told
    for file in bad:
        assert explain(good[0], file, "--out", tmp_path / "out")[0] == 2


@pytest.mark.parametrize("target", ["a file", "a file/below", "no permission"])
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, explain: Line, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    photo = picture(tmp_path / "a.jpg")
    (tmp_path / "a file").write_text("dear diary")
    (tmp_path / "no permission").mkdir()

    def forbidden(dir: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", dir)

    monkeypatch.setattr("tempfile.TemporaryFile", forbidden)  # whoever may do anything could not be stopped by a mode
    monkeypatch.setattr("iscam.cli.network.load_model", lambda *_, **__: pytest.fail("that was work"))
    code, said, complaints = explain(photo, "--out", tmp_path / target)
    assert (code, said) == (2, "")
    assert is_one_sentence(complaints)
    assert str(tmp_path / target) in complaints
    assert (tmp_path / "a file").read_text() == "dear diary"
    assert names(tmp_path) == ["a file", "a.jpg", "no permission"]


WRONG: dict[str, tuple[list[str], Iterable[str]]] = {
    "unknown method": (["--methods", "cam,gradcam"], ["gradcam", *METHODS]),
    "no method": (["--methods", " , "], ["at least one method"]),
    "unknown model": (["--model", "resnet19"], MODELS),
    "a name with a space": (["--model", "timm/a b"], ["timm/NAME"]),
    "a repository without its owner": (["--model", "hf:resnet-50"], ["hf:ORG/NAME"]),
    "a name that leads elsewhere": (["--model", "hf-hub:a/.."], ["hf-hub:ORG/NAME"]),
    "labels of a name": (["--model", "timm/resnet18", "--labels", "x.txt"], ["--labels", "--arch", "--checkpoint"]),
    "a name and a checkpoint": (["--model", "hf:a/b", "--arch", "resnet18"], ["--model", "--arch", "--checkpoint"]),
    "unknown path": (["--path", "round"], ["cumulative", "linear"]),
    "unknown weighting": (["--weighting", "loud"], ["probability", "logit"]),
    "unknown engine": (["--engine", "steam"], ["exact"]),
    **{f"device {d}": (["--device", d], ["cpu", "cuda:0", "mps", "auto"]) for d in ("tpu", "cuda:x", "")},
    **{f"{steps} steps": (["--steps", steps], ["1 to 100"]) for steps in ("0", "101", "abc", "2.5", "-3", "")},
    **{f"{samples} samples": (["--samples", samples], ["1 to 100"]) for samples in ("0", "101", "many")},
    **{f"seed {seed}": (["--seed", seed], ["0 to 4294967295"]) for seed in ("-1", "4294967296", "x")},
    **{f"tolerance {t}": (["--tolerance", t], ["between 0 and 1"]) for t in ("0", "1", "-0.1", "nan", "little")},
    **{f"input size {s}": (["--input-size", s], ["16 to 1024"]) for s in ("15", "1025", "big")},
    **{f"mean {mean}": (["--mean", mean], ["three numbers"]) for mean in ("0.5", "1,2,3,4", "a,b,c", "nan,0,0", "")},
    **{f"std {std}": (["--std", std], ["above 0"]) for std in ("0,0,0", "1,1,-1")},
    "std inf": (["--std", "inf,1,1"], ["three numbers"]),
    "cam without such a head": (["--model", "vgg16", "--methods", "grad-cam,cam"], ["VGG-16", "CAM needs"]),
    "cam at another layer": (["--model", "photo11", "--methods", "cam", "--layer", "layer2"], ["layer3", "layer2"]),
    "contrast of one map": (["--methods", "cam,eigen-cam", "--against", "dog"], ["Eigen-CAM", "--against"]),
    "rivals of one map": (["--methods", "cam,eigen-cam", "--rivals", "all"], ["Eigen-CAM", "--rivals"]),
    "two kinds of contrast": (["--against", "dog", "--rivals", "cat"], ["--against", "--rivals"]),
    "a contrast beside another": (["--rivals", "dog", "--contrast", "all"], ["--rivals", "--contrast"]),
    "a contrast beside no map of a class": (
        ["--methods", "eigen-cam", "--contrast", "all"],
        ["Eigen-CAM", "--contrast"],
    ),
    "no number of rivals": (["--rivals", "nearest:0"], ["nearest:0", "nearest:3"]),
    "signed without rivals": (["--signed"], ["signed", "rivals"]),
    "strength without rivals": (["--strength", "0.5"], ["strength", "rivals"]),
    "strength above 1": (["--rivals", "all", "--strength", "1.5"], ["1.5", "between 0 and 1"]),
    "model and checkpoint": (["--model", "resnet18", "--arch", "resnet18"], ["--model", "--arch", "--checkpoint"]),
    "arch alone": (["--arch", "resnet18"], ["--arch", "--checkpoint"]),
    "checkpoint alone": (["--checkpoint", "x.pth"], ["--arch", "--checkpoint"]),
    "labels alone": (["--labels", "x.txt"], ["--labels", "--arch", "--checkpoint"]),
    "missing checkpoint": (["--arch", "resnet18", "--checkpoint", "gone.pth"], ["gone.pth"]),
    "missing labels": (["--arch", "resnet18", "--checkpoint", __file__, "--labels", "gone.txt"], ["gone.txt"]),
    "out is a file": (["--out", __file__], ["test_cli.py is a file"]),
    "a photo for the sheet": (["--sheet", "gone.jpg"], ["gone.jpg", "not called .html", "before --sheet"]),
    "missing photo": (["--", "gone.jpg"], ["gone.jpg: there is no such file."]),
}
RUN_ALL = """
import contextlib, io, json, sys
from iscam.__main__ import main
answers = []
for line in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(line)
        except SystemExit as leave:
            code = leave.code
    heavy = [name for name in ("torch", "matplotlib", "gradio") if name in sys.modules]
    answers.append((code, out.getvalue(), err.getvalue(), heavy))
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str, list[str]]]:
    """What a fresh Python answers to all command lines that need no network, and which heavy packages it has by then."""
    folder = tmp_path_factory.mktemp("light")
    photo = str(picture(folder / "a.jpg"))
    lines = {name: ["explain", *words] for name, (words, _) in WRONG.items()}
    for line in lines.values():
        line[1:1] = [photo] if "--" not in line else []
    lines |= {"none": [], "unknown": ["explode"], "help": ["--help"], "help of explain": ["explain", "--help"]}
    lines |= {"models": ["models"], "models for programs": ["models", "--json"], "no photo": ["explain"]}
    before = names(folder)
    run = subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        input=json.dumps(list(lines.values())),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert names(folder) == before  # no folder of results either
    return dict(zip(lines, json.loads(run.stdout), strict=True))


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_answered_without_torch(
    light: dict[str, tuple[int, str, str, list[str]]], case: str
) -> None:
    """Exit 2, and the last line says what is wrong and what there is to choose from."""
    code, said, complaints, heavy = light[case]
    assert (code, said, heavy) == (2, "", [])
    assert "Traceback" not in complaints
    assert "Errno" not in complaints
    last = complaints.splitlines()[-1]
    for word in WRONG[case][1]:
        assert word in last
    if not complaints.startswith("usage:"):
        assert is_one_sentence(complaints)


def test_help_and_lists_load_no_torch(light: dict[str, tuple[int, str, str, list[str]]]) -> None:
    for case in ("help", "help of explain", "models", "models for programs"):
        code, said, complaints, heavy = light[case]
        assert (code, complaints, heavy) == (0, "", [])
        assert said
    options = inspect.cleandoc(light["help of explain"][1])
    for option in ("model", "layer", "target", "against", "methods", "steps", "path", "weighting", "engine", "samples"):
        assert f"--{option} " in options
    for option in ("seed", "tolerance", "device", "arch", "checkpoint", "labels", "input-size", "mean", "std", "out"):
        assert f"--{option} " in options
    for case, word in (("none", "command"), ("unknown", "explode"), ("no photo", "PHOTO")):
        code, said, complaints, heavy = light[case]
        assert (code, said, heavy) == (2, "", [])
        assert word in complaints


def test_the_models_are_listed_with_their_layers(light: dict[str, tuple[int, str, str, list[str]]]) -> None:
    listed = light["models"][1].splitlines()
    assert [line.split()[0] for line in listed] == list(MODELS)
    rows = json.loads(light["models for programs"][1])
    assert [row["key"] for row in rows] == list(MODELS)
    for row, line in zip(rows, listed, strict=True):
        assert sorted(row) == ["key", "label", "layer", "layers", "methods"]
        assert row["layer"] in row["layers"]
        assert row["label"] in line
        for name, (height, width) in row["layers"].items():
            assert f"{name} ({height}x{width})" in line
        served = set(METHODS) - (set() if MODELS[row["key"]].head_layer else {"cam"})
        assert set(row["methods"]) == served


def test_a_wrong_argument_takes_less_than_a_second() -> None:
    """Of computing: how long one waits for it beside other work is not the program's doing."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(
        [sys.executable, "-m", "iscam", "explain", "--steps", "0", "a.jpg"], cwd=ROOT, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run.returncode == 2
    assert "'0' is not a whole number from 1 to 100" in run.stderr
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 1


@pytest.mark.usefixtures("no_figure")
def test_two_classes_are_contrasted(tmp_path: Path, explain: Line) -> None:
    photo = picture(tmp_path / "a.jpg")
    options = ("--target", "TRUCK", "--against", "4", "--out", tmp_path)
    assert explain(photo, *options, "--methods", "cam,grad-cam")[0] == 0
    record, maps = record_of(tmp_path, "a"), maps_of(tmp_path, "a")
    assert is_prediction(record["target"])
    assert is_prediction(record["against"])
    assert (record["target"]["index"], record["against"]["index"]) == (10, 4)
    for method in ("cam", "grad-cam"):
        assert maps[method].min() < 0 < maps[method].max()
        assert np.abs(maps[method]).max() == 1
        assert maps[f"{method}.raw"].min() < 0


@pytest.mark.usefixtures("no_figure")
def test_a_class_is_held_against_its_rivals(tmp_path: Path, explain: Line) -> None:
    """In [0, 1], or signed; the record names the settings, and the rivals that they come to, the most probable first."""
    photo = picture(tmp_path / "a.jpg")
    options = ("--methods", "cam,grad-cam", "--rivals", "nearest:3", "--strength", 0.5)
    assert explain(photo, *options, "--out", tmp_path / "plain")[0] == 0
    record, maps = record_of(tmp_path / "plain", "a"), maps_of(tmp_path / "plain", "a")
    settings = {"rivals": "nearest:3", "strength": 0.5, "signed": False}
    assert settings.items() <= record["settings"].items()
    assert all(is_prediction(rival) for rival in record["rivals"]) and record["rivals"] == record["predictions"][1:4]
    assert all((maps[method].min(), maps[method].max()) == (0, 1) for method in ("cam", "grad-cam"))
    assert explain(photo, *options, "--signed", "--out", tmp_path / "signed")[0] == 0
    record, maps = record_of(tmp_path / "signed", "a"), maps_of(tmp_path / "signed", "a")
    assert record["settings"]["signed"] is True and "specificity" not in record["methods"]["cam"]
    assert all(np.abs(maps[method]).max() == 1 for method in ("cam", "grad-cam"))


@pytest.mark.usefixtures("no_figure")
def test_a_contrast_stands_beside_the_maps(tmp_path: Path, explain: Line) -> None:
    """Of the first method that can give it: what speaks for the class rather than for rivals, or the signed one of two."""
    photo = picture(tmp_path / "a.jpg")
    for rivals, signed in (("nearest:3", False), ("4", True)):
        options = ("--methods", "eigen-cam,grad-cam", "--contrast", rivals, "--out", tmp_path / rivals[:1])
        assert explain(photo, *options)[0] == 0
        record, maps = record_of(tmp_path / rivals[:1], "a"), maps_of(tmp_path / rivals[:1], "a")
        beside = record["contrast"]
        assert (beside["method"], beside["signed"]) == ("grad-cam", signed) and beside["complete"]
        assert len(beside["rivals"]) == (1 if signed else 3) and set(record["methods"]) == {"eigen-cam", "grad-cam"}
        assert (maps["contrast"].min() != 0) == signed and np.abs(maps["contrast"]).max() == 1
        assert ("contrast.rival" in maps) != signed and "rivals" not in record
    assert explain(photo, "--methods", "grad-cam", "--out", tmp_path / "plain")[0] == 0
    assert "contrast" not in record_of(tmp_path / "plain", "a")


@pytest.mark.usefixtures("no_figure")
@pytest.mark.parametrize(("text", "index"), [("7", 7), ("gas pump", 7), ("GAS Pump", 7), ("010", 10)])
def test_the_target_is_an_index_or_a_category(tmp_path: Path, explain: Line, text: str, index: int) -> None:
    assert explain(picture(tmp_path / "a.jpg"), "--target", text, "--out", tmp_path)[0] == 0
    target = record_of(tmp_path, "a")["target"]
    assert (target["index"], target["category"]) == (index, CATEGORIES[index])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--target", "ball"), ["golf ball (8)"]),
        (("--target", "frensh horn"), ["french horn (6)"]),
        (("--target", "11"), ["0 and 10"]),
        (("--target", "-1"), ["0 to 10"]),
        (("--target", ""), ["0 to 10"]),
        (("--target", "dog", "--against", "horn"), ["french horn (6)"]),
        (("--target", "dog", "--against", "4"), ["--target", "--against", "same class"]),
        (("--target", "dog", "--rivals", "4"), ["--target", "--rivals", "same class"]),
        (("--rivals", "horn"), ["french horn (6)"]),
        (("--contrast", "horn"), ["french horn (6)"]),
        (("--target", "dog", "--contrast", "4"), ["--target", "--contrast", "same class"]),
    ],
)
def test_a_class_that_is_none_is_refused_before_any_photo(
    tmp_path: Path, explain: Line, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], told: list[str]
) -> None:
    monkeypatch.setattr(Explainer, "analyse", lambda *_: pytest.fail("that was a photo"))
    code, said, complaints = explain(picture(tmp_path / "a.jpg"), *options, "--out", tmp_path / "out")
    assert (code, said) == (2, "")
    assert is_one_sentence(complaints)
    assert all(word in complaints for word in told)
    assert names(tmp_path / "out") == []


@pytest.mark.usefixtures("no_figure")
def test_classes_that_differ_by_case_are_told_apart(tmp_path: Path, explain: Line) -> None:
    """ImageNet's corgi and its knitwear: each by its own spelling, neither by another."""
    photo, labels = picture(tmp_path / "a.jpg"), tmp_path / "labels.txt"
    labels.write_text("Cardigan\nCARDIGANS\ncardigan\n" + "\n".join(CATEGORIES[:8]), "utf-8")
    options = (photo, *OWN, "--labels", labels, "--out", tmp_path / "out", "--target")
    code, _, complaints = explain(*options, "CARDIGAN")
    assert code == 2
    assert is_one_sentence(complaints)
    assert "Cardigan (0), cardigan (2)." in complaints
    assert names(tmp_path / "out") == []
    for index, name in ((0, "Cardigan"), (2, "cardigan")):
        assert explain(*options, name)[0] == 0
        target = record_of(tmp_path / "out", "a")["target"]
        assert (target["index"], target["category"]) == (index, name)


@pytest.mark.usefixtures("no_figure")
def test_an_own_checkpoint_is_explained_like_the_bundled_model(tmp_path: Path, explain: Line) -> None:
    photo, labels = picture(tmp_path / "a.jpg"), tmp_path / "labels.txt"
    labels.write_text("\ufeff" + "\r\n".join(name.upper() for name in CATEGORIES) + "\r\n", "utf-8")
    assert explain(photo, "--methods", "cam,eigen-cam", "--out", tmp_path / "bundled")[0] == 0
    assert explain(photo, "--methods", "cam,eigen-cam", *OWN, "--labels", labels, "--out", tmp_path / "own")[0] == 0
    bundled, own = maps_of(tmp_path / "bundled", "a"), maps_of(tmp_path / "own", "a")
    for key, array in bundled.items():
        np.testing.assert_allclose(own[key], array, rtol=1e-4, atol=1e-5)
    records = record_of(tmp_path / "bundled", "a"), record_of(tmp_path / "own", "a")
    assert records[0]["weights_sha256"] == records[1]["weights_sha256"]
    assert records[0]["crop"] == records[1]["crop"]
    assert records[1]["target"]["category"] == records[0]["target"]["category"].upper()


@pytest.mark.usefixtures("no_figure")
def test_the_options_of_an_own_checkpoint_reach_the_network(tmp_path: Path, explain: Line) -> None:
    photo = picture(tmp_path / "a.jpg", (144, 144))
    fed = ("--input-size", 64, "--mean", "0.5,0.4,0.3", "--std=.2,.3,.4")
    assert explain(photo, *OWN, *fed, "--methods", "eigen-cam", "--out", tmp_path)[0] == 0
    model = iscam.load_model(
        arch="photo11", checkpoint=BUNDLED_WEIGHTS, input_size=64, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)
    )
    explainer = Explainer(model)
    analysis = explainer.analyse(photo)
    heatmap = maps_of(tmp_path, "a")["eigen-cam"]
    assert heatmap.shape == (64, 64)
    np.testing.assert_allclose(heatmap, explainer.explain(analysis, "eigen-cam").heatmap, atol=1e-4)
    probability = record_of(tmp_path, "a")["target"]["probability"]
    assert probability == pytest.approx(analysis.predictions[0].probability, rel=1e-3)
    plain = Explainer(iscam.load_model("photo11")).analyse(photo)
    assert abs(probability - plain.predictions[0].probability) > 1e-3


@pytest.mark.usefixtures("no_figure")
def test_a_network_that_gives_no_numbers_leaves_no_files(tmp_path: Path, explain: Line) -> None:
    state = safetensors.torch.load_file(BUNDLED_WEIGHTS)
    head = next(name for name, tensor in state.items() if tensor.shape == (len(CATEGORIES),))
    state[head] = torch.full_like(state[head], math.nan)
    broken = tmp_path / "broken.safetensors"
    safetensors.torch.save_file(state, broken)
    photos = [picture(tmp_path / "a.jpg"), picture(tmp_path / "b.jpg")]
    options = ("--arch", "photo11", "--checkpoint", broken, "--methods", "eigen-cam", "--out", tmp_path / "out")
    code, said, complaints = explain(*photos, *options)
    assert (code, said) == (2, "")
    assert "Traceback" not in complaints
    assert names(tmp_path / "out") == []


def test_a_missing_graphics_card_is_said_in_a_sentence(
    tmp_path: Path, explain: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:7"):
        code, said, complaints = explain(picture(tmp_path / "a.jpg"), "--device", device, "--out", tmp_path / "out")
        assert (code, said) == (2, "")
        assert is_one_sentence(complaints)
        assert f"no device {device} " in complaints and "cpu" in complaints


@pytest.mark.usefixtures("no_figure")
@pytest.mark.parametrize("terminal", [True, False])
def test_the_progress_is_for_a_terminal_only(
    tmp_path: Path, explain: Line, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(
        "iscam.cli.explain.tqdm", functools.partial(tqdm, mininterval=0, miniters=1)
    )  # draws every batch
    photo = picture(tmp_path / "a\nb.jpg", (60, 60))
    code, said, complaints = explain(photo, "--methods", "score-cam", "--out", tmp_path / "out")
    assert code == 0
    assert said.count("\n") == 2
    if terminal:
        assert "a?b.jpg Score-CAM" in complaints
        done, total = re.findall(r"(\d+)/(\d+) ", complaints)[-1]
        assert done == total
        assert 1 <= int(total) <= 224
        assert "\n" not in complaints
    else:
        assert complaints == ""


@pytest.mark.usefixtures("no_figure")
def test_an_interrupted_run_keeps_what_was_done(tmp_path: Path, explain: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [picture(tmp_path / f"{stem}.jpg") for stem in "abc"]
    real = Explainer.answer

    def impatient(self: Explainer, analysis: Analysis, request: Request, progress: Any) -> Explanation:
        if (analysis.photo.name, request.method.key) == ("b.jpg", "eigen-cam"):
            raise KeyboardInterrupt
        return real(self, analysis, request, progress)

    monkeypatch.setattr(Explainer, "answer", impatient)
    code, said, complaints = explain(*photos, "--methods", "cam,eigen-cam", "--out", tmp_path / "out")
    assert (code, complaints) == (130, "Stopped.\n")
    assert said.splitlines()[1].startswith("a.jpg:")
    assert names(tmp_path / "out") == files_of("a")
    maps_of(tmp_path / "out", "a")


HOSTILE = [
    "with  spaces .jpg",
    "Ünïcödé Ωмега.jpg",
    "from $\\frac{1 to $9.jpg",
    "%s {0} ^_~#&.jpg",
    "a\nb\tc\x1b[31m.jpg",
    "....jpg",
    ".jpg",
    "...",
    "photo",
    "-x.jpg",
    "--out",
    "e\u0301\u202ereversed.jpg",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_odd_names_of_photos_are_kept_and_shown_on_one_line(
    tmp_path: Path, explain: Line, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """With the real figure, which has the name in its title."""
    picture(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    code, said, complaints = explain("--out", "out", "--", name)
    assert (code, complaints) == (0, "")
    assert said.endswith("\n")
    assert len(said.splitlines()) == 2 and "".join(said.splitlines()).isprintable()
    assert names(tmp_path / "out") == files_of(Path(name).stem)
    assert record_of(tmp_path / "out", Path(name).stem)["photo"] == name


@pytest.mark.usefixtures("no_figure")
def test_names_that_leave_no_room_for_a_suffix_are_cut(tmp_path: Path, explain: Line) -> None:
    """At a letter, and told apart by numbers."""
    long = [picture(tmp_path / name) for name in ("é" * 125 + "1.jpg", "é" * 125 + "2.jpg", "n" * 244 + ".jpg")]
    code, _, complaints = explain(*long, "--out", tmp_path / "out")
    assert (code, complaints) == (0, "")
    assert names(tmp_path / "out") == files_of("é" * 122, "é" * 121 + "-2", "n" * 244)
    assert record_of(tmp_path / "out", "é" * 121 + "-2")["photo"] == long[1].name


def test_names_without_unicode_and_terminals_without_letters(tmp_path: Path) -> None:
    """A real run: bytes of a name that are no UTF-8, and a pipe that takes ASCII only."""
    try:
        odd = picture(tmp_path / os.fsdecode(b"caf\xe9.jpg"))
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    accented, bad = picture(tmp_path / "Ünïcödé.jpg"), tmp_path / os.fsdecode(b"b\xe4d.jpg")
    bad.write_bytes(b"no photo")
    words = ["explain", odd.name, bad.name, accented.name, "--methods", "eigen-cam", "--out", "out", *SMALL]
    run = subprocess.run(
        [sys.executable, "-m", "iscam", *words],
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
    )
    assert run.returncode == 2
    said, complaints = run.stdout.decode("ascii").splitlines(), run.stderr.decode("ascii")
    assert said[1].startswith("caf?.jpg: ")
    assert said[2].startswith("\\xdcn\\xefc\\xf6d\\xe9.jpg: ")
    assert is_one_sentence(complaints)
    assert complaints.startswith("b?d.jpg: ")
    assert names(tmp_path / "out") == files_of("Ünïcödé", odd.stem)
    assert record_of(tmp_path / "out", odd.stem)["photo"] == odd.name


@pytest.mark.usefixtures("no_figure")
def test_a_network_of_a_folder_is_explained_and_listed(
    tmp_path: Path, explain: Line, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the name that was given, which the record has; its layers are known when it is loaded."""
    folder = store(tmp_path / "my net", make(), label_names=["a", "b", "c", "d", "e"])
    photo, name = picture(tmp_path / "a.jpg"), f"local-dir:{folder}"
    code, said, complaints = explain(photo, "--model", name, "--target", "c", "--out", tmp_path / "out")
    assert (code, complaints) == (0, "")
    assert "my net sees photos" in said
    record = record_of(tmp_path / "out", "a")
    assert record["model"] == name
    assert record["weights_sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    code, _, complaints = explain(photo, "--model", name, "--layer", "layer9", "--out", tmp_path / "none")
    assert code == 2 and is_one_sentence(complaints)
    assert "layer9" in complaints and "layer4" in complaints
    assert main(["models", name, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["key"], row["label"], row["layer"]) == (name, "my net", "layer4")
    code, _, complaints = explain(photo, "--model", f"local-dir:{tmp_path}", "--out", tmp_path / "none")
    assert code == 2 and is_one_sentence(complaints)


@pytest.mark.shared
@pytest.mark.usefixtures("no_figure")
def test_a_torchvision_model_from_the_cache(tmp_path: Path, explain: Line, torch_home: Path) -> None:
    """Real weights and ImageNet's categories."""
    photo = ROOT / "assets" / "examples" / "chelsea.jpg"
    options = (photo, "--model", "squeezenet1_0", "--methods", "grad-cam", "--out", tmp_path)
    code, _, complaints = explain(*options, "--target", "CARDIGAN")
    assert code == 2
    assert "Cardigan (264), cardigan (474)" in complaints
    assert explain(*options)[0] == 0
    record = record_of(tmp_path, "chelsea")
    file = next((torch_home / "hub" / "checkpoints").glob("squeezenet1_0*"))
    assert record["weights_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert record["target"]["category"] in ("tabby", "tiger cat", "Egyptian cat")
    assert maps_of(tmp_path, "chelsea")["grad-cam"].shape == (224, 224)


@pytest.mark.usefixtures("no_figure")
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("relu"), "Something is wrong in this program (KeyError: 'relu', test_cli.py line"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "There is not enough memory for this"),
        (MemoryError(), "There is not enough memory for this"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/tmp/x"), "with /tmp/x: disk quota exceeded."),
    ],
    ids=str,
)
def test_whatever_goes_wrong_is_said_in_a_sentence(
    tmp_path: Path, explain: Line, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    """What the user cannot mend, with where it happened; the traceback is for those who ask for it."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Explainer, "analyse", fail)
    asked = picture(tmp_path / "a.jpg"), "--out", tmp_path / "out"
    code, _, complaints = explain(*asked)
    last = complaints.splitlines()[-1]
    assert code == 2 and last.startswith("python -m iscam explain: ") and words in last
    assert last.endswith(".") and "Errno" not in last and "Traceback" not in complaints
    code, _, complaints = explain(*asked, "--debug")
    assert code == 2 and "Traceback" in complaints and words in complaints
