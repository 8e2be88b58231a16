"""How fast the maps are here, and how near the fast engine's come to the exact ones: `python -m iscam benchmark`.

Engines take turns on the same photo in one process with the same threads, so that their ratios hold where single times
do not. Each map starts from the photo file: reading, cropping, the first pass and the masks are all in its time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from iscam.explain import Explainer
from iscam.images import read_photo
from iscam.models import MODELS, LoadedModel, has_weights, load_model, load_untrained
from iscam.path import DEFAULT_STEPS
from iscam.results import Explanation

from .figures import TORCHCAM, WITHOUT_BF16, Growth, MapOf, Report, Run
from .machine import forget_peak, machine, peak_mb
from .passes import contiguous, time_passes

if TYPE_CHECKING:
    from numpy.typing import NDArray

RUNS = (("is-cam", 10), ("is-cam", 50), ("score-cam", 1))
LONG = 50  # steps, of which the exact engine and peers run fewer photos: it takes minutes
PEER_PHOTOS = 2  # that torch-cam explains, with ten steps
LONG_PHOTOS = 1
GROWTH_STEPS = (1, 2, 5, 10, 20, 50, 100)

Say = Callable[[str], None]


class CountedNetwork(nn.Module):
    """A network that counts the rows it is shown."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.rows = network, 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        logits: Tensor = self.network(x)
        return logits


def benchmark(models: Sequence[str], photos: Sequence[Path], against: str | None, device: str, say: Say) -> Report:
    """Measure every model on the photos, on a device that is there; without weights here it is timed per pass only.

    Raises:
        ValueError: no photos, or torch-cam is wanted and not installed; one sentence.
    """
    if not photos:
        raise ValueError("There are no photos to explain: name a folder of pictures with --photos.")
    if against is not None:
        _require_peer()
    report = Report(machine(against, device), [], [], [])
    for key in models:
        trained = has_weights(key)
        model = load_model(key, device=device) if trained else load_untrained(MODELS[key], device)
        say(f"{model.label}: {'' if trained else 'no weights here, so '}passes")
        report.passes.extend(time_passes(model, trained))
        if trained:
            for run in _explain_all(model, photos, against):
                say(_line(run))
                report.runs.append(run)
            say(f"{model.label}: growth")
            report.growth.extend(_grow(model, photos[0]))
    return report


def _explain_all(model: LoadedModel, photos: Sequence[Path], against: str | None) -> Iterator[Run]:
    """Every run of every photo, engines in turn."""
    fast, exact = Explainer(model, "fast"), Explainer(model, "exact")
    rougher = fast.backend.has_rough
    plain = Explainer(model, "fast")
    plain.backend.has_rough = False
    peer = CountedNetwork(contiguous(model)) if against is not None else None
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
                run = _explained(plain, photo, method, steps, exact_map)[0]
                yield replace(run, map=replace(run.map, engine=WITHOUT_BF16))
            if peer is not None and number < PEER_PHOTOS and steps < LONG:
                yield _peer(model, peer, photo, method, steps)


def _explained(
    explainer: Explainer,
    photo: Path,
    method: str,
    steps: int,
    exact: NDArray[np.float32] | None,
    layer: str | None = None,
) -> tuple[Run, Explanation]:
    inside, device = explainer.backend.seconds, explainer.backend.device
    forget_peak(device)
    started = time.perf_counter()
    explanation = explainer.explain(explainer.analyse(photo, layer), method, steps=steps)
    seconds = time.perf_counter() - started
    inside = explainer.backend.seconds - inside
    correlation = difference = None
    if exact is not None:
        correlation = float(np.corrcoef(explanation.heatmap.ravel(), exact.ravel())[0, 1])
        difference = float(np.abs(explanation.heatmap - exact).max())
    run = Run(
        MapOf(explainer.model.key, method, explainer.engine, steps, photo.name),
        seconds=seconds,
        forward_passes=explanation.forward_passes,
        correlation=correlation,
        max_difference=difference,
        peak_mb=peak_mb(device),
        estimated_error=explanation.estimated_error,
        outside=seconds - inside,
    )
    return run, explanation


def _peer(model: LoadedModel, network: CountedNetwork, photo: Path, method: str, steps: int) -> Run:
    """torch-cam at its defaults; its maps use logits and another order of mask operations, so they are not compared."""
    from torchcam.methods import ISCAM, ScoreCAM

    kind = {"is-cam": ISCAM, "score-cam": ScoreCAM}[method]
    network.rows = 0
    device = next(network.parameters()).device
    forget_peak(device)
    started = time.perf_counter()
    image = model.transforms(read_photo(photo).image)[None].to(device)
    with kind(network, network.network.get_submodule(model.layer)) as extractor, torch.no_grad():
        logits = network(image)
        extractor(int(logits.argmax()), logits)[0].cpu()  # waits for the device
    seconds = time.perf_counter() - started
    return Run(
        MapOf(model.key, method, TORCHCAM, steps, photo.name), seconds, network.rows, None, None, peak_mb(device)
    )


def _require_peer() -> None:
    try:
        import torchcam.methods  # noqa: F401
    except ImportError as error:
        raise ValueError("--against torchcam needs torch-cam: pip install torchcam.") from error


def _grow(model: LoadedModel, photo: Path) -> Iterator[Growth]:
    explainer = Explainer(model, "fast")
    for steps in GROWTH_STEPS:
        run, _ = _explained(explainer, photo, "is-cam", steps, None)
        yield Growth(model.key, "steps", steps, run.seconds, run.forward_passes)
    for layer in model.layers:
        run, explanation = _explained(explainer, photo, "is-cam", DEFAULT_STEPS, None, layer=layer)
        assert explanation.weights is not None
        yield Growth(model.key, f"channels ({layer})", len(explanation.weights), run.seconds, run.forward_passes)


def _line(run: Run) -> str:
    made = run.map
    text = f"{made.model} {made.photo}: {made.method} {made.steps} {made.engine} {run.seconds:.2f} s"
    text = f"{text}, {run.forward_passes} passes"
    return text if run.max_difference is None else f"{text}, off by {run.max_difference:.4f}"
