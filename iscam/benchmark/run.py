"""How fast the maps are here, and how near the fast engine's come to the exact ones: `python -m iscam benchmark`.

Engines take turns on the same photo in one process with the same threads, so that their ratios hold where single times
do not. Each map starts from the photo file: reading, cropping, the first pass and the masks are all in its time.
"""

from __future__ import annotations

import copy
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from iscam.engine import Backend, has_bf16
from iscam.explain import Explainer, Explanation
from iscam.images import read_photo
from iscam.models import MODELS, LoadedModel, has_weights, load_model, load_untrained

if TYPE_CHECKING:
    from numpy.typing import NDArray

RUNS = (("is-cam", 10), ("is-cam", 50), ("score-cam", 1))
LONG = 50  # steps, of which the exact engine and peers run fewer photos: it takes minutes
PEER_PHOTOS = 2  # that torch-cam explains, with ten steps
LONG_PHOTOS = 1
GROWTH_STEPS = (1, 2, 5, 10, 20, 50, 100)
SIZES = (0.5, 1.0, 1.5)  # of a network's input, in its own side
PASSES = 16  # rows of the batch by which a pass is timed
REPEATS = 5
TORCHCAM, WITHOUT_BF16 = "torchcam", "fast, without bfloat16"  # beside the engines of `methods.ENGINES`

Say = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """One map: a row of benchmark.csv. `outside` is seconds beside the network; unknown for torch-cam, as the error is."""

    model: str
    method: str
    engine: str
    steps: int
    photo: str
    seconds: float
    forward_passes: int
    correlation: float | None
    max_difference: float | None
    peak_mb: float
    estimated_error: float | None = None
    outside: float | None = None


@dataclass(frozen=True)
class Growth:
    """One map of the fast engine with one setting moved: `steps`, or the layer and with it the channels."""

    model: str
    what: str
    value: int
    seconds: float
    forward_passes: int


@dataclass(frozen=True)
class PassTime:
    """Milliseconds per image of one network at an input side: as torchvision builds it, precise, and rough passes.

    `backend` says in words what makes the latter fast.
    """

    model: str
    trained: bool
    side: int
    native: bool
    backend: str
    plain: float
    precise: float
    rough: float | None


@dataclass(frozen=True)
class Report:
    """All that was measured, and on what machine."""

    machine: str
    runs: list[Run]
    growth: list[Growth]
    passes: list[PassTime]


