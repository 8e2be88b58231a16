"""The app runs as a Space does."""

from __future__ import annotations

import re

from tests.serving import ROOT

from .checks import tried
from .space import space


def test_the_app_runs_as_a_space() -> None:
    """Under a path, by a user that may write nothing, on ZeroGPU."""
    with space() as here:
        rows = list(tried(here, whole=False))
        assert len(rows) > 8 and [row for row in rows if not row.holds] == []


def test_the_front_matter_fits_the_files() -> None:
    front = (ROOT / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    fields = dict(re.findall(r"^(\w+): (.+)$", front, re.MULTILINE))
    wanted = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert f"gradio=={fields['sdk_version']}" in wanted and (ROOT / fields["app_file"]).is_file()
    assert len(fields["short_description"]) <= 60
