"""What is integrated in IS-CAM: how its map comes about along the path, and what its strongest channels score there."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iscam.engine import (
    CHANNELS_AT_ONCE,
    LEAST,
    MOST,
    Probe,
    Rung,
    Scorer,
    ScoreTable,
    capture,
    learnt,
    make_masks,
    normalise,
    upsample,
)
from iscam.explain import Analysis, Explainer, Explanation, Progress
from iscam.path import DEFAULT_STEPS, integration_path

CHANNELS = 8  # that are shown, at most
MAX_POINTS = 20  # of the path at which they are run, at most


@dataclass(frozen=True, eq=False)
class Integration:
    """How the map of one class comes about along a path of N steps.

    `heatmaps` (N, H, W) in [0, 1]: the map made of the first n steps; the last is IS-CAM's own. `changes` (N,): the mean
    absolute difference of each map from the one before, of the first from a blank one. `channels`: the T channels that
    carry the map, strongest first, with their IS-CAM `weights` (T,), their `shares` (T,) of the sum over all channels of
    positive weight times total activation, and their `masks` (T, H, W) in [0, 1]. `probabilities` (P, T) of the class at
    the multipliers `points`, of which the first is 0, the blank photo, and the last the path's end; NaN where a stopped
    run has not come. `forward_passes` counts the input rows run by this call.
    """

    multipliers: tuple[float, ...]
    heatmaps: NDArray[np.float32]
    changes: NDArray[np.float32]
    channels: tuple[int, ...]
    weights: NDArray[np.float32]
    shares: NDArray[np.float32]
    masks: NDArray[np.float32]
    points: tuple[float, ...]
    probabilities: NDArray[np.float32]
    class_index: int
    category: str
    seconds: float
    forward_passes: int
    complete: bool


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
    """
    started = time.perf_counter()
    explanation = explainer.explain(
        analysis, "is-cam", target, None, steps, path, weighting, progress=progress, stop=stop
    )
    multipliers = integration_path(path, steps).multipliers
    points = _spread(multipliers)
    forward, table, rough = analysis.forward, analysis.table, explainer.engine == "fast"
    size = (forward.image.shape[2], forward.image.shape[3])
    final = torch.as_tensor(explanation.weights, device=forward.activations.device)  # (C,)
    channels, shares = _strongest(final, forward.activations)
    scorer = Scorer(explainer.backend, analysis.layer, forward, table, stop)
    with capture.undisturbed(explainer.model.network):
        complete = _run(scorer, points, channels, rough, explanation, progress) and explanation.complete

    curves = _curves(table, rough, multipliers, points, channels, explanation.class_index, weighting)
    if not explanation.complete:
        curves[:, final == 0] = torch.nan  # channels that were not run to the end have no weight
    weights = _partial_weights(curves, final, weighting)  # (N, C)
    heatmaps = normalise(upsample(torch.einsum("nc,chw->nhw", weights, forward.activations).relu(), size))
    changes = torch.cat([heatmaps[:1].mean((1, 2)), heatmaps.diff(dim=0).abs().mean((1, 2))])
    column = table.column(explanation.class_index)
    blank = _blank(table).softmax(0)[column] if table.blank is not None else final.new_tensor(torch.nan)
    ran = _logits(table, rough, points, channels).softmax(-1)[..., column]  # (P, T)
    return Integration(
        multipliers,
        heatmaps.cpu().numpy(),
        changes.cpu().numpy(),
        tuple(channels.tolist()),
        final[channels].cpu().numpy(),
        shares.cpu().numpy(),
        make_masks(forward.activations[channels], size).cpu().numpy(),
        (0.0, *points),
        torch.cat([blank.expand(1, len(channels)), ran]).cpu().numpy(),
        explanation.class_index,
        explanation.category,
        time.perf_counter() - started,
        explanation.forward_passes + scorer.rows,
        complete,
    )


def _spread(multipliers: Sequence[float]) -> tuple[float, ...]:
    """Some of the path's multipliers, evenly over its steps and with the last."""
    count = min(len(multipliers), MAX_POINTS)
    return tuple(multipliers[round(len(multipliers) * j / count) - 1] for j in range(1, count + 1))


def _strongest(weights: Tensor, activations: Tensor) -> tuple[Tensor, Tensor]:
    """Which channels (T,) of (C, h, w) carry most of the map that is made with weights (C,), and their shares (T,) of it."""
    sizes = weights.clamp_min(0) * activations.abs().sum((1, 2))
    sizes = sizes / sizes.sum().clamp_min(LEAST)
    shares, channels = sizes.sort(descending=True)
    carrying = shares[:CHANNELS] > 0
    return channels[:CHANNELS][carrying], shares[:CHANNELS][carrying]


def _run(
    scorer: Scorer,
    points: Sequence[float],
    channels: Tensor,
    rough: bool,
    explanation: Explanation,
    progress: Callable[[Progress], None] | None,
) -> bool:
    """Run the channels at the points at which they have not been run, and the blank photo; False if stopped before."""
    table, probes = scorer.table, [Probe(point) for point in points]
    table.reserve([*(probe for probe in table.probes if _on_a_path(probe)), *probes], [explanation.class_index])
    todo = torch.stack([~_known(table, rough, point)[channels] for point in points]).nonzero()  # (rows, 2)
    if scorer.stopped and (len(todo) or table.blank is None):
        return False
    done, total = explanation.forward_passes, explanation.forward_passes + len(todo) + (table.blank is None)
    scorer.show_blank()
    if progress is not None:
        scorer.report = lambda rows: progress(Progress(done + rows, total, lambda: explanation))
    return scorer.run(probes, torch.stack([channels[todo[:, 1]], todo[:, 0]], dim=1))


