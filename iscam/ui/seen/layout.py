"""What is on the page. Nothing happens here: the events connect it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import gradio as gr

from iscam.engine import HEADS
from iscam.methods import DEFAULT_METHODS
from iscam.models import ModelSpec
from iscam.path import DEFAULT_STEPS, MAX_STEPS, PATHS
from iscam.project import EXAMPLES
from iscam.settings import DEFAULT_ENGINE, ENGINES, WEIGHTINGS
from iscam.show import COLOUR_MAPS, OPACITY, VIEWS
from iscam.ui.done.opening import PHOTO

from . import html, words
from .face import Face, Parts, TabParts

Choices = Sequence[tuple[str, str]]  # (label, value)
HEADING = """<h1>IS-CAM</h1><p>What did the network look at, and how far can you trust the map?</p>"""


@dataclass(frozen=True, eq=False)
class Page:
    """The components that events read or write.

    `ask` and `look` are named as the parameters of `checks.question` and `checks.look`; `work` are the buttons, the
    status line and the question about the classes in words; `tabs` and `parts` are by the keys of the tabs; `bring` is
    where weights may be brought, empty where they may not, named as the parameters of `checks.own`.
    """

    ask: Parts
    look: Parts
    work: Parts
    tabs: Mapping[str, gr.Tab]
    parts: Mapping[str, TabParts]
    bring: Parts


def lay_out(models: Choices, row: ModelSpec, faces: Mapping[str, Face], uploads: bool) -> Page:
    """Put everything on the page, with the model of `row` chosen among `models`, and with `uploads` a
    place for weights; to be called inside `gr.Blocks`."""
    gr.HTML(HEADING, elem_id="heading", apply_default_css=False)
    with gr.Row(elem_id="page", equal_height=False):
        with gr.Column(scale=4, min_width=330, elem_id="question"):
            ask, asked = _question(models, row)
            bring = _bring() if uploads else {}
        with gr.Column(scale=11, min_width=330, elem_id="answer"):
            work, look = _work() | asked, _look()
            tabs, parts = {}, {}
            with gr.Tabs(overflow_behavior="wrap", elem_id="tabs"):
                for key, face in faces.items():
                    with gr.Tab(face.title, render_children=face.early) as tabs[key]:
                        parts[key] = face.lay_out()
    return Page(ask, look, work, tabs, parts, bring)


def _question(models: Choices, row: ModelSpec) -> tuple[Parts, Parts]:
    """The left column: what is asked, and the question about the classes in words."""
    photo = gr.Image(
        str(PHOTO),
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
            models, value=row.key, label="Model", scale=5, min_width=150, allow_custom_value=True, elem_id="model"
        )
        layers = words.layer_choices(row.layers)
        layer = gr.Dropdown(layers, value=row.layer or None, label="Layer", scale=4, min_width=130)
    with gr.Group(elem_id="classes-asked"):
        with gr.Row():
            target = gr.Dropdown([], value=None, label="Target class", scale=5, min_width=150)
            against = gr.Dropdown(words.NO_CLASS, value=words.LIKELY, label="Against", scale=4, min_width=130)
        asked = gr.HTML(elem_id="asked", apply_default_css=False)
    steps = gr.Slider(1, MAX_STEPS, DEFAULT_STEPS, step=1, label="Integration steps", elem_id="steps")
    methods = gr.CheckboxGroup(words.method_choices(), value=list(DEFAULT_METHODS), label="Methods", elem_id="methods")
    with gr.Accordion("Advanced", open=False):
        path = gr.Radio(list(PATHS), value=PATHS[0], label="Path")
        weighting = gr.Radio(list(WEIGHTINGS), value=WEIGHTINGS[0], label="Weighting")
        engine = gr.Radio(list(ENGINES), value=DEFAULT_ENGINE, label="Engine")
    ask = {
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
    return ask, {"asked": asked}


def _bring() -> Parts:
    """Where a visitor brings weights of a network of their own."""
    with gr.Accordion("Your own weights", open=False, elem_id="bring"):
        return {
            "weights": gr.File(label="Weights", file_types=[".safetensors"], height=110, elem_id="weights"),
            "arch": gr.Textbox(label="Architecture", placeholder="resnet50"),
            "labels": gr.Textbox(label="Classes", placeholder="one a line; numbered if empty", lines=3, max_lines=8),
            "head": gr.Radio(list(HEADS), value=next(iter(HEADS)), label="A photo is of one class, or of several"),
            "take": gr.Button("Use these weights", elem_id="take"),
        }


def _work() -> Parts:
    """What sets the work going and ends it, and how far it is; and, unseen, which photo of a tab is to be explained."""
    with gr.Row(elem_id="work", equal_height=True):
        return {
            "explain": gr.Button("Explain", variant="primary", elem_id="explain", scale=0, min_width=150),
            "stop": gr.Button("Stop", variant="stop", visible=False, elem_id="stop", scale=0, min_width=150),
            "status": gr.HTML(html.status("Getting ready …"), elem_id="status", min_width=260),
            "take": gr.Textbox(label="Photo to explain", visible="hidden", elem_id="take"),
        }


def _look() -> Parts:
    """How maps are drawn, in every tab."""
    with gr.Row(elem_id="look"):
        view = gr.Radio(list(VIEWS), value=VIEWS[0], label="View", scale=10, min_width=300)
        opacity = gr.Slider(0, 1, OPACITY, step=0.05, label="Opacity", scale=3, min_width=140)
        colours = gr.Dropdown(list(COLOUR_MAPS), value=COLOUR_MAPS[0], label="Colour map", scale=2, min_width=120)
    return {"opacity": opacity, "colours": colours, "view": view}
