"""Many photos on one sheet: an HTML file that stands alone, to be sorted and filtered in any browser.

It asks for nothing: its pictures, style and script are inside, and its security policy allows no others. Names of files and
classes are escaped here. What is added goes to the disk, so that a thousand photos take no more memory than one.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from iscam.images import one_line
from iscam.methods import METHODS
from iscam.notes import DISAGREE, agreement, correlations, lies, rather_than
from iscam.project import ASSETS
from iscam.results import Explanation, Subject

from .export import whole
from .order import ORDERS, facts, specific
from .render import colour_bar, crop_on_photo, draw_map, encoded

LONGEST = 176  # pixels of a picture's longer side
QUALITY = 72
FEW = 10  # photos that could not be read, up to which they are listed without being asked for
SORTED = ORDERS | {"name 1": "by name"}


@contextmanager
def new_sheet(folder: Path, settings: Mapping[str, object]) -> Iterator[Sheet]:
    """A sheet that grows in a folder, where nothing can be seen of it until it is written, and nothing is left if it is not."""
    with tempfile.TemporaryFile(dir=folder) as cards:
        yield Sheet(cards, settings)


class Sheet:
    """Photos with their maps, one below the other.

    Args:
        cards: a file in which the sheet grows until it is written; see `new_sheet`.
        settings: how the maps are made, said at the top.

    >>> import iscam
    >>> explainer = iscam.Explainer(iscam.load_model("photo11"))
    >>> analysis = explainer.analyse("assets/examples/chelsea.jpg")
    >>> maps = [explainer.explain(analysis, method) for method in ("cam", "grad-cam")]
    >>> with tempfile.TemporaryDirectory() as folder, new_sheet(Path(folder), {"steps": 10}) as sheet:
    ...     sheet.add("chelsea.jpg", explainer.subject(analysis), maps)
    ...     sheet.miss("torn.jpg", "This is no photo.")
    ...     sheet.write(Path(folder) / "sheet.html")
    ...     (Path(folder) / "sheet.html").read_text(encoding="utf-8").count("<article ")
    1
    """

    def __init__(self, cards: BinaryIO, settings: Mapping[str, object]) -> None:
        self._cards = cards
        self._settings = dict(settings)
        self._network = self._specific = ""
        self._signs: set[bool] = set()  # whether maps are signed
        self._known: Counter[str] = Counter()  # what the cards say of themselves
        self._classes: Counter[str] = Counter()
        self._missed: list[tuple[str, str]] = []
        self._disagreeing = 0

    @property
    def photos(self) -> int:
        """How many have been added."""
        return self._classes.total()

    def add(
        self,
        name: str,
        subject: Subject,
        explanations: Sequence[Explanation],
        contrast: Explanation | None = None,
        figure: str = "",
    ) -> None:
        """A photo with a map of each method, a contrast beside them if there is one, and the name of its figure.

        Raises:
            OSError: there is no room for it on the disk.
        """
        maps = [*explanations, *([] if contrast is None else [contrast])]
        known = facts(explanations)
        self._cards.write(_encoded(_card(name, subject, explanations, maps, known, figure)))
        self._specific = METHODS[specific(explanations).method].label
        self._network = f"{subject.spec.label}, layer {subject.layer}"
        self._signs |= {explanation.signed for explanation in maps}
        self._known.update(known)
        self._classes[one_line(explanations[0].category)] += 1
        self._disagreeing += known.get("agreement", 1) < DISAGREE

    def miss(self, name: str, sentence: str) -> None:
        """A photo that has no maps, and why."""
        self._missed.append((name, sentence))

    def write(self, file: Path, stopped: bool = False) -> None:
        """Write the sheet; `stopped` says that there were to be more photos.

        Raises:
            OSError: it could not be written, and nothing of it was left behind.
        """
        style, script = ((ASSETS / f"sheet.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
        with whole(file) as stream:
            stream.write(_encoded(_head(style, script, f"{_counted(self.photos)} explained by IS-CAM")))
            stream.write(_encoded(self._top(stopped) + self._tools() + '<main id="cards">'))
            self._cards.seek(0)
            shutil.copyfileobj(self._cards, stream)
            stream.write(_encoded(f"</main><script>{script}</script></body></html>\n"))

    def _top(self, stopped: bool) -> str:
        """What must be known before the cards are read."""
        more = " The run was stopped before all were done." if stopped else ""
        settings = " · ".join(f"{key} {value}" for key, value in self._settings.items() if value is not None)
        about = "A map shows what moved this score, not why, and not that the answer is right."
        if "specificity" in self._known:
            about += (
                " Specificity is 1&nbsp;-&nbsp;r of a map and the one for the most probable other class, 0 if the class does"
                f" not matter; photos are sorted by that of {self._specific}."
            )
        lines = [
            f"<header><h1>{_counted(self.photos)}: what did the network look at?</h1>",
            f"<p>{_text(self._network)}{f' · {_text(settings)}' if settings else ''}.{more}</p>",
            f'<p class="soft">{about}</p>',
            *(_scale(signed) for signed in sorted(self._signs)),
        ]
        if self._disagreeing:
            maps = f"{_counted(self._disagreeing)} with maps that disagree: two correlate by less than {DISAGREE}."
            lines.append(f'<p class="warning">{maps}</p>')
        if self._missed:
            rows = "".join(f"<li><b>{_text(name)}</b>: {_text(why)}</li>" for name, why in self._missed)
            shown = " open" if len(self._missed) <= FEW else ""
            left = f"{_counted(len(self._missed))} left out"
            lines.append(f'<details id="missed"{shown}><summary>{left}</summary><ul>{rows}</ul></details>')
        return "".join([*lines, "</header>"])

    def _tools(self) -> str:
        """What sorts and filters, shown if the script runs; of what no card says, nothing can be sorted by."""
        orders = [(key, name) for key, name in SORTED.items() if key.partition(" ")[0] in ("", "name", *self._known)]
        classes = [(name, f"{name} ({count})") for name, count in sorted(self._classes.items())]
        return (
            '<div id="tools" role="search" hidden>'
            + _select("order", "Sort", orders)
            + _select("class", "Class", [("", "all classes"), *classes])
            + '<p><label for="text">Filter by text</label><input id="text" type="search" placeholder="name, class or note" '
            + 'autocomplete="off"></p><output id="count" for="class text"></output></div>'
        )


def _card(
    name: str,
    subject: Subject,
    explanations: Sequence[Explanation],
    maps: Sequence[Explanation],
    known: Mapping[str, float],
    figure: str,
) -> str:
    first, photo = explanations[0], subject.photo.reduced(LONGEST)
    pictures = [
        _figure("Photo", crop_on_photo(photo, subject.crop), f"The photo {name}; what the network sees is framed")
    ]
    for explanation in maps:
        label = METHODS[explanation.method].label
        beside = len(pictures) > len(explanations)  # the contrast stands behind the maps
        title = f"{label}, contrast" if beside else label
        specificity = explanation.specificity
        more = "" if specificity is None else f"specificity {specificity:.2f}"
        drawn = draw_map(photo, subject.crop, explanation.heatmap, signed=explanation.signed)
        pictures.append(_figure(title, drawn, f"{title} map for {first.category}: {lies(explanation.heatmap)}", more))
    values = "".join(f' data-{key}="{value:.6f}"' for key, value in known.items())
    return (
        f'<article data-name="{_text(name)}" data-category="{_text(first.category)}"{values}>'
        f'<div class="words"><h2>{_text(name)}</h2>{_said(subject, explanations, maps)}'
        + (f'<p class="soft">{_text(figure)}</p>' if figure else "")
        + f'</div><div class="maps">{"".join(pictures)}</div></article>\n'
    )


def _said(subject: Subject, explanations: Sequence[Explanation], maps: Sequence[Explanation]) -> str:
    """What is said of a photo in words."""
    first, top = explanations[0].target, subject.predictions[0]
    lines = [
        f'<p class="class"><b>{_text(first.category)}</b> {100 * first.probability:.1f} %</p>',
        f'<meter min="0" max="1" value="{first.probability:.4f}" aria-hidden="true"></meter>',
    ]
    if subject.found:
        lines.append(f"<p>Found: {_text(', '.join(row.category for row in subject.found))}</p>")
    elif top.index != first.index:
        lines.append(f"<p>Most probable: {_text(top.category)} {100 * top.probability:.1f} %</p>")
    if rivals := explanations[0].rivals:
        lines.append(f"<p>{_text(rather_than(rivals))}</p>")
    if pairs := correlations(explanations):
        warning = ' class="warning"' if min(pairs.values()) < DISAGREE else ""
        lines.append(f"<p{warning}>{_text(agreement(pairs))}</p>")
    notes: dict[str, list[str]] = {}
    for explanation in maps:
        if explanation.note and (label := METHODS[explanation.method].label) not in notes.get(explanation.note, []):
            notes.setdefault(explanation.note, []).append(label)
    rows = "".join(f"<li><b>{_text(', '.join(labels))}</b>: {_text(note)}</li>" for note, labels in notes.items())
    return "".join(lines) + (f"<ul>{rows}</ul>" if rows else "")


def _figure(title: str, picture: Image.Image, alt: str, more: str = "") -> str:
    size = f'width="{picture.width}" height="{picture.height}"'
    image = f'<img src="{_data(picture, "JPEG")}" {size} alt="{_text(alt)}" loading="lazy" decoding="async">'
    said = f"<span>{_text(more)}</span>" if more else ""
    return f"<figure>{image}<figcaption><b>{_text(title)}</b>{said}</figcaption></figure>"


def _scale(signed: bool) -> str:
    least, most = ("against the class", "for the class") if signed else ("nothing", "most")
    return f'<p class="scale">{least}<img src="{_data(colour_bar(signed=signed), "PNG")}" alt="to">{most}</p>'


def _select(name: str, label: str, choices: Sequence[tuple[str, str]]) -> str:
    options = "".join(f'<option value="{_text(value)}">{_text(said)}</option>' for value, said in choices)
    return f'<p><label for="{name}">{label}</label><select id="{name}" autocomplete="off">{options}</select></p>'


def _head(style: str, script: str, title: str) -> str:
    """Until the body begins. The policy knows style and script by what they are, so that no others are run."""
    sources = {"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'", "img-src": "data:"}
    sources |= {"style-src": _known_as(style), "script-src": _known_as(script)}
    policy = "; ".join(f"{kind} {source}" for kind, source in sources.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">'
        f'<link rel="icon" href="data:,"><title>{_text(title)}</title><style>{style}</style></head><body>'
    )


def _known_as(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _data(picture: Image.Image, kind: str) -> str:
    content = base64.b64encode(encoded(picture, kind, QUALITY)).decode()
    return f"data:image/{kind.lower()};base64,{content}"


def _counted(photos: int) -> str:
    return "1 photo" if photos == 1 else f"{photos:,} photos"


def _text(value: str) -> str:
    """Text that no file's or class's name can get out of."""
    return escape(one_line(value))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8")
