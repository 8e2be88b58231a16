"""Which network the options name: what is wrong with them is said before anything is loaded."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from iscam.models import DEFAULT_MODEL, MODELS, load_model
from iscam.notes import refusal

from .files import complain

if TYPE_CHECKING:
    from tqdm import tqdm

from iscam.models import LoadedModel

OWN = ("arch", "checkpoint", "labels", "input_size", "mean", "std", "head")  # options of a network of one's own


def check(options: argparse.Namespace) -> None:
    """As `check_network`, and refuse methods that a listed model cannot serve."""
    check_network(options)
    if options.checkpoint is None and (spec := MODELS.get(options.model or DEFAULT_MODEL)) is not None:
        _refuse(options.methods, spec.label, spec.head_layer, options.layer or spec.layer)


def check_network(options: argparse.Namespace) -> None:
    """Refuse options that do not belong together, and files that are not there. Raises ValueError, a sentence."""
    if options.arch is None and options.checkpoint is None:
        own = options.labels, options.input_size, options.mean, options.std, options.head
        if any(option is not None for option in own):
            raise ValueError(
                "--labels, --input-size, --mean, --std and --head belong to --arch and --checkpoint: name both."
            )
        return
    if options.model is not None:
        raise ValueError("--model is for the models listed by `models`; with --arch and --checkpoint leave it out.")
    if options.arch is None or options.checkpoint is None:
        raise ValueError("Your own weights need both --arch and --checkpoint.")
    for file in (options.checkpoint, options.labels):
        if file is not None and not os.path.isfile(file):
            raise ValueError(f"There is no file {file}.")


def wanted(options: argparse.Namespace) -> dict[str, Any]:
    """The network of the options, as arguments of `load_model`."""
    own = {name: getattr(options, name) for name in OWN}
    return {"key": options.model or DEFAULT_MODEL} | {name: value for name, value in own.items() if value is not None}


def own_options(options: argparse.Namespace) -> list[str]:
    """The options that name a network of one's own, with files by their names alone."""
    words = []
    for name in OWN:
        if (value := getattr(options, name)) is not None:
            said = ",".join(map(str, value)) if isinstance(value, tuple) else getattr(value, "name", str(value))
            words += [f"--{name.replace('_', '-')}", said]
    return words


def load(options: argparse.Namespace) -> LoadedModel:
    """The model of the options. Raises ValueError, a sentence, if one of the methods cannot serve it."""
    with fetching(options.model or DEFAULT_MODEL) as progress:
        model = load_model(**wanted(options), device=options.device, progress=progress)
    _refuse(options.methods, model.label, model.head_layer, model.find_layer(options.layer))
    for note in model.notes:
        complain(note)
    return model


@contextmanager
def fetching(name: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar of bytes on a terminal, from when some arrive."""
    with ExitStack() as stack:
        bars: list[Any] = []

        def shown(done: int, total: int) -> None:
            if not bars:
                bar = tqdm(
                    desc=name, total=total, unit="B", unit_scale=True, leave=False, disable=not sys.stderr.isatty()
                )
                bars.append(stack.enter_context(bar))
            bars[0].update(done - bars[0].n)

        yield shown


def _refuse(methods: Sequence[str], label: str, head_layer: str | None, layer: str) -> None:
    for method in methods:
        if reason := refusal(method, label, head_layer, layer):
            raise ValueError(reason)
