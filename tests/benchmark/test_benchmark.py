"""The benchmark's figures: what is measured, what is said of it, and what is refused."""

from __future__ import annotations

import csv
import io
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from iscam.__main__ import main
from iscam.benchmark import machine, passes, report
from iscam.benchmark import run as benchmark
from iscam.benchmark.figures import Growth, MapOf, PassTime, Report, Run
from iscam.cli.options import make_parser
from iscam.models import has_weights
from tests.conftest import ROOT

HEAD = "model,method,engine,steps,photo,seconds,forward_passes,correlation,max_difference,peak_mb"


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Score-CAM and little else, so that a benchmark takes seconds."""
    monkeypatch.setattr(benchmark, "RUNS", (("score-cam", 1),))
    monkeypatch.setattr(benchmark, "GROWTH_STEPS", (1, 2))
    monkeypatch.setattr(benchmark, "DEFAULT_STEPS", 1)
    monkeypatch.setattr(passes, "SIZES", (0.5, 1.0))
    monkeypatch.setattr(passes, "REPEATS", 1)
    monkeypatch.setattr(passes, "PASSES", 2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(ROOT / "assets" / "examples" / "chelsea.jpg", folder / "cat.JPG")
    (folder / "notes.txt").write_text("no photo")
    return folder


@pytest.mark.usefixtures("brief")
def test_a_benchmark_leaves_its_three_files(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Engines and peer on the same photo; a network without weights is timed per pass and never explained."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    out = tmp_path / "out"
    models = "photo11,squeezenet1_1"
    asked = ["--models", models, "--photos", str(photos), "--against", "torchcam", "--out", str(out)]
    assert main(["benchmark", *asked]) == 0
    text = (out / "benchmark.csv").read_text()
    assert text.splitlines()[0] == HEAD
    rows = {row["engine"]: row for row in csv.DictReader(io.StringIO(text))}
    assert set(rows) == {"fast", "exact", "torchcam"}
    for engine, row in rows.items():
        assert (row["model"], row["method"], row["steps"], row["photo"]) == ("photo11", "score-cam", "1", "cat.JPG")
        assert 0 < float(row["seconds"]) < 100
        assert 200 < float(row["peak_mb"]) < 20_000
        assert (row["correlation"] != "") == (engine == "fast")
    assert int(rows["exact"]["forward_passes"]) == 224
    assert int(rows["torchcam"]["forward_passes"]) == 224 + 2  # and the photo for the class, and again for a baseline
    assert int(rows["fast"]["forward_passes"]) < 224
    assert float(rows["fast"]["correlation"]) > 0.999
    assert 0 < float(rows["fast"]["max_difference"]) < 0.02
    words = (out / "benchmark.md").read_text()
    assert words in capsys.readouterr().out
    assert "| squeezenet1_1 | random (passes alone) |" in words
    assert "squeezenet1_1 | Score-CAM" not in words
    assert "14 batch norms folded |" in words
    assert "| photo11 | channels (layer2) | 128 |" in words
    with Image.open(out / "benchmark.png") as figure:
        assert figure.width > 900
        assert np.asarray(figure).std() > 10


def test_what_is_timed_where_nothing_is_named_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an empty cache too."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    timed = make_parser().parse_args(["benchmark"]).models
    assert timed == ("photo11", "efficientnet_lite0")
    assert all(has_weights(key) for key in timed)


def run_of(engine: str, photo: str, seconds: float, difference: float | None = None) -> Run:
    outside = None if engine == "torchcam" else 0.1 * seconds
    return Run(MapOf("photo11", "is-cam", engine, 10, photo), seconds, 100, 0.9999, difference, 900.0, 0.008, outside)


def test_the_table_tells_medians_and_the_worst() -> None:
    """Ratios are taken photo by photo, and only where both explained it."""
    runs = [run_of("torchcam", "a", 40), run_of("torchcam", "b", 80), run_of("exact", "a", 10)]
    runs += [run_of("fast", "a", 2, 0.001), run_of("fast", "b", 1, 0.007), run_of("fast", "c", 50, 0.002)]
    words = report.as_markdown(Report("a machine", runs, [], []))
    assert "Measured on a machine." in words
    assert "| photo11 | IS-CAM, 10 steps | exact | 10.00 | 4.0x | 100 | 10.00 ms a pass |" in words
    fast = next(line for line in words.splitlines() if "| fast |" in line)
    assert "| 2.00 | 50.0x |" in fast  # of 20 and 80
    assert "| 0.99990 | 0.0070 | 0.0080 |" in fast


def test_every_part_of_a_report_may_be_missing() -> None:
    """A figure and a table are made of a network that was only timed, and of one that takes one size."""
    passes = [PassTime("vit_b_16", False, 224, True, "float32", 190.0, 180.0, None)]
    for some in (Report("m", [], [], passes), Report("m", [], [Growth("photo11", "steps", 1, 0.2, 160)], [])):
        assert report.as_figure(some).width > 900
        assert report.as_markdown(some).startswith("Measured on m.")
    assert report.as_csv([]) == HEAD + "\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--photos", "nowhere"], "There is no folder nowhere"),
        (["--photos", "."], "There are no photos"),
    ],
)
def test_a_folder_without_photos_gets_a_sentence(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_missing_peer_gets_a_sentence(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchcam", None)
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", "--photos", str(photos), "--against", "torchcam"]) == 2
    assert "pip install torchcam" in capsys.readouterr().err


@pytest.mark.parametrize(("key", "loader"), [("photo11", "load_model"), ("squeezenet1_1", "load_untrained")])
def test_the_device_that_is_asked_for_is_loaded_on(
    key: str, loader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With weights and without; `auto` is a device that is there by then."""

    def load(*named: object, **options: object) -> None:
        raise ValueError(f"{named[1:]} {options}")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(benchmark, loader, load)
    for asked, found in (("auto", "mps"), ("mps", "mps"), ("cpu", "cpu")):
        assert main(["benchmark", "--models", key, "--device", asked]) == 2
        assert f"'{found}'" in capsys.readouterr().err
    assert main(["benchmark", "--device", "cuda:0"]) == 2
    assert "There is no device cuda:0 that torch can use here: choose one of cpu, mps." in capsys.readouterr().err


def test_the_machine_is_told_with_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The card first, with the peak of its memory; of the processor alone, and of MPS, which has no other, the process's."""
    forgotten: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda name: f"card {name}")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", forgotten.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**20)
    monkeypatch.delenv("ISCAM_NO_BF16", raising=False)
    card, processor = torch.device("cuda:1"), torch.device("cpu")
    told = machine.machine(None, "cuda:1")
    assert told.startswith("card cuda:1; ") and ", with bfloat16; " in told
    assert told.endswith("; peak memory of the GPU per map, in MB")
    assert forgotten == [card] and machine.peak_mb(card) == 3
    assert machine.machine(None, "mps").startswith("mps; ") and "GPU" not in machine.machine(None, "cpu")
    assert machine.peak_mb(processor) > 200


def test_windows_does_not_tell_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.sys, "platform", "win32")
    monkeypatch.setattr(machine.Path, "exists", lambda path: False)
    monkeypatch.setitem(machine.sys.modules, "resource", None)
    assert math.isnan(machine.peak_mb(torch.device("cpu")))


@pytest.mark.parametrize(
    "arguments", [["--models", "alexnet"], ["--device", "gpu"], ["--against", "captum"], ["--models", ","]]
)
def test_unknown_names_are_refused_at_once(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["benchmark", *arguments])
    complaint = capsys.readouterr().err
    assert "choose from" in complaint or "name at least one" in complaint or "The device must be" in complaint
