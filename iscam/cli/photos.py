"""What `explain` and `sanity` share: some work with every photo that can be read."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import iscam
from iscam import engine, show
from iscam.methods import METHODS
from iscam.settings import Settings, named_rival

from . import network
from .files import complain, make_folder, present

if TYPE_CHECKING:
    from iscam import Analysis, Explainer, LoadedModel

Work = Callable[["Explainer", "Analysis", Path, set[Path]], str]
Begin = Callable[["LoadedModel", Sequence[Path], set[Path]], str]


def each_photo(
    options: argparse.Namespace,
    work: Work,
    begin: Begin = lambda model, photos, taken: "",
    failed: Callable[[Path, str], None] = lambda photo, sentence: None,
    finish: Callable[[set[Path]], str] = lambda taken: "",
) -> int:
    """Do some work with every photo that can be read, and print what it says; the others are named.

    The work is given the explainer, the analysis, the photo's path, and the real paths that are taken, to which it adds what
    it has written. Before it begins, `begin` is given the model, the photos and the latter, and what it says is printed before
    the first photo's; when all are done, what `finish` says. Of a photo that is not there or cannot be read `failed` is told.
    """
    network.check(options)
    contrast = "--against" if options.against is not None else "--rivals" if options.rivals is not None else ""
    if contrast and (general := [k for k in options.methods if not METHODS[k].class_specific]):
        raise ValueError(
            f"{METHODS[general[0]].label} gives the same map for every class: leave it out with {contrast}."
        )
    photos, absent = present(options.photos)
    for photo, sentence in absent.items():
        complain(f"{photo}: {sentence}")
    if not photos:
        return 2
    make_folder(options.out)
    engine.set_threads()
    model = network.load(options)
    explainer = iscam.Explainer(model, options.engine, options.tolerance)
    model.find_layer(options.layer)
    rivals = {"--against": options.against} | {
        f"--{kind}": named_rival(getattr(options, kind)) for kind in ("rivals", "contrast")
    }
    option, against = next(((kind, name) for kind, name in rivals.items() if name is not None), ("", None))
    named = [model.find_class(name) for name in (options.target, against) if name is not None]
    if len(named) > len(set(named)):
        raise ValueError(f"--target and {option} name the same class: a contrast needs two.")
    taken = {show.real_path(file) for file in (*photos, options.checkpoint, options.labels) if file is not None}
    said_before = begin(model, photos, taken)
    for photo, sentence in absent.items():
        failed(photo, sentence)
    missed = len(absent)
    for photo in photos:
        try:
            analysis = explainer.analyse(photo, options.layer)
            said = work(explainer, analysis, photo, taken)
        except ValueError as error:
            complain(f"{photo}: {error}")
            failed(photo, str(error))
            missed += 1
            continue
        if said_before:
            print(said_before)
            said_before = ""
        if analysis.photo.note:
            complain(f"{photo}: {analysis.photo.note}")
        print(said, flush=True)
    if said := finish(taken):
        print(said)
    return 2 if missed else 0


def settings_of(options: argparse.Namespace) -> Settings:
    """How the maps are to be made."""
    contrast = options.rivals, options.strength, options.signed
    return Settings(options.steps, options.path, options.weighting, options.samples, options.seed, *contrast)
