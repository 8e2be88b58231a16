"""Building the demo and serving it, with the limits that a public page needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from starlette.middleware import Middleware

from iscam.images import MAX_FILE_BYTES
from iscam.models import DEFAULT_MODEL
from iscam.project import ASSETS

from .asked import endpoint
from .asked.events import Events
from .asked.limits import BodyLimit
from .done.bench import Bench
from .seen.layout import lay_out
from .tabs import TABS

CACHE_EVERY, CACHE_AGE = 600, 1800  # seconds: how often, and from which age on, uploads are deleted
FONTS = ["system-ui", "Segoe UI", "Roboto", "Helvetica", "sans-serif"]  # nothing is fetched for them


class Demo(gr.Blocks):
    """Blocks whose endpoint may be called with its last arguments left out, as those can that knew fewer of them."""

    def validate_inputs(self, block_fn: BlockFunction, inputs: list[Any]) -> None:
        if block_fn.api_name == endpoint.NAME:
            inputs += [
                getattr(part, "value", None) for part in block_fn.inputs[max(1, len(inputs)) :]
            ]  # all but the photo
        super().validate_inputs(block_fn, inputs)


def start_model() -> str:
    """ResNet-18 if torch hub's cache holds its weights already, else the bundled classifier. Does not import torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser()
    return "resnet18" if any((home / "hub" / "checkpoints").glob("resnet18-*.pth")) else DEFAULT_MODEL


def build(model: str | None = None, bench: Bench | None = None) -> tuple[gr.Blocks, Events]:
    """The page and its events. `model` is chosen at first; `bench` does the computing."""
    first = model or start_model()
    with Demo(title="IS-CAM", analytics_enabled=False, delete_cache=(CACHE_EVERY, CACHE_AGE), fill_width=True) as demo:
        page = lay_out(first, {key: tab.face for key, tab in TABS.items()})
        events = Events(page, TABS, first, bench or Bench())
        events.connect(demo)
        endpoint.add(events.desk.worker, events.desk.bench)
    demo.queue(max_size=48, default_concurrency_limit=8, api_open=False)
    return demo, events


def serve(host: str, port: int | None) -> None:
    """Serve the page until interrupted. The first model is loaded while the page is there already."""
    demo, events = build()
    launch(demo, server_name=host, server_port=port)
    print(f"IS-CAM is at {demo.local_url}", flush=True)
    events.desk.opening()
    demo.block_thread()


def launch(demo: gr.Blocks, **where: Any) -> None:
    """Start the server of a built demo, in the background, closed where Gradio is open by default."""
    demo.launch(
        **where,
        prevent_thread_lock=True,
        quiet=True,
        show_error=False,
        enable_monitoring=False,
        run_history=False,
        ssr_mode=False,
        max_file_size=MAX_FILE_BYTES,
        state_session_capacity=100,
        footer_links=["api"],
        theme=gr.themes.Default(
            primary_hue="indigo",
            neutral_hue="slate",
            spacing_size="sm",  # the whole question fits on a laptop's screen
            font=FONTS,
            font_mono=["monospace"],
        ),
        css_paths=[ASSETS / "style.css"],
        app_kwargs={"middleware": [Middleware(BodyLimit)]},
    )
