"""`python -m iscam evaluate FOLDER`: how faithful the maps are over a set of photos, by one process or several."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

import iscam
from iscam import engine, evaluation, show
from iscam.evaluation import Conditions, Maps, Measures, Network
from iscam.settings import named_rival
from iscam.trust import CEILINGS, DEFAULT_METRICS, METRICS

from . import network
from .files import complain, make_folder

if TYPE_CHECKING:
    from iscam import LoadedModel
    from iscam.evaluation import Item


def evaluate_photos(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    options.ceilings = tuple(key for key in options.methods if key in CEILINGS)
    options.methods = tuple(key for key in options.methods if key not in CEILINGS)
    network.check(options)
    if options.strength < 1 and not any(options.rivals):
        raise ValueError("--strength is of what speaks for the rivals: name some with --rivals.")
    source = _source(options)
    items = evaluation.sample(evaluation.find_items(source), None if options.grid else options.limit, options.seed)
    _choose_metrics(options, any(item.box is not None for item in items))
    make_folder(options.out)
    inputs = (source, options.checkpoint, options.labels, *(item.file for item in items))
    outputs = {show.real_path(options.out / name) for name in evaluation.FILES}
    if lost := [file for file in inputs if file is not None and show.real_path(file) in outputs]:
        raise ValueError(f"{lost[0]} would be overwritten: name another --out.")
    options.device = engine.find_device(options.device)  # rows are of one device, by whichever name it was asked for
    with evaluation.join_crew(options.device) as crew:
        model = network.load(options)
        for rival in filter(None, map(named_rival, options.rivals)):
            model.find_class(rival)
        unseen: dict[str, str] = {}
        if options.grid:
            layer, explainer = model.find_layer(options.layer), iscam.Explainer(model)
            items, unseen = crew.agreed(lambda: evaluation.compose(explainer, items, layer, options.limit))

        def progress(mine: Sequence[Item]) -> Iterable[Item]:
            name = "photos" if crew.size == 1 else f"photos of process {crew.rank + 1} of {crew.size}"
            return tqdm(mine, desc=name, unit="photo", disable=crew.rank > 0)

        found = evaluation.evaluate(model, items, _conditions(options, model), options.out, crew, progress)
        if found is not None:
            evaluation.write_evaluation(options.out, found, evaluation.machine(crew, options.device))
            for photo, problem in (unseen | found.problems).items():
                complain(f"{photo}: {problem}")
            print((options.out / "summary.md").read_text(encoding="utf-8"))
            if not found.rows:
                raise ValueError("none of the photos could be measured.")
    return 0


def _source(options: argparse.Namespace) -> Path:
    """Where the photos are. Raises ValueError, a sentence, unless one place is named."""
    if (options.source is None) == (options.grid is None):
        raise ValueError(
            "Name a FOLDER of photos, or with --grid FOLDER one of photos that are set in grids; not both."
        )
    if options.grid and options.target == "label":
        raise ValueError(
            "Grids are of photos that the network is sure of, and of what it says of them: leave --target out."
        )
    found: Path = options.grid or options.source
    return found


def _choose_metrics(options: argparse.Namespace, boxes: bool) -> None:
    """Those that are named, or the usual ones, into the options. Raises ValueError, a sentence, if some cannot be measured."""
    options.metrics = options.metrics or (("grid-pointing",) if options.grid else DEFAULT_METRICS)
    needs = {METRICS[key].needs: METRICS[key].label for key in options.metrics}
    if "box" in needs and (options.grid or not boxes):
        raise ValueError(f"{needs['box']} needs boxes: a CSV with columns left, top, right, bottom.")
    if "grid" in needs and not options.grid:
        raise ValueError(f"{needs['grid']} needs grids of photos: name the folder with --grid.")


def _conditions(options: argparse.Namespace, model: LoadedModel) -> Conditions:
    return Conditions(
        Network(
            model=model.key,
            weights_sha256=model.weights_sha256,
            categories_sha256=hashlib.sha256("\n".join(model.categories).encode()).hexdigest(),
            preprocessing=" ".join(repr(model.transforms).split()),
            device=options.device,
            layer=model.find_layer(options.layer),
            head=model.spec.head,
        ),
        Maps(
            methods=options.methods,
            target=options.target,
            steps=options.steps,
            path=options.path,
            weighting=options.weighting,
            engine=options.engine,
            tolerance=options.tolerance,
            samples=options.samples,
            seed=options.seed,
            rivals=options.rivals,
            strength=options.strength,
            ceilings=options.ceilings,
        ),
        Measures(
            metrics=options.metrics,
            curve_steps=options.curve_steps,
            threads=options.threads,
            bfloat16=options.engine == "fast" and engine.has_bf16(options.device),
            openvino=engine.has_openvino(options.device),
            grid=options.grid is not None,
        ),
    )
