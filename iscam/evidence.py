"""What a class activation map is made of, and what there is to say of a method that makes one. No torch is loaded here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from iscam.engine import Passes
from iscam.settings import CONTRAST, DEFAULT_SETTINGS, Settings

if TYPE_CHECKING:
    from torch import Tensor

    from iscam.engine import ForwardPass


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a method may weigh, for one class: what its `passes` have given, and the head if it needs one; else None."""

    forward: ForwardPass
    passes: Passes
    logit: Tensor  # () of the photo as it is
    averages: Tensor | None = None  # (C,) average scores, NaN where not known
    cells: Tensor | None = None  # (h, w) scores of each cell alone, NaN where not known
    gradients: Tensor | None = None  # (C, h, w), averaged over noisy photos if that was asked for
    head: Tensor | None = None  # (C,) the class's weights in it

    def less(self, strength: float, rivals: Evidence) -> Evidence:
        """Evidence for the class's logit less so much of its rivals', by all in it that is linear in the logits: averages are
        on the logit scale."""

        def less(own: Tensor | None, other: Tensor | None) -> Tensor | None:
            return None if own is None or other is None else own - strength * other

        return replace(
            self,
            logit=self.logit - strength * rivals.logit,
            averages=less(self.averages, rivals.averages),
            gradients=less(self.gradients, rivals.gradients),
            head=less(self.head, rivals.head),
        )


@dataclass(frozen=True)
class Method:
    """One row of METHODS: everything that is special about a method.

    Args:
        key, label, paper: its name for programs and for people, and where it was published.
        weigh: evidence -> channel weights (C,), weights per position (C, h, w), or the map (h, w).
        passes: what is to be run for it with given settings, and how scores are averaged.
        heeds: the settings that change its map, by their names; beside those of the contrast.
        score_based: whether its weights, or its map, are average scores (or their softmax, on the logit scale). The fast
            engine may then predict them and tell how far the map is off, and classes are contrasted by their profiles; those
            of other methods by their logits.
        needs_head: whether it reads the weights of one linear layer behind global pooling.
        class_specific: False where the map is the same for every class.

    >>> from iscam import METHODS
    >>> METHODS["ss-cam"].passes(Settings(samples=2)).shares
    (0.5, 0.5)
    """

    key: str
    label: str
    paper: str
    weigh: Callable[[Evidence], Tensor]
    passes: Callable[[Settings], Passes]
    heeds: tuple[str, ...] = ()
    score_based: bool = False
    needs_head: bool = False
    class_specific: bool = True

    @property
    def effort(self) -> int:
        """A rank of what a map takes: 0 a pass or none, 1 a few or parts of many, 2 one and more per channel, 3 several per
        channel, all run."""
        needed = self.passes(DEFAULT_SETTINGS)
        if any(probe.noise for probe in needed.probes):
            return 3
        if needed.cells or any(probe.silence for probe in needed.probes):
            return 1
        return 2 if needed.probes else int(len(needed.gradients) > 1)

    def heeded(self, settings: Settings) -> dict[str, object]:
        """The settings that change its map, by their names: maps of equal ones are equal."""
        contrast = CONTRAST if self.class_specific and settings.rivals is not None else ()
        return {name: getattr(settings, name) for name in (*self.heeds, *contrast)}
