"""`python -m iscam explain PHOTO...`: a figure, the maps and a record for each photo, and a sheet of all."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from iscam import show
from iscam.contrast import contrast, contrasting
from iscam.images import one_line
from iscam.methods import METHODS

from .gathered import gathering
from .photos import each_photo, settings_of

if TYPE_CHECKING:
    from iscam import Analysis, Explainer, Explanation, LoadedModel, Progress


def explain_photos(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    kinds = [f"--{kind}" for kind in ("against", "rivals", "contrast") if getattr(options, kind) is not None]
    if len(kinds) > 1:
        raise ValueError(f"{kinds[0]} and {kinds[1]} are two kinds of contrast: name one.")
    if kinds == ["--contrast"] and not any(METHODS[key].class_specific for key in options.methods):
        raise ValueError(
            f"{METHODS[options.methods[0]].label} gives the same map for every class: leave out --contrast."
        )
    recorded = settings_of(options).record() | {"tolerance": options.tolerance}
    with gathering(options, recorded | {"engine": options.engine}) as sheet:

        def begin(model: LoadedModel, photos: Sequence[Path], taken: set[Path]) -> str:
            sheet.begin(photos, taken)
            return one_line(f"{model.label} sees photos {model.preparation.words}")

        def work(explainer: Explainer, analysis: Analysis, photo: Path, taken: set[Path]) -> str:
            explanations = [_explain(explainer, analysis, method, options) for method in options.methods]
            beside = _contrast(explainer, analysis, explanations[0].class_index, options)
            stem = show.free_stem(options.out, photo.stem, taken)
            subject = explainer.subject(analysis)
            files = show.results(subject, explanations, options.engine, recorded, contrast=beside)
            figure = show.write_results(options.out, stem, files)
            taken.add(show.real_path(figure))
            sheet.add(photo, subject, explanations, beside, figure)
            first, seconds = explanations[0], sum(e.seconds for e in explanations)
            found = ", ".join(row.category for row in subject.found)
            also = f" (found: {found})" if found else ""
            said = f"{photo.name}: {first.category} {100 * first.probability:.1f} %{also}, {seconds:.1f} s, {figure}"
            notes = [f"  {METHODS[e.method].label}: {e.note}" for e in explanations if e.note]
            return "\n".join(map(one_line, [said, *notes]))

        return each_photo(options, work, begin, sheet.miss, sheet.finish)


def _contrast(explainer: Explainer, analysis: Analysis, target: int, options: argparse.Namespace) -> Explanation | None:
    """The map that stands beside the others, if it is asked for, of the first method that can give it."""
    method = contrasting(options.methods, explainer.refusal)
    if options.contrast is None or method is None:
        return None
    with _bar(f"{analysis.photo.name} contrast") as shown:
        return contrast(explainer, analysis, method, target, options.contrast, settings_of(options), shown)


def _explain(explainer: Explainer, analysis: Analysis, method: str, options: argparse.Namespace) -> Explanation:
    """One explanation."""
    request = explainer.request(analysis, method, options.target, options.against, settings_of(options))
    with _bar(f"{analysis.photo.name} {METHODS[method].label}") as shown:
        return explainer.answer(analysis, request, progress=shown)


@contextmanager
def _bar(label: str) -> Iterator[Callable[[Progress], None]]:
    """A progress bar on a terminal."""
    with tqdm(desc=one_line(label), unit="pass", leave=False, disable=not sys.stderr.isatty()) as bar:

        def shown(progress: Progress) -> None:
            bar.total = progress.total
            bar.update(progress.done - bar.n)
            bar.refresh()  # the total may have changed

        yield shown
