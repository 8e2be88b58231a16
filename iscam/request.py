"""What is asked of an analysis: a method, its settings, and the class in question with its rivals, as the model has them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from iscam.engine import LOGITS, PROFILES, WEIGHTS, Aim
from iscam.evidence import Method
from iscam.methods import METHODS
from iscam.models import LoadedModel
from iscam.notes import refusal
from iscam.results import Analysis
from iscam.settings import Settings, named_rival, nearest


@dataclass(frozen=True)
class Request:
    """What is asked of an analysis: the map of a method."""

    method: Method
    aim: Aim
    settings: Settings


def make_request(
    model: LoadedModel,
    analysis: Analysis,
    method: str,
    target: int | str | None,
    against: int | str | None,
    settings: Settings,
) -> Request:
    """A request that the model can answer. Raises ValueError, one sentence, if it cannot; see `Explainer.explain`."""
    row = find_method(method)
    if reason := refusal(method, model.label, model.head_layer, analysis.layer):
        raise ValueError(reason)
    index = analysis.predictions[0].index if target is None else model.find_class(target)
    if against is None and settings.rivals is None:
        return Request(row, Aim(index), settings)
    if not row.class_specific:
        raise ValueError(f"{row.label} gives the same map for every class, so it cannot contrast two.")
    if settings.rivals is None:
        assert against is not None
        return Request(row, Aim(index, (_other(model, index, against),), signed=True, by=WEIGHTS), settings)
    if against is not None:
        raise ValueError("`against` and `rivals` are two kinds of contrast: name one.")
    by = PROFILES if row.score_based else LOGITS
    rivals = _rivals(model, analysis, index, settings.rivals)
    return Request(row, Aim(index, rivals, settings.strength, settings.signed, by), settings)


def of_the_rival(request: Request, model: LoadedModel, analysis: Analysis) -> Request | None:
    """The same question of the most probable other class; None of a signed map, or where all classes have the same."""
    aim, settings = request.aim, request.settings
    others = [index for index in _ranked(analysis) if index != aim.target]
    if aim.signed or not request.method.class_specific or not others:
        return None
    if aim.rivals == (others[0],):
        settings = replace(settings, rivals=str(aim.target))
    return make_request(model, analysis, request.method.key, others[0], None, settings)


def find_method(key: str) -> Method:
    """The row of a method. Raises ValueError, one sentence, if there is none."""
    if key not in METHODS:
        raise ValueError(f"There is no method {key!r}: choose one of {', '.join(METHODS)}.")
    return METHODS[key]


def _rivals(model: LoadedModel, analysis: Analysis, target: int, named: str) -> tuple[int, ...]:
    """The classes that are named as in `Settings`, in the model's own order."""
    if (rival := named_rival(named)) is not None:
        return (_other(model, target, rival),)
    return tuple(sorted([index for index in _ranked(analysis) if index != target][: nearest(named)]))


def _ranked(analysis: Analysis) -> list[int]:
    """All classes, the most probable first."""
    ranked: list[int] = analysis.forward.logits.argsort(descending=True, stable=True).tolist()
    return ranked


def _other(model: LoadedModel, target: int, named: int | str) -> int:
    rival = model.find_class(named)
    if rival == target:
        raise ValueError("The contrast needs two different classes.")
    return rival
