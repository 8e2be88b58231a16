"""Work for a tab: what it asks of the compute process, beside the maps of Compare."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from iscam.methods import METHODS

from .answers import Answers
from .news import Mapped, Piece, Refused, size
from .order import Order, Work
from .question import Question

Told = list[Any]  # news, in the order in which they were told


@dataclass(frozen=True, eq=False)
class Asked:
    """What a tab asks: the question, the tab's own choices, and a remark on what of them could not be heeded.

    `known_by` is by what its answer is known again if not all of the question matters to it.
    """

    question: Question
    choices: Hashable = None
    remark: str = ""
    known_by: Hashable = None

    @property
    def maps(self) -> Hashable:
        """By what its answer is known again; without the question itself, which holds a full-size photo."""
        return self.known_by or self.question.maps, self.choices


def no_choices(question: Question, chosen: Mapping[str, Any]) -> Asked:
    """For a tab that asks what the page asks."""
    return Asked(question)


def one_method(question: Question, chosen: Mapping[str, Any]) -> Asked:
    """For a tab that shows one method, chosen as `method`. Raises ValueError, a sentence, if there is no such method."""
    method = chosen["method"]
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"Choose one method of {', '.join(METHODS)}.")
    return Asked(replace(question, methods=(method,)))


@dataclass(frozen=True)
class Study:
    """What a tab asks of the compute process.

    Args:
        work: news about a question with the tab's own choices, as they come.
        read: the page's question and what is chosen in the tab, unchecked -> what the tab asks. Raises ValueError, a
            sentence for people.
        size: about how many bytes it takes to keep a piece of news.
    """

    work: Work
    read: Callable[[Question, Mapping[str, Any]], Asked] = no_choices
    size: Callable[[object], int] = size

    def order(self, asked: Asked) -> Order:
        """What is to be done."""
        return Order(self.work, asked.question, asked.choices)

    def remember(self, answers: Answers, asked: Asked, told: Told) -> None:
        """Keep the news of a study that came to its end."""
        answers.put(self._key(asked), list(told), sum(self.size(news) for news in told))

    def recall(self, answers: Answers, asked: Asked) -> Told | None:
        """The news of a study that has been made before; else None."""
        found: Told | None = answers.get(self._key(asked))
        return found

    def _key(self, asked: Asked) -> Hashable:
        return self.work, asked.maps


def piece(title: str, answer: Mapped | Refused) -> Piece | Refused:
    """An answer as part of a row of maps."""
    if isinstance(answer, Refused):
        return Refused(title, answer.sentence)
    return Piece(title, answer.explanation, answer.masked)
