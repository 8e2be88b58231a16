"""One weight function per class activation map, and the METHODS table, whose rows say all about them.

A weight function gets the evidence for a class and returns channel weights (C,), weights per position (C, h, w), or the
map itself (h, w). Notation: A_k channel k of the layer, S_c logit and f_c probability of class c, g = dS_c / dA.
Importing this module does not load torch, so that the command line can check its arguments at once.

>>> from iscam import METHODS
>>> METHODS["is-cam"].label, METHODS["is-cam"].heeds
('IS-CAM', ('steps', 'path', 'weighting'))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscam.evidence import Evidence, Method
from iscam.needs import (
    along_the_path,
    every_cell,
    gradient,
    gradients_with_noise,
    masked_once,
    masked_with_noise,
    nothing,
    silenced,
)

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_METHODS = ("is-cam", "score-cam", "grad-cam", "grad-cam++")
XGRAD_EPSILON = 1e-7  # of the largest channel sum: below it a channel counts as silent


# How it is weighed


def _average_scores(evidence: Evidence) -> Tensor:
    """Channel weights (C,): average probabilities, or the softmax over channels of average logits; 0 where not known."""
    mean = evidence.averages
    assert mean is not None
    known = ~mean.isnan()
    if evidence.passes.scale == "probability":
        return mean.where(known, 0)
    return mean.where(known, -float("inf")).softmax(0) if known.any() else mean.new_zeros(mean.shape)


def is_cam(evidence: Evidence) -> Tensor:
    r"""IS-CAM (arXiv 2010.03023): $\alpha_k = \frac{1}{N} \sum_i f_c(M_i)$, with $M_i$ on the path of the masked photo.

    With logit weighting $\alpha$ is the softmax over channels of the mean logit, as in torch-cam.
    """
    return _average_scores(evidence)


def score_cam(evidence: Evidence) -> Tensor:
    r"""Score-CAM (arXiv 1910.01279): $\alpha_k = f_c(X \circ H_k)$; the one-point path at multiplier 1."""
    return _average_scores(evidence)


def ss_cam(evidence: Evidence) -> Tensor:
    r"""SS-CAM (arXiv 2006.14255): $\alpha_k = \frac{1}{n} \sum_j f_c(X \circ H_k + \sigma_k Z_j)$; always probabilities."""
    return _average_scores(evidence)


def ablation_cam(evidence: Evidence) -> Tensor:
    r"""Ablation-CAM (WACV 2020): $\alpha_k = (S_c - S_c|_{A_k = 0}) / |S_c|$; zeros where $S_c = 0$."""
    assert evidence.averages is not None
    score = evidence.logit
    drops: Tensor = (score - evidence.averages) / score.abs()  # (C,)
    return drops.where(~evidence.averages.isnan() & (score != 0), 0)


def cam(evidence: Evidence) -> Tensor:
    r"""CAM (arXiv 1512.04150): $\alpha_k$ is the weight of channel k in the linear head behind global average pooling."""
    assert evidence.head is not None
    return evidence.head


def _gradients(evidence: Evidence) -> Tensor:
    assert evidence.gradients is not None
    return evidence.gradients


def grad_cam(evidence: Evidence) -> Tensor:
    r"""Grad-CAM (arXiv 1610.02391): $\alpha_k$ is the mean of $g_k$ over positions."""
    return _gradients(evidence).mean((1, 2))


def grad_cam_plus_plus(evidence: Evidence) -> Tensor:
    r"""Grad-CAM++ (arXiv 1710.11063, eq. 19): $a = g^2 / (2 g^2 + g^3 \sum_{ab} A_k(a,b))$ where $g \ne 0$,
    $\alpha_k = \sum_{ij} a \, \mathrm{ReLU}(g)$.

    One $g^2$ is divided out, and the terms with $g \le 0$, which the ReLU removes, are never divided; computed in float64.
    """
    g = _gradients(evidence).double()  # (C, h, w)
    sums = evidence.forward.activations.double().sum((1, 2), keepdim=True)  # (C, 1, 1)
    denominators = 2 + g * sums
    positive = (g > 0) & (denominators != 0)
    return (g / denominators.where(positive, 1)).where(positive, 0).sum((1, 2)).float()


def xgrad_cam(evidence: Evidence) -> Tensor:
    r"""XGrad-CAM (arXiv 2008.02312): $\alpha_k = \sum g_k A_k / \sum A_k$; 0 where a channel's sum is about 0."""
    activations = evidence.forward.activations  # (C, h, w)
    sums = activations.sum((1, 2))  # (C,)
    audible = sums.abs() > XGRAD_EPSILON * sums.abs().max()
    return ((_gradients(evidence) * activations).sum((1, 2)) / sums.where(audible, 1)).where(audible, 0)


