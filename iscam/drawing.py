"""From what is run to a map: one request's passes, the evidence they give, and the weighted sum of the layer's maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from iscam.engine import Backend, Differentiation, ForwardPass, Passes, Refinement, Scorer, Sweep, Work, can_spare
from iscam.methods import Evidence, Method
from iscam.results import Analysis
from iscam.settings import Settings


@dataclass(frozen=True)
class Request:
    """What is asked of an analysis: the map of a method, for the first of `classes`, or for it rather than the second."""

    method: Method
    classes: tuple[int, ...]
    settings: Settings


@dataclass(frozen=True, eq=False)
class Runs:
    """What is run for a request: scores of masked photos, gradients, both or neither."""

    passes: Passes
    scores: Sweep | Refinement | None
    gradients: Differentiation | None

    @classmethod
    def of(cls, request: Request, analysis: Analysis, backend: Backend, tolerance: float | None) -> Runs:
        """What a request needs: by the fast engine to within the tolerance where it can tell, with None by the exact one."""
        passes = request.method.passes(request.settings)
        layer, forward, classes = analysis.layer, analysis.forward, request.classes
        scores: Sweep | Refinement | None = None
        gradients: Differentiation | None = None
        if passes.probes:
            scorer = Scorer(backend, layer, forward, analysis.table)
            if tolerance is not None and request.method.predictable and can_spare(forward, passes, tolerance):
                scores = Refinement(scorer, passes, classes, tolerance)
            else:
                scores = Sweep(scorer, passes, classes)
        if passes.gradients:
            network, known = backend.network, analysis.gradients
            gradients = Differentiation(network, layer, forward, passes.gradients, classes, known)
        return cls(passes, scores, gradients)

    @property
    def _works(self) -> list[Work]:
        return [work for work in (self.scores, self.gradients) if work is not None]

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

    def batches(self) -> Iterator[None]:
        for work in self._works:
            yield from work.batches()

    def evidence(self, forward: ForwardPass, head: Tensor | None, index: int) -> Evidence:
        """What is known by now of one class."""
        averages = None if self.scores is None else self.scores.averages(index)
        gradients = None if self.gradients is None else self.gradients.of(index)
        return Evidence(forward, self.passes, averages, gradients, head)


def draw(method: Method, evidence: Sequence[Evidence], classes: Sequence[int]) -> tuple[Tensor | None, Tensor]:
    """Weights (C,), (C, h, w) or None, and the raw map (h, w), of one class or of the first rather than the second."""
    activations = evidence[0].forward.activations  # (C, h, w)
    if any(each.passes.gradients and each.gradients is None for each in evidence):
        return None, torch.zeros_like(activations[0])  # stopped before the gradients were known
    weighed = [method.weigh(each, index) for each, index in zip(evidence, classes, strict=True)]
    if weighed[0].ndim == 2:
        return None, weighed[0].relu()  # (h, w)
    weights = weighed[0] if len(weighed) == 1 else weighed[0] - weighed[1]
    shaped = weights[:, None, None] if weights.ndim == 1 else weights  # (C, 1, 1) or (C, h, w)
    raw = (shaped * activations).sum(0)  # (h, w)
    return weights, raw if len(weighed) > 1 else raw.relu()
