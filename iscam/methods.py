"""One weight function per class activation map, and the METHODS table.

A weight function gets the evidence for one class and returns channel weights (C,), weights per position (C, h, w), or the
map itself (h, w). Notation: A_k channel k of the layer, S_c logit and f_c probability of class c, g = dS_c / dA.
Importing this module does not load torch, so that the command line can check its arguments at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .path import IntegrationPath

if TYPE_CHECKING:
    from torch import Tensor

    from iscam.engine import ForwardPass, Probe, ScoreTable

DEFAULT_METHODS = ("is-cam", "score-cam", "grad-cam", "grad-cam++")
ENGINES = ("fast", "exact")  # to within a tolerance; every channel and step in float32
DEFAULT_ENGINE = "fast"
DEFAULT_SAMPLES = 8
MAX_SAMPLES = 100
XGRAD_EPSILON = 1e-7  # of the largest channel sum: below it a channel counts as silent
DOUBTFUL_PROBABILITY = 0.05  # of a class, below which its map is no evidence
SMOOTH_NOISE = 0.15  # of the photo's range


@dataclass(frozen=True)
class Settings:
    """What a visitor may choose: the path, the weighting of the scores, and noise samples with their seed."""

    path: IntegrationPath
    weighting: str
    samples: int
    seed: int


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a method may weigh. Fields a method does not need are None."""

    forward: ForwardPass
    settings: Settings
    table: ScoreTable | None = None
    gradients: Tensor | None = None  # (C, h, w) for the class in question, averaged over noisy photos if that is needed
    head: Tensor | None = None  # (K, C)
    averages: Tensor | None = None  # (C,) scores averaged over the probes by the fast engine, NaN where not known


@dataclass(frozen=True)
class Method:
    """One row of METHODS.

    `needs` is a subset of {"scores", "noise", "ablation", "gradients", "head"}; `class_specific` is False where the map is
    the same for every class.
    """

    key: str
    label: str
    paper: str
    needs: frozenset[str]
    weigh: Callable[[Evidence, int], Tensor]
    class_specific: bool = True

    @property
    def effort(self) -> int:
        """A rank of what a map takes: 0 a pass or none, 1 a few, 2 one and more per channel, 3 several per channel, all run."""
        if self.needs & {"ablation"} or {"scores", "noise"} <= self.needs:
            return 3
        return 2 if "scores" in self.needs else int("noise" in self.needs)

    def probes(self, settings: Settings) -> tuple[Probe, ...]:
        """The perturbed passes that the method reads from the score table."""
        from iscam.engine import Probe

        if self.key == "is-cam":
            return tuple(Probe(multiplier) for multiplier in settings.path.multipliers)
        if self.key == "score-cam":
            return (Probe(),)
        if self.key == "ss-cam":
            return tuple(Probe(noise=(settings.seed, sample)) for sample in range(settings.samples))
        return (Probe(silence=True),) if "ablation" in self.needs else ()


def _average_scores(evidence: Evidence, class_index: int, averages: tuple[float, ...], method: Method) -> Tensor:
    """Channel weights (C,) from scores averaged over probes; channels not (fully) run get 0."""
    by_logit = evidence.settings.weighting == "logit" and method.key != "ss-cam"
    mean = evidence.averages
    if mean is None:
        assert evidence.table is not None
        logits, probabilities, known = evidence.table.read(method.probes(evidence.settings), class_index)
        shares = logits.new_tensor(averages)[:, None]  # (n, 1)
        mean = (shares * (logits if by_logit else probabilities)).sum(0).where(known, float("nan"))
    known = ~mean.isnan()
    if not by_logit:
        return mean.where(known, 0)
    return mean.where(known, -float("inf")).softmax(0) if known.any() else mean.new_zeros(mean.shape)


def is_cam(evidence: Evidence, class_index: int) -> Tensor:
    r"""IS-CAM (arXiv 2010.03023): $\alpha_k = \frac{1}{N} \sum_i f_c(M_i)$, with $M_i$ on the path of the masked photo.

    With logit weighting $\alpha$ is the softmax over channels of the mean logit, as in torch-cam.
    """
    return _average_scores(evidence, class_index, evidence.settings.path.weights, METHODS["is-cam"])


def score_cam(evidence: Evidence, class_index: int) -> Tensor:
    r"""Score-CAM (arXiv 1910.01279): $\alpha_k = f_c(X \circ H_k)$; the one-point path at multiplier 1."""
    return _average_scores(evidence, class_index, (1.0,), METHODS["score-cam"])


def ss_cam(evidence: Evidence, class_index: int) -> Tensor:
    r"""SS-CAM (arXiv 2006.14255): $\alpha_k = \frac{1}{n} \sum_j f_c(X \circ H_k + \sigma_k Z_j)$; always probabilities."""
    samples = evidence.settings.samples
    return _average_scores(evidence, class_index, (1 / samples,) * samples, METHODS["ss-cam"])


def ablation_cam(evidence: Evidence, class_index: int) -> Tensor:
    r"""Ablation-CAM (WACV 2020): $\alpha_k = (S_c - S_c|_{A_k = 0}) / |S_c|$; zeros where $S_c = 0$."""
    assert evidence.table is not None
    logits, _, known = evidence.table.read(METHODS["ablation-cam"].probes(evidence.settings), class_index)
    score = evidence.forward.logits[class_index]
    drops: Tensor = (score - logits[0]) / score.abs()  # (C,)
    return drops.where(known & (score != 0), 0)


def cam(evidence: Evidence, class_index: int) -> Tensor:
    r"""CAM (arXiv 1512.04150): $\alpha_k$ is the weight of channel k in the linear head behind global average pooling."""
    assert evidence.head is not None
    return evidence.head[class_index]


