"""What is tried, as rows of a table: expected and observed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """Something that was tried so many times; `holds` is whether what was observed is what was expected."""

    part: str
    what: str
    count: int
    expected: str
    observed: str
    holds: bool


def counted(part: str, what: str, tried: int, expected: str, wrong: list[str]) -> Row:
    """A row of many of a kind, which says how many were as expected and what the first others did."""
    observed = f"{tried - len(wrong)} of {tried}" + "".join(f"; {each}" for each in wrong[:3])
    return Row(part, what, tried, expected, observed, not wrong)
