"""`python -m iscam explain PHOTO...`: a figure, the maps and a record for each photo."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from iscam import show
from iscam.methods import METHODS

from .files import one_line
from .photos import each_photo, settings_of

if TYPE_CHECKING:
    from iscam import Analysis, Explainer, Explanation, Progress


def explain_photos(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    if options.against is not None and options.rivals is not None:
        raise ValueError("--against and --rivals are two kinds of contrast: name one.")
    recorded = settings_of(options).record() | {"tolerance": options.tolerance}

    def work(explainer: Explainer, analysis: Analysis, photo: Path, taken: set[Path]) -> str:
        explanations = [_explain(explainer, analysis, method, options) for method in options.methods]
        stem = show.free_stem(options.out, photo.stem, taken)
        files = show.results(explainer.subject(analysis), explanations, options.engine, recorded)
        figure = show.write_results(options.out, stem, files)
        taken.add(show.real_path(figure))
        first, seconds = explanations[0], sum(e.seconds for e in explanations)
        return one_line(f"{photo.name}: {first.category} {100 * first.probability:.1f} %, {seconds:.1f} s, {figure}")

    return each_photo(options, work)


def _explain(explainer: Explainer, analysis: Analysis, method: str, options: argparse.Namespace) -> Explanation:
    """One explanation, with a progress bar on a terminal."""
    label = one_line(f"{analysis.photo.name} {METHODS[method].label}")
    with tqdm(desc=label, unit="pass", leave=False, disable=not sys.stderr.isatty()) as bar:

        def shown(progress: Progress) -> None:
            bar.total = progress.total
            bar.update(progress.done - bar.n)
            bar.refresh()  # the total may have changed

        request = explainer.request(analysis, method, options.target, options.against, settings_of(options))
        return explainer.answer(analysis, request, progress=shown)
