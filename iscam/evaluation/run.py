"""Metrics over a set of photos: `python -m iscam evaluate`, by one process or by several that `torchrun` starts.

Each process appends what it has found of a photo as one line to a file of its own. Whatever is killed, whole lines stay; a
later run, of any number of processes, reads them and does the rest. What is found of a photo depends on nothing but the
photo and the settings: batches and threads have a fixed number, no clock is asked, and every photo begins anew.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed

from iscam.engine import Backend
from iscam.explain import Analysis, Explainer, Explanation
from iscam.images import read_photo
from iscam.methods import METHODS
from iscam.models import LoadedModel, require_device
from iscam.show import versions, write_whole
from iscam.trust import CONTROLS, Explain, assess, control

from .dataset import Item, class_index

T = TypeVar("T")
BATCH = 8  # rows; fixed, because another size moves scores by 1e-6 and with them what the fast engine runs next
PATIENCE = timedelta(days=7)  # for the processes that have more to do than others
Row = dict[str, Any]  # a line of rows.csv


@dataclass(frozen=True)
class Recipe:
    """A method with its settings, and its name in tables."""

    name: str
    method: str
    steps: int
    path: str
    weighting: str


@dataclass(frozen=True)
class Settings:
    """What the rows depend on, beside the photos: rows of different settings are never mixed."""

    model: str
    weights_sha256: str | None
    categories_sha256: str
    preprocessing: str
    device: str
    layer: str
    methods: tuple[str, ...]
    target: str  # "predicted" or "label"
    steps: tuple[int, ...]
    path: tuple[str, ...]
    weighting: tuple[str, ...]
    engine: str
    tolerance: float
    samples: int
    seed: int
    metrics: tuple[str, ...]
    curve_steps: int
    threads: int
    bfloat16: bool
    batch: int = BATCH

    def recipes(self) -> list[Recipe]:
        """Every method with every value of the settings that it heeds, of which there may be several."""
        found = []
        for key in self.methods:
            needs = METHODS[key].needs
            steps = self.steps if key == "is-cam" else self.steps[:1]
            paths = self.path if key == "is-cam" else self.path[:1]
            weightings = self.weighting if "scores" in needs and "noise" not in needs else self.weighting[:1]
            for path, weighting, count in product(paths, weightings, steps):
                said = (
                    [f"N={count}"] * (len(steps) > 1) + [path] * (len(paths) > 1) + [weighting] * (len(weightings) > 1)
                )
                found.append(Recipe(" ".join([key, *said]), key, count, path, weighting))
        return found


@dataclass(frozen=True)
class Crew:
    """The processes that share the work, and which of them this is."""

    rank: int = 0
    size: int = 1

    def agreed(self, work: Callable[[], T]) -> T:
        """What the work of the first process gives, for all. Raises ValueError in all if it did in the first."""
        said: list[Any] = [None, None]
        if self.rank == 0:
            try:
                said[0] = work()
            except ValueError as error:
                said[1] = str(error)
        if self.size > 1:
            distributed.broadcast_object_list(said)
        if said[1] is not None:
            raise ValueError(said[1])
        found: T = said[0]
        return found

    def wait(self) -> None:
        """Until all have come here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def join_crew(device: str) -> Iterator[Crew]:
    """The processes that `torchrun` has started, or this one alone. Raises ValueError, a sentence, if they cannot work."""
    require_device(device)
    size = os.environ.get("WORLD_SIZE", "1")
    if size == "1":
        yield Crew()
        return
    if not size.isdigit() or not {"RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        raise ValueError(f"WORLD_SIZE is {size!r}, but torchrun has not started this: unset it, or use torchrun.")
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Crew(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was asked and found: `rows` in the order of the photos' names and of the methods; `problems` by photo."""

    settings: Settings
    rows: list[Row]
    problems: dict[str, str]


def evaluate(
    model: LoadedModel,
    items: Sequence[Item],
    settings: Settings,
    folder: Path,
    crew: Crew,
    progress: Callable[[Sequence[Item]], Iterable[Item]] = iter,
) -> Evaluation | None:
    """Measure all methods and controls on all photos; the first process returns what has been found, the others nothing.

    Args:
        items: from `dataset.sample`.
        folder: where rows are kept, and where those of a run before are looked for.
        progress: is given the items of this process, and gives them back one by one.

    Raises:
        ValueError: the folder holds rows of other settings, or photos have no label; one sentence.
    """
    torch.set_num_threads(settings.threads)
    by_label = settings.target == "label"
    if by_label and any(item.label is None for item in items):
        raise ValueError("No class is known for some photos: use class folders or a CSV, or --target predicted.")
    find = cache(lambda label: class_index(label, model))  # of 50,000 photos there are 1000
    store = _Store(folder)
    todo = crew.agreed(lambda: _todo(store, items, settings))
    own = set(todo[crew.rank :: crew.size])
    mine = [item for item in items if item.name in own]
    explainer = Explainer(
        model, settings.engine, settings.tolerance, Backend(model.network, model.folds, settings.batch)
    )
    for item in progress(mine):
        try:
            rows = list(_rows(explainer, item, find(item.label) if by_label else None, settings))
            store.add(crew.rank, {"file": item.name, "photo": _state(item), "rows": rows})
        except (ValueError, OSError) as error:
            store.add(crew.rank, {"file": item.name, "problem": str(error)})
    crew.wait()
    return _found(store, items, settings) if crew.rank == 0 else None


def _todo(store: _Store, items: Sequence[Item], settings: Settings) -> list[str]:
    store.claim(settings)
    done = _known(store, items)
    return [item.name for item in items if item.name not in done]


def _known(store: _Store, items: Sequence[Item]) -> dict[str, list[Row]]:
    """The rows that are there, by photo; not those of another photo of the same name, or with another label or box."""
    states = {item.name: _state(item) for item in items}
    known: dict[str, list[Row]] = {}
    for line in store.lines():
        name = line["file"]
        if "rows" in line and name in states and line.get("photo") == states[name]:
            known.setdefault(name, line["rows"])
    return known


def _state(item: Item) -> list[Any]:
    """What the rows of a photo depend on beside the settings, as far as it can be told without reading it."""
    try:
        size = item.file.stat().st_size
    except (OSError, ValueError):  # no such file, or no name of a file
        size = None
    return [size, item.label, item.box and list(item.box)]


def _rows(explainer: Explainer, item: Item, target: int | None, settings: Settings) -> Iterator[Row]:
    """The rows of a photo. Raises ValueError, a sentence, for a photo that cannot be read or has no finite scores."""
    analysis = explainer.analyse(read_photo(item.file), settings.layer)
    index = analysis.predictions[0].index if target is None else target
    for recipe in settings.recipes():

        def explain(analysis: Analysis, recipe: Recipe = recipe) -> Explanation:
            return explainer.explain(
                analysis,
                recipe.method,
                index,
                None,
                recipe.steps,
                recipe.path,
                recipe.weighting,
                settings.samples,
                settings.seed,
            )

        yield _row(explainer, analysis, item, recipe.name, explain(analysis), explain, settings)
    for key in CONTROLS:
        explanation = control(analysis, key, index, explainer.model.categories[index], settings.seed)
        yield _row(explainer, analysis, item, key, explanation, None, settings)


def _row(
    explainer: Explainer,
    analysis: Analysis,
    item: Item,
    name: str,
    explanation: Explanation,
    again: Explain | None,
    settings: Settings,
) -> Row:
    found = assess(
        explainer, analysis, explanation, settings.metrics, again, item.box, settings.curve_steps, settings.seed
    )
    row: Row = {
        "file": item.name,
        "method": name,
        "class_index": explanation.class_index,
        "probability": explanation.probability,
    }
    row |= {key: found.values.get(key) for key in settings.metrics}
    if "energy" in settings.metrics:
        row["box_area"] = found.box_area
    return row | {"seconds": explanation.seconds, "forward_passes": explanation.forward_passes}


def _found(store: _Store, items: Sequence[Item], settings: Settings) -> Evaluation:
    wanted = {item.name for item in items}
    rows = _known(store, items)
    problems = {line["file"]: line["problem"] for line in store.lines() if "problem" in line and line["file"] in wanted}
    flat = [row for name in sorted(rows) for row in rows[name]]
    return Evaluation(settings, flat, {name: problems[name] for name in sorted(problems) if name not in rows})


class _Store:
    """The folder of an evaluation: settings.json, and a file of lines for each process in `parts`."""

    def __init__(self, folder: Path) -> None:
        self._settings = folder / "settings.json"
        self._parts = folder / "parts"

    def claim(self, settings: Settings) -> None:
        """Begin, or go on with, an evaluation of these settings. Raises ValueError if the folder holds one of others."""
        wanted = json.loads(json.dumps(asdict(settings)))
        if self._settings.exists():
            try:
                held = dict(json.loads(self._settings.read_text(encoding="utf-8"))["settings"])
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{self._settings} is not an evaluation's: name another --out.") from error
            if differing := [key for key in wanted if wanted[key] != held.get(key)]:
                key = differing[0]
                raise ValueError(
                    f"{self._settings.parent} holds rows of another evaluation ({key}: {held.get(key)}, now "
                    f"{wanted[key]}): name another --out."
                )
        self._parts.mkdir(parents=True, exist_ok=True)
        if not self._settings.exists():
            write_whole(self._settings, json.dumps({"settings": wanted}, indent=2) + "\n")

    def add(self, rank: int, line: dict[str, Any]) -> None:
        """Append a line by a single write, so that a process that is killed leaves it whole or not at all."""
        with (self._parts / f"{rank}.jsonl").open("a+b", buffering=0) as part:
            text = json.dumps(line, allow_nan=False).encode() + b"\n"
            if part.tell() and not _ends_whole(part):
                text = b"\n" + text  # of a machine that was switched off
            part.write(text)

    def lines(self) -> Iterator[dict[str, Any]]:
        """All whole lines of all processes."""
        for part in sorted(self._parts.glob("*.jsonl")):
            for text in part.read_bytes().split(b"\n"):
                try:
                    line = json.loads(text)
                except ValueError:
                    continue
                if isinstance(line, dict) and "file" in line:
                    yield line


def _ends_whole(part: Any) -> bool:
    part.seek(-1, os.SEEK_END)
    return bool(part.read(1) == b"\n")


def machine(crew: Crew, device: str) -> dict[str, object]:
    """What is recorded beside the settings: it should not matter."""
    return {
        "processes": crew.size,
        "machine": platform.processor() or platform.machine(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "versions": versions(),
    }