class CountedNetwork(nn.Module):
    """A network that counts the rows it is shown."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.rows = network, 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        logits: Tensor = self.network(x)
        return logits


def benchmark(models: Sequence[str], photos: Sequence[Path], against: str | None, say: Say) -> Report:
    """Measure every model on the photos; models whose weights are not here are timed per pass only.

    Raises:
        ValueError: no photos, or torch-cam is wanted and not installed; one sentence.
    """
    if not photos:
        raise ValueError("There are no photos to explain: name a folder of pictures with --photos.")
    if against is not None:
        _require_peer()
    report = Report(_machine(against), [], [], [])
    for key in models:
        trained = has_weights(key)
        model = load_model(key) if trained else load_untrained(MODELS[key])
        say(f"{model.label}: {'' if trained else 'no weights here, so '}passes")
        report.passes.extend(_time_passes(model, trained))
        if trained:
            for run in _explain_all(model, photos, against):
                say(_line(run))
                report.runs.append(run)
            say(f"{model.label}: growth")
            report.growth.extend(_grow(model, photos[0]))
    return report


# Maps


def _explain_all(model: LoadedModel, photos: Sequence[Path], against: str | None) -> Iterator[Run]:
    """Every run of every photo, engines in turn."""
    fast, exact = Explainer(model, "fast"), Explainer(model, "exact")
    rougher = fast.backend.has_rough
    plain = Explainer(model, "fast")
    plain.backend.has_rough = False
    peer = CountedNetwork(_contiguous(model)) if against is not None else None
    for explainer in (fast, exact, plain):
        explainer.explain(explainer.analyse(photos[0]), steps=1)  # threads, batch sizes and pages of memory settle
    for number, photo in enumerate(photos):
        for method, steps in RUNS:
            wanted = None
            if steps < LONG or number < LONG_PHOTOS:
                wanted = _explained(exact, photo, method, steps, None)
                yield wanted[0]
            exact_map = None if wanted is None else wanted[1].heatmap
            yield _explained(fast, photo, method, steps, exact_map)[0]
            if rougher:
                yield _explained(plain, photo, method, steps, exact_map, WITHOUT_BF16)[0]
            if peer is not None and number < PEER_PHOTOS and steps < LONG:
                yield _peer(model, peer, photo, method, steps)


def _explained(
    explainer: Explainer,
    photo: Path,
    method: str,
    steps: int,
    exact: NDArray[np.float32] | None,
    engine: str | None = None,
    layer: str | None = None,
) -> tuple[Run, Explanation]:
    inside = explainer.backend.seconds
    _forget_peak()
    started = time.perf_counter()
    explanation = explainer.explain(explainer.analyse(photo, layer), method, steps=steps)
    seconds = time.perf_counter() - started
    inside = explainer.backend.seconds - inside
    correlation = difference = None
    if exact is not None:
        correlation = float(np.corrcoef(explanation.heatmap.ravel(), exact.ravel())[0, 1])
        difference = float(np.abs(explanation.heatmap - exact).max())
    run = Run(
        explainer.model.key,
        method,
        engine or explainer.engine,
        steps,
        photo.name,
        seconds,
        explanation.forward_passes,
        correlation,
        difference,
        _peak_mb(),
        explanation.estimated_error,
        seconds - inside,
    )
    return run, explanation


def _peer(model: LoadedModel, network: CountedNetwork, photo: Path, method: str, steps: int) -> Run:
    """torch-cam at its defaults; its maps use logits and another order of mask operations, so they are not compared."""
    from torchcam.methods import ISCAM, ScoreCAM

    kind = {"is-cam": ISCAM, "score-cam": ScoreCAM}[method]
    network.rows = 0
    _forget_peak()
    started = time.perf_counter()
    image = model.transforms(read_photo(photo).image)[None]
    with kind(network, network.network.get_submodule(model.layer)) as extractor, torch.no_grad():
        logits = network(image)
        extractor(int(logits.argmax()), logits)
    seconds = time.perf_counter() - started
    return Run(model.key, method, TORCHCAM, steps, photo.name, seconds, network.rows, None, None, _peak_mb())


def _require_peer() -> None:
    try:
        import torchcam.methods  # noqa: F401
    except ImportError as error:
        raise ValueError("--against torchcam needs torch-cam: pip install torchcam.") from error


def _contiguous(model: LoadedModel) -> nn.Module:
    """A copy of the network in the layout that torchvision builds."""
    return copy.deepcopy(model.network).to(memory_format=torch.contiguous_format)


def _grow(model: LoadedModel, photo: Path) -> Iterator[Growth]:
    explainer = Explainer(model, "fast")
    for steps in GROWTH_STEPS:
        run, _ = _explained(explainer, photo, "is-cam", steps, None)
        yield Growth(model.key, "steps", steps, run.seconds, run.forward_passes)
    for layer in model.layers:
        run, explanation = _explained(explainer, photo, "is-cam", 10, None, layer=layer)
        assert explanation.weights is not None
        yield Growth(model.key, f"channels ({layer})", len(explanation.weights), run.seconds, run.forward_passes)


# Passes


def _time_passes(model: LoadedModel, trained: bool) -> Iterator[PassTime]:
    plain, backend = _contiguous(model), Backend(model.network, model.folds)
    kinds: list[Callable[[Tensor], Tensor]] = [plain, backend.logits]
    if backend.has_rough:
        kinds.append(partial(backend.logits, rough=True))
    for size in SIZES:
        side = round(size * model.geometry.input_size)
        try:
            times = _in_turn(kinds, torch.randn(PASSES, 3, side, side))
        except AssertionError:  # torchvision's vision transformers accept one size alone
            continue
        yield PassTime(
            model.key,
            trained,
            side,
            size == 1,
            backend.description,
            times[0],
            times[1],
            times[2] if len(times) > 2 else None,
        )


def _in_turn(kinds: Sequence[Callable[[Tensor], Tensor]], images: Tensor) -> list[float]:
    """The least milliseconds per image of each kind, of some rounds in which each has its turn."""
    least = [float("inf")] * len(kinds)
    with torch.no_grad():
        for _ in range(REPEATS):
            for place, run in enumerate(kinds):
                started = time.perf_counter()
                run(images)
                least[place] = min(least[place], time.perf_counter() - started)
    return [1000 * seconds / PASSES for seconds in least]


# The machine


def _machine(against: str | None) -> str:
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    packages = ["torch", "torchvision", *(["torchcam"] if against else [])]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    kind = "with" if has_bf16(torch.device("cpu")) else "without"
    memory = "peak memory per map" if _forget_peak() else "peak memory since the start"
    return (
        f"{cpu}, {os.cpu_count()} cores, threads: {torch.get_num_threads()}, {kind} bfloat16; "
        f"Python {platform.python_version()}, {versions}; {memory}, in MB with everything imported"
    )


def _forget_peak() -> bool:
    """Let the system measure the peak of resident memory anew. Returns whether it can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _line(run: Run) -> str:
    text = f"{run.model} {run.photo}: {run.method} {run.steps} {run.engine} {run.seconds:.2f} s, {run.forward_passes} passes"
    return text if run.max_difference is None else f"{text}, off by {run.max_difference:.4f}"
