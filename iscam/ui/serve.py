"""Building the demo and serving it, with the limits that a public page needs."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from starlette.middleware import Middleware

from iscam.images import MAX_FILE_BYTES
from iscam.models import DEFAULT_MODEL
from iscam.project import ASSETS
from iscam.ui.asked import Handlers, endpoint
from iscam.ui.done import Bench
from iscam.ui.seen import lay_out

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = MAX_FILE_BYTES + 100_000  # a file and what surrounds it in a request
CACHE_EVERY, CACHE_AGE = 600, 1800  # seconds: how often, and from which age on, uploads are deleted
FONTS = ["system-ui", "Segoe UI", "Roboto", "Helvetica", "sans-serif"]  # nothing is fetched for them


def start_model() -> str:
    """ResNet-18 if torch hub's cache holds its weights already, else the bundled classifier. Does not import torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser()
    return "resnet18" if any((home / "hub" / "checkpoints").glob("resnet18-*.pth")) else DEFAULT_MODEL


def build(model: str | None = None, bench: Bench | None = None) -> tuple[gr.Blocks, Handlers]:
    """The page and its events. `model` is chosen at first; `bench` does the computing."""
    first = model or start_model()
    with gr.Blocks(
        title="IS-CAM", analytics_enabled=False, delete_cache=(CACHE_EVERY, CACHE_AGE), fill_width=True
    ) as demo:
        handlers = Handlers(lay_out(first), first, bench or Bench())
        handlers.connect(demo)
        endpoint.add(handlers.worker, handlers.bench)
    demo.queue(max_size=48, default_concurrency_limit=8, api_open=False)
    return demo, handlers


def serve(host: str, port: int | None) -> None:
    """Serve the page until interrupted. The first model is loaded while the page is there already."""
    demo, handlers = build()
    launch(demo, server_name=host, server_port=port)
    print(f"IS-CAM is at {demo.local_url}", flush=True)
    handlers.opening()
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


class BodyLimit:
    """ASGI middleware: answers 413 to a request body over the limit, also to one that does not say its length.

    Gradio's own limit holds per uploaded file; text fields, many files and `data:` URLs pass it.
    """

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY_BYTES) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if not said.isdigit() or int(said) > self.limit:
            await _too_large(send)
            return
        taken = 0
        over = started = False

        async def counted() -> Message:
            nonlocal taken, over
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.limit:
                over = True
                raise _TooLarge
            return message

        async def guarded(message: Message) -> None:
            nonlocal started
            if not over:  # what the app says about its broken input is of no interest
                started = True
                await send(message)

        with contextlib.suppress(_TooLarge):
            await self.app(scope, counted, guarded)
        if over and not started:
            await _too_large(send)


class _TooLarge(Exception):
    pass


async def _too_large(send: Send) -> None:
    body = f"The request is larger than {MAX_BODY_BYTES // 1_000_000} MB.".encode()
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
