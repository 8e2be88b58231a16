"""What is on the page. Nothing happens here: `handlers.py` connects it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from iscam.methods import DEFAULT_ENGINE, DEFAULT_METHODS, ENGINES, METHODS
from iscam.models import MODELS
from iscam.path import DEFAULT_STEPS, MAX_STEPS, PATHS, WEIGHTINGS
from iscam.project import EXAMPLES
from iscam.show import COLOUR_MAPS, OPACITY, VIEWS
from iscam.trust import METRICS

from . import words as text

OPENING = EXAMPLES / "chelsea.jpg"  # what the page shows before anybody has asked anything

PERTURBATIONS = ("deletion", "insertion")
SHARE = 25  # per cent of the pixels, at first
SLOW_METRICS = tuple(key for key, row in METRICS.items() if row.needs in ("explain", "impute"))

Parts = dict[str, Any]  # components by name; Gradio gives their classes events at run time, which no checker sees

HEADING = """<h1>IS-CAM</h1><p>What did the network look at, and how far can you trust the map?</p>"""


@dataclass(frozen=True, eq=False)
class Page:
    """The components that events read or write.

    `ask`, `look` and `export` are named as the parameters of `checks.question`, `checks.look` and as what the tab Export
    offers; `shelf` as the parts of `galleries.Shelf`; `over` holds what chooses a tab's method, by study; `measure` what else
    is to be measured, and the box; `tabs` all tabs.
    """

    ask: Parts
    look: Parts
    measure: Parts
    explain: gr.Button
    stop: gr.Button
    status: gr.HTML
    predictions: gr.HTML
    framed: gr.HTML
    notice: gr.HTML
    maps: dict[str, gr.HTML]
    contrast: gr.HTML
    scale: gr.HTML
    tabs: dict[str, gr.Tab]
    over: Parts
    shelf: Parts
    export: Parts


def lay_out(model: str) -> Page:
    """Put everything on the page, with `model` chosen; to be called inside `gr.Blocks`."""
    gr.HTML(HEADING, elem_id="heading", apply_default_css=False)
    with gr.Row(elem_id="page", equal_height=False):
        with gr.Column(scale=4, min_width=330, elem_id="question"):
            ask = _question(model)
        with gr.Column(scale=11, min_width=330, elem_id="answer"):
            with gr.Row(elem_id="work", equal_height=True):
                explain = gr.Button("Explain", variant="primary", elem_id="explain", scale=0, min_width=150)
                stop = gr.Button("Stop", variant="stop", visible=False, elem_id="stop", scale=0, min_width=150)
                status = gr.HTML(text.status("Getting ready …"), elem_id="status", min_width=260)
            look = _look()
            shelf: Parts = {}
            over: Parts = {}
            tabs: dict[str, gr.Tab] = {}
            with gr.Tabs(overflow_behavior="wrap", elem_id="tabs"):
                with gr.Tab("Compare") as tabs["compare"]:
                    with gr.Row(elem_id="seen", equal_height=False):
                        framed = gr.HTML(elem_id="framed", min_width=160, apply_default_css=False)
                        predictions = gr.HTML(elem_id="predictions", min_width=240, apply_default_css=False)
                        notice = gr.HTML(elem_id="notice", min_width=200, apply_default_css=False)
                    # cards are empty until there is a map; the style sheet hides empty ones
                    with gr.Row(elem_id="maps", equal_height=False):
                        maps = {key: gr.HTML(elem_id=f"map-{key}", min_width=160) for key in METHODS}
                        contrast = gr.HTML(elem_id="contrast", min_width=160)
                    scale = gr.HTML(elem_id="scale")
                with gr.Tab("Classes", render_children=True) as tabs["classes"]:
                    over["classes"] = _method(
                        "By method", "is-cam", text.CLASSES, [key for key, row in METHODS.items() if row.class_specific]
                    )
                    shelf |= _htmls("classes", "class_contrast")
                with gr.Tab("Integration", render_children=True) as tabs["integration"]:
                    shelf |= _integration()
                with gr.Tab("Layers", render_children=True) as tabs["layers"]:
                    over["layers"] = _method("With method", "grad-cam", text.LAYERS, list(METHODS))
                    shelf |= _htmls("layers")
                with gr.Tab("Faithfulness", render_children=True) as tabs["faithfulness"]:
                    parts, scrub, measure = _faithfulness()
                    shelf |= parts
                with gr.Tab("Export", render_children=True) as tabs["export"]:
                    export = _export()
                with gr.Tab("About") as tabs["about"]:
                    formulas: list[dict[str, str | bool]] = [{"left": "$$", "right": "$$", "display": True}]
                    gr.Markdown(text.about(), latex_delimiters=formulas, elem_id="about")
    seen = (predictions, framed, notice, maps, contrast, scale)
    return Page(ask, look | scrub, measure, explain, stop, status, *seen, tabs, over, shelf, export)


def _question(model: str) -> Parts:
    """The left column."""
    photo = gr.Image(
        str(OPENING),
        label="Photo",
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard", "webcam"],
        buttons=["fullscreen"],
        height=164,
        elem_id="photo",
        alt_text="the photo in question",
    )
    gr.Examples(
        [[str(path)] for path in sorted(EXAMPLES.glob("*.jpg"))],
        [photo],
        label="Examples",
        elem_id="examples",
        cache_examples=False,
        api_visibility="private",
    )
    with gr.Row():
        models = [(row.label, key) for key, row in MODELS.items()]
        model_box = gr.Dropdown(models, value=model, label="Model", scale=5, min_width=150)
        layers = text.layer_choices(MODELS[model].layers)
        layer = gr.Dropdown(layers, value=MODELS[model].layer, label="Layer", scale=4, min_width=130)
    with gr.Row():
        target = gr.Dropdown([], value=None, label="Target class", scale=5, min_width=150)
        nobody = [("none", text.NOBODY)]
        against = gr.Dropdown(nobody, value=text.NOBODY, label="Against", scale=4, min_width=130)
    steps = gr.Slider(1, MAX_STEPS, DEFAULT_STEPS, step=1, label="Integration steps", elem_id="steps")
    methods = gr.CheckboxGroup(text.method_choices(), value=list(DEFAULT_METHODS), label="Methods", elem_id="methods")
    with gr.Accordion("Advanced", open=False):
        path = gr.Radio(list(PATHS), value=PATHS[0], label="Path")
        weighting = gr.Radio(list(WEIGHTINGS), value=WEIGHTINGS[0], label="Weighting")
        engine = gr.Radio(list(ENGINES), value=DEFAULT_ENGINE, label="Engine")
    return {
        "photo": photo,
        "model": model_box,
        "layer": layer,
        "target": target,
        "against": against,
        "steps": steps,
        "methods": methods,
        "path": path,
        "weighting": weighting,
        "engine": engine,
    }


def _look() -> Parts:
    """How maps are drawn, in every tab."""
    with gr.Row(elem_id="look"):
        view = gr.Radio(list(VIEWS), value=VIEWS[0], label="View", scale=10, min_width=300)
        opacity = gr.Slider(0, 1, OPACITY, step=0.05, label="Opacity", scale=3, min_width=140)
        colours = gr.Dropdown(list(COLOUR_MAPS), value=COLOUR_MAPS[0], label="Colour map", scale=2, min_width=120)
    return {"opacity": opacity, "colours": colours, "view": view}


def _method(label: str, value: str, explained: str, keys: list[str]) -> gr.Dropdown:
    """What a tab shows, in a sentence, and the choice of its method."""
    with gr.Row(elem_classes="over", equal_height=True):
        choices = [choice for choice in text.method_choices() if choice[1] in keys]
        box = gr.Dropdown(choices, value=value, label=label, scale=0, min_width=210)
        gr.HTML(f"<p>{explained}</p>", min_width=300, apply_default_css=False)
    return box


def _htmls(*names: str) -> Parts:
    return {name: gr.HTML(elem_id=name.replace("_", "-"), elem_classes="part") for name in names}


def _integration() -> Parts:
    """The path of IS-CAM; the plots have no value, and are hidden, until there is one."""
    parts = _htmls("integration")
    with gr.Row(elem_id="plots"):
        parts["curves"] = gr.LinePlot(
            x="intensity",
            y="probability",
            color="channel",
            x_title="intensity (1: the masked photo)",
            y_title="class probability, %",
            label="Class probability along the path",
            visible=False,
            elem_id="curves",
        )
        parts["changes"] = gr.BarPlot(
            x="step",
            y="change",
            x_title="step",
            y_title="mean change of the map",
            label="How much each step still changes the map",
            visible=False,
            elem_id="changes",
        )
    return parts | _htmls("film", "channels")


def _faithfulness() -> tuple[Parts, Parts, Parts]:
    """The figures with their curves, what chooses the perturbed photo, and what else is to be measured."""
    with gr.Row(elem_classes="over", equal_height=True):
        slow = [(METRICS[key].label, key) for key in SLOW_METRICS]
        also = gr.CheckboxGroup(slow, value=[], label="Measure also (slow)", scale=0, min_width=210, elem_id="also")
        gr.HTML(f"<p>{text.FAITHFULNESS}</p>", min_width=300, apply_default_css=False)
    parts = _htmls("trust")
    with gr.Row(elem_id="trust-curves"):
        for key, what in (("insertion", "restored"), ("deletion", "removed")):
            parts[key] = gr.LinePlot(
                x="pixels",
                y="probability",
                color="map",
                color_map=text.CURVE_COLOURS,
                x_title=f"pixels {what}, highest first, %",
                y_title="class probability, %",
                label=METRICS[key].label,
                visible=False,
                elem_id=f"curve-{key}",
            )
    with gr.Row(elem_id="perturb", equal_height=False):
        with gr.Column(min_width=280):
            with gr.Row():
                by = gr.Dropdown(text.map_choices(), value=DEFAULT_METHODS[0], label="By the map of", min_width=130)
                how = gr.Radio(list(PERTURBATIONS), value=PERTURBATIONS[0], label="Perturbation", min_width=150)
            share = gr.Slider(0, 100, SHARE, step=5, label="Share of the pixels, %", elem_id="share")
            parts |= _htmls("perturbed")
        with gr.Column(min_width=280):
            box = gr.Textbox(
                label="Box",
                placeholder="left, top, right, bottom in % of the photo",
                info="Draw it on the photo, or type it: what share of each map lies in it?",
                max_length=60,
                elem_id="box",
            )
            parts["boxed"] = gr.HTML(elem_id="boxed", elem_classes="part", js_on_load=text.DRAWN_BOX)
    parts |= _htmls("protocol")
    return parts, {"by": by, "how": how, "share": share}, {"also": also, "box": box}


def _export() -> Parts:
    """The results to take along."""
    gr.Markdown(
        "One zip: the figure (PNG), the maps as numbers (npz), settings, predictions, times and versions (JSON), and the "
        "command that makes them again."
    )
    download = gr.DownloadButton(
        "Download zip", interactive=False, variant="primary", elem_id="download", scale=0, min_width=200
    )
    command = gr.Textbox(label="Command line", interactive=False, buttons=["copy"], elem_id="command")
    link = gr.Textbox(label="Link to this question", interactive=False, buttons=["copy"], elem_id="link")
    remark = gr.HTML(elem_id="remark", apply_default_css=False)
    return {"download": download, "command": command, "link": link, "remark": remark}
