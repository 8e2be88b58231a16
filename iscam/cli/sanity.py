"""`python -m iscam sanity PHOTO...`: whether maps depend on what the network has learnt, and are stable."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from iscam import show, trust
from iscam.images import one_line
from iscam.methods import METHODS
from iscam.settings import Settings

from .photos import each_photo, settings_of

if TYPE_CHECKING:
    from iscam import Analysis, Explainer, Explanation
    from iscam.trust import Average, Comparison

FILES = (".sanity.csv", ".sanity.png")  # what is written of a photo
SUMMARY = "summary"  # stem of what is written of several


def check_sanity(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    settings = settings_of(options)
    done: list[dict[str, list[Comparison]]] = []  # by method, of each photo

    def work(explainer: Explainer, analysis: Analysis, photo: Path, taken: set[Path]) -> str:
        target = analysis.predictions[0].index if options.target is None else options.target
        found = {
            one_line(f"{method} {settings.rivalry}".rstrip()): list(
                _comparisons(explainer, analysis, method, target, settings)
            )
            for method in options.methods
        }
        stem = show.free_stem(options.out, photo.stem, taken, FILES)
        table, figure = (options.out / (stem + suffix) for suffix in FILES)
        category = explainer.model.categories[explainer.model.find_class(target)]
        title = one_line(f"{photo.name}: {category}, {explainer.model.label}")
        show.write_whole(table, trust.as_csv(one_line(photo.name), found))
        show.write_whole(figure, show.encoded(trust.as_figure(title, found)))
        taken.update({show.real_path(table), show.real_path(figure)})
        done.append(found)
        last = one_line(f"  (Pearson's and Spearman's correlation with the map; {table}, {figure})")
        return "\n".join([title, *_lines(trust.averages([found])), last])

    def summary(taken: set[Path]) -> str:
        """The means over the photos, if there are several."""
        if len(done) < 2:
            return ""
        table = options.out / (show.free_stem(options.out, SUMMARY, taken, FILES[:1]) + FILES[0])
        rows = trust.averages(done)
        show.write_whole(table, trust.averages_csv(rows))
        last = one_line(
            f"  (means, Pearson's with its bootstrap 95 % interval, and the lowest and highest of a single map; {table})"
        )
        return "\n".join([f"{len(done)} photos", *_lines(rows), last])

    return each_photo(options, work, finish=summary)


def _comparisons(
    explainer: Explainer, analysis: Analysis, method: str, target: int | str, settings: Settings
) -> Iterator[Comparison]:
    """All checks of a method's map for a class."""

    def explain(explainer: Explainer, analysis: Analysis, steps: int | None) -> Explanation:
        asked = replace(settings, steps=steps or settings.steps)
        return explainer.answer(analysis, explainer.request(analysis, method, target, settings=asked))

    shifts = [shift for shift in trust.SHIFTS if shift < min(analysis.forward.image.shape[2:])]
    others = trust.OTHER_STEPS if "steps" in METHODS[method].heeds else ()
    counts = [count for count in others if count != settings.steps]
    yield from trust.randomisation(explainer, analysis, explain, seed=settings.seed)
    yield from trust.random_heads(explainer, analysis, explain, seed=settings.seed)
    yield from trust.stability(explainer, analysis, explain, shifts, counts)


def _lines(rows: Sequence[Average]) -> list[str]:
    """A line for each mean; where it is of several maps, with their lowest and highest correlation."""
    across = max(len(row.method) for row in rows)
    return [f"  {row.method:{across}} {row.check:10} {row.change:32} {_correlations(row)}" for row in rows]


def _correlations(row: Average) -> str:
    if row.pearson is None or row.spearman is None or row.spread is None:
        return " blank  blank"
    words = [f"{row.pearson:6.3f} {row.spearman:6.3f}"]
    if row.interval is not None:
        words.append("[{:6.3f}, {:6.3f}]".format(*row.interval))
    if row.maps > 1:
        words.append("{:6.3f} to {:6.3f}".format(*row.spread))
    if row.blank:
        words.append(f"{row.blank} of {row.maps} blank")
    return "  ".join(words)
