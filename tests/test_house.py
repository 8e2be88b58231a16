"""Rules about the code itself: where things stand, what may import what, and how long things get."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter

import pytest

import iscam
from tests.conftest import ROOT

HOUSE = ROOT / "iscam"
MODULES = {
    ".".join(("iscam", *path.relative_to(HOUSE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(HOUSE.rglob("*.py"))
}
# From the ground up: a module imports from its own floor's wing and from floors below, for types too. A wing's module may stand
# below the rest of it
FLOORS = (
    ("project", "kinds", "pixels", "decoding", "images", "arrays", "path", "engine"),
    ("settings",),
    ("models", "needs", "evidence"),
    ("methods",),
    ("show.render",),  # one map as a picture: explanations show themselves, and know no more of their wing
    ("notes", "results"),
    ("show.comparison",),
    ("request", "refine"),
    ("drawing", "analysing"),
    ("explain",),
    ("contrast",),
    ("show",),
    ("trust", "benchmark"),
    ("evaluation",),
    ("iscam",),
    ("cli", "ui"),
    ("__main__",),
)
GROUPS = ("done", "seen", "asked")  # of the page, from the ground up; its table of tabs and its server stand above them


def part_of(module: str) -> str:
    """The wing, or the module on its own, to which a module belongs."""
    return module.split(".")[1] if "." in module else module


@cache
def face_of(package: str) -> dict[str, str]:
    """Name -> module, as a wing's face hands them on."""
    stub = MODULES[package].with_suffix(".pyi")
    if not stub.exists():
        return {}
    return {
        alias.name: f"{package}.{node.module}"
        for node in ast.walk(ast.parse(stub.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def imports(module: str) -> Iterator[tuple[str, str]]:
    """(as written, the module meant) of every import of ours in a module: at the top, in functions, and for types."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, alias.name) for alias in node.names if alias.name.split(".")[0] == "iscam")
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            for alias in node.names if source.split(".")[0] == "iscam" else ():
                inside = f"{source}.{alias.name}"
                yield source, inside if inside in MODULES else face_of(source).get(alias.name, source)


@cache
def graph() -> dict[str, set[str]]:
    """Every module with those that it imports."""
    return {module: {meant for _, meant in imports(module) if meant != module} for module in MODULES}


def test_the_wings_are_there() -> None:
    wings = {path.parent.name for path in HOUSE.glob("*/__init__.py")}
    assert wings == {"models", "engine", "trust", "evaluation", "benchmark", "show", "cli", "ui"}
    assert {path.parent.name for path in (HOUSE / "ui").glob("*/__init__.py")} == set(GROUPS)
    for module, path in MODULES.items():
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), (
                f"{module} does not say what it is for"
            )


def test_no_module_is_longer_than_300_lines() -> None:
    lengths = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in MODULES.items()}
    assert {module: length for module, length in lengths.items() if length > 300} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    lengths = {
        f"{module}.{node.name}": node.end_lineno - min(line.lineno for line in (node, *node.decorator_list)) + 1
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno
    }
    assert len(lengths) > 500
    assert {name: length for name, length in lengths.items() if length > 60} == {}


def test_no_modules_import_each_other() -> None:
    """Not in a circle either, and not for types alone."""
    try:
        tuple(TopologicalSorter(graph()).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_imports_go_downward() -> None:
    floors = {part: number for number, floor in enumerate(FLOORS) for part in floor}

    def stands(module: str) -> str:
        own = module.removeprefix("iscam.")
        return own if own in floors else part_of(module)

    assert {stands(module) for module in MODULES} == set(floors)
    upward = [
        f"{module} imports {meant}"
        for module, found in graph().items()
        for meant in found
        if stands(meant) != stands(module) and floors[stands(meant)] > floors[stands(module)]
    ]
    assert upward == []


def test_what_is_done_knows_nothing_of_what_is_seen_or_asked() -> None:
    def level(module: str) -> int:
        group = module.split(".")[2] if module.startswith("iscam.ui.") else ""
        return GROUPS.index(group) if group in GROUPS else len(GROUPS)

    inside = [module for module in MODULES if module.startswith("iscam.ui.")]
    upward = [(m, found) for m in inside for found in graph()[m] if found in inside and level(found) > level(m)]
    assert upward == []


def test_nobody_reaches_past_the_face_of_a_wing() -> None:
    past = [
        f"{module} imports from {written}"
        for module in MODULES
        for written, _ in imports(module)
        if written.count(".") > 1 and part_of(written) != part_of(module)
    ]
    assert past == []


def test_a_face_hands_on_only_what_others_use() -> None:
    used = {
        (written, name)
        for module, path in (MODULES | {"app": ROOT / "app.py"}).items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for written, name in used_names(node)
        if part_of(written) != part_of(module)
    }
    idle = [
        f"{package}.{name}"
        for package in MODULES
        if package != "iscam"
        for name in face_of(package)
        if (package, name) not in used and name not in face_of("iscam")
    ]
    assert idle == []


def used_names(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(wing, name) of what is imported from a wing, or read of an imported wing."""
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield from ((node.module, alias.name) for alias in node.names)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        yield f"iscam.{node.value.id}", node.attr


def test_gradio_is_imported_by_the_page_alone() -> None:
    for module, path in MODULES.items():
        if part_of(module) != "ui" or ".done" in module:
            assert not re.search(r"^\s*(import|from) gradio", path.read_text(encoding="utf-8"), re.MULTILINE), module


def test_the_page_leaves_torch_to_the_library() -> None:
    for module, path in MODULES.items():
        if part_of(module) in ("ui", "cli"):
            assert not re.search(r"^\s*(import|from) torch", path.read_text(encoding="utf-8"), re.MULTILINE), module


def test_no_work_heeds_the_clock_on_the_wall() -> None:
    """It may jump, and nothing waits, ends or is deleted because of it: seconds are those of clocks that do not."""
    for module, path in MODULES.items():
        assert not re.search(r"\btime\.time\(|\bdatetime\.now\(|\butcnow\(", path.read_text(encoding="utf-8")), module


def test_hooks_are_registered_in_one_file() -> None:
    for module, path in MODULES.items():
        if module != "iscam.engine.capture":
            assert "register_" not in path.read_text(encoding="utf-8").replace("register_heif_opener", ""), module


def test_the_twins_share_no_code_with_the_library() -> None:
    assert "iscam" not in re.sub(r'""".*?"""', "", (ROOT / "tests" / "reference.py").read_text(), flags=re.DOTALL)


# Examples


@pytest.mark.parametrize("module", [name for name, path in MODULES.items() if ">>> " in path.read_text("utf-8")])
def test_examples_in_docstrings_run(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    importlib.import_module(module)
    failed, attempted = doctest.testmod(sys.modules[module])
    assert attempted and not failed


def test_every_public_name_has_an_example() -> None:
    """In its own docstring; a table has it in that of its module."""
    for name in iscam.__all__:
        thing = getattr(iscam, name)
        if callable(thing):
            assert ">>> " in (thing.__doc__ or ""), name
    assert "METHODS[" in (sys.modules["iscam.methods"].__doc__ or "")
