"""Small pieces of HTML for the page. Whatever a visitor or a file can influence is escaped here."""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from html import escape
from typing import TYPE_CHECKING

from .words import per_cent

if TYPE_CHECKING:
    from iscam import Prediction


def status(sentence: str, share: float | None = None) -> str:
    """The status line; `share` 0..1 says how far the work is, which is drawn but not read aloud at every step.

    What holds it is a live region, see `page.js`: one that came with its words would not be read.
    """
    if share is None:
        return f'<div class="line">{escape(sentence)}</div>'
    done = f"{100 * share:.0f}"
    bar = f'<span class="track"><span class="done" style="width:{done}%"></span></span>'
    role = f'role="progressbar" aria-live="off" aria-label="Progress" aria-valuenow="{done}"'
    return f'<div {role} aria-valuetext="{escape(sentence)}" class="line">{escape(sentence)}{bar}</div>'


def asked(category: str, rivals: str = "", signed: bool = False) -> str:
    """The question that the boxes of the classes ask, as a sentence; empty of no class."""
    if not category:
        return ""
    own, theirs = f"<b>{escape(category)}</b>", f"<b>{escape(rivals)}</b>"
    more = f", and for it (red) or for {theirs} (blue)" if signed else f", and rather than {theirs}"
    return f"<p>What speaks for {own}, as such{more if rivals else ''}?</p>"


def predictions(rows: Sequence[Prediction], model: str, found: Collection[Prediction] = ()) -> str:
    """The most probable classes as a table with bars; those that are `found` are said to be."""
    lines = "".join(
        f'<tr><th scope="row">{escape(row.category)}</th>'
        f'<td class="bar" aria-hidden="true"><span style="width:{100 * row.probability:.1f}%"></span></td>'
        f"<td>{per_cent(row.probability)}{' found' if row in found else ''}</td></tr>"
        for row in rows
    )
    return f"<table><caption>What {escape(model)} sees</caption>{lines}</table>"


def notice(sentences: Sequence[tuple[str, bool]]) -> str:
    """Sentences above the maps; those with True are warnings."""
    lines = (
        f'<p class="warning"><strong aria-hidden="true">⚠</strong> {escape(sentence)}</p>'
        if warning
        else f"<p>{escape(sentence)}</p>"
        for sentence, warning in sentences
        if sentence
    )
    return "".join(lines)


def image(jpeg: bytes, alt: str) -> str:
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" alt="{escape(alt)}">'


def card(
    title: str, jpeg: bytes, alt: str, lines: Sequence[str], badge: str = "", note: str = "", blank: bool = False
) -> str:
    """A picture with its caption. `blank` gives the note the id by which the reason of a blank map is found."""
    button = f'<button type="button" class="enlarge" aria-label="Enlarge {escape(title)}">⤢</button>'
    said = f'<p class="note"{" id=blank-reason" if blank else ""}>{escape(note)}</p>' if note else ""
    return (
        f'<figure><div class="picture">{image(jpeg, alt)}'
        + (f'<span class="badge">{escape(badge)}</span>' if badge else "")
        + f"{button}</div><figcaption><strong>{escape(title)}</strong>"
        + "".join(f"<span>{escape(line)}</span>" for line in lines)
        + f"{said}</figcaption></figure>"
    )


def empty_card(title: str, sentence: str = "") -> str:
    """A card without a picture: waiting, or with the reason why there is none."""
    kind = "refused" if sentence else "waiting"
    said = f'<p class="note">{escape(sentence)}</p>' if sentence else '<span class="soft">waiting …</span>'
    caption = f"<figcaption><strong>{escape(title)}</strong>{said}</figcaption>"
    return f'<figure class="{kind}"><div class="picture"></div>{caption}</figure>'


def gallery(cards: Sequence[str]) -> str:
    """Cards in rows."""
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def heading(title: str, sentence: str = "") -> str:
    """A title within a tab, with a sentence under it."""
    return f"<h2>{escape(title)}</h2>" + (f"<p>{escape(sentence)}</p>" if sentence else "")


def colour_bar(jpeg: bytes, least: str, most: str) -> str:
    ends = (f"<span>{escape(end)}</span>" for end in (least, most))
    return f'<div class="scale">{image(jpeg, "colour scale").join(ends)}</div>'
