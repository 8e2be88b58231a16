"""The tab Export: the results to take along."""

from __future__ import annotations

import gradio as gr

from .face import Face, TabParts

SENTENCE = (
    "One zip: the figure (PNG), the maps as numbers (npz), settings, predictions, times and versions (JSON), and the command "
    "that makes them again."
)


def _lay_out() -> TabParts:
    gr.Markdown(SENTENCE)
    return TabParts(
        {
            "download": gr.DownloadButton(
                "Download zip", interactive=False, variant="primary", elem_id="download", scale=0, min_width=200
            ),
            "command": gr.Textbox(label="Command line", interactive=False, buttons=["copy"], elem_id="command"),
            "link": gr.Textbox(label="Link to this question", interactive=False, buttons=["copy"], elem_id="link"),
            "remark": gr.HTML(elem_id="remark", apply_default_css=False),
        }
    )


FACE = Face("Export", _lay_out)
