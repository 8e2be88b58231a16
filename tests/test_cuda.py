"""What is of CUDA alone, beside the maps and figures of `test_elsewhere.py`: its names, and the benchmark on it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

import iscam
from iscam import Explainer
from iscam.__main__ import main
from iscam.benchmark import passes
from iscam.benchmark import run as benchmark
from iscam.engine import find_device
from iscam.project import EXAMPLES
from tests.cases import CHELSEA

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "auto"])
def test_every_name_of_the_card_leads_to_it(name: str) -> None:
    model = iscam.load_model("photo11", device=name)
    assert next(model.network.parameters()).device == torch.device("cuda:0")
    explainer = Explainer(model)
    assert explainer.analyse(CHELSEA).predictions[0].category == "cat"


def test_a_card_that_is_not_there_is_answered_by_those_that_are() -> None:
    with pytest.raises(
        ValueError, match=rf"no device cuda:99 .* cpu, cuda, cuda:0(, cuda:\d+){{{torch.cuda.device_count() - 1}}}\.$"
    ):
        find_device("cuda:99")


@pytest.mark.parametrize("rivals", [None, "nearest:20"])
@pytest.mark.parametrize("weighting", ["probability", "logit"])
def test_the_fast_engines_error_holds(weighting: str, rivals: str | None) -> None:
    fast = Explainer(iscam.load_model("photo11", device="cuda"))
    slow = fast.using("exact")
    found = fast.explain(fast.analyse(CHELSEA), weighting=weighting, rivals=rivals)
    exact = slow.explain(slow.analyse(CHELSEA), weighting=weighting, rivals=rivals)
    assert found.forward_passes < exact.forward_passes
    assert np.abs(found.heatmap - exact.heatmap).max() <= found.estimated_error <= 0.03


def test_a_benchmark_tells_the_card_and_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "RUNS", (("is-cam", 10),))
    monkeypatch.setattr(benchmark, "GROWTH_STEPS", (1, 2))
    monkeypatch.setattr(passes, "REPEATS", 1)
    asked = ("--device", "cuda", "--models", "photo11", "--photos", str(EXAMPLES))
    assert main(["benchmark", *asked, "--out", str(tmp_path)]) == 0
    assert torch.cuda.get_device_name() in (tmp_path / "benchmark.md").read_text().splitlines()[0]
    assert (tmp_path / "benchmark.png").exists()
    rows = list(csv.DictReader((tmp_path / "benchmark.csv").read_text().splitlines()))
    assert {row["engine"] for row in rows} == {"fast", "exact", "fast, without bfloat16"}
    assert all(0 < float(row["peak_mb"]) < torch.cuda.get_device_properties(0).total_memory / 2**20 for row in rows)
    assert all(float(row["max_difference"]) < 0.03 for row in rows if row["engine"] == "fast")
