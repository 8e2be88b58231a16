"""The README knows every key and its code runs; rules about the code itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from iscam.methods import METHODS
from iscam.models.table import MODELS
from iscam.trust.controls import CONTROLS
from iscam.trust.metrics import METRICS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", [*METHODS, *MODELS, *METRICS, *CONTROLS])
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


def test_gradio_is_imported_by_the_page_alone() -> None:
    for path in (ROOT / "iscam").rglob("*.py"):
        if "ui" not in path.relative_to(ROOT / "iscam").parts:
            assert not re.search(r"^\s*(import|from) gradio", path.read_text(encoding="utf-8"), re.MULTILINE), path


def test_the_page_leaves_torch_to_the_library() -> None:
    for path in (ROOT / "iscam" / "ui").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) torch", path.read_text(encoding="utf-8"), re.MULTILINE), path


def test_hooks_are_registered_in_one_file() -> None:
    for path in (ROOT / "iscam").rglob("*.py"):
        if path.name != "capture.py":
            assert "register_" not in path.read_text(encoding="utf-8").replace("register_heif_opener", ""), path


def test_the_twins_share_no_code_with_the_library() -> None:
    assert "iscam" not in re.sub(r'""".*?"""', "", (ROOT / "tests" / "reference.py").read_text(), flags=re.DOTALL)
