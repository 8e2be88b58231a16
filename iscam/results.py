"""What comes out of an `Explainer`: predictions, analyses, explanations. No torch is loaded here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from iscam.images import Photo
from iscam.models import ModelSpec, Preparation

if TYPE_CHECKING:
    from iscam.engine import ForwardPass, Gradients, ScoreTable


FEWEST = 5  # classes among the predictions
FOUND = 0.5  # from this probability on, a class that others do not exclude is found; all of these are among them too


@dataclass(frozen=True)
class Prediction:
    """A class, its name, and its probability in [0, 1].

    >>> Prediction(1, "cat", 0.9).category
    'cat'
    """

    index: int
    category: str
    probability: float


@dataclass(frozen=True, eq=False)
class Analysis:
    """One photo seen by one model: made by `Explainer.analyse`, freed with all scores when it is dropped.

    `photo` is reduced for display; `crop` (l, t, r, b) is what the network sees, in upright pixels of the full photo;
    `probabilities` (K,); `predictions` the five most probable classes, and all others that are more probable than not.

    >>> import iscam
    >>> analysis = iscam.Explainer(iscam.load_model("photo11")).analyse("assets/examples/chelsea.jpg")
    >>> [prediction.category for prediction in analysis.predictions][:2]
    ['cat', 'gas pump']
    """

    photo: Photo
    crop: tuple[int, int, int, int]
    predictions: tuple[Prediction, ...]
    probabilities: NDArray[np.float32]
    layer: str
    forward: ForwardPass
    table: ScoreTable
    gradients: Gradients


@dataclass(frozen=True, eq=False)
class Subject:
    """What was looked at, and by which model: what pictures and records need, without activations and scores, so that it
    can be kept. `spec` has the model's layers with their map sizes, `preparation` what was done to the photo; the rest is as in
    `Analysis`."""

    photo: Photo
    crop: tuple[int, int, int, int]
    predictions: tuple[Prediction, ...]
    probabilities: NDArray[np.float32]
    layer: str
    spec: ModelSpec
    categories: tuple[str, ...]
    weights_sha256: str
    preparation: Preparation

    @property
    def found(self) -> tuple[Prediction, ...]:
        """What is in the photo, where it may be several things (a sigmoid head): all that is more probable than not."""
        return tuple(row for row in self.predictions if row.probability > FOUND) if self.spec.head == "sigmoid" else ()

    @property
    def place(self) -> tuple[str, str, str]:
        """The photo's digest, the model's key, and the layer."""
        return self.photo.sha256, self.spec.key, self.layer


@dataclass(frozen=True)
class Outcome:
    """How the making of a map went: seconds, input rows run, and how far the map can be relied on.

    `estimated_error` bounds max |heatmap - exact heatmap|, None where nothing is known (a stopped run).
    """

    seconds: float
    forward_passes: int
    estimated_error: float | None
    complete: bool


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What a map is held against: the same method's map (H, W) for the `rival`, which is the most probable other class, None
    where there is none; and the `mean` (H, W) of the layer's activations, which knows no class (LaFAM, arXiv 2407.06059)."""

    rival: Prediction | None
    heatmap: NDArray[np.float32] | None
    mean: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Ground:
    """What a map is drawn on: the photo, reduced for display, and the crop (l, t, r, b) of it that the map covers, as in
    `Analysis`."""

    photo: Photo
    crop: tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Explanation:
    """The map of one method for one class, `target`, or for it rather than for its `rivals`.

    `weights` (C,), (C, h, w) or None; `raw` (h, w) in the method's own units; `heatmap` (H, W) float32 in [0, 1] on the
    network's crop, in [-1, 1] if it is `signed`. `note` says what a reader must know, empty if nothing; a
    finished map that is not signed has a `yardstick`. What stands in `target` and `outcome` can be read from the explanation.
    One from `Explainer.explain` or `compare` knows the `ground` that it is drawn on, and so shows itself in a notebook.

    >>> import iscam
    >>> explainer = iscam.Explainer(iscam.load_model("photo11"))
    >>> found = explainer.explain(explainer.analyse("assets/examples/chelsea.jpg"), "grad-cam")
    >>> found.category, found.heatmap.shape, found.forward_passes, found.complete
    ('cat', (128, 128), 1, True)
    """

    method: str
    target: Prediction
    rivals: tuple[Prediction, ...]
    signed: bool
    weights: NDArray[np.float32] | None
    raw: NDArray[np.float32]
    heatmap: NDArray[np.float32]
    outcome: Outcome
    note: str
    yardstick: Yardstick | None = None
    ground: Ground | None = field(default=None, repr=False)

    def _repr_png_(self) -> bytes | None:
        """The picture in a notebook: the map over its photo, as the page shows it. None without a ground."""
        if self.ground is None:
            return None
        from iscam.show import draw_map, encoded

        return encoded(draw_map(self.ground.photo, self.ground.crop, self.heatmap, signed=self.signed))

    @property
    def specificity(self) -> float | None:
        """1 - r, Pearson's, of the map and the one for the strongest rival: 0 if the class does not matter. None if unknown."""
        found = None if self.yardstick is None else correlation(self.heatmap, self.yardstick.heatmap)
        return None if found is None else 1 - found

    @property
    def likeness(self) -> float | None:
        """r, Pearson's, of the map and the mean of the activations: near 1 if it shows where something is. None if unknown."""
        return None if self.yardstick is None else correlation(self.heatmap, self.yardstick.mean)

    @property
    def class_index(self) -> int:
        return self.target.index

    @property
    def category(self) -> str:
        return self.target.category

    @property
    def probability(self) -> float:
        return self.target.probability

    @property
    def against(self) -> Prediction | None:
        """The one rival of a signed map, if it is that of two classes."""
        return self.rivals[0] if self.signed and len(self.rivals) == 1 else None

    @property
    def seconds(self) -> float:
        return self.outcome.seconds

    @property
    def forward_passes(self) -> int:
        return self.outcome.forward_passes

    @property
    def estimated_error(self) -> float | None:
        return self.outcome.estimated_error

    @property
    def complete(self) -> bool:
        return self.outcome.complete


def correlation(one: NDArray[np.float32], other: NDArray[np.float32] | None) -> float | None:
    """r, Pearson's, of two maps; None if there is no second one, or one of them is the same everywhere."""
    if other is None or not (np.ptp(one) and np.ptp(other)):
        return None
    return float(np.corrcoef(one.ravel().astype(float), other.ravel().astype(float))[0, 1])


@dataclass(frozen=True, eq=False)
class Progress:
    """How far a run is, in input rows; `preview()` makes the map of what is known so far (in the computing thread).

    >>> import iscam
    >>> explainer, seen = iscam.Explainer(iscam.load_model("photo11"), "exact"), []
    >>> analysis = explainer.analyse("assets/examples/chelsea.jpg")
    >>> _ = explainer.explain(analysis, "score-cam", progress=lambda report: seen.append((report.done, report.total)))
    >>> seen[-1]
    (224, 224)
    """

    done: int
    total: int
    preview: Callable[[], Explanation]


class Stopped(Exception):
    """Raised where a run that was stopped has nothing to show."""
