"""`Explainer`: analyse a photo once, then explain it by any method, for any class, as often as wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from iscam.engine import (
    Backend,
    Refinement,
    Scorer,
    ScoreTable,
    can_spare,
    capture,
    finite,
    flat_channels,
    noise_field,
    normalise,
    pending,
    upsample,
)
from iscam.models import LoadedModel

from .images import Photo, read_photo
from .methods import (
    DEFAULT_ENGINE,
    DEFAULT_SAMPLES,
    ENGINES,
    MAX_SAMPLES,
    METHODS,
    SMOOTH_NOISE,
    Evidence,
    Method,
    Settings,
    doubt,
    refusal,
)
from .path import DEFAULT_STEPS, WEIGHTINGS, integration_path

GRADIENTS_KEPT = 16  # classes per analysis
LONGEST = 10  # long side over short side, beyond which only the middle of a photo is resized


@dataclass(frozen=True)
class Prediction:
    """A class, its name, and its probability in [0, 1]."""

    index: int
    category: str
    probability: float


@dataclass(frozen=True, eq=False)
class Analysis:
    """One photo seen by one model: made by `Explainer.analyse`, freed with all scores when it is dropped.

    `photo` is reduced for display; `crop` (l, t, r, b) is what the network sees, in upright pixels of the full photo;
    `probabilities` (K,); `predictions` the five most probable classes.
    """

    photo: Photo
    crop: tuple[int, int, int, int]
    predictions: tuple[Prediction, ...]
    probabilities: NDArray[np.float32]
    layer: str
    forward: capture.ForwardPass
    table: ScoreTable
    gradients: dict[tuple[int, ...], Tensor]


@dataclass(frozen=True, eq=False)
class Subject:
    """What was looked at, and by which model: what pictures and records need, without activations and scores, so that it
    can be kept. `model` is the model's key, `layers` its layers with their map sizes; the rest is as in `Analysis`."""

    photo: Photo
    crop: tuple[int, int, int, int]
    predictions: tuple[Prediction, ...]
    probabilities: NDArray[np.float32]
    layer: str
    model: str
    label: str
    weights_sha256: str
    categories: tuple[str, ...]
    layers: dict[str, tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Explanation:
    """The map of one method for one class.

    `weights` (C,), (C, h, w) or None; `raw` (h, w) in the method's own units; `heatmap` (H, W) float32 in [0, 1] on the
    network's crop, in [-1, 1] for the contrast of two classes. `forward_passes` counts the input rows run by this call.
    `estimated_error` bounds max |heatmap - exact heatmap|, None where nothing is known (a stopped run). `note` says what a
    reader must know, empty if nothing. `against_index` is the other class of a contrast.
    """

    method: str
    class_index: int
    category: str
    probability: float
    weights: NDArray[np.float32] | None
    raw: NDArray[np.float32]
    heatmap: NDArray[np.float32]
    seconds: float
    forward_passes: int
    estimated_error: float | None
    complete: bool
    note: str
    against_index: int | None = None


class Stopped(Exception):
    """Raised where a run that was stopped has nothing to show."""


@dataclass(frozen=True, eq=False)
class Progress:
    """How far a run is, in input rows; `preview()` makes the map of what is known so far (in the computing thread)."""

    done: int
    total: int
    preview: Callable[[], Explanation]


class Explainer:
    """Explains photos by one model. Use one from one thread at a time.

    Args:
        model: from `load_model`. Its weights are read when first used; for changed weights make another explainer.
        engine: `fast`: to within the tolerance; `exact`: every channel and step, in float32.
        tolerance: how far a heat map of the fast engine may be from the exact one, 0..1.
        backend: one to share with another explainer of the model (default: a new one).
    """

    def __init__(
        self,
        model: LoadedModel,
        engine: str = DEFAULT_ENGINE,
        tolerance: float = 0.01,
        backend: Backend | None = None,
    ) -> None:
        if engine not in ENGINES:
            raise ValueError(f"The engine must be one of {', '.join(ENGINES)}, not {engine!r}.")
        if not 0 < tolerance < 1:
            raise ValueError(f"The tolerance must lie between 0 and 1, not {tolerance!r}.")
        self.model = model
        self.engine = engine
        self.tolerance = tolerance
        self.backend = backend or Backend(model.network, model.folds)

    def using(self, engine: str) -> Explainer:
        """An explainer with another engine, for the same network and the same analyses."""
        return self if engine == self.engine else Explainer(self.model, engine, self.tolerance, self.backend)

    def analyse(self, photo: str | Path | bytes | Image.Image | Photo, layer: str | None = None) -> Analysis:
        """One forward pass over the photo.

        Raises:
            ValueError: a photo that cannot be read, or a layer that has no maps; one sentence.
        """
        model = self.model
        upright = read_photo(photo)
        image = model.transforms(_middle(upright.image))[None]
        return self._analysis(upright.reduced(), model.geometry.crop(upright.size), image, model.find_layer(layer))

    def changed(self, analysis: Analysis, image: Tensor) -> Analysis:
        """The same photo with another input (1, 3, H, W), such as the one masked by a map: one forward pass.

        Raises:
            ValueError: the network gives no finite scores for it; one sentence.
        """
        return self._analysis(analysis.photo, analysis.crop, image, analysis.layer)

    def _analysis(self, photo: Photo, crop: tuple[int, int, int, int], image: Tensor, layer: str) -> Analysis:
        model = self.model
        device = next(model.network.parameters()).device
        forward = capture.forward_pass(model.network, layer, image.to(device))
        if not forward.logits.isfinite().all():
            raise ValueError(f"{model.label} gives no finite scores for this photo: check its weights, mean and std.")
        probabilities = forward.logits.softmax(0).cpu().numpy()
        top = probabilities.argsort()[::-1][:5]
        predictions = tuple(Prediction(int(i), model.categories[i], float(probabilities[i])) for i in top)
        table = ScoreTable(forward.logits, len(forward.activations))
        return Analysis(photo, crop, predictions, probabilities, layer, forward, table, {})

    def subject(self, analysis: Analysis) -> Subject:
        """What can be kept of an analysis."""
        model = self.model
        return Subject(
            analysis.photo,
            analysis.crop,
            analysis.predictions,
            analysis.probabilities,
            analysis.layer,
            model.key,
            model.label,
            model.weights_sha256,
            model.categories,
            model.layers,
        )

    def masked_probability(self, analysis: Analysis, explanation: Explanation) -> float:
        """The class probability in [0, 1] when the photo is masked by the heat map (E o X): 0 of it shows the mean colour.

        Raises:
            ValueError: the map of a contrast, which is signed, or a network that gives no finite scores; one sentence.
        """
        if explanation.against_index is not None:
            raise ValueError("The map of a contrast is signed, so it cannot mask a photo.")
        image = analysis.forward.image
        masked = image * torch.from_numpy(explanation.heatmap).to(image)
        return float(self.probability(masked, explanation.class_index)[0])

    def probability(self, images: Tensor, class_index: int, stop: threading.Event | None = None) -> Tensor:
        """Class probability (n,) in [0, 1] of inputs (n, 3, H, W).

        Raises:
            ValueError: the network gives no finite scores for one of them; one sentence.
            Stopped: `stop` was set before the last batch.
        """
        found: list[Tensor] = []
        with capture.undisturbed(self.model.network):
            while len(images):
                if stop is not None and stop.is_set():
                    raise Stopped
                rows = self.backend.pace("precise").rows(len(images))
                found.append(finite(self.backend.logits(images[:rows])).softmax(1)[:, class_index])
                images = images[rows:]
        return torch.cat(found)

    def picture(self, image: Tensor) -> NDArray[np.uint8]:
        """What the network is shown by an input (1, 3, H, W), as an RGB picture (H, W, 3)."""
        black, white = (
            self.model.transforms(Image.new("RGB", (64, 64), shade))[:, :1, :1] for shade in ("black", "white")
        )
        shares = ((image[0].cpu() - black) / (white - black)).clamp(0, 1)  # (3, H, W)
        found: NDArray[np.uint8] = (255 * shares).round().byte().permute(1, 2, 0).numpy()
        return found

    def refusal(self, method: str, layer: str | None = None) -> str | None:
        """Why the method cannot serve this model's layer, in one sentence; None if it can."""
        return refusal(_find_method(method).key, self.model.label, self.model.head_layer, layer or self.model.layer)

    def explain(
        self,
        analysis: Analysis,
        method: str = "is-cam",
        target: int | str | None = None,
        against: int | str | None = None,
        steps: int = DEFAULT_STEPS,
        path: str = "cumulative",
        weighting: str = "probability",
        samples: int | None = None,
        seed: int = 0,
        progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Explanation:
        """The map of `method` for class `target` (default: the most probable), or of `target` rather than `against`.

        Args:
            analysis: from `analyse` of this explainer.
            method: a key of METHODS.
            target, against: class index, its digits, or its category.
            steps, path, weighting: IS-CAM's settings (Score-CAM shares the weighting).
            samples, seed: noise samples of SS-CAM and Smooth Grad-CAM++ (default 8).
            progress: called after every batch.
            stop: when it is set, the map of what is known is returned with `complete` False.

        Raises:
            ValueError: unknown names, numbers out of range, a method that cannot serve the model, or a network that gives
                no finite scores for the masked photo; one sentence.
        """
        started = time.perf_counter()
        row = _find_method(method)
        if reason := self.refusal(method, analysis.layer):
            raise ValueError(reason)
        settings = _settings(steps, path, weighting, samples, seed)
        class_index = analysis.predictions[0].index if target is None else self.model.find_class(target)
        rival = None if against is None else self.model.find_class(against)
        if rival is not None and not row.class_specific:
            raise ValueError(f"{row.label} gives the same map for every class, so it cannot contrast two.")
        if rival == class_index:
            raise ValueError("The contrast needs two different classes.")
        classes = (class_index,) if rival is None else (class_index, rival)

        scorer = Scorer(self.backend, analysis.layer, analysis.forward, analysis.table, stop)
        probes = row.probes(settings)
        weighting = settings.weighting if "noise" not in row.needs else WEIGHTINGS[0]
        refinement = None
        if self.engine == "fast" and "scores" in row.needs and can_spare(analysis.forward, self.tolerance):
            refinement = Refinement(scorer, probes, weighting, classes, self.tolerance)

        def build(rows: int, complete: bool) -> Explanation:
            evidence = [
                Evidence(
                    analysis.forward,
                    settings,
                    analysis.table,
                    analysis.gradients.get(_gradient_key(row, settings, c)) if "gradients" in row.needs else None,
                    self.model.head,
                    None if refinement is None else refinement.averages(number),
                )
                for number, c in enumerate(classes)
            ]
            maps = _draw(row, evidence, classes)
            error = (0.0 if complete else None) if refinement is None else refinement.error
            seconds = time.perf_counter() - started
            return self._explanation(analysis, row, classes, evidence[0], maps, seconds, rows, error, complete)

        def report(done: int, total: int) -> None:
            if progress is not None:
                progress(Progress(done, total, lambda: build(done, complete=False)))

        with capture.undisturbed(self.model.network):
            rows, complete = 0, True
            if refinement is not None:
                scorer.report = lambda done: report(done, max(done, refinement.total))
                complete, rows = refinement.run(), scorer.rows
                if complete and rows:
                    report(rows, rows)
            elif probes:
                analysis.table.reserve(probes, classes)
                pairs = pending(analysis.forward, analysis.table, probes)
                scorer.report = lambda done: report(done, len(pairs))
                complete, rows = scorer.run(probes, pairs), scorer.rows
            elif "gradients" in row.needs:
                rows, complete = self._differentiate(analysis, row, settings, classes, stop)
            scorer.report = None  # it knows the scorer in turn: the scores would stay until the collector finds them
            return build(rows, complete)

    def _differentiate(
        self,
        analysis: Analysis,
        row: Method,
        settings: Settings,
        classes: tuple[int, ...],
        stop: threading.Event | None,
    ) -> tuple[int, bool]:
        """Add the gradients that are not known yet to the analysis; return the rows run and whether all are there now."""
        network, image = self.model.network, analysis.forward.image
        rows = 0
        for class_index in classes:
            key = _gradient_key(row, settings, class_index)
            if key in analysis.gradients:
                continue
            fields: list[Tensor] = [torch.zeros_like(image)]
            if "noise" in row.needs:
                strength = SMOOTH_NOISE * (image.amax() - image.amin())
                fields = [strength * noise_field(settings.seed, j, image) for j in range(settings.samples)]
            total = torch.zeros_like(analysis.forward.activations)
            for field in fields:
                if stop is not None and stop.is_set():
                    return rows, False
                total += capture.gradients(network, analysis.layer, image + field, class_index)
                rows += 1
            while len(analysis.gradients) >= GRADIENTS_KEPT:
                del analysis.gradients[next(iter(analysis.gradients))]
            analysis.gradients[key] = total / len(fields)
        return rows, True

    def _explanation(
        self,
        analysis: Analysis,
        row: Method,
        classes: tuple[int, ...],
        evidence: Evidence,
        drawn: tuple[Tensor | None, Tensor],
        seconds: float,
        rows: int,
        error: float | None,
        complete: bool,
    ) -> Explanation:
        weights, raw = drawn
        contrast = len(classes) > 1
        size = (analysis.forward.image.shape[2], analysis.forward.image.shape[3])
        heatmap = upsample(raw[None], size)
        heatmap = heatmap / heatmap.abs().max().clamp_min(1e-30) if contrast else normalise(heatmap)
        probability = float(analysis.probabilities[classes[0]])
        category = self.model.categories[classes[0]]
        return Explanation(
            row.key,
            classes[0],
            category,
            probability,
            None if weights is None else weights.cpu().numpy(),
            raw.cpu().numpy(),
            heatmap[0].cpu().numpy(),
            seconds,
            rows,
            error,
            complete,
            _note(row, evidence, classes[0], category, probability, weights, heatmap, complete),
            classes[1] if contrast else None,
        )


def _middle(image: Image.Image) -> Image.Image:
    """The photo, without the far ends of a very long one: the crop lies in the middle, and resizing all could fill memory."""
    short, long = min(image.size), max(image.size)
    if long <= LONGEST * short:
        return image
    cut = (long - LONGEST * short) // 2
    left, top = (cut, 0) if image.width == long else (0, cut)
    return image.crop((left, top, image.width - left, image.height - top))


def _find_method(key: str) -> Method:
    if key not in METHODS:
        raise ValueError(f"There is no method {key!r}: choose one of {', '.join(METHODS)}.")
    return METHODS[key]


def _settings(steps: int, path: str, weighting: str, samples: int | None, seed: int) -> Settings:
    if weighting not in WEIGHTINGS:
        raise ValueError(f"The weighting must be one of {', '.join(WEIGHTINGS)}, not {weighting!r}.")
    count = DEFAULT_SAMPLES if samples is None else samples
    if not 1 <= count <= MAX_SAMPLES:
        raise ValueError(f"The number of samples must lie between 1 and {MAX_SAMPLES}, not {count}.")
    if not 0 <= seed < 2**32:
        raise ValueError(f"The seed must lie between 0 and {2**32 - 1}, not {seed}.")
    return Settings(integration_path(path, steps), weighting, count, seed)


def _gradient_key(row: Method, settings: Settings, class_index: int) -> tuple[int, ...]:
    return (class_index, settings.samples, settings.seed) if "noise" in row.needs else (class_index,)


def _draw(row: Method, evidence: list[Evidence], classes: tuple[int, ...]) -> tuple[Tensor | None, Tensor]:
    """Weights (C,), (C, h, w) or None, and the raw map (h, w), of one class or of the first rather than the second."""
    activations = evidence[0].forward.activations
    if "gradients" in row.needs and any(e.gradients is None for e in evidence):
        return None, torch.zeros_like(activations[0])  # stopped before the gradients were known
    weighed = [row.weigh(e, c) for e, c in zip(evidence, classes, strict=True)]
    if weighed[0].ndim == 2:
        return None, weighed[0].relu()
    weights = weighed[0] if len(weighed) == 1 else weighed[0] - weighed[1]
    shaped = weights[:, None, None] if weights.ndim == 1 else weights
    raw = (shaped * activations).sum(0)
    return weights, raw if len(weighed) > 1 else raw.relu()


def _note(
    row: Method,
    evidence: Evidence,
    class_index: int,
    category: str,
    probability: float,
    weights: Tensor | None,
    heatmap: Tensor,
    complete: bool,
) -> str:
    """What a reader of the map must know: why it is blank, that it was stopped, or that the class is improbable."""
    sentences = []
    if not complete:
        sentences.append("Stopped before all passes were done.")
    if not heatmap.any():
        sentences.append(_blank_reason(row, evidence, class_index, weights))
    return " ".join([*sentences, doubt(category, probability)]).strip()


def _blank_reason(row: Method, evidence: Evidence, class_index: int, weights: Tensor | None) -> str:
    flat = float(flat_channels(evidence.forward.activations).float().mean())
    score = float(evidence.forward.logits[class_index])
    if flat == 1:
        reason = "every channel of the layer is constant on this photo"
    elif evidence.gradients is not None and not evidence.gradients.any():
        reason = f"all gradients of the class score ({score:.3g}) are zero"
    elif "ablation" in row.needs and score == 0:
        reason = "the class score is 0, so no relative drop can be taken"
    elif weights is not None and not weights.any():
        reason = "all weights are zero"
    elif weights is not None and bool((weights <= 0).all()):
        reason = "no channel has a positive weight for this class"
    else:
        reason = "the weighted sum of the channels is nowhere positive, or the same everywhere"
    return f"The map is blank: {reason} ({100 * flat:.0f} % of the channels are constant)."
