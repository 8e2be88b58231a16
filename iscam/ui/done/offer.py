"""The models that a page offers, and what is known of each."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iscam.models import MODELS, ModelSpec, missing_megabytes

OWN = "own"  # the key of a network that whoever serves the page has brought


@dataclass(frozen=True)
class Own:
    """A network of one's own: the arguments of `load_model`, what it is called until it is loaded, and the options by which
    the command line takes it, with files by their names alone, because visitors see them."""

    arguments: Mapping[str, object]
    label: str
    options: Sequence[str]


class Offer:
    """Rows by key: those of the table, and a network of one's own, of which little is known before it is loaded. Safe for many
    threads."""

    def __init__(self, own: Own | None = None) -> None:
        self._own = own
        self._lock = threading.Lock()
        self._rows = dict(MODELS)
        if own is not None:
            self._rows = {OWN: ModelSpec(OWN, own.label, "", {}, None)} | self._rows

    def row(self, key: object) -> ModelSpec:
        """What is known of a model, without layers where they are not. Raises ValueError, a sentence, if there is none."""
        with self._lock:
            found = self._rows.get(key) if isinstance(key, str) else None
            if found is None:
                raise ValueError(f"There is no such model: choose one of {', '.join(self._rows)}.")
            return found

    def learn(self, row: ModelSpec) -> None:
        """A model was loaded."""
        with self._lock:
            if row.key in self._rows and not self._rows[row.key].layers:
                self._rows[row.key] = row

    def choices(self) -> list[tuple[str, str]]:
        """(label, key) of each, with the size of what must be downloaded first."""
        with self._lock:
            return [(_label(row), key) for key, row in self._rows.items()]

    def options(self, key: str) -> list[str]:
        """By which the command line takes a model."""
        return [*self._own.options] if key == OWN and self._own is not None else ["--model", key]


def _label(row: ModelSpec) -> str:
    missing = missing_megabytes(row.key)
    return row.label if missing is None else f"{row.label} (downloads {missing} MB)"
