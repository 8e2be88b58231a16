"""What `pip install .` puts where: all that the library, the command line and the page need, and nothing beside it."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from iscam import __version__
from iscam.project import ASSETS, assets_of
from tests.conftest import ROOT

MAX_BYTES = 8_000_000
DESCRIBE = """
import json, setuptools
package = setuptools.Distribution({"script_name": "setup.py"})
package.parse_config_files()
build = package.get_command_obj("build_py")
build.ensure_finalized()
build.build_lib = "lib"
build.data_files = build._get_data_files()
files = [file.replace("\\\\", "/").removeprefix("lib/") for file in build.get_outputs(include_bytecode=False)]
print(json.dumps({
    "files": files,
    "version": package.get_version(),
    "requirements": package.install_requires,
    "fast": package.extras_require["fast"],
    "commands": package.entry_points["console_scripts"],
}))
"""


@pytest.fixture(scope="module")
def package() -> Any:
    """What setuptools makes of pyproject.toml, without building anything."""
    done = subprocess.run([sys.executable, "-c", DESCRIBE], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_package_has_every_file_that_it_needs(package: Any) -> None:
    """Also that of a folder or kind which is new; `app.py` is no module of its own among everybody's."""

    def below(folder: Path) -> set[str]:
        files = (file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        return {file.relative_to(folder).as_posix() for file in files}

    wanted = {f"iscam/{file}" for file in below(ROOT / "iscam")} | {f"iscam/assets/{file}" for file in below(ASSETS)}
    assert sorted(package["files"]) == sorted(wanted | {"iscam/page/app.py"})


def test_the_package_is_small() -> None:
    files = [*(ROOT / "iscam").rglob("*.*"), *ASSETS.rglob("*.*")]
    assert sum(file.stat().st_size for file in files if "__pycache__" not in file.parts) < MAX_BYTES


def test_version_and_requirements_are_those_of_the_project(package: Any) -> None:
    def lines(name: str) -> set[str]:
        return {line for line in (ROOT / name).read_text("utf-8").splitlines() if line and not line.startswith("#")}

    assert package["version"] == __version__
    assert set(package["requirements"]) == lines("requirements.txt")
    assert set(package["fast"]) == lines("requirements-fast.txt")


def test_its_commands_are_there(package: Any) -> None:
    commands = dict(line.replace(" ", "").split("=") for line in package["commands"])
    assert set(commands) == {"iscam", "iscam-demo"}
    for place in commands.values():
        module, _, name = place.partition(":")
        assert f"{module.replace('.', '/')}.py" in package["files"]
        assert callable(getattr(importlib.import_module(module.replace("iscam.page.", "")), name))


def test_assets_are_found_inside_the_package_or_beside_it(tmp_path: Path) -> None:
    """Installed, others may have put a folder of that name beside the package."""
    package = tmp_path / "iscam"
    for folder in (package, tmp_path / "assets"):
        folder.mkdir()
    assert assets_of(package) == tmp_path / "assets"
    (package / "assets").mkdir()
    assert assets_of(package) == package / "assets"
    assert (ASSETS / "style.css").is_file()


def test_nothing_that_windows_lacks_is_loaded_with_a_module() -> None:
    """What is asked for later stands behind a question whether it is there."""
    elsewhere = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}
    lacking = re.compile(
        r"\bos\.(?:fork|getuid|geteuid|getloadavg|killpg|setsid|sched_\w+|statvfs|uname)\b|signal\.SIGKILL"
    )
    for module in (ROOT / "app.py", *(ROOT / "iscam").rglob("*.py")):
        text = module.read_text(encoding="utf-8")
        loaded = re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE)
        assert not elsewhere.intersection(loaded) and not lacking.search(text), module


def test_the_citation_names_this_version_and_the_paper() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)  # what the format wants
    assert cited["cff-version"] == "1.2.0" and cited["type"] == "software" and cited["version"] == __version__
    (paper,) = cited["references"]
    assert len(paper["authors"]) == 5 and all({"given-names", "family-names"} == set(one) for one in paper["authors"])
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert paper["url"] in readme and paper["identifiers"][0]["value"].removeprefix("arXiv:") in paper["url"]
