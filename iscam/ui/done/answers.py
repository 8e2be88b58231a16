"""What has been answered, by content: whoever asks the same of the same photo again gets it at once, without computing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

from iscam.settings import LIKELY_RIVALS

from .news import Analysed, size
from .question import Question, ordered

LIMIT_BYTES = 128 * 2**20


class Answers:
    """Answers by key, those used last, at most `limit` bytes of them. Safe for many threads."""

    def __init__(self, limit: int = LIMIT_BYTES) -> None:
        self._limit = limit
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        """The answer; None if it is not known."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: Hashable, answer: Any, size: int) -> None:
        """Keep an answer of so many bytes."""
        with self._lock:
            self._bytes += size - self._kept.pop(key, (None, 0))[1]
            self._kept[key] = answer, size
            while self._bytes > self._limit:
                _, (_, freed) = self._kept.popitem(last=False)
                self._bytes -= freed

    def to(self, question: Question) -> list[Any] | None:
        """The news of a question of which every part has been answered before; else None."""
        analysed = self.get(question.place)
        named = isinstance(question.against, str) and question.against != LIKELY_RIVALS
        if analysed is None or isinstance(question.target, str) or named:
            return None
        news = [self.get(key) for key in _keys(question, analysed)]
        return None if None in news else [analysed, *news]

    def learn(self, question: Question, news: Sequence[Any]) -> None:
        """Keep all news of a question, in the order in which `to` gives them."""
        for key, each in zip((question.place, *_keys(question, news[0])), news, strict=True):
            self.put(key, each, size(each))


def _keys(question: Question, analysed: Analysed) -> list[Hashable]:
    """Of the maps in the answer to a question, in the order in which they are made."""
    top = analysed.subject.predictions[0].index
    target = question.target if isinstance(question.target, int) else top
    keys = [question.key(method, target) for method in ordered(question.methods)]
    if question.contrasts:
        keys.append(question.key(question.contrasting, target, question.against))
    return keys
