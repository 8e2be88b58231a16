"""A job, as pages know it: its news, and whether it is to stop."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count

from .order import Order

TICK = 0.3  # seconds after which a reader without news is given control, to notice that its visitor has left

_numbers = count(1)


class Job:
    """An order and its news, which any number of readers may follow, from the beginning and at their own pace.

    Of the previews only the latest is kept, so slow readers cost no memory. `trouble` is why its fetching failed; `rendered` is
    told how many seconds a reader took for a preview.
    """

    def __init__(self, owner: str, order: Order | None, background: bool = False) -> None:
        self.number = next(_numbers)
        self.owner = owner
        self.order = order
        self.background = background
        self.trouble: str | None = None
        self.stop = threading.Event()
        self.begun = self.gives_way = False  # whether it has had a turn, and is about to give way to others
        self.rendered: Callable[[float], None] | None = None
        self._changed = threading.Condition()
        self._news: list[object] = []
        self._preview: object = None
        self._ended = False

    @property
    def pixels(self) -> int:
        """Of the photo that it holds."""
        return math.prod(self.order.question.photo.image.size) if self.order is not None else 0

    @classmethod
    def known(cls, owner: str, news: Iterable[object]) -> Job:
        """A job that is over, because its news were known before."""
        job = cls(owner, None)
        for each in news:
            job.tell(each)
        job.end()
        return job

    def tell(self, news: object) -> None:
        """Add news that every reader gets. Whatever the preview showed is outdated by it."""
        with self._changed:
            self._news.append(news)
            self._preview = None
            self._changed.notify_all()

    def show(self, preview: object) -> None:
        """Replace the preview; a reader who has not read the one before never will."""
        with self._changed:
            self._preview = preview
            self._changed.notify_all()

    def give_way(self, told: int) -> None:
        """It has given way to others, and is to go on later with what is left of it: so many of its news have been told."""
        with self._changed:
            assert self.order is not None  # it has not ended
            self.order = self.order.rest(told)
            self._preview = None
            self.gives_way = False

    def end(self) -> None:
        """No more news. Pages keep their jobs, so the order, which holds a full-size photo, is let go."""
        with self._changed:
            self.order = None
            self._ended = True
            self._changed.notify_all()

    def follow(self, tick: float = TICK) -> Iterator[list[object]]:
        """Lists of news, oldest first, the newest preview last; an empty list after `tick` seconds without any."""
        seen, preview = 0, None
        while True:
            with self._changed:
                if not self._ended and len(self._news) == seen and self._preview in (None, preview):
                    self._changed.wait(tick)
                fresh = self._news[seen:]
                seen += len(fresh)
                previewed = self._preview not in (None, preview)
                if previewed:
                    fresh.append(self._preview)
                preview, ended = self._preview, self._ended
            began = time.monotonic()
            yield fresh
            if previewed and self.rendered is not None:
                self.rendered(time.monotonic() - began)
            if ended:
                return
