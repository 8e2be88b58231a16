"""The pages of documentation: they know every key, what they name exists, and their code runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs import fast_engine, models
from iscam.methods import METHODS
from iscam.models.table import MODELS
from iscam.project import EXAMPLES
from iscam.trust.controls import CEILINGS, CONTROLS
from iscam.trust.metrics import METRICS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", [*METHODS, *MODELS, *METRICS, *CONTROLS, *CEILINGS])
def test_every_key_has_a_row_in_the_readme(key: str) -> None:
    assert f"\n| `{key}` |" in README


@pytest.mark.parametrize("key", MODELS)
def test_the_readme_names_the_layers_of_each_model(key: str) -> None:
    row = re.search(rf"\n\| `{key}` \|(.*)\n", README)
    assert row
    assert MODELS[key].layer in row[1]


def test_the_readmes_python_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    blocks = [block for block in blocks if "gradio_client" not in block]  # that one needs the page: see test_http.py
    assert blocks
    answer = subprocess.run([sys.executable, "-c", "\n".join(blocks)], capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    assert "0" in answer.stdout.splitlines() and "average-drop" in answer.stdout.splitlines()[-1]


def test_the_readmes_options_exist() -> None:
    from iscam.__main__ import main

    helped: list[str] = []
    for command in ("explain", "benchmark", "evaluate", "sanity"):
        with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdout.write", helped.append)
            main([command, "--help"])
    text = "".join(helped)
    for option in set(re.findall(r"(?<=\s)--[a-z]+[a-z-]*", README)) - {"--help", "--json", "--nproc-per-node"}:
        assert option in text


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "docs/fast-engine.md", "docs/gallery.md", "docs/lesson.md"]
)
def test_files_that_a_page_names_exist(name: str) -> None:
    page = ROOT / name
    text = page.read_text(encoding="utf-8")
    named = [ROOT / path for path in re.findall(r"`((?:iscam|tests|docs|assets)/[\w./-]*)`", text)]
    named += [page.parent / path for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", text)]
    assert named
    for path in named:
        assert path.exists(), path


def test_the_fast_engines_picture_is_drawn_from_what_was_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_engine, "TOLERANCES", (0.1, 0.001))
    monkeypatch.setattr(
        fast_engine, "OTHERS", [("score-cam", fast_engine.Settings()), ("grad-cam", fast_engine.Settings())]
    )
    rows, whole = fast_engine.maps(EXAMPLES / "chelsea.jpg")
    assert whole == 224 and [row.method for row in rows] == ["score-cam", "score-cam", "grad-cam"]
    rough, fine, known = rows
    assert rough.passes < fine.passes and fine.off <= fine.said <= 0.001 and known.off == 0
    figure = fast_engine.draw(rows, whole)
    assert [len(line.get_xdata()) for line in figure.axes[1].lines] == [2, 1, 2]


def test_the_page_of_models_is_made_of_what_is_found() -> None:
    """A row of a small network; the page that lies there has a row for each family, and says how it was made."""
    row = models.row("ResNet", "test_resnet")
    assert row[:2] == ["ResNet", "`test_resnet`"] and row[2].startswith("`layer4` 5 x 5, `layer3` 10 x 10")
    assert row[3] == str(len(METHODS)) and float(row[5]) >= 0
    assert " | ".join(row) in models.page([row])
    text = models.PAGE.read_text(encoding="utf-8")
    assert "`python -m docs.models`" in text
    for family, name in models.NETWORKS.items():
        assert f"\n| {family} | `{name}` |" in text