def _on_a_path(probe: Probe) -> bool:
    return probe.noise is None and not probe.silence


def _known(table: ScoreTable, rough: bool, multiplier: float) -> Tensor:
    """Which channels have been run at a multiplier, precisely or, if that will do, roughly: bool (C,)."""
    probe = Probe(multiplier)
    return table.evaluated(probe) | table.evaluated(probe.roughly()) if rough else table.evaluated(probe)


def _blank(table: ScoreTable) -> Tensor:
    """Logits (W,) of the blank photo; of the whole photo if a run was stopped before the blank one."""
    return table.condensed(table.columns((table.photo if table.blank is None else table.blank)[None]))[0]


def _logits(table: ScoreTable, rough: bool, multipliers: Sequence[float], channels: Tensor) -> Tensor:
    """Logits (n, c, W), the precise ones where there are both kinds; NaN where there is none."""
    blank, found = _blank(table), []
    for multiplier in multipliers:
        probe = Probe(multiplier)
        logits = blank.new_full((len(channels), len(blank)), torch.nan)
        for kind in (probe.roughly(), probe) if rough else (probe,):
            if kind in table.probes:
                run = table.evaluated(kind)[channels]
                logits[run] = table.distributions(kind, channels[run], precise=True)
        found.append(logits)
    return torch.stack(found)


def _curves(
    table: ScoreTable,
    rough: bool,
    multipliers: Sequence[float],
    points: Sequence[float],
    teachers: Tensor,
    class_index: int,
    weighting: str,
) -> Tensor:
    """Log-probabilities, or logits, of the class along the path (N, C); NaN where a channel has never been run.

    Channels that have been run at the same multipliers are treated alike. What lies between these is learnt from the
    teachers, or is on a line where there are none that have been run at all points.
    """
    everywhere = sorted({probe.multiplier for probe in table.probes if _on_a_path(probe)})
    runs = torch.stack([_known(table, rough, multiplier) for multiplier in everywhere])  # (m, C)
    patterns, members = runs.unique(dim=1, return_inverse=True)  # type: ignore[no-untyped-call]
    blank, column = _blank(table), table.column(class_index)
    curves = torch.full((len(multipliers), len(members)), torch.nan, device=blank.device)
    for number, pattern in enumerate(patterns.T.tolist()):
        known = [multiplier for multiplier, run in zip(everywhere, pattern, strict=True) if run]
        if not known:
            continue
        shown = _logits(table, rough, [*known, *points], teachers)  # (n + P, T, W)
        shown = shown[:, shown[..., 0].isfinite().all(0)]
        mix = _lines(known, multipliers)
        if not set(points) <= set(known) and shown.shape[1]:
            rung = Rung(tuple(Probe(multiplier) for multiplier in known), _lines(known, points))
            rung = learnt(rung, blank, shown[: len(known)], shown[len(known) :])
            start = torch.eye(1, 1 + len(known))  # the blank photo, from which the lines between the points begin
            mix = _lines(points, multipliers) @ torch.cat([start, rung.mix.cpu()])
        mix = mix.to(blank)
        for part in (members == number).nonzero()[:, 0].split(CHANNELS_AT_ONCE):
            given = _logits(table, rough, known, part)
            mixed = torch.einsum("mn,ncw->mcw", mix[:, 1:], given) + (mix[:, :1] * blank)[:, None]
            curves[:, part] = mixed[..., column] - (0 if weighting == "logit" else mixed.logsumexp(-1))
    return curves


def _lines(known: Sequence[float], multipliers: Sequence[float]) -> Tensor:
    """The mix (M, 1 + n) that interpolates in a line between multiplier 0 and the known ones, and beyond them."""
    nodes, wanted = torch.tensor([0.0, *known]).double(), torch.tensor(multipliers).double()
    right = torch.searchsorted(nodes, wanted).clamp(1, len(known))
    share = (wanted - nodes[right - 1]) / (nodes[right] - nodes[right - 1])
    rows = torch.arange(len(wanted))
    mix = torch.zeros(len(wanted), len(nodes)).double()
    mix[rows, right], mix[rows, right - 1] = share, 1 - share
    return mix.float()


def _partial_weights(curves: Tensor, final: Tensor, weighting: str) -> Tensor:
    """Weights (N, C) of the first n steps from curves (N, C), moved so that the last are the final weights (C,).

    Channels are moved on the scale of `ladder.py`, on which predictions err alike everywhere along the path. One that was
    never run moves as the others do on average.
    """
    counts = torch.arange(1, len(curves) + 1).to(curves.device)[:, None]
    ran = ~curves[-1].isnan()
    if weighting == "logit":
        z = curves.double().cumsum(0) / counts
        z, wanted = z - z[-1, ran].logsumexp(0), final.double().log()
    else:
        mean = (curves.double().logcumsumexp(0) - counts.log()).clamp_max(math.log(MOST))
        z, wanted = mean - torch.log1p(-mean.exp()), final.double().clamp_max(MOST).logit()
    sure = final > LEAST
    moved = z + torch.where(sure, wanted - z[-1], 0)
    alike = wanted + (z - z[-1])[:, ran].mean(1, keepdim=True)
    z = torch.where(ran, moved, alike).masked_fill(~(ran | sure), -torch.inf)
    weights = z.softmax(1).nan_to_num() if weighting == "logit" else z.sigmoid()
    weights[-1] = final
    return weights.float()
