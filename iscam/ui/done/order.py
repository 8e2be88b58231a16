"""What is to be done for a visitor, as data that can be sent to the process that does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from .question import Question

Work = Callable[
    ..., Iterator[object]
]  # (bench, question, choices, task) -> news; of a module, so that its name can be sent


@dataclass(frozen=True, eq=False)
class Order:
    """A piece of work, the question it is about, and what else was chosen for it; `told` of its news were told before it gave
    way."""

    work: Work
    question: Question
    choices: Any = None
    told: int = 0

    def light(self) -> Order:
        """The order without the pixels of its photo."""
        return replace(self, question=self.question.light())

    def rest(self, told: int) -> Order:
        """The same, when so many of its news have been told."""
        return replace(self, told=told)
