"""A row of the table of tabs: how one looks, and what it does when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from iscam.ui.done.offer import Offer
from iscam.ui.done.question import Question
from iscam.ui.done.several import Upload
from iscam.ui.done.study import Study, Told
from iscam.ui.seen.face import Face, Shelf
from iscam.ui.seen.shown import Shown


@dataclass(frozen=True, eq=False)
class Glance:
    """What is known when a tab is opened: the maps on the page, the question they answer, the page's address, the models, and
    what the studies of other tabs have told for that question."""

    shown: Shown
    question: Question
    address: str
    offer: Offer
    told: Callable[[str], Told | None]


@dataclass(frozen=True, eq=False)
class Tab:
    """One tab: its face, and a study for the compute process, or what it makes `at_once` of what is known, or neither. A tab
    that shows photos finds by its digest, in what its study has told, the one that is to become the page's."""

    face: Face
    study: Study | None = None
    at_once: Callable[[Glance], Shelf] | None = None
    photo: Callable[[Told, object], Upload | None] | None = None


Tabs = dict[str, Tab]
Values = dict[Any, Any]  # component -> what the page says is in it
