"""The tab Compare: the methods side by side. Its parts show a `Shown`, see `updates.py`."""

from __future__ import annotations

import gradio as gr

from iscam.methods import METHODS

from .face import Face, TabParts


def map_part(method: str) -> str:
    """The name of the part that shows a method's map."""
    return f"map-{method}"


def _lay_out() -> TabParts:
    with gr.Row(elem_id="seen", equal_height=False):
        shows = {
            "framed": gr.HTML(elem_id="framed", min_width=160, apply_default_css=False),
            "predictions": gr.HTML(elem_id="predictions", min_width=240, apply_default_css=False),
            "notice": gr.HTML(elem_id="notice", min_width=200, apply_default_css=False),
        }
    # cards are empty until there is a map; the style sheet hides empty ones
    with gr.Row(elem_id="maps", equal_height=False):
        first, *others = METHODS
        shows[map_part(first)] = gr.HTML(elem_id=map_part(first), min_width=160)
        shows["contrast"] = gr.HTML(elem_id="contrast", min_width=160)  # beside the map that it is to be compared with
        shows |= {map_part(key): gr.HTML(elem_id=map_part(key), min_width=160) for key in others}
    shows["scale"] = gr.HTML(elem_id="scale")
    return TabParts(shows)


FACE = Face("Compare", _lay_out)