def _gradients(evidence: Evidence) -> Tensor:
    assert evidence.gradients is not None
    return evidence.gradients


def grad_cam(evidence: Evidence, class_index: int) -> Tensor:
    r"""Grad-CAM (arXiv 1610.02391): $\alpha_k$ is the mean of $g_k$ over positions."""
    return _gradients(evidence).mean((1, 2))


def grad_cam_plus_plus(evidence: Evidence, class_index: int) -> Tensor:
    r"""Grad-CAM++ (arXiv 1710.11063, eq. 19): $a = g^2 / (2 g^2 + g^3 \sum_{ab} A_k(a,b))$ where $g \ne 0$,
    $\alpha_k = \sum_{ij} a \, \mathrm{ReLU}(g)$.

    One $g^2$ is divided out, and the terms with $g \le 0$, which the ReLU removes, are never divided; computed in float64.
    """
    g = _gradients(evidence).double()
    sums = evidence.forward.activations.double().sum((1, 2), keepdim=True)
    denominators = 2 + g * sums
    positive = (g > 0) & (denominators != 0)
    return (g / denominators.where(positive, 1)).where(positive, 0).sum((1, 2)).float()


def xgrad_cam(evidence: Evidence, class_index: int) -> Tensor:
    r"""XGrad-CAM (arXiv 2008.02312): $\alpha_k = \sum g_k A_k / \sum A_k$; 0 where a channel's sum is about 0."""
    activations = evidence.forward.activations
    sums = activations.sum((1, 2))
    audible = sums.abs() > XGRAD_EPSILON * sums.abs().max()
    return ((_gradients(evidence) * activations).sum((1, 2)) / sums.where(audible, 1)).where(audible, 0)


def hires_cam(evidence: Evidence, class_index: int) -> Tensor:
    r"""HiResCAM (arXiv 2011.08891): weights per position, $L = \mathrm{ReLU}(\sum_k g_k \circ A_k)$."""
    return _gradients(evidence)


def layer_cam(evidence: Evidence, class_index: int) -> Tensor:
    r"""LayerCAM (IEEE TIP 2021): weights per position, $L = \mathrm{ReLU}(\sum_k \mathrm{ReLU}(g_k) \circ A_k)$."""
    return _gradients(evidence).relu()


def eigen_cam(evidence: Evidence, class_index: int) -> Tensor:
    r"""Eigen-CAM (arXiv 2008.00299): projection of the centred activations (hw, C) on their first right singular vector.

    The vector's sign is open: it is chosen so that the map, weighted by total activation, sums to a positive number.
    """
    activations = evidence.forward.activations
    positions = activations.flatten(1).T.double()  # (hw, C)
    centred = positions - positions.mean(0)
    projection = centred @ _first_right_singular_vector(centred)
    sign = 1 if (projection * positions.sum(1)).sum() >= 0 else -1
    return (sign * projection).view(activations.shape[1:]).float()


def _first_right_singular_vector(matrix: Tensor) -> Tensor:
    import torch

    vectors: Tensor = torch.linalg.svd(matrix, full_matrices=False).Vh
    return vectors[0]


def _row(
    key: str, label: str, paper: str, needs: str, weigh: Callable[[Evidence, int], Tensor], class_specific: bool = True
) -> Method:
    return Method(key, label, paper, frozenset(needs.split()), weigh, class_specific)


METHODS = {
    row.key: row
    for row in (
        _row("is-cam", "IS-CAM", "https://arxiv.org/abs/2010.03023", "scores", is_cam),
        _row("score-cam", "Score-CAM", "https://arxiv.org/abs/1910.01279", "scores", score_cam),
        _row("ss-cam", "SS-CAM", "https://arxiv.org/abs/2006.14255", "scores noise", ss_cam),
        _row("cam", "CAM", "https://arxiv.org/abs/1512.04150", "head", cam),
        _row("grad-cam", "Grad-CAM", "https://arxiv.org/abs/1610.02391", "gradients", grad_cam),
        _row("grad-cam++", "Grad-CAM++", "https://arxiv.org/abs/1710.11063", "gradients", grad_cam_plus_plus),
        _row(
            "smooth-grad-cam++",
            "Smooth Grad-CAM++",
            "https://arxiv.org/abs/1908.01224",
            "gradients noise",
            grad_cam_plus_plus,
        ),
        _row("xgrad-cam", "XGrad-CAM", "https://arxiv.org/abs/2008.02312", "gradients", xgrad_cam),
        _row("hires-cam", "HiResCAM", "https://arxiv.org/abs/2011.08891", "gradients", hires_cam),
        _row("layer-cam", "LayerCAM", "https://doi.org/10.1109/TIP.2021.3089943", "gradients", layer_cam),
        _row("eigen-cam", "Eigen-CAM", "https://arxiv.org/abs/2008.00299", "", eigen_cam, class_specific=False),
        _row(
            "ablation-cam", "Ablation-CAM", "https://doi.org/10.1109/WACV45572.2020.9093360", "ablation", ablation_cam
        ),
    )
}


def refusal(key: str, model_label: str, head_layer: str | None, layer: str) -> str | None:
    """Why a method cannot serve a model's layer, in one sentence; None if it can."""
    if "head" not in METHODS[key].needs or layer == head_layer:
        return None
    label = METHODS[key].label
    if head_layer is None:
        return f"{label} needs global average pooling followed by one linear layer, which {model_label} does not have."
    return f"{label} needs the layer just before the global pooling, {head_layer}, not {layer}."


def doubt(category: str, probability: float) -> str:
    """What must be said of the map of an improbable class; empty for a probable one."""
    if probability >= DOUBTFUL_PROBABILITY:
        return ""
    return f"The network gives {category} only {100 * probability:.2g} %: do not take the map for evidence."
