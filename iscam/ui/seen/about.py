"""The tab About."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from iscam.methods import METHODS

from .face import Face, TabParts


def about() -> str:
    """What the page is about, with the papers of the METHODS table."""
    papers = " · ".join(f"[{row.label}]({row.paper})" for row in METHODS.values())
    return Path(__file__).with_name("about.md").read_text(encoding="utf-8").replace("{papers}", papers)


def _lay_out() -> TabParts:
    formulas: list[dict[str, str | bool]] = [{"left": "$$", "right": "$$", "display": True}]
    gr.Markdown(about(), latex_delimiters=formulas, elem_id="about")
    return TabParts()


FACE = Face("About", _lay_out, early=False)
