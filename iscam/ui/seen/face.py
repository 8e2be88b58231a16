"""How a tab looks: what is on it, and how news become the values of its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gradio as gr

if TYPE_CHECKING:
    from .canvas import Canvas

Parts = dict[str, Any]  # components by name; Gradio gives their classes events at run time, which no checker sees
Shelf = dict[str, object]  # name of a part -> its value
Chosen = Mapping[str, Any]  # name of a choice -> what a client says of it, unchecked


@dataclass(frozen=True, eq=False)
class TabParts:
    """The components of a tab: what it shows, what changes its question, and what only changes how it is drawn."""

    shows: Parts = field(default_factory=dict)
    asks: Parts = field(default_factory=dict)
    looks: Parts = field(default_factory=dict)


def nothing(canvas: Canvas, news: Sequence[Any], chosen: Chosen) -> Shelf:
    """For a tab that no news change."""
    return {}


@dataclass(frozen=True, eq=False)
class Face:
    """A tab as it is seen.

    Args:
        title: of the tab.
        lay_out: puts its components on the page, and names them.
        arrange: news so far and what is chosen among `looks` -> values of what it shows. Raises ValueError, a sentence, if
            nobody can have chosen that.
        drawn: names of what changes with the look.
        plots: names of what is a plot: hidden while it has no value, and sent once, with all news, because of two values
            soon after another the first may stay.
        settle: of some choices among `looks`: news and what is chosen -> the value that it must become, because there is
            nothing of what is chosen.
        of_the_photo: names of choices among `asks` that are emptied for another photo.
        early: whether it is rendered before it is opened; what changes in a tab that is not may be lost.
    """

    title: str
    lay_out: Callable[[], TabParts]
    arrange: Callable[[Canvas, Sequence[Any], Chosen], Shelf] = nothing
    drawn: tuple[str, ...] = ()
    plots: tuple[str, ...] = ()
    settle: Mapping[str, Callable[[Sequence[Any], Chosen], object]] = field(default_factory=dict)
    of_the_photo: tuple[str, ...] = ()
    early: bool = True


def htmls(*names: str) -> Parts:
    """Places for HTML, empty at first."""
    return {name: gr.HTML(elem_id=name.replace("_", "-"), elem_classes="part") for name in names}


def explained(sentence: str) -> None:
    """What a tab shows, in a sentence beside its choices."""
    gr.HTML(f"<p>{sentence}</p>", min_width=300, apply_default_css=False)