def hires_cam(evidence: Evidence) -> Tensor:
    r"""HiResCAM (arXiv 2011.08891): weights per position, $L = \mathrm{ReLU}(\sum_k g_k \circ A_k)$."""
    return _gradients(evidence)


def layer_cam(evidence: Evidence) -> Tensor:
    r"""LayerCAM (IEEE TIP 2021): weights per position, $L = \mathrm{ReLU}(\sum_k \mathrm{ReLU}(g_k) \circ A_k)$."""
    return _gradients(evidence).relu()


def recipro_cam(evidence: Evidence) -> Tensor:
    r"""Recipro-CAM (arXiv 2209.14074): the map itself, $L_{ij} = f_c(A \circ G_{ij})$, where $G_{ij}$ leaves of the maps
    no more than cell (i, j) and some of its neighbours, by a Gaussian of 3 x 3 cells.
    """
    assert evidence.cells is not None
    return evidence.cells.nan_to_num(0)


def eigen_cam(evidence: Evidence) -> Tensor:
    r"""Eigen-CAM (arXiv 2008.00299): projection of the centred activations (hw, C) on their first right singular vector.

    The vector's sign is open: it is chosen so that the map, weighted by total activation, sums to a positive number.
    """
    activations = evidence.forward.activations
    positions = activations.flatten(1).T.double()  # (hw, C)
    centred = positions - positions.mean(0)
    projection = centred @ _first_right_singular_vector(centred)  # (hw,)
    sign = 1 if (projection * positions.sum(1)).sum() >= 0 else -1
    return (sign * projection).view(activations.shape[1:]).float()


def _first_right_singular_vector(matrix: Tensor) -> Tensor:
    import torch

    vectors: Tensor = torch.linalg.svd(matrix, full_matrices=False).Vh  # (min(hw, C), C)
    return vectors[0]


METHODS = {
    row.key: row
    for row in (
        Method(
            "is-cam",
            "IS-CAM",
            "https://arxiv.org/abs/2010.03023",
            is_cam,
            along_the_path,
            ("steps", "path", "weighting"),
            score_based=True,
        ),
        Method(
            "score-cam",
            "Score-CAM",
            "https://arxiv.org/abs/1910.01279",
            score_cam,
            masked_once,
            ("weighting",),
            score_based=True,
        ),
        Method(
            "ss-cam",
            "SS-CAM",
            "https://arxiv.org/abs/2006.14255",
            ss_cam,
            masked_with_noise,
            ("samples", "seed"),
            score_based=True,
        ),
        Method("cam", "CAM", "https://arxiv.org/abs/1512.04150", cam, nothing, needs_head=True),
        Method("grad-cam", "Grad-CAM", "https://arxiv.org/abs/1610.02391", grad_cam, gradient),
        Method("grad-cam++", "Grad-CAM++", "https://arxiv.org/abs/1710.11063", grad_cam_plus_plus, gradient),
        Method(
            "smooth-grad-cam++",
            "Smooth Grad-CAM++",
            "https://arxiv.org/abs/1908.01224",
            grad_cam_plus_plus,
            gradients_with_noise,
            ("samples", "seed"),
        ),
        Method("xgrad-cam", "XGrad-CAM", "https://arxiv.org/abs/2008.02312", xgrad_cam, gradient),
        Method("hires-cam", "HiResCAM", "https://arxiv.org/abs/2011.08891", hires_cam, gradient),
        Method("layer-cam", "LayerCAM", "https://doi.org/10.1109/TIP.2021.3089943", layer_cam, gradient),
        Method(
            "recipro-cam",
            "Recipro-CAM",
            "https://arxiv.org/abs/2209.14074",
            recipro_cam,
            every_cell,
            score_based=True,
        ),
        Method("eigen-cam", "Eigen-CAM", "https://arxiv.org/abs/2008.00299", eigen_cam, nothing, class_specific=False),
        Method(
            "ablation-cam", "Ablation-CAM", "https://doi.org/10.1109/WACV45572.2020.9093360", ablation_cam, silenced
        ),
    )
}
