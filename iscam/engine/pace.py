"""How many rows go into a batch."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

BATCH_SECONDS = 0.12  # a batch is the grain of a stop: aim at half of the 0.25 s that may pass
TRIES = 2  # of each size: the first one pays for planning
RETRY = 16  # batches after which each size is tried once more, then after twice as many, and so on
RECENT = 12  # batches of each size that tell how long one takes: the quickest of many is luck


class Pace:
    """How many rows go into the next batch: the size that takes the least time per row, of those that fit in time.

    Every size is tried on the work itself, and again each time twice as much work has been done, because a busy machine may
    have spoilt a try. At most a quarter of a size's recent batches were quicker than what it is taken to need.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = tuple(sizes)
        self._recent: dict[int, deque[float]] = {}  # seconds per row, by size
        self._tries = dict.fromkeys(self._sizes, 0)

    @property
    def seconds_per_row(self) -> float:
        """Of the best size so far; infinite before the first batch."""
        return min(map(self._needed, self._recent), default=float("inf"))

    def rows(self, left: int) -> int:
        """The next batch's rows, when `left` rows are left to run."""
        smallest, *larger = self._sizes
        in_time = [size for size in larger if size <= left and size * self._expected(size) <= BATCH_SECONDS]
        tries = TRIES + int(math.log2(1 + sum(self._tries.values()) / RETRY))
        for size in (smallest, *in_time):
            if self._tries[size] < tries:
                return size
        return min((smallest, *in_time), key=self._needed)

    def _expected(self, size: int) -> float:
        """Seconds per row in batches of that size, which are taken to gain nothing before they have been tried."""
        return self._needed(size) if self._tries[size] >= TRIES else self.seconds_per_row

    def _needed(self, size: int) -> float:
        """Seconds per row that batches of a size take, of which there have been some."""
        recent = sorted(self._recent[size])
        return recent[(len(recent) - 1) // 4]

    def shrink(self, rows: int) -> bool:
        """A batch of so many rows has found no memory: smaller ones from now on; whether there are any."""
        if rows > 1:
            self._sizes = tuple(size for size in self._sizes if size < rows) or (rows // 2,)
            self._tries = {size: self._tries.get(size, 0) for size in self._sizes}
        return rows > 1

    def learn(self, rows: int, seconds: float) -> None:
        """Take note of a batch."""
        if rows in self._tries:
            self._tries[rows] += 1
            self._recent.setdefault(rows, deque(maxlen=RECENT)).append(seconds / rows)
