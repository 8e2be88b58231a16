"""Words and small pieces of HTML for the page. Whatever a visitor or a file can influence is escaped here."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iscam.methods import METHODS, doubt
from iscam.models import MODELS
from iscam.trust import ARROWS, CONTROLS, LABELS, METRICS, protocol

if TYPE_CHECKING:
    import numpy.typing as npt

    from iscam.explain import Explanation, Prediction

SLOW = 3  # the effort of methods that are badged as slow
DISAGREE = 0.5  # correlation of two maps below which they disagree
CLASSES = (
    "One method for the five most probable classes, each map on its own scale, and one signed picture: what speaks for the "
    "target class rather than for the one against it (or for the next most probable)."
)
LAYERS = (
    "One method for the target class over the layers of the network, with the number and size of their maps: deep layers "
    "know more and place it more coarsely."
)
FAITHFULNESS = (
    "What happens to the class probability when the photo is masked, restored or removed along each map, beside maps that "
    "know nothing of the network: read each figure against theirs."
)
# Controls are drawn in greys
COLOURS = (
    *("#4f46e5", "#d97706", "#be185d", "#0e7490", "#15803d", "#dc2626"),
    *("#f472b6", "#7c3aed", "#0ea5e9", "#84cc16", "#a16207", "#334155"),
    *("#9ca3af", "#6b7280", "#c4c8cf"),
)
CURVE_COLOURS = dict(zip(LABELS.values(), COLOURS, strict=True))
# A box is drawn with the pointer on the photo and goes, in per cent of it, the way of one that is typed
DRAWN_BOX = """
let start = null;
const place = event => {
    const frame = element.querySelector(".picture").getBoundingClientRect();
    const share = (at, from, length) => Math.min(100, Math.max(0, 100 * (at - from) / length));
    return [share(event.clientX, frame.left, frame.width), share(event.clientY, frame.top, frame.height)];
};
const between = (a, b) => [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];
element.addEventListener("pointerdown", event => {
    if (event.button !== 0 || !event.target.closest(".picture")) return;
    event.preventDefault();
    start = place(event);
    element.setPointerCapture(event.pointerId);
});
element.addEventListener("pointermove", event => {
    if (!start) return;
    const [left, top, right, bottom] = between(start, place(event));
    const style = `left:${left}%;top:${top}%;width:${right - left}%;height:${bottom - top}%`;
    element.querySelector(".box").setAttribute("style", style);
});
element.addEventListener("pointercancel", () => { start = null; });
element.addEventListener("pointerup", event => {
    if (!start) return;
    const drawn = between(start, place(event));
    start = null;
    const field = document.querySelector("#box textarea, #box input");
    const large = drawn[2] - drawn[0] >= 1 && drawn[3] - drawn[1] >= 1;  // a mere click takes the box away
    field.value = large ? drawn.map(value => value.toFixed(1)).join(", ") : "";
    field.dispatchEvent(new Event("input", { bubbles: true }));
    setTimeout(() => field.dispatchEvent(new KeyboardEvent("keypress", { key: "Enter", bubbles: true })), 50);
});
"""
# Gradio gives the pictures of its examples no text alternative, and draws them some time after the page has loaded
NAMED_EXAMPLES = """() => {
    const name = () => {
        for (const image of document.querySelectorAll("#examples button img[alt='']")) {
            image.alt = decodeURIComponent(image.src).split("/").pop().replace(/\\.[a-z]+$/, "");
            image.closest("button").setAttribute("aria-label", `Example: ${image.alt}`);
        }
    };
    name();
    new MutationObserver(name).observe(document.body, { subtree: true, childList: true, attributeFilter: ["src"] });
}"""
NOBODY = -1  # the value of "Against" when there is no second class


def about() -> str:
    """The tab About, with the papers of the METHODS table."""
    papers = " · ".join(f"[{row.label}]({row.paper})" for row in METHODS.values())
    return Path(__file__).with_name("about.md").read_text(encoding="utf-8").replace("{papers}", papers)


def per_cent(share: float) -> str:
    """A share 0..1 for people: one digit behind the point, two below 1 %."""
    if share <= 0:
        return "0 %"
    if share < 0.0001:
        return "< 0.01 %"
    return f"{100 * share:.1f} %" if share >= 0.01 else f"{100 * share:.2f} %"


def seconds(value: float) -> str:
    if value < 0.01:
        return "< 0.01 s"
    return f"{value:.1f} s" if value >= 0.1 else f"{value:.2f} s"


def passes(count: int) -> str:
    if count == 0:
        return "no new passes"  # all that was needed was known already
    return "1 pass" if count == 1 else f"{count:,} passes"


def place(heatmap: npt.NDArray[np.float32]) -> str:
    """In which ninth of a map (H, W) most of its weight lies: "upper left", "centre" ...; a sign does not matter."""
    rows = [
        [float(np.abs(part).sum()) for part in np.array_split(band, 3, 1)]
        for band in np.array_split(np.asarray(heatmap), 3, 0)
    ]
    row, column = divmod(int(np.argmax(rows)), 3)
    if row == column == 1:
        return "centre"
    if row == 1:
        return ("left", "", "right")[column]
    return f"{('upper', '', 'lower')[row]} {('left', 'middle', 'right')[column]}"


def status(sentence: str, share: float | None = None) -> str:
    """The status line; `share` 0..1 says how far the work is, which is drawn but not read aloud at every step."""
    if share is None:
        return f'<div role="status" class="line">{escape(sentence)}</div>'
    done = f"{100 * share:.0f}"
    bar = f'<span class="track"><span class="done" style="width:{done}%"></span></span>'
    role = f'role="progressbar" aria-label="Passes" aria-valuenow="{done}"'
    return f'<div {role} class="line">{escape(sentence)}{bar}</div>'


def predictions(rows: Sequence[Prediction], model: str) -> str:
    """The five most probable classes as a table with bars."""
    lines = "".join(
        f'<tr><th scope="row">{escape(row.category)}</th>'
        f'<td class="bar"><span style="width:{100 * row.probability:.1f}%"></span></td>'
        f"<td>{per_cent(row.probability)}</td></tr>"
        for row in rows
    )
    return f"<table><caption>What {escape(MODELS[model].label)} sees</caption>{lines}</table>"


def class_choices(categories: Sequence[str], rows: Sequence[Prediction], nobody: bool = False) -> list[tuple[str, int]]:
    """(label, class index): the five predictions with their probability, then all others. Equal names get their index."""
    count = Counter(categories)

    def name(index: int) -> str:
        return categories[index] if count[categories[index]] == 1 else f"{categories[index]} ({index})"

    first = [row.index for row in rows]
    choices = [(f"{name(row.index)} · {per_cent(row.probability)}", row.index) for row in rows]
    choices += [(name(index), index) for index in range(len(categories)) if index not in first]
    return [("none", NOBODY), *choices] if nobody else choices


def layer_choices(layers: dict[str, tuple[int, int]]) -> list[tuple[str, str]]:
    return [(f"{name} · {height}x{width}", name) for name, (height, width) in layers.items()]


def method_choices() -> list[tuple[str, str]]:
    """(label, key); those that need many passes of their own say so."""
    return [(f"{row.label} (slow)" if row.effort == SLOW else row.label, key) for key, row in METHODS.items()]


def map_choices() -> list[tuple[str, str]]:
    """(label, key) of all methods and controls."""
    return [(label, key) for key, label in LABELS.items()]


def progress(label: str, done: int, total: int, left: float) -> str:
    return f"{label}: {done:,} of {passes(total)}, {seconds(left)} left"


def agreement(correlations: Mapping[tuple[str, str], float]) -> str:
    """How far the maps of several methods agree, from the correlation of each pair of labels."""
    (one, other), least = min(correlations.items(), key=lambda item: item[1])
    if least >= DISAGREE:
        return f"The maps agree: their correlations are {least:.2f} to {max(correlations.values()):.2f}."
    low = sum(value < DISAGREE for value in correlations.values())
    pairs = (
        "The two maps disagree" if len(correlations) == 1 else f"{low} of {len(correlations)} pairs of maps disagree"
    )
    return f"{pairs}, most of all {one} and {other} (correlation {least:.2f}): do not trust one of them alone."


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


def _image(jpeg: bytes, alt: str) -> str:
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" alt="{escape(alt)}">'


def card(
    title: str, jpeg: bytes, alt: str, lines: Sequence[str], badge: str = "", note: str = "", blank: bool = False
) -> str:
    """A picture with its caption. `blank` gives the note the id by which the reason of a blank map is found."""
    full = "document.fullscreenElement?document.exitFullscreen():this.closest('figure').requestFullscreen()"
    button = f'<button type="button" class="enlarge" aria-label="Enlarge {escape(title)}" onclick="{full}">⤢</button>'
    said = f'<p class="note"{" id=blank-reason" if blank else ""}>{escape(note)}</p>' if note else ""
    return (
        f'<figure><div class="picture">{_image(jpeg, alt)}'
        + (f'<span class="badge">{escape(badge)}</span>' if badge else "")
        + f"{button}</div><figcaption><strong>{escape(title)}</strong>"
        + "".join(f"<span>{escape(line)}</span>" for line in lines)
        + f"{said}</figcaption></figure>"
    )


def figures(
    rows: Mapping[str, Mapping[str, float]],
    blank: Mapping[str, str],
    refused: Mapping[str, str],
    category: str,
    probability: float,
) -> str:
    """The table of a photo's metrics: a line for each method and control, by key, why maps are blank, and why there is none."""
    metrics = [key for key in METRICS if any(key in values for values in rows.values())]
    heads = "".join(
        f'<th scope="col" title="{METRICS[key].better} is better">{escape(METRICS[key].label)} '
        f"{ARROWS[METRICS[key].better]}</th>"
        for key in metrics
    )
    lines = []
    for name in LABELS:
        if name in rows:
            colour = f'<i style="background:{CURVE_COLOURS[LABELS[name]]}"></i>'  # the curves' own legend has no room for all
            remark = "control" if name in CONTROLS else "blank map" if name in blank else ""
            title = colour + escape(LABELS[name]) + (f" <span>{remark}</span>" if remark else "")
            cells = "".join(
                f"<td>{_figure(key, name, rows, name in METHODS and name not in blank)}</td>" for key in metrics
            )
            lines.append(f'<tr><th scope="row">{title}</th>{cells}</tr>')
    caption = (
        f"Figures for {escape(category)} ({per_cent(probability)}), in per cent. ↑ higher is better, ↓ lower is. Bold: better "
        "than every control; Fake-CAM, which hides one pixel, wins Average Drop nearly always."
    )
    said = doubt(category, probability)
    reasons = {LABELS[name]: why.removesuffix(said).strip() for name, why in blank.items()} | dict(refused)
    notes = "".join(f'<p class="note">{escape(f"{name}: {why}")}</p>' for name, why in reasons.items())
    table = f'<table aria-label="Figures"><tr><td></td>{heads}</tr>{"".join(lines)}</table>'
    region = f'<div tabindex="0" role="region" aria-label="Figures, to be scrolled">{table}</div>'
    return f"{notice([(said, True)])}<p>{caption}</p>{region}{notes}"


