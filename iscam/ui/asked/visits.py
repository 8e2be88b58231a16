"""What is remembered of each page that is open, by its session."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from iscam.ui.done.job import Job
from iscam.ui.seen.shown import Shown

KEPT_PAGES = 64
NOWHERE = "", ""  # what a page has asked about whose question was stopped before it was answered


@dataclass(eq=False)
class Turn:
    """One event's right to change a page, `after` the last word of the one before; it has `left` with its own last word."""

    job: Job
    after: threading.Event | None
    left: threading.Event = field(default_factory=threading.Event)


@dataclass(eq=False)
class Studied:
    """What a tab shows: the news so far of a study, and of which maps (not their question, which holds a full-size photo)."""

    tab: str
    maps: Hashable
    told: list[object]


@dataclass(eq=False)
class Visit:
    """What is remembered of a page: what it shows, whose turn it is, and which photo and model it has asked about.

    `told` is the path of the photo that the page told of last, `chosen` what was chosen in a tab when it was asked last,
    `followed` what a tab has asked about since the maps that are shown began: the model, the layer and the classes.
    """

    shown: Shown | None = None
    turn: Turn | None = None
    asked: tuple[str, str] | None = None  # the photo's digest and the model
    told: object = "none yet"
    tab: str = "compare"
    studied: Studied | None = None
    followed: list[object] | None = None
    chosen: dict[str, list[object]] = field(default_factory=dict)
    _passing: threading.Lock = field(default_factory=threading.Lock)

    def take(self, begin: Callable[[], Job]) -> Turn:
        """The turn for a job that takes the place of the one before, whose event must not think that it has merely ended."""
        with self._passing:
            self.turn = Turn(begin(), self.turn.left if self.turn is not None else None)
            return self.turn

    def has(self, turn: Turn) -> bool:
        """Whether the page is still this turn's."""
        with self._passing:
            return self.turn is turn


class Visits:
    """The visits of the pages used last. Safe for many threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Visit] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, session: str) -> Visit:
        """The visit of a page, which begins with its first event. One that is forgotten for it shows nothing any more."""
        with self._lock:
            visit = self._kept.setdefault(session, Visit())
            self._kept.move_to_end(session)
            while len(self._kept) > KEPT_PAGES:
                self._kept.popitem(last=False)[1].turn = None
            return visit

    def forget(self, session: str) -> None:
        """The page was closed: the event that follows a job for it ends."""
        with self._lock:
            visit = self._kept.pop(session, None)
        if visit is not None:
            visit.turn = None
