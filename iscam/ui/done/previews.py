"""How often a map is shown while it sharpens: as often as costs about a twentieth of the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

SHARE = 0.025  # of the time for both processes: with what the browser does, which nobody tells, about a twentieth
SHORTEST = 0.1  # seconds from one to the next, and to the first: more often, nobody would see more


class Previews:
    """When the next preview of a task is due.

    A preview costs what it takes to make it here and to show it on the server's side, which says so when it has been done.
    None is made before the last one has been shown: where nobody looks, one is enough.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = self._begun = clock() + SHORTEST
        self._cost = 0.0
        self._awaited = False
        self._counting = threading.Lock()

    def due(self) -> bool:
        """Whether a preview should be made now."""
        return not self._awaited and self._clock() >= self._next

    def begin(self) -> None:
        """A preview is being made."""
        self._awaited, self._begun, self._cost = True, self._clock(), 0.0

    def made(self) -> None:
        """It is on its way."""
        self._spend(self._clock() - self._begun)

    def rendered(self, seconds: float) -> None:
        """A page has shown it, in so many seconds. Of several pages, each costs as much."""
        self._spend(seconds)
        self._awaited = False

    def _spend(self, seconds: float) -> None:
        with self._counting:  # what is made and what is shown is told by two threads
            self._cost += seconds
            self._next = self._begun + max(SHORTEST, self._cost / SHARE)
