"""What is integrated in IS-CAM: how its map comes about along the path, and what its strongest channels score there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from iscam.engine import (
    Copies,
    Scorer,
    Trajectories,
    by_itself,
    carry_out,
    make_masks,
    normalise,
    partial_weights,
    undisturbed,
    upsample,
)
from iscam.explain import Explainer
from iscam.path import DEFAULT_STEPS, integration_path
from iscam.results import Analysis, Explanation, Outcome, Progress

from .integrated import Carriers, Integration

CHANNELS = 8  # that are shown, at most
MAX_POINTS = 20  # of the path at which they are run, at most
SILENT = 1e-30  # a map's sum below which it has no shares


@by_itself()
def integrate(
    explainer: Explainer,
    analysis: Analysis,
    target: int | str | None = None,
    steps: int = DEFAULT_STEPS,
    path: str = "cumulative",
    weighting: str = "probability",
    progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> Integration:
    """Explain class `target` (default: the most probable) by IS-CAM, and follow its map along the path.

    The arguments are those of `Explainer.explain`. The maps of the exact engine are exact. The fast one knows most channels
    at one or two points only: what they score elsewhere is learnt from the strongest channels.

    Raises:
        ValueError: as `Explainer.explain` does.

    >>> import iscam
    >>> from iscam.show import integrate
    >>> explainer = iscam.Explainer(iscam.load_model("photo11"))
    >>> integrate(explainer, explainer.analyse("assets/examples/chelsea.jpg"), steps=4).heatmaps.shape
    (4, 128, 128)
    """
    started = time.perf_counter()
    explanation = explainer.explain(
        analysis, "is-cam", target, None, steps, path, weighting, progress=progress, stop=stop
    )
    forward, index = analysis.forward, explanation.class_index
    final = torch.as_tensor(explanation.weights)  # (C,)
    channels, shares = _strongest(final, forward.activations)  # (T,), (T,)
    multipliers = integration_path(path, steps).multipliers
    points = _spread(multipliers)
    seen = Trajectories(analysis.table, explainer.engine == "fast", points, channels)
    seen.reserve(index)
    rows, complete = _run(seen, explainer, analysis, explanation, progress, stop)
    complete = complete and explanation.complete
    curves = seen.curves(multipliers, index, weighting)  # (N, C)
    if not explanation.complete:
        curves[:, final == 0] = torch.nan  # channels that were not run to the end have no weight
    weights = partial_weights(curves, final, weighting, forward.activations)  # (N, C)
    size = forward.size
    heatmaps = normalise(upsample(torch.einsum("nc,chw->nhw", weights, forward.activations).relu(), size))  # (N, H, W)
    changes = torch.cat([heatmaps[:1].mean((1, 2)), heatmaps.diff(dim=0).abs().mean((1, 2))])  # (N,)
    carriers = Carriers(
        channels=tuple(channels.tolist()),
        weights=final[channels].numpy(),
        shares=shares.numpy(),
        masks=make_masks(forward.activations[channels], size).numpy(),
        points=(0.0, *points),
        probabilities=seen.probabilities(index).numpy(),
    )
    outcome = Outcome(time.perf_counter() - started, rows, explanation.estimated_error, complete)
    return Integration(explanation.target, multipliers, heatmaps.numpy(), changes.numpy(), carriers, outcome)


def _run(
    seen: Trajectories,
    explainer: Explainer,
    analysis: Analysis,
    explanation: Explanation,
    progress: Callable[[Progress], None] | None,
    stop: threading.Event | None,
) -> tuple[int, bool]:
    """Run what the carriers lack, after an explanation; the rows of both, and whether all was run."""
    copies = Copies(explainer.backend, analysis.forward)
    scorer = Scorer(explainer.backend, copies, analysis.forward, analysis.table)
    before = explanation.forward_passes
    total = before + len(seen.missing()) + (analysis.table.blank is None)

    def report() -> None:
        if progress is not None:
            progress(Progress(before + scorer.rows, total, lambda: explanation))

    with undisturbed(explainer.model.network):
        complete = carry_out(seen.batches(scorer), stop, report)
    return before + scorer.rows, complete


def _spread(multipliers: Sequence[float]) -> tuple[float, ...]:
    """Some of the path's multipliers, evenly over its steps and with the last."""
    count = min(len(multipliers), MAX_POINTS)
    return tuple(multipliers[round(len(multipliers) * j / count) - 1] for j in range(1, count + 1))


def _strongest(weights: Tensor, activations: Tensor) -> tuple[Tensor, Tensor]:
    """Which channels (T,) of (C, h, w) carry most of the map that is made with weights (C,), and their shares (T,) of it."""
    sizes = weights.clamp_min(0) * activations.abs().sum((1, 2))  # (C,)
    sizes = sizes / sizes.sum().clamp_min(SILENT)
    shares, channels = sizes.sort(descending=True)
    carrying = shares[:CHANNELS] > 0
    return channels[:CHANNELS][carrying], shares[:CHANNELS][carrying]
