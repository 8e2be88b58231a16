"""What is to be done for a visitor, as data that can be sent to the process that does it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from .news import Mapped, Refused
from .question import Question

Work = Callable[
    ..., Iterator[object]
]  # (bench, question, choices, task) -> news; of a module, so that its name can be sent


@dataclass(frozen=True, eq=False)
class Order:
    """A piece of work, the question it is about, and what else was chosen for it."""

    work: Work
    question: Question
    choices: Any = None

    def light(self) -> Order:
        """The order without the pixels of its photo."""
        return replace(self, question=self.question.light())

    def rest(self, told: Iterable[object]) -> Order:
        """What is left of an order for maps when these news have been told."""
        maps = [each for each in told if isinstance(each, (Mapped, Refused))]
        done: Hashable = tuple(each.explanation.method if isinstance(each, Mapped) else each.method for each in maps)
        return replace(self, choices=done)
