"""Grids of four photos to be evaluated: which stand together, by what the network says of each."""

from __future__ import annotations

from collections.abc import Iterable

from iscam.explain import Explainer
from iscam.images import read_photo
from iscam.trust import PHOTOS, is_sure

from .dataset import Item


def compose(
    explainer: Explainer, items: Iterable[Item], layer: str, limit: int | None
) -> tuple[list[Item], dict[str, str]]:
    """Up to `limit` grids of photos that the network is sure of, four classes in each, no photo twice; and what is wrong with
    photos that could not be looked at.

    The photos are taken in their order, each into the first grid that lacks its class; more of them make more grids, and leave
    the first as they are.

    Raises:
        ValueError: there are not enough for a single grid; one sentence.
    """
    open_grids: list[dict[int, Item]] = []
    full: list[Item] = []
    problems: dict[str, str] = {}
    for item in items:
        if limit is not None and len(full) >= limit:
            break
        try:
            analysis = explainer.analyse(read_photo(item.file), layer)
        except (ValueError, OSError) as error:
            problems[item.name] = str(error)
            continue
        if not is_sure(analysis):
            continue
        index = analysis.predictions[0].index
        place = next((grid for grid in open_grids if index not in grid), None)
        if place is None:
            place = {}
            open_grids.append(place)
        place[index] = item
        if len(place) == PHOTOS:
            open_grids.remove(place)
            full.append(_grid(list(place.values())))
    if not full:
        raise ValueError(
            "There are not four photos of different classes of which the network is sure: no grid can be made."
        )
    return full, problems


def _grid(parts: list[Item]) -> Item:
    return Item(" + ".join(part.name for part in parts), parts[0].file, parts=tuple(parts))
