"""`python -m iscam sanity PHOTO...`: whether maps depend on what the network has learnt, and are stable."""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from iscam import show, trust
from iscam.methods import METHODS

from .files import one_line
from .photos import each_photo, settings_of

if TYPE_CHECKING:
    from iscam import Analysis, Explainer, Explanation

FILES = (".sanity.csv", ".sanity.png")  # what is written of a photo


def check_sanity(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    settings = settings_of(options)

    def work(explainer: Explainer, analysis: Analysis, photo: Path, taken: set[Path]) -> str:
        target = analysis.predictions[0].index if options.target is None else options.target

        def explain(method: str, explainer: Explainer, analysis: Analysis, steps: int | None) -> Explanation:
            asked = replace(settings, steps=steps or settings.steps)
            return explainer.answer(analysis, explainer.request(analysis, method, target, settings=asked))

        found = {}
        shifts = [shift for shift in trust.SHIFTS if shift < min(analysis.forward.image.shape[2:])]
        for method in options.methods:
            others = trust.OTHER_STEPS if "steps" in METHODS[method].heeds else ()
            counts = [count for count in others if count != settings.steps]
            found[method] = [
                *trust.randomisation(explainer, analysis, partial(explain, method), seed=options.seed),
                *trust.stability(explainer, analysis, partial(explain, method), shifts, counts),
            ]
        stem = show.free_stem(options.out, photo.stem, taken, FILES)
        table, figure = (options.out / (stem + suffix) for suffix in FILES)
        category = explainer.model.categories[explainer.model.find_class(target)]
        title = one_line(f"{photo.name}: {category}, {explainer.model.label}")
        show.write_whole(table, trust.as_csv(one_line(photo.name), found))
        show.write_whole(figure, show.encoded(trust.as_figure(title, found)))
        taken.update({show.real_path(table), show.real_path(figure)})
        lines = [
            f"  {method:18} {row.check:10} {row.change:32} {_correlation(row.pearson)} {_correlation(row.spearman)}"
            for method, rows in found.items()
            for row in rows
        ]
        last = one_line(f"  (Pearson's and Spearman's correlation with the map; {table}, {figure})")
        return "\n".join([title, *lines, last])

    return each_photo(options, work)


def _correlation(value: float | None) -> str:
    return " blank" if value is None else f"{value:6.3f}"
