"""The pages of documentation: they know every key, what they name exists, and their code runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from docs import fast_engine, models
from iscam import cli
from iscam.methods import METHODS
from iscam.models.table import MODELS
from iscam.project import EXAMPLES
from iscam.trust.controls import CEILINGS, CONTROLS
from iscam.trust.metrics import METRICS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("README.md", [*METHODS]),
        ("docs/networks.md", [*MODELS]),
        ("docs/metrics.md", [*METRICS, *CONTROLS, *CEILINGS]),
    ],
)
def test_every_key_has_a_row_and_is_named_in_the_readme(name: str, keys: list[str]) -> None:
    assert [key for key in keys if f"\n| `{key}` |" not in page(name)] == []
    assert [key for key in keys if f"`{key}`" not in README] == []


def test_the_page_of_networks_names_their_layers() -> None:
    for key, spec in MODELS.items():
        row = re.search(rf"\n\| `{key}` \|(.*)\n", page("docs/networks.md"))
        assert row and spec.layer in row[1]


def test_the_readme_is_short_and_comes_to_the_point() -> None:
    """In the order in which a stranger asks: what it is, see it, run it, trust it, extend it."""
    assert len(README.splitlines()) <= 200
    heads = re.findall(r"^## (.*)$", README, re.MULTILINE)
    asked = [
        "Start",
        "The page",
        "From programs",
        "Methods",
        "How fast",
        "How far to trust it",
        "Limits",
        "To extend it",
        "To cite",
    ]
    assert [head for head in heads if head in asked] == asked


TOGETHER = ("README.md", "docs/library.md")  # whose Python is run as one program


def test_python_of_the_readme_and_of_the_library_runs() -> None:
    blocks = [block for name in TOGETHER for block in re.findall(r"```python\n(.*?)```", page(name), re.S)]
    assert len(blocks) > 3
    answer = subprocess.run([sys.executable, "-c", "\n".join(blocks)], capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    assert "0" in answer.stdout.splitlines() and "average-drop" in answer.stdout.splitlines()[-1]


def test_what_is_said_to_programs_holds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The library's block of llms.txt runs, and every method is named; its curl is run in test_http.py."""
    text = (ROOT / "llms.txt").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(block, {})
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["is-cam", "cat"],
        ["grad-cam", "cat"],
    ]
    assert set(METHODS) <= set(re.findall(r"`([\w+-]+)`", text))


def test_options_that_are_told_exist() -> None:
    from iscam.__main__ import main

    helped: list[str] = []
    for command in ("explain", "benchmark", "evaluate", "sanity"):
        with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdout.write", helped.append)
            main([command, "--help"])
    text = "".join(helped)
    told = "".join(page(name) for name in ("README.md", "docs/command-line.md", "docs/metrics.md", "docs/speed.md"))
    for option in set(re.findall(r"(?<=\s)--[a-z]+[a-z-]*", told)) - {"--help", "--json", "--nproc-per-node"}:
        assert option in text


PAGES = sorted(
    path.relative_to(ROOT)
    for places in ("*.md", "llms.txt", "docs/**/*.md", "assets/**/*.md")
    for path in ROOT.glob(places)
)


BLOCKS = [
    (str(name), code)
    for name in PAGES
    for code in re.findall(r"^ *```\w*\n(.*?)^ *```$", page(str(name)), re.DOTALL | re.MULTILINE)
]
RUN = {  # how a block begins that is run as it stands, and on which pages
    "import iscam": (*TOGETHER, "llms.txt"),
    "import torchvision": TOGETHER,
    "from iscam.trust import assess, control": TOGETHER,
    "from gradio_client import Client, handle_file": ("docs/endpoint.md",),  # by tests/ui/test_http.py, as are these:
    "FILE=$(curl": ("docs/endpoint.md", "llms.txt"),
}
NOT_RUN = {  # and why
    "make demo": "it sets up an environment for app.py, which tests/serving.py starts",
    "make test": "it sets up an environment for the tests, of which this is one",
    "@article{": "a citation",
    "heading, level 1": "what is read, not what is run",
    'import { readFile } from "node:fs/promises";': "Node is not among what the tests need: its arguments are compared",
    "model = iscam.adopt(network, input_size=224": "the network is the reader's own",
    "python -m iscam.models.bundled.": "the photos lie elsewhere: tests/models/test_bundled.py runs it with a few",
    ".venv/bin/hf ": "it makes a Space of the reader's own",
    "space=$(mktemp -d) && git archive HEAD": "it uploads to that Space: tests/rehearsal runs what is uploaded",
}


@pytest.mark.parametrize(("name", "code"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_every_block_is_run_or_said_not_to_be(name: str, code: str) -> None:
    """Of the command line, which is told by what it takes for minutes or hours: every line is one that it takes."""
    if loop := re.match(r"for (\w+) in (\w+) .*; do\n(.*)\ndone$", code.strip(), re.DOTALL):
        code = loop[3].replace(f"${loop[1]}", loop[2])  # as it runs for the first
    first, *_ = lines = [line.strip() for line in code.strip().splitlines()]
    if re.match(r"(python|torchrun .*) -m iscam ", first):
        for line in lines:
            program, said = line.split(" -m iscam ")
            assert program in ("python", "torchrun --nproc-per-node 2")
            assert cli.make_parser().parse_args(shlex.split(said)).command == said.split()[0]
    else:
        (known,) = [begin for begin in (*RUN, *NOT_RUN) if first.startswith(begin)]
        assert known in NOT_RUN or name in RUN[known]


def test_nothing_is_said_of_blocks_that_are_gone() -> None:
    begun = [begin for begin in (*RUN, *NOT_RUN) if any(code.strip().startswith(begin) for _, code in BLOCKS)]
    assert begun == [*RUN, *NOT_RUN]


@pytest.mark.parametrize("name", PAGES, ids=str)
def test_what_a_page_names_exists(name: Path) -> None:
    """Files, and the headings that links lead to."""
    text = page(str(name))
    named = [ROOT / path for path in re.findall(r"`((?:iscam|tests|docs|assets)/[\w./-]*)`", text)]
    for path, heading in re.findall(r"\]\((?!https?:)([^)#]*)(#[^)]+)?\)", text):
        target = ((ROOT / name).parent / path) if path else ROOT / name
        named.append(target)
        if heading:
            heads = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading[1:] in [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads], heading
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
