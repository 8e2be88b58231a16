"""In which order many photos are shown: what is known of each, and by what they are sorted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from iscam.methods import METHODS
from iscam.notes import correlations
from iscam.results import Explanation

T = TypeVar("T")

ORDERS = {  # a fact, and a sign -> how it is called
    "": "as they were given",
    "probability 1": "least confident first",
    "probability -1": "most confident first",
    "agreement 1": "maps disagree most first",
    "agreement -1": "maps agree most first",
    "specificity 1": "least specific to the class first",
    "specificity -1": "most specific to the class first",
}


def facts(explanations: Sequence[Explanation]) -> dict[str, float]:
    """By what a photo is sorted: the probability of its class, the least correlation of two maps, and how far the first map
    that can depend on the class does; without those that are not known."""
    pairs = correlations(explanations)
    found = {
        "probability": explanations[0].probability,
        "agreement": min(pairs.values(), default=None),
        "specificity": specific(explanations).specificity,
    }
    return {key: value for key, value in found.items() if value is not None}


def specific(explanations: Sequence[Explanation]) -> Explanation:
    """The first map that can depend on the class; the first of all if none can."""
    return next((each for each in explanations if METHODS[each.method].class_specific), explanations[0])


def in_order(order: str, rows: Sequence[T], facts_of: Callable[[T], Mapping[str, float]]) -> list[T]:
    """Rows in one of ORDERS: equal ones as they were given, those of which the fact is not known last.

    >>> in_order("probability -1", [{"probability": 0.2}, {}, {"probability": 0.9}], lambda row: row)
    [{'probability': 0.9}, {'probability': 0.2}, {}]
    """
    fact, _, sign = order.partition(" ")
    if not fact:
        return list(rows)
    return sorted(rows, key=lambda row: int(sign) * facts_of(row).get(fact, int(sign) * float("inf")))
