"""From what is run to a map: one request's passes, the evidence they give, and the weighted sum of the layer's maps."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from iscam.engine import (
    LOGITS,
    PROFILES,
    Aim,
    Backend,
    Cells,
    Copies,
    Differentiation,
    Passes,
    Refinement,
    Scorer,
    Side,
    Sweep,
    Work,
    can_spare,
    normalise,
    profile,
    upsample,
)
from iscam.evidence import Evidence, Method
from iscam.request import Request
from iscam.results import Analysis


@dataclass(frozen=True, eq=False)
class Runs:
    """What is run for a request: scores of masked photos or of the layer's copies, gradients, some of it or nothing."""

    passes: Passes
    copies: Copies
    scores: Sweep | Refinement | None = None
    cells: Cells | None = None
    gradients: Differentiation | None = None

    @classmethod
    def of(
        cls,
        request: Request,
        analysis: Analysis,
        backend: Backend,
        tolerance: float | None,
        beside: Request | None = None,
    ) -> Runs:
        """What a request needs: by the fast engine to within the tolerance where it can tell, with None by the exact one.

        What the passes tell of the question `beside` it is kept, for which none is run but the gradients.
        """
        passes = request.method.passes(request.settings)
        layer, forward, aim = analysis.layer, analysis.forward, request.aim
        sides = tuple(dict.fromkeys(side for each in (request, beside) if each is not None for side in each.aim.sides))
        copies = Copies(backend, forward)
        scores: Sweep | Refinement | None = None
        gradients: Differentiation | None = None
        if passes.probes:
            scorer = Scorer(backend, copies, forward, analysis.table)
            if tolerance is not None and request.method.score_based and can_spare(forward, passes, tolerance):
                scores = Refinement(scorer, passes, aim, tolerance, sides)
            else:
                scores = Sweep(scorer, passes, aim.by, sides)
        if passes.gradients:
            network, known = backend.network, analysis.gradients
            gradients = Differentiation(network, layer, forward, passes.gradients, sides, known)
        cells = Cells(copies, forward, analysis.table) if passes.cells else None
        return cls(passes, copies, scores, cells, gradients)

    @property
    def _works(self) -> list[Work]:
        return [work for work in (self.scores, self.cells, self.gradients) if work is not None]

    @property
    def rows(self) -> int:
        return sum(work.rows for work in self._works)

    @property
    def total(self) -> int:
        return sum(work.total for work in self._works)

    @property
    def error(self) -> float | None:
        """The largest of all, 0 if nothing has to be run; None if one is not known."""
        errors = [work.error for work in self._works]
        return None if None in errors else max((error for error in errors if error is not None), default=0.0)

    def batches(self) -> Generator[None, None, None]:
        for work in self._works:
            yield from work.batches()

    def evidence(self, analysis: Analysis, head: Tensor | None, side: Side) -> Evidence:
        """What is known by now of a class, or of several in the mean."""
        forward, classes = analysis.forward, list(side)
        return Evidence(
            forward,
            self.passes,
            forward.logits[classes].mean(),
            None if self.scores is None else self.scores.averages(side),
            None if self.cells is None else self.cells.probabilities(side),
            None if self.gradients is None else self.gradients.of(side),
            None if head is None else head[classes].mean(0),
        )


def draw(method: Method, evidence: Sequence[Evidence], aim: Aim) -> tuple[Tensor | None, Tensor]:
    r"""Weights (C,), (C, h, w) or None, and the raw map (h, w), from the evidence for each of the aim's sides.

    By profiles, the weights of a class rather than its rivals are
    $\alpha_k^c - \gamma \, (\sum_j \alpha_j^c) \, \overline{\pi}_k$, with the mean profile $\overline{\pi}$ of the rivals.
    By logits they are the method's own for the logit $S_c - \gamma \overline{S}$ (Finer-CAM, arXiv 2501.11309).
    """
    own, *others = evidence
    activations = own.forward.activations  # (C, h, w)
    if any(each.passes.gradients and each.gradients is None for each in evidence):
        return None, torch.zeros_like(activations[0])  # stopped before the gradients were known
    if others and aim.by == LOGITS:
        own, others = own.less(aim.strength, others[0]), []
    weights = method.weigh(own)
    for rival in others:
        theirs = method.weigh(rival)
        weights = weights - aim.strength * (weights.sum() * profile(theirs) if aim.by == PROFILES else theirs)
    if weights.ndim == 2:
        return None, weights if aim.signed else weights.relu()  # (h, w)
    shaped = weights[:, None, None] if weights.ndim == 1 else weights  # (C, 1, 1) or (C, h, w)
    raw = (shaped * activations).sum(0)  # (h, w)
    return weights, raw if aim.signed else raw.relu()


def as_heatmap(raw: Tensor, size: tuple[int, int], signed: bool = False) -> Tensor:
    """A raw map (h, w) enlarged to an input's size (H, W), then brought to [0, 1], or signed to [-1, 1]."""
    enlarged = upsample(raw[None], size)  # (1, H, W)
    return (enlarged / enlarged.abs().max().clamp_min(1e-30) if signed else normalise(enlarged))[0]
