"""HTML of the figures of a photo: their table, how they were measured, and a photo to draw a box on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle

from iscam.methods import METHODS
from iscam.notes import doubt
from iscam.trust import ARROWS, CONTROLS, KINDS, LABELS, METRICS, protocol

from .html import image, notice
from .words import per_cent

Rows = Mapping[str, Mapping[str, float]]  # values by metric, by method or control

# Methods in colours, controls and ceilings in greys; where there are more of them, the same again
BRIGHT = (
    *("#4f46e5", "#d97706", "#be185d", "#0e7490", "#15803d", "#dc2626", "#f472b6", "#7c3aed", "#0ea5e9", "#84cc16"),
    *("#a16207", "#334155", "#c026d3"),
)
GREY = ("#9ca3af", "#6b7280", "#c4c8cf", "#4b5563", "#1f2937")
COLOURS = {
    LABELS[key]: shade
    for keys, shades in ((METHODS, BRIGHT), ([key for key in LABELS if key not in METHODS], GREY))
    for key, shade in zip(keys, cycle(shades), strict=False)
}


def table(rows: Rows, blank: Mapping[str, str], refused: Mapping[str, str], category: str, probability: float) -> str:
    """A line for each method and control, by key, why maps are blank, and why there is none."""
    metrics = [key for key in METRICS if any(key in values for values in rows.values())]
    heads = "".join(
        f'<th scope="col" title="{METRICS[key].better} is better">{escape(METRICS[key].label)} '
        f"{ARROWS[METRICS[key].better]}</th>"
        for key in metrics
    )
    lines = "".join(_line(name, metrics, rows, name in blank) for name in LABELS if name in rows)
    caption = (
        f"Figures for {escape(category)} ({per_cent(probability)}), in per cent. ↑ higher is better, ↓ lower is. Bold: better "
        "than every control; Fake-CAM, which hides one pixel, wins Average Drop nearly always."
    )
    said = doubt(category, probability)
    reasons = {LABELS[name]: why.removesuffix(said).strip() for name, why in blank.items()} | dict(refused)
    notes = "".join(f'<p class="note">{escape(f"{name}: {why}")}</p>' for name, why in reasons.items())
    whole = f'<table aria-label="Figures"><tr><td></td>{heads}</tr>{lines}</table>'
    region = f'<div tabindex="0" role="region" aria-label="Figures, to be scrolled">{whole}</div>'
    return f"{notice([(said, True)])}<p>{caption}</p>{region}{notes}"


def _line(name: str, metrics: Sequence[str], rows: Rows, blank: bool) -> str:
    colour = f'<i style="background:{COLOURS[LABELS[name]]}"></i>'  # the curves' own legend has no room for all
    remark = KINDS.get(name, "blank map" if blank else "")
    title = colour + escape(LABELS[name]) + (f" <span>{remark}</span>" if remark else "")
    cells = "".join(f"<td>{_figure(key, name, rows, name in METHODS and not blank)}</td>" for key in metrics)
    return f'<tr><th scope="row">{title}</th>{cells}</tr>'


def _figure(metric: str, name: str, rows: Rows, may_win: bool) -> str:
    """A value for people: yes or no where it is one of both for a single photo, in bold if no control is as good."""
    if metric not in rows[name]:
        return ""
    value = rows[name][metric]
    if METRICS[metric].binary:
        return "yes" if value else "no"
    sign = 1 if METRICS[metric].better == "higher" else -1
    others = [round(100 * values[metric], 1) for key, values in rows.items() if key in CONTROLS and metric in values]
    beats = (
        may_win and len(others) == len(CONTROLS) and all(sign * (round(100 * value, 1) - other) > 0 for other in others)
    )
    return f"<strong>{100 * value:.1f}</strong>" if beats else f"{100 * value:.1f}"


def protocols(metrics: Sequence[str], steps: int, layer: str) -> str:
    """How the figures came about, and what they are worth."""
    lines = "".join(f"<li>{escape(protocol(key, steps))}.</li>" for key in metrics)
    return (
        f"<h2>Protocol</h2><p>One photo (n = 1), layer {escape(layer)}: for means with intervals over many photos there is the "
        f"command <code>python -m iscam evaluate</code>. p and q are the class probabilities of the photo and of the photo "
        f"masked by the map.</p><ul>{lines}</ul>"
    )


def drawn_on(jpeg: bytes, alt: str, box: tuple[float, float, float, float], line: str) -> str:
    """A photo to draw a box on; `box` (l, t, r, b) in per cent of it, of no width if there is none yet."""
    left, top, right, bottom = box
    style = f"left:{left:.2f}%;top:{top:.2f}%;width:{right - left:.2f}%;height:{bottom - top:.2f}%"
    return (
        f'<figure><div class="picture">{image(jpeg, alt)}<div class="box" style="{style}"></div></div>'
        f"<figcaption><span>{escape(line)}</span></figcaption></figure>"
    )