def _figure(metric: str, name: str, rows: Mapping[str, Mapping[str, float]], may_win: bool) -> str:
    """A value for people: yes or no where it is one of both for a single photo, in bold if no control is as good."""
    if metric not in rows[name]:
        return ""
    value = rows[name][metric]
    if metric in ("increase", "pointing"):
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
        f"<h3>Protocol</h3><p>One photo (n = 1), layer {escape(layer)}: for means with intervals over many photos there is the "
        f"command <code>python -m iscam evaluate</code>. p and q are the class probabilities of the photo and of the photo "
        f"masked by the map.</p><ul>{lines}</ul>"
    )


def drawn_on(jpeg: bytes, alt: str, box: tuple[float, float, float, float] | None, lines: Sequence[str]) -> str:
    """A photo to draw a box on; `box` (l, t, r, b) in per cent of it."""
    left, top, right, bottom = box or (0.0, 0.0, 0.0, 0.0)
    style = f"left:{left:.2f}%;top:{top:.2f}%;width:{right - left:.2f}%;height:{bottom - top:.2f}%"
    said = "".join(f"<span>{escape(line)}</span>" for line in lines)
    return (
        f'<figure><div class="picture">{_image(jpeg, alt)}<div class="box" style="{style}"></div></div>'
        f"<figcaption>{said}</figcaption></figure>"
    )


