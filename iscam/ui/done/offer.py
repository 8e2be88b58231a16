"""The models that a page offers, and what is known of each."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from iscam.models import MODELS, ModelSpec, check_key, missing_megabytes

KEPT_NAMES = 32  # of networks that visitors have named
TIMM = "timm/"  # how the names begin that visitors may give: of networks that others have looked through
OWN = "own"  # the key of a network that whoever serves the page has brought


@dataclass(frozen=True)
class Own:
    """A network of one's own: the arguments of `load_model`, what it is called until it is loaded, and the options by which
    the command line takes it, with files by their names alone, because visitors see them."""

    arguments: Mapping[str, object]
    label: str
    options: Sequence[str]


class Offer:
    """Rows by key: those of the table, a network of one's own, and timm's, as visitors name them. Of the last two little is
    known until they are loaded. Safe for many threads."""

    def __init__(self, own: Own | None = None) -> None:
        self._lock = threading.Lock()
        self._own: dict[str, Own] = {}
        self._numbers = count(1)
        self._rows = dict(MODELS)
        self._named: dict[str, ModelSpec] = {}  # of timm, or brought, as visitors have named them
        if own is not None:
            self._own[OWN] = own
            self._rows = {OWN: ModelSpec(OWN, own.label, "", {}, None)} | self._rows

    def row(self, key: object) -> ModelSpec:
        """What is known of a model, without layers where they are not. Raises ValueError, a sentence, if there is none."""
        with self._lock:
            rows = self._rows | self._named
            if isinstance(key, str) and (found := rows.get(key) or _labelled(rows.values(), key)) is not None:
                return found
            if not isinstance(key, str) or not key.startswith(TIMM):
                offered = ", ".join(self._rows)
                raise ValueError(
                    f"There is no such model: choose one of {offered}, or a name of timm's, {TIMM}resnet50."
                )
        check_key(key)
        return ModelSpec(key, key, "", {}, None)

    def learn(self, row: ModelSpec) -> None:
        """A model was loaded."""
        with self._lock:
            if row.key in self._rows:
                if not self._rows[row.key].layers:
                    self._rows[row.key] = row
                return
            self._named[row.key] = row
            self._forget()

    def choices(self) -> list[tuple[str, str]]:
        """(label, key) of each, with the size of what must be downloaded first."""
        with self._lock:
            return [(_label(row), key) for key, row in (self._rows | self._named).items()]

    def own(self, key: str) -> Own | None:
        """How a network of one's own is loaded; None of others."""
        return self._own.get(key)

    def bring(self, own: Own) -> str:
        """Offer another; return its key. The ones brought last are kept."""
        with self._lock:
            key = f"{OWN}-{next(self._numbers)}"
            self._own[key], self._named[key] = own, ModelSpec(key, own.label, "", {}, None)
            self._forget()
        return key

    def options(self, key: str) -> list[str]:
        """By which the command line takes a model."""
        own = self.own(key)
        return ["--model", key] if own is None else [*own.options]

    def _forget(self) -> None:
        """Those that were named first, if there are too many; with the lock held."""
        while len(self._named) > KEPT_NAMES:
            gone = next(iter(self._named))
            del self._named[gone]
            self._own.pop(gone, None)


def _label(row: ModelSpec) -> str:
    missing = missing_megabytes(row.key)
    return row.label if missing is None else f"{row.label} (downloads {missing} MB)"


def _labelled(rows: Iterable[ModelSpec], label: str) -> ModelSpec | None:
    """What is called so for people, as a visitor may type it."""
    return next((row for row in rows if row.label.casefold() == label.strip().casefold()), None)
