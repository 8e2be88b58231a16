"""What is on the page. Nothing happens here: `handlers.py` connects it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from iscam.methods import DEFAULT_ENGINE, DEFAULT_METHODS, ENGINES, METHODS
from iscam.models import MODELS
from iscam.path import DEFAULT_STEPS, MAX_STEPS, PATHS, WEIGHTINGS
from iscam.render import COLOUR_MAPS, VIEWS

from . import text

ASSETS = Path(__file__).resolve().parents[2] / "assets"
EXAMPLES = ASSETS / "examples"
OPENING = EXAMPLES / "chelsea.jpg"  # what the page shows before anybody has asked anything
OPACITY = 0.5

HEADING = """<h1>IS-CAM</h1><p>What did the network look at, and how far can you trust the map?</p>"""


@dataclass(frozen=True, eq=False)
class Page:
    """The components that events read or write."""

    photo: gr.Image
    model: gr.Dropdown
    layer: gr.Dropdown
    target: gr.Dropdown
    against: gr.Dropdown
    steps: gr.Slider
    methods: gr.CheckboxGroup
    path: gr.Radio
    weighting: gr.Radio
    engine: gr.Radio
    explain: gr.Button
    stop: gr.Button
    status: gr.HTML
    predictions: gr.HTML
    framed: gr.HTML
    maps: dict[str, gr.HTML]
    contrast: gr.HTML
    scale: gr.HTML
    opacity: gr.Slider
    colours: gr.Dropdown
    view: gr.Radio


def lay_out(model: str) -> Page:
    """Put everything on the page, with `model` chosen; to be called inside `gr.Blocks`."""
    gr.HTML(HEADING, elem_id="heading", apply_default_css=False)
    with gr.Row(elem_id="page", equal_height=False):
        with gr.Column(scale=4, min_width=330, elem_id="question"):
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
                model_box = gr.Dropdown(
                    [(row.label, key) for key, row in MODELS.items()],
                    value=model,
                    label="Model",
                    scale=5,
                    min_width=150,
                )
                layers = MODELS[model].layers
                layer = gr.Dropdown(
                    text.layer_choices(layers), value=MODELS[model].layer, label="Layer", scale=4, min_width=130
                )
            target = gr.Dropdown([], value=None, label="Target class")
            steps = gr.Slider(1, MAX_STEPS, DEFAULT_STEPS, step=1, label="Integration steps")
            methods = gr.CheckboxGroup(
                text.method_choices(), value=list(DEFAULT_METHODS), label="Methods", elem_id="methods"
            )
            with gr.Accordion("Advanced", open=False):
                against = gr.Dropdown(
                    [("no other class", text.NOBODY)],
                    value=text.NOBODY,
                    label="Against",
                    info="Adds a picture of what speaks for the target class rather than this one.",
                )
                path = gr.Radio(list(PATHS), value=PATHS[0], label="Path")
                weighting = gr.Radio(list(WEIGHTINGS), value=WEIGHTINGS[0], label="Weighting")
                engine = gr.Radio(list(ENGINES), value=DEFAULT_ENGINE, label="Engine")
        with gr.Column(scale=11, min_width=330, elem_id="answer"):
            with gr.Row(elem_id="work", equal_height=True):
                explain = gr.Button("Explain", variant="primary", elem_id="explain", scale=0, min_width=150)
                stop = gr.Button("Stop", variant="stop", visible=False, elem_id="stop", scale=0, min_width=150)
                status = gr.HTML(text.status("Getting ready …"), elem_id="status", min_width=260)
            with gr.Tabs():
                with gr.Tab("Compare"):
                    with gr.Row(elem_id="seen", equal_height=False):
                        framed = gr.HTML(elem_id="framed", min_width=160, apply_default_css=False)
                        predictions = gr.HTML(elem_id="predictions", min_width=240, apply_default_css=False)
                    # cards are empty until there is a map; the style sheet hides empty ones
                    with gr.Row(elem_id="maps", equal_height=False):
                        maps = {key: gr.HTML(elem_id=f"map-{key}", min_width=160) for key in METHODS}
                        contrast = gr.HTML(elem_id="contrast", min_width=160)
                    scale = gr.HTML(elem_id="scale")
                    with gr.Row(elem_id="look"):
                        view = gr.Radio(list(VIEWS), value=VIEWS[0], label="View", scale=5, min_width=300)
                        opacity = gr.Slider(0, 1, OPACITY, step=0.05, label="Opacity", scale=3, min_width=140)
                        colours = gr.Dropdown(
                            list(COLOUR_MAPS), value=COLOUR_MAPS[0], label="Colour map", scale=2, min_width=120
                        )
                with gr.Tab("About"):
                    gr.Markdown(
                        text.about(),
                        latex_delimiters=[{"left": "$$", "right": "$$", "display": True}],
                        elem_id="about",
                    )
    return Page(
        photo,
        model_box,
        layer,
        target,
        against,
        steps,
        methods,
        path,
        weighting,
        engine,
        explain,
        stop,
        status,
        predictions,
        framed,
        maps,
        contrast,
        scale,
        opacity,
        colours,
        view,
    )
