"""What is installed: the lock holds all that the program imports, directly or not, in one version each, with hashes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def named(file: str) -> list[Requirement]:
    """The requirements of a file, without the hashes."""
    text = (ROOT / file).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = (line.split("--hash")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def here(wanted: Requirement, extras: set[str]) -> bool:
    """Whether a requirement is one on this machine, for any of the extras."""
    environments = [default_environment() | {"extra": extra} for extra in ("", *extras)]
    return wanted.marker is None or any(wanted.marker.evaluate(dict(each)) for each in environments)


def closure(wanted: list[Requirement]) -> Iterator[str]:
    """The names of all packages that these need, as installed here."""
    seen: set[tuple[str, str]] = set()
    left = [(canonicalize_name(each.name), frozenset(each.extras)) for each in wanted]
    while left:
        name, extras = left.pop()
        new = {(name, extra) for extra in ("", *extras)} - seen
        if not new:
            continue
        seen |= new
        yield name
        try:
            needs = requires(name) or ()
        except PackageNotFoundError:
            continue  # a build of torch for processors alone leaves out what a GPU needs
        for text in needs:
            needed = Requirement(text)
            if here(needed, set(extras)):
                left.append((canonicalize_name(needed.name), frozenset(needed.extras)))


def locked() -> dict[str, str]:
    """Name -> version, as far as the lock speaks of this machine."""
    found = [each for each in named("requirements.lock") if here(each, set())]
    versions = {canonicalize_name(each.name): str(each.specifier) for each in found}
    assert len(versions) == len(found)
    return versions


def test_the_lock_holds_what_is_asked_for() -> None:
    versions = locked()
    asked = named("requirements.txt")
    assert len(asked) > 10
    assert {each.name: str(each.specifier) for each in asked} == {
        each.name: versions[canonicalize_name(each.name)] for each in asked
    }


def test_the_lock_holds_all_that_is_needed_in_the_version_that_is_tested() -> None:
    versions = locked()
    for name in closure(named("requirements.txt")):
        assert name in versions, f"{name} is in no line: make the lock again, as CONTRIBUTING.md says"
        with suppress(PackageNotFoundError):
            assert versions[name] == f"=={version(name).partition('+')[0]}", name


def test_every_line_of_the_lock_has_its_hashes_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    assert len(lines) > 60
    assert [line for line in lines if not HASH.search(line)] == []
    assert "://" not in text and "index" not in text
