"""Whether a map depends on what the network has learnt, and whether it stays when nothing that matters has changed.

- Randomisation (Adebayo et al., arXiv 1810.03292), cascading: from the head down the weights are drawn anew, module after
  module, and the map is compared with the one before. A map that stays alike has not shown what the network has learnt.
- Random heads: the head alone is drawn anew, several times, because a single draw says little.
- Stability: the photo is moved by some pixels or mirrored, the map moved back; and IS-CAM takes another number of steps.

Each check gives its comparisons one after the other. Whoever has enough simply asks for no more: only copies of the network
are changed, and nothing is held between two comparisons.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from iscam.explain import Explainer
from iscam.models import LoadedModel, linear_head
from iscam.results import Analysis, Explanation, Stopped

from .correlation import pearson, spearman

STAGES = 8  # of the cascade
HEAD_DRAWS = 8
CASCADE, HEAD = "randomised", "head"  # checks
SHIFTS = (4, 8, 16)  # pixels of the network's input, to the right and down
OTHER_STEPS = (5, 20, 50)  # of IS-CAM

Explain = Callable[
    [Explainer, Analysis, int | None], Explanation
]  # of one method and class; by another number of steps


@dataclass(frozen=True)
class Comparison:
    """How alike a map is to the original one, after a change: correlations -1..1, None if one of them is blank.

    `check` is "randomised", "head", "shifted", "mirrored" or "steps"; `probability` 0..1 is that of the class after the
    change.
    """

    check: str
    change: str
    pearson: float | None
    spearman: float | None
    probability: float


def randomisation(
    explainer: Explainer, analysis: Analysis, explain: Explain, stages: int = STAGES, seed: int = 0
) -> Iterator[Comparison]:
    """The maps of ever more random networks against that of the explainer's own, which stays as it is.

    Every parameter is drawn from a normal distribution of its own mean and standard deviation: the network's scale stays,
    so that it is what was learnt that is lost, and not the signal. The first stage draws the head alone, the last one, or a
    single one, everything.

    Raises:
        ValueError: no stage, maps of different classes, or what `explain` refuses; one sentence.
        Stopped: `explain` gave a map that is not complete.
    """
    if stages < 1:
        raise ValueError(f"The cascade needs at least one stage, not {stages}.")
    original = explain(explainer, analysis, None)
    network = copy.deepcopy(explainer.model.network)
    owners = _from_the_head_down(network)
    generator = torch.Generator().manual_seed(seed)
    stages, drawn = min(stages, len(owners)), 0
    for left in reversed(range(stages)):
        upto = len(owners) - (len(owners) - 1) * left // max(1, stages - 1)
        for _, module in owners[drawn:upto]:
            redraw(module, generator)
        drawn = upto
        found = _explained_by(network, explainer, analysis, explain)
        yield _compared(CASCADE, f"down to {owners[upto - 1][0] or 'all'}", original, found)


def random_heads(
    explainer: Explainer, analysis: Analysis, explain: Explain, draws: int = HEAD_DRAWS, seed: int = 0
) -> Iterator[Comparison]:
    """The maps under so many random heads against that of the explainer's own network, which stays as it is.

    The head is the last module that has parameters of its own. It is drawn by `seed`, `seed` + 1, and so on, as in
    `randomisation`, whose first stage is the first draw unless it is its only one.

    Raises:
        ValueError: no draw, maps of different classes, or what `explain` refuses; one sentence.
        Stopped: `explain` gave a map that is not complete.

    >>> import iscam
    >>> from iscam.trust import random_heads
    >>> explainer = iscam.Explainer(iscam.load_model("photo11"))
    >>> analysis = explainer.analyse("assets/examples/chelsea.jpg")
    >>> found = random_heads(explainer, analysis, lambda explainer, analysis, _: explainer.explain(analysis, "cam", "cat"))
    >>> [row.change for row, _ in zip(found, range(3))]
    ['draw 1', 'draw 2', 'draw 3']
    """
    if draws < 1:
        raise ValueError(f"The head must be drawn at least once, not {draws} times.")
    original = explain(explainer, analysis, None)
    for draw in range(draws):
        network = copy.deepcopy(explainer.model.network)
        (_, head), *_ = _from_the_head_down(network)
        redraw(head, torch.Generator().manual_seed(seed + draw))
        yield _compared(HEAD, f"draw {draw + 1}", original, _explained_by(network, explainer, analysis, explain))


def _from_the_head_down(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules that have parameters of their own, with their names, the last one first."""
    owners = [(name, module) for name, module in network.named_modules() if any(True for _ in module.parameters(False))]
    return owners[::-1]


