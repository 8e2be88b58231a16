"""`Explainer`: analyse a photo once, then explain it by any method, for any class, as often as wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iscam.analysing import Source, analysed, input_of, photo_of, shown_to
from iscam.drawing import Runs, as_heatmap, draw
from iscam.engine import Backend, by_itself, carry_out, finite, undisturbed
from iscam.evidence import Evidence
from iscam.images import Photo
from iscam.methods import DEFAULT_METHODS
from iscam.models import LoadedModel
from iscam.notes import WHOLE, blank_reason, doubt, refusal, unspecific
from iscam.path import DEFAULT_STEPS
from iscam.request import Request, find_method, make_request, of_the_rival
from iscam.results import Analysis, Explanation, Ground, Outcome, Prediction, Progress, Stopped, Subject, Yardstick
from iscam.settings import DEFAULT_ENGINE, DEFAULT_SAMPLES, DEFAULT_SETTINGS, DEFAULT_TOLERANCE, ENGINES, Settings

if TYPE_CHECKING:
    from iscam.show import Comparison


class Explainer:
    """Explains photos by one model. Use one from one thread at a time.

    Args:
        model: from `load_model`. Its weights are read when first used; for changed weights make another explainer.
        engine: `fast`: to within the tolerance; `exact`: every channel and step, in float32.
        tolerance: how far a heat map of the fast engine may be from the exact one, 0..1.
        backend: one to share with another explainer of the model (default: a new one).

    >>> import iscam
    >>> explainer = iscam.Explainer(iscam.load_model("photo11"))
    >>> analysis = explainer.analyse("assets/examples/chelsea.jpg")
    >>> explainer.explain(analysis, method="is-cam", target="dog").estimated_error < 0.01
    True
    """

    def __init__(
        self,
        model: LoadedModel,
        engine: str = DEFAULT_ENGINE,
        tolerance: float = DEFAULT_TOLERANCE,
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

    def using(self, engine: str, tolerance: float | None = None) -> Explainer:
        """An explainer with another engine or tolerance, for the same network and the same analyses."""
        asked = engine, tolerance or self.tolerance
        return self if asked == (self.engine, self.tolerance) else Explainer(self.model, *asked, self.backend)

    # A photo

    @by_itself()
    def analyse(self, photo: Source, layer: str | None = None) -> Analysis:
        """One forward pass over a photo.

        Args:
            photo: a file, its bytes, a picture, an array (H, W, 3) of whole numbers from 0 to 255 or others from 0 to 1, or a
                tensor (3, H, W) of such numbers.
            layer: one that gives maps (default: the model's).

        Raises:
            ValueError: a photo that cannot be read, or a layer that has no maps; one sentence.
        """
        model, read = self.model, photo_of(photo)
        name, image = model.find_layer(layer), input_of(model, read)
        return analysed(model, read.reduced(), model.geometry.crop(read.size), image, name)

    def changed(self, analysis: Analysis, image: Tensor) -> Analysis:
        """The same photo with another input (1, 3, H, W), such as the one masked by a map: one forward pass.

        Raises:
            ValueError: the network gives no finite scores for it; one sentence.
        """
        return self.analyse_input(analysis.photo, analysis.crop, image, analysis.layer)

    @by_itself()
    def analyse_input(self, photo: Photo, crop: tuple[int, int, int, int], image: Tensor, layer: str) -> Analysis:
        """An input (1, 3, H, W) that shows the crop of a photo: one forward pass. Raises as `changed`."""
        return analysed(self.model, photo, crop, image, layer)

    def subject(self, analysis: Analysis) -> Subject:
        """What can be kept of an analysis."""
        return Subject(
            photo=analysis.photo,
            crop=analysis.crop,
            predictions=analysis.predictions,
            probabilities=analysis.probabilities,
            layer=analysis.layer,
            spec=self.model.spec,
            categories=self.model.categories,
            weights_sha256=self.model.weights_sha256,
            preparation=self.model.preparation,
        )

    def prediction(self, analysis: Analysis, index: int) -> Prediction:
        """A class of the model, as probable as the photo makes it."""
        return Prediction(index, self.model.categories[index], float(analysis.probabilities[index]))

    # Its maps

    def refusal(self, method: str, layer: str | None = None) -> str | None:
        """Why the method cannot serve this model's layer, in one sentence; None if it can."""
        return refusal(find_method(method).key, self.model.label, self.model.head_layer, layer or self.model.layer)

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
        rivals: int | str | None = None,
        strength: float = 1.0,
        signed: bool = False,
    ) -> Explanation:
        """The map of `method` for class `target` (default: the most probable), or for it rather than for its rivals.

        Args:
            analysis: from `analyse` of this explainer.
            method: a key of METHODS.
            target, against: class index, its digits, or its category. `against` is subtracted as it is: the signed contrast.
            steps, path, weighting, samples, seed, rivals, strength, signed: see `Settings`.
            progress: called after every batch, while others run: it must not use the network.
            stop: when it is set, the map of what is known is returned with `complete` False.

        Raises:
            ValueError: unknown names, numbers out of range, a method that cannot serve the model, or a network that gives
                no finite scores for the masked photo; one sentence.
        """
        contrast = None if rivals is None else str(rivals), strength, signed
        settings = Settings(steps, path, weighting, DEFAULT_SAMPLES if samples is None else samples, seed, *contrast)
        found = self.answer(analysis, self.request(analysis, method, target, against, settings), progress, stop)
        return replace(found, ground=Ground(analysis.photo, analysis.crop))

    def compare(
        self, photo: Source, methods: Sequence[str] = DEFAULT_METHODS, target: int | str | None = None
    ) -> Comparison:
        """The maps of a photo by several methods, at their defaults: see `analyse` and `explain`, which say what is raised too.

        A notebook shows it as a figure; `compare(photo).explanations["is-cam"]` is one map.
        """
        from iscam.show import Comparison

        analysis = self.analyse(photo)
        for method in methods:
            self.request(analysis, method, target)  # what cannot be answered is said before anything is run
        found = {method: self.explain(analysis, method, target) for method in methods}
        return Comparison(Ground(analysis.photo, analysis.crop), found)

    def request(
        self,
        analysis: Analysis,
        method: str,
        target: int | str | None = None,
        against: int | str | None = None,
        settings: Settings = DEFAULT_SETTINGS,
    ) -> Request:
        """A request that this model can answer. Raises ValueError, one sentence, if it cannot; see `explain`."""
        return make_request(self.model, analysis, method, target, against, settings)

    @by_itself()
    def answer(
        self,
        analysis: Analysis,
        request: Request,
        progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Explanation:
        """Run what the request needs and is not known yet, and draw the map; see `explain`."""
        started = time.perf_counter()
        beside = of_the_rival(request, self.model, analysis)
        runs = Runs.of(request, analysis, self.backend, self.tolerance if self.engine == "fast" else None, beside)

        def so_far(complete: bool = False) -> Explanation:
            yardstick = self._yardstick(analysis, request, runs, beside) if complete else None
            outcome = Outcome(time.perf_counter() - started, runs.rows, runs.error, complete)
            return self._explanation(analysis, request, runs, outcome, yardstick)

        def report() -> None:
            if progress is not None:
                progress(Progress(runs.rows, runs.total, so_far))

        with undisturbed(self.model.network):
            complete = carry_out(runs.batches(), stop, report)
            return so_far(complete)

    def _drawn(
        self, analysis: Analysis, request: Request, runs: Runs
    ) -> tuple[list[Evidence], Tensor | None, Tensor, Tensor]:
        """The evidence for each side of a request, weights (C,), (C, h, w) or None, the raw map (h, w), the heat map (H, W)."""
        aim = request.aim
        evidence = [runs.evidence(analysis, self.model.head_weight, side) for side in aim.sides]
        weights, raw = draw(request.method, evidence, aim)
        return evidence, weights, raw, as_heatmap(raw, analysis.forward.size, aim.signed)

    def _yardstick(self, analysis: Analysis, request: Request, runs: Runs, beside: Request | None) -> Yardstick | None:
        """What a finished map is held against."""
        if request.aim.signed:
            return None
        forward = analysis.forward
        mean = as_heatmap(forward.activations.mean(0), forward.size).numpy()
        if beside is None:
            return Yardstick(None, None, mean)
        *_, heatmap = self._drawn(analysis, beside, runs)
        return Yardstick(self.prediction(analysis, beside.aim.target), heatmap.numpy(), mean)

    def _explanation(
        self, analysis: Analysis, request: Request, runs: Runs, outcome: Outcome, yardstick: Yardstick | None
    ) -> Explanation:
        """The map of what has been run."""
        method, aim = request.method, request.aim
        evidence, weights, raw, heatmap = self._drawn(analysis, request, runs)
        target, *rivals = (self.prediction(analysis, index) for index in (aim.target, *aim.rivals))
        found = Explanation(
            method=method.key,
            target=target,
            rivals=tuple(sorted(rivals, key=lambda rival: -rival.probability)),
            signed=aim.signed,
            weights=None if weights is None else weights.numpy(),
            raw=raw.numpy(),
            heatmap=heatmap.numpy(),
            outcome=outcome,
            note="",
            yardstick=yardstick,
        )
        said = (
            "" if outcome.complete else "Stopped before all passes were done.",
            "" if heatmap.any() else blank_reason(evidence[0], weights),
            analysis.photo.note,
            WHOLE if runs.copies.whole else "",
            unspecific(found),
            doubt(target.category, target.probability),
        )
        return replace(found, note=" ".join(sentence for sentence in said if sentence))

    # Other inputs

    @by_itself()
    def masked_probability(self, analysis: Analysis, explanation: Explanation) -> float:
        """The class probability in [0, 1] when the photo is masked by the heat map (E o X): 0 of it shows the mean colour.

        Raises:
            ValueError: a signed map, or a network that gives no finite scores; one sentence.
        """
        if explanation.signed:
            raise ValueError("The map of a contrast is signed, so it cannot mask a photo.")
        image = analysis.forward.image
        masked = image * torch.from_numpy(explanation.heatmap).to(image)  # (1, 3, H, W)
        return float(self.probability(masked, explanation.class_index)[0])

    @by_itself()
    def probability(self, images: Tensor, class_index: int, stop: threading.Event | None = None) -> Tensor:
        """Class probability (n,) in [0, 1] of inputs (n, 3, H, W), in double: in float32 it is 1 from 1 - 3e-8 on.

        Raises:
            ValueError: the network gives no finite scores for one of them; one sentence.
            Stopped: `stop` was set before the last batch.
        """
        found, head = torch.empty(len(images), dtype=torch.double), self.model.head  # the first (n,)

        def keep(start: int, logits: Tensor) -> None:
            found[start : start + len(logits)] = head.probabilities(finite(logits).double())[:, class_index]

        with undisturbed(self.model.network):
            passes = self.backend.passes(len(images), lambda start, stop: images[start:stop], keep)
            if not carry_out(passes, stop, lambda: None):
                raise Stopped
        return found

    def picture(self, image: Tensor) -> NDArray[np.uint8]:
        """What the network is shown by an input (1, 3, H, W), as an RGB picture (H, W, 3)."""
        return shown_to(self.model, image)
