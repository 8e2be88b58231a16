"""Whether a map depends on what the network has learnt, and whether it stays when nothing that matters has changed.

- Randomisation (Adebayo et al., arXiv 1810.03292), cascading: from the head down the weights are drawn anew, module after
  module, and the map is compared with the one before. A map that stays alike has not shown what the network has learnt.
- Stability: the photo is moved by some pixels or mirrored, the map moved back; and IS-CAM takes another number of steps.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from iscam.explain import Explainer
from iscam.methods import METHODS
from iscam.models import LoadedModel, linear_head
from iscam.results import Analysis, Explanation
from iscam.show import csv_text, new_figure, picture_of

from .correlation import pearson, spearman

if TYPE_CHECKING:
    from PIL import Image

STAGES = 8  # of the cascade
SHIFTS = (4, 8, 16)  # pixels of the network's input, to the right and down
OTHER_STEPS = (5, 20, 50)  # of IS-CAM
COLUMNS = ("photo", "method", "check", "change", "pearson", "spearman", "probability")

Explain = Callable[
    [Explainer, Analysis, int | None], Explanation
]  # of one method and class; by another number of steps


@dataclass(frozen=True)
class Comparison:
    """How alike a map is to the original one, after a change: correlations -1..1, None if one of them is blank.

    `check` is "randomised", "shifted", "mirrored" or "steps"; `probability` 0..1 is that of the class after the change.
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
    """
    if stages < 1:
        raise ValueError(f"The cascade needs at least one stage, not {stages}.")
    original = explain(explainer, analysis, None)
    model = explainer.model
    network = copy.deepcopy(model.network)
    owners = [(name, module) for name, module in network.named_modules() if any(True for _ in module.parameters(False))]
    owners.reverse()
    generator = torch.Generator().manual_seed(seed)
    stages, drawn = min(stages, len(owners)), 0
    for left in reversed(range(stages)):
        upto = len(owners) - (len(owners) - 1) * left // max(1, stages - 1)
        for _, module in owners[drawn:upto]:
            redraw(module, generator)
        drawn = upto
        other = Explainer(_with(model, network, analysis), explainer.engine, explainer.tolerance)
        found = explain(other, other.changed(analysis, analysis.forward.image), None)
        yield _compared("randomised", f"down to {owners[upto - 1][0] or 'all'}", original, found)


def _with(model: LoadedModel, network: nn.Module, analysis: Analysis) -> LoadedModel:
    """The model with another network: its own head, and nothing folded that belongs to the first one."""
    head = None
    if model.head is not None and model.head_layer is not None:
        head = linear_head(network, model.head_layer, analysis.forward.image)
    return replace(model, network=network, head=head, folds=())


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
    if found.class_index != original.class_index:  # the most probable class may be another after the change
        raise ValueError("Maps of two classes cannot be compared: explain the same class each time.")
    one, other = torch.from_numpy(original.heatmap), torch.from_numpy(found.heatmap)
    if one.min() == one.max() or other.min() == other.max():
        return Comparison(check, change, None, None, found.probability)
    return Comparison(check, change, pearson(one, other), spearman(one, other), found.probability)


def as_csv(photo: str, found: Mapping[str, Sequence[Comparison]]) -> str:
    """A row per method and comparison of the photo of that name."""
    lines = [
        (photo, method, row.check, row.change, row.pearson, row.spearman, row.probability)
        for method, rows in found.items()
        for row in rows
    ]
    return csv_text(COLUMNS, lines)


def as_figure(title: str, found: Mapping[str, Sequence[Comparison]]) -> Image.Image:
    """The correlations along the cascade, and those under small changes; gaps where a map is blank."""
    figure = new_figure((11, 4.2))
    cascade, small = figure.subplots(1, 2)
    for axes, random, heading in ((cascade, True, "weights drawn anew"), (small, False, "small changes")):
        for method, rows in found.items():
            chosen = [row for row in rows if (row.check == "randomised") == random]
            names = [row.change if random else f"{row.check}, {row.change}" for row in chosen]
            values = [math.nan if row.pearson is None else row.pearson for row in chosen]
            axes.plot(names, values, "o-" if random else "o", label=METHODS[method].label)
        axes.set_title(heading, fontsize=10)
        axes.set_ylim(-1.05, 1.05)
        axes.axhline(0, color="#b0b4ba", linewidth=0.8)
        axes.tick_params(axis="x", labelrotation=60, labelsize=7)
        axes.set_ylabel("correlation with the map", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    cascade.legend(fontsize=8)
    figure.suptitle(title, fontsize=11, parse_math=False)  # a dollar sign in a file's name starts no formula
    figure.tight_layout()
    return picture_of(figure)
