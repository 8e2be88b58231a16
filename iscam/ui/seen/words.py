"""Words of the page: numbers, places and states as people read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from iscam.methods import METHODS
from iscam.notes import lies
from iscam.trust import LABELS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from iscam import Prediction

SLOW = 3  # the effort of methods that are badged as slow
NAMED = 3  # rivals on a card
NOBODY, LIKELY = -1, -2  # values of "Against" that are no class: no other, and the likely others
SCRIPT = {  # of what assets/page.js names
    "example": "Example",
    "reset": "Reset",
    "remove": "Remove",
    "regions": {"question": "Question", "answer": "Answer"},
}


def per_cent(share: float) -> str:
    """A share 0..1 for people: one digit behind the point, two below 1 %."""
    if share <= 0:
        return "0 %"
    if share < 0.0001:
        return "< 0.01 %"
    return f"{100 * share:.1f} %" if share >= 0.01 else f"{100 * share:.2f} %"


def seconds(value: float) -> str:
    if value < 0.01:
        return "< 0.01 s"
    return f"{value:.1f} s" if value >= 0.1 else f"{value:.2f} s"


def passes(count: int) -> str:
    if count == 0:
        return "no new passes"  # all that was needed was known already
    return "1 pass" if count == 1 else f"{count:,} passes"


def progress(label: str, done: int, total: int, left: float) -> str:
    return f"{label}: {done:,} of {passes(total)}, {seconds(left)} left"


def download(label: str, done: int, total: int) -> str:
    return f"Downloading {label}: {done / 1e6:.0f} of {total / 1e6:.0f} MB …"


def map_alt(method: str, category: str, heatmap: NDArray[np.float32]) -> str:
    """What a picture of a map says to those who cannot see it."""
    return f"{LABELS[method]} map for {category}: {lies(heatmap)}"


def of_the_class(specificity: float | None) -> list[str]:
    """How far a map depends on its class, in a line; none where that is not known."""
    return [] if specificity is None else [f"class specificity {specificity:.2f}"]


def some(names: Sequence[str], count: int) -> str:
    """The first few of `count` names, of which some may not be known, and how many more there are."""
    more = count - len(names[:NAMED])
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


# Choices: (label, value)

NO_CLASS = [("likely others", LIKELY), ("none: the class as such", NOBODY)]


def class_choices(categories: Sequence[str], rows: Sequence[Prediction], rivals: bool = False) -> list[tuple[str, int]]:
    """(label, class index): the five predictions with their probability, then all others. Equal names get their index."""
    count = Counter(categories)

    def name(index: int) -> str:
        return categories[index] if count[categories[index]] == 1 else f"{categories[index]} ({index})"

    first = [row.index for row in rows]
    choices = [(f"{name(row.index)} · {per_cent(row.probability)}", row.index) for row in rows]
    choices += [(name(index), index) for index in range(len(categories)) if index not in first]
    return [*NO_CLASS, *choices] if rivals else choices


def layer_choices(layers: dict[str, tuple[int, int]]) -> list[tuple[str, str]]:
    return [(f"{name} · {height}x{width}", name) for name, (height, width) in layers.items()]


def method_choices() -> list[tuple[str, str]]:
    """(label, key); those that need many passes of their own say so."""
    return [(f"{row.label} (slow)" if row.effort == SLOW else row.label, key) for key, row in METHODS.items()]


def map_choices() -> list[tuple[str, str]]:
    """(label, key) of all methods and controls."""
    return [(label, key) for key, label in LABELS.items()]