def _explained_by(network: nn.Module, explainer: Explainer, analysis: Analysis, explain: Explain) -> Explanation:
    """What another network of the same kind, asked in the same way, says of the photo."""
    other = Explainer(_with(explainer.model, network, analysis), explainer.engine, explainer.tolerance)
    return explain(other, other.changed(analysis, analysis.forward.image), None)


def _with(model: LoadedModel, network: nn.Module, analysis: Analysis) -> LoadedModel:
    """The model with another network: its own head, and nothing folded that belongs to the first one."""
    weight = None
    if model.head_weight is not None and model.head_layer is not None:
        weight = linear_head(network, model.head_layer, analysis.forward.image)
    return replace(model, network=network, head_weight=weight, folds=())


@torch.no_grad()
def redraw(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the module's own parameters from normal distributions of their own means and standard deviations."""
    for parameter in module.parameters(recurse=False):
        noise = torch.randn(parameter.shape, generator=generator).to(parameter)
        parameter.copy_(parameter.mean() + parameter.std(correction=0) * noise)


def stability(
    explainer: Explainer,
    analysis: Analysis,
    explain: Explain,
    shifts: Sequence[int] = SHIFTS,
    steps: Sequence[int] = (),
) -> Iterator[Comparison]:
    """The maps of the moved and of the mirrored photo, moved back, and of other numbers of steps, against the original.

    A map cannot be steadier than its cells: in a network whose strides start at the left rim, mirroring alone displaces the
    maps, by up to one cell of the layer, and so does a shift by less than a cell.

    Raises:
        ValueError: a shift out of the input, maps of different classes, or what `explain` refuses; one sentence.
        Stopped: `explain` gave a map that is not complete.
    """
    image = analysis.forward.image
    height, width = image.shape[2:]
    if outside := [shift for shift in shifts if not 0 <= shift < min(height, width)]:
        raise ValueError(f"The input can be moved by 0 to {min(height, width) - 1} pixels, not {outside[0]}.")
    original = explain(explainer, analysis, None)
    for shift in shifts:
        found = explain(explainer, explainer.changed(analysis, shifted(image, shift)), None)
        back, kept = found.heatmap[shift:, shift:], original.heatmap[: height - shift, : width - shift]
        yield _compared("shifted", f"{shift} pixels", replace(original, heatmap=kept), replace(found, heatmap=back))
    found = explain(explainer, explainer.changed(analysis, image.flip(3)), None)
    yield _compared("mirrored", "left to right", original, replace(found, heatmap=found.heatmap[:, ::-1].copy()))
    for count in steps:
        yield _compared("steps", f"N = {count}", original, explain(explainer, analysis, count))


def shifted(image: Tensor, shift: int) -> Tensor:
    """The input (1, 3, H, W) moved to the right and down, its rim repeated where nothing is known."""
    return pad(image, (shift, 0, shift, 0), mode="replicate")[:, :, : image.shape[2], : image.shape[3]]


def _compared(check: str, change: str, original: Explanation, found: Explanation) -> Comparison:
    if not (original.complete and found.complete):
        raise Stopped
    if found.class_index != original.class_index:  # the most probable class may be another after the change
        raise ValueError("Maps of two classes cannot be compared: explain the same class each time.")
    one, other = torch.from_numpy(original.heatmap), torch.from_numpy(found.heatmap)
    if one.min() == one.max() or other.min() == other.max():
        return Comparison(check, change, None, None, found.probability)
    return Comparison(check, change, pearson(one, other), spearman(one, other), found.probability)