def gallery(cards: Sequence[str]) -> str:
    """Cards in rows."""
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def heading(title: str, sentence: str = "") -> str:
    """A title within a tab, with a sentence under it."""
    return f"<h3>{escape(title)}</h3>" + (f"<p>{escape(sentence)}</p>" if sentence else "")


def empty_card(title: str, sentence: str = "") -> str:
    """A card without a picture: waiting, or with the reason why there is none."""
    kind = "refused" if sentence else "waiting"
    said = f'<p class="note">{escape(sentence)}</p>' if sentence else '<span class="soft">waiting …</span>'
    caption = f"<figcaption><strong>{escape(title)}</strong>{said}</figcaption>"
    return f'<figure class="{kind}"><div class="picture"></div>{caption}</figure>'


def map_alt(explanation: Explanation) -> str:
    """What a picture of a map says to those who cannot see it."""
    where = f"strongest in the {place(explanation.heatmap)}" if explanation.heatmap.any() else "blank"
    return f"{METHODS[explanation.method].label} map for {explanation.category}: {where}"


def colour_bar(jpeg: bytes, least: str, most: str) -> str:
    ends = (f"<span>{escape(end)}</span>" for end in (least, most))
    return f'<div class="scale">{_image(jpeg, "colour scale").join(ends)}</div>'
