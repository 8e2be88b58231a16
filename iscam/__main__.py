"""The command line: `python -m iscam explain PHOTO...`, `sanity PHOTO...`, `evaluate FOLDER`, `models` and `benchmark`.

Arguments are checked before torch is loaded, so that a wrong one is answered at once.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from iscam.cli import make_parser
from iscam.models import DEFAULT_MODEL, MODELS, load_model
from iscam.trust import METRICS

from .methods import METHODS, refusal

SANITY = (".sanity.csv", ".sanity.png")  # what is written of a photo

if TYPE_CHECKING:
    from iscam.evaluation import Item
    from iscam.models import LoadedModel

    from .explain import Analysis, Explainer, Explanation, Progress


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0 only if all of it was done, 130 if it was interrupted, else 2.

    To evaluate is to measure the photos that can be measured: it is done if there is one.
    """
    options = make_parser().parse_args(arguments)
    run = {"models": _models, "benchmark": _benchmark, "evaluate": _evaluate, "sanity": _sanity, "explain": _explain}[
        options.command
    ]
    try:
        return run(options)
    except (ValueError, OSError) as error:
        _complain(f"python -m iscam {options.command}: {error}")
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def _models(options: argparse.Namespace) -> int:
    rows = [
        {
            "key": spec.key,
            "label": spec.label,
            "layer": spec.layer,
            "layers": {name: list(size) for name, size in spec.layers.items()},
            "methods": [key for key in METHODS if refusal(key, spec.label, spec.head_layer, spec.layer) is None],
        }
        for spec in MODELS.values()
    ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    for spec in MODELS.values():
        layers = ", ".join(f"{name} ({height}x{width})" for name, (height, width) in spec.layers.items())
        print(f"{spec.key:20} {spec.label:20} {layers}")
    return 0


def _explain(options: argparse.Namespace) -> int:
    if options.against is not None and (general := [k for k in options.methods if not METHODS[k].class_specific]):
        raise ValueError(
            f"{METHODS[general[0]].label} gives the same map for every class: leave it out with --against."
        )
    settings = {key: getattr(options, key) for key in ("steps", "path", "weighting", "seed", "samples", "tolerance")}

    def work(explainer: Explainer, analysis: Analysis, photo: Path, taken: set[Path]) -> str:
        from iscam.show import free_stem, real_path, results, write_results

        explanations = [_run(explainer, analysis, method, options) for method in options.methods]
        stem = free_stem(options.out, photo.stem, taken)
        files = results(explainer.subject(analysis), explanations, options.engine, settings)
        figure = write_results(options.out, stem, files)
        taken.add(real_path(figure))
        first, seconds = explanations[0], sum(e.seconds for e in explanations)
        return _one_line(f"{photo.name}: {first.category} {100 * first.probability:.1f} %, {seconds:.1f} s, {figure}")

    return _each_photo(options, work)


def _each_photo(options: argparse.Namespace, work: Callable[[Explainer, Analysis, Path, set[Path]], str]) -> int:
    """Do some work with every photo that can be read, and print what it says; the others are named.

    The work adds what it has written to the real paths that are taken.
    """
    _check_own(options)
    _refuse_early(options)
    photos = _present(options.photos)
    if not photos:
        return 2
    _make_folder(options.out)
    from iscam.engine import set_threads
    from iscam.show import real_path

    from .explain import Explainer

    set_threads()
    model = _load(options)
    explainer = Explainer(model, options.engine, options.tolerance)
    model.find_layer(options.layer)
    named = [model.find_class(name) for name in (options.target, options.against) if name is not None]
    if len(named) > len(set(named)):
        raise ValueError("--target and --against name the same class: a contrast needs two.")
    taken = {real_path(file) for file in (*photos, options.checkpoint, options.labels) if file is not None}
    failed = len(photos) < len(options.photos)
    for photo in photos:
        try:
            said = work(explainer, explainer.analyse(photo, options.layer), photo, taken)
        except ValueError as error:
            _complain(f"{photo}: {error}")
            failed = True
            continue
        print(said, flush=True)
    return 2 if failed else 0


def _evaluate(options: argparse.Namespace) -> int:
    _check_own(options)
    _refuse_early(options)
    from iscam.evaluation import find_items, sample

    items = sample(find_items(options.source), options.limit, options.seed)
    boxes = any(item.box is not None for item in items)
    if not boxes and (missing := [METRICS[key].label for key in options.metrics if METRICS[key].needs == "box"]):
        raise ValueError(f"{missing[0]} needs boxes: a CSV with columns left, top, right, bottom.")
    _make_folder(options.out)

    import torch
    from tqdm import tqdm

    from iscam.engine import has_bf16
    from iscam.evaluation import FILES, Settings, evaluate, join_crew, machine, write_evaluation
    from iscam.show import real_path

    inputs = (options.source, options.checkpoint, options.labels, *(item.file for item in items))
    outputs = {real_path(options.out / name) for name in FILES}
    if lost := [file for file in inputs if file is not None and real_path(file) in outputs]:
        raise ValueError(f"{lost[0]} would be overwritten: name another --out.")
    with join_crew(options.device) as group:
        model = _load(options)
        settings = Settings(
            model=model.key,
            weights_sha256=model.weights_sha256,
            categories_sha256=hashlib.sha256("\n".join(model.categories).encode()).hexdigest(),
            preprocessing=" ".join(repr(model.transforms).split()),
            layer=model.find_layer(options.layer),
            bfloat16=options.engine == "fast" and has_bf16(torch.device(options.device)),
            **{
                name: getattr(options, name)
                for name in (
                    *("methods", "target", "steps", "path", "weighting", "engine", "tolerance", "samples", "seed"),
                    *("metrics", "curve_steps", "threads", "device"),
                )
            },
        )

        def progress(mine: Sequence[Item]) -> Iterable[Item]:
            name = "photos" if group.size == 1 else f"photos of process {group.rank + 1} of {group.size}"
            return tqdm(mine, desc=name, unit="photo", disable=group.rank > 0)

        found = evaluate(model, items, settings, options.out, group, progress)
        if found is not None:
            write_evaluation(options.out, found, machine(group, options.device))
            for photo, problem in found.problems.items():
                _complain(f"{photo}: {problem}")
            print((options.out / "summary.md").read_text(encoding="utf-8"))
            if not found.rows:
                raise ValueError("none of the photos could be measured.")
    return 0


def _load(options: argparse.Namespace) -> LoadedModel:
    """The model of the options. Raises ValueError, a sentence, if one of the methods cannot serve it."""
    model = load_model(
        options.model or DEFAULT_MODEL,
        arch=options.arch,
        checkpoint=options.checkpoint,
        labels=options.labels,
        input_size=options.input_size,
        mean=options.mean,
        std=options.std,
        device=options.device,
    )
    _refuse(options.methods, model.label, model.head_layer, options.layer or model.layer)
    return model


def _refuse_early(options: argparse.Namespace) -> None:
    """Refuse methods that a listed model cannot serve, before anything is loaded."""
    if options.arch is None:
        spec = MODELS[options.model or DEFAULT_MODEL]
        _refuse(options.methods, spec.label, spec.head_layer, options.layer or spec.layer)


def _sanity(options: argparse.Namespace) -> int:
    def work(explainer: Explainer, analysis: Analysis, photo: Path, taken: set[Path]) -> str:
        from iscam.show import encoded, free_stem, real_path, write_whole
        from iscam.trust import OTHER_STEPS, SHIFTS, as_csv, as_figure, randomisation, stability

        target = analysis.predictions[0].index if options.target is None else options.target

        def explain(method: str, explainer: Explainer, analysis: Analysis, steps: int | None) -> Explanation:
            settings = options.path, options.weighting, options.samples, options.seed
            return explainer.explain(analysis, method, target, None, steps or options.steps, *settings)

        found = {}
        shifts = [shift for shift in SHIFTS if shift < min(analysis.forward.image.shape[2:])]
        for method in options.methods:
            counts = [count for count in OTHER_STEPS if count != options.steps and method == "is-cam"]
            found[method] = [
                *randomisation(explainer, analysis, partial(explain, method), seed=options.seed),
                *stability(explainer, analysis, partial(explain, method), shifts, counts),
            ]
        stem = free_stem(options.out, photo.stem, taken, SANITY)
        table, figure = (options.out / (stem + suffix) for suffix in SANITY)
        category = explainer.model.categories[explainer.model.find_class(target)]
        title = _one_line(f"{photo.name}: {category}, {explainer.model.label}")
        write_whole(table, as_csv(_one_line(photo.name), found))
        write_whole(figure, encoded(as_figure(title, found)))
        taken.update({real_path(table), real_path(figure)})
        lines = [
            f"  {method:18} {row.check:10} {row.change:32} {_correlation(row.pearson)} {_correlation(row.spearman)}"
            for method, rows in found.items()
            for row in rows
        ]
        last = _one_line(f"  (Pearson's and Spearman's correlation with the map; {table}, {figure})")
        return "\n".join([title, *lines, last])

    return _each_photo(options, work)


def _correlation(value: float | None) -> str:
    return " blank" if value is None else f"{value:6.3f}"


def _present(named: Sequence[Path]) -> list[Path]:
    """The photos that are there; the others are named."""
    photos = []
    for photo in named:
        if os.path.isfile(photo):  # Path.is_file raises on an overlong name
            photos.append(photo)
        else:
            problem = "this is a folder: name the photos in it" if os.path.isdir(photo) else "there is no such file"
            _complain(f"{photo}: {problem}.")
    return photos


def _benchmark(options: argparse.Namespace) -> int:
    if not os.path.isdir(options.photos):
        raise ValueError(f"There is no folder {options.photos}: name a folder of pictures with --photos.")
    _make_folder(options.out)
    from iscam.benchmark import benchmark, write_report
    from iscam.engine import set_threads

    from .images import find_photos

    set_threads()
    report = benchmark(
        options.models, find_photos(options.photos), options.against, lambda line: print(line, flush=True)
    )
    write_report(options.out, report)
    print((options.out / "benchmark.md").read_text(encoding="utf-8"))
    return 0


def _check_own(options: argparse.Namespace) -> None:
    """Refuse options of an own checkpoint that do not belong together, or that name files which are not there."""
    if options.arch is None and options.checkpoint is None:
        if any(option is not None for option in (options.labels, options.input_size, options.mean, options.std)):
            raise ValueError("--labels, --input-size, --mean and --std belong to --arch and --checkpoint: name both.")
        return
    if options.model is not None:
        raise ValueError("--model is for the models listed by `models`; with --arch and --checkpoint leave it out.")
    if options.arch is None or options.checkpoint is None:
        raise ValueError("Your own weights need both --arch and --checkpoint.")
    for file in (options.checkpoint, options.labels):
        if file is not None and not os.path.isfile(file):
            raise ValueError(f"There is no file {file}.")


def _make_folder(folder: Path) -> None:
    """Make the folder of the results and see that files can be made in it, before hours are spent on maps."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError as error:
        raise OSError(f"{folder} is a file: name a folder with --out.") from error
    except OSError as error:
        raise OSError(f"Nothing can be written into {folder} ({error.strerror}): name another --out.") from error


def _one_line(text: str) -> str:
    """Text fit for a terminal: names of files and classes may hold line breaks, control codes, or no Unicode at all."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _complain(text: str) -> None:
    print(_one_line(text), file=sys.stderr)


def _refuse(methods: Sequence[str], label: str, head_layer: str | None, layer: str) -> None:
    for method in methods:
        if reason := refusal(method, label, head_layer, layer):
            raise ValueError(reason)


def _run(explainer: Explainer, analysis: Analysis, method: str, options: argparse.Namespace) -> Explanation:
    """One explanation, with a progress bar on a terminal."""
    from tqdm import tqdm

    label = _one_line(f"{analysis.photo.name} {METHODS[method].label}")
    with tqdm(desc=label, unit="pass", leave=False, disable=not sys.stderr.isatty()) as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.total
            bar.update(progress.done - bar.n)
            bar.refresh()  # the total may have changed

        return explainer.explain(
            analysis,
            method,
            options.target,
            options.against,
            options.steps,
            options.path,
            options.weighting,
            options.samples,
            options.seed,
            progress=show,
        )


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: a name that it cannot encode ends no run
    sys.exit(main())
