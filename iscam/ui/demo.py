"""Building the demo and starting its server, with the limits that a public page needs."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from functools import partial
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.blocks import Block, BlocksConfig
from gradio.renderable import Renderable
from gradio.state_holder import SessionState
from gradio_client import utils as client_utils
from starlette.middleware import Middleware

from iscam.images import MAX_FILE_BYTES
from iscam.models import DEFAULT_MODEL
from iscam.project import ASSETS

from .asked import endpoint
from .asked.events import Events
from .asked.limits import AROUND, AT_ONCE, MAX_EVENTS, THREADS, BodyLimit, Headers
from .done.worker import Worker
from .seen.layout import lay_out
from .tabs import TABS

CACHE_EVERY, CACHE_AGE = 600, 1800  # seconds: how often, and from which age on, uploads are deleted
# Gradio's own are too faint on white by WCAG AA
LEGIBLE = {
    "body_text_color_subdued": "*neutral_500",
    "input_placeholder_color": "*neutral_500",
    "button_primary_background_fill": "*primary_600",
    "button_primary_background_fill_hover": "*primary_700",
    "button_cancel_background_fill": "#dc2626",
    "button_cancel_background_fill_hover": "#b91c1c",
}
FONTS = ["system-ui", "Segoe UI", "Roboto", "Helvetica", "sans-serif"]  # nothing is fetched for them


class Configs(BlocksConfig):
    """Remembers how components are described. For every visitor Gradio describes all of them anew: where fifty come at once,
    the server answers nobody for a second."""

    def __init__(self, root: gr.Blocks) -> None:
        super().__init__(root)
        self._known: dict[int, dict[str, Any]] = {}

    def __copy__(self) -> Configs:
        """A visitor's own, whose components may become others."""
        gradios = super().__copy__()  # type: ignore[no-untyped-call]
        new = Configs(self.root_block)
        vars(new).update(vars(gradios), _known=self._known)
        return new

    def config_for_block(  # type: ignore[override]
        self, _id: int, rendered_ids: list[int], block: Block, renderable: Renderable | None = None
    ) -> dict[str, Any]:
        """As Gradio's, which is the same for all."""
        make = partial(BlocksConfig.config_for_block, _id, rendered_ids, block, renderable)
        if renderable is not None or self.root_block.blocks.get(_id) is not block:
            return make()
        if _id not in self._known:
            self._known[_id] = make()
        known = self._known[_id]
        return known | {"props": dict(known["props"])}  # whose value a visitor's may change


class Demo(gr.Blocks):
    """Blocks whose endpoint may be called with its last arguments left out, as those can that knew fewer of them, and whose
    updates cost what they change."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.default_config = Configs(self)

    def validate_inputs(self, block_fn: BlockFunction, inputs: list[Any]) -> None:
        client_utils.traverse(inputs, _refuse_address, client_utils.is_file_obj_with_meta)
        if block_fn.api_name == endpoint.NAME:
            inputs += [
                getattr(part, "value", None) for part in block_fn.inputs[max(1, len(inputs)) :]
            ]  # all but the photo
        super().validate_inputs(block_fn, inputs)

    async def postprocess_data(
        self, block_fn: BlockFunction, predictions: list[Any] | dict[Any, Any], state: SessionState | None
    ) -> list[Any]:
        """For an output that an event did not change, Gradio would make its component anew to find that nothing has changed.
        Every event of the page may change some sixty of them: maps would wait for that."""
        if not isinstance(predictions, dict) or not all(isinstance(part, gr.blocks.Block) for part in predictions):
            return await super().postprocess_data(block_fn, predictions, state)
        changed = {part: value for part, value in predictions.items() if not _skips(value)}
        found: Iterator[Any] = iter(())
        if changed:
            part_of = copy(block_fn)
            part_of.outputs = [part for part in block_fn.outputs if part in changed]
            found = iter(await super().postprocess_data(part_of, changed, state))
        return [next(found) if part in changed else gr.skip() for part in block_fn.outputs]


def _refuse_address(file: dict[str, Any]) -> dict[str, Any]:
    """Of any file that is said to lie at an address Gradio would fetch the whole into memory, before anybody is asked."""
    if client_utils.is_http_url_like(file["path"]):
        raise gr.Error("Nothing is fetched from other addresses: upload the file itself.", print_exception=False)
    return file


def _skips(value: object) -> bool:
    return isinstance(value, dict) and value == gr.skip()


def build(worker: Worker, model: str = DEFAULT_MODEL, uploads: bool = False) -> tuple[gr.Blocks, Events]:
    """The page and its events. `worker` sees to the computing; `model` is chosen at first; with `uploads` weights are taken."""
    with Demo(title="IS-CAM", analytics_enabled=False, delete_cache=(CACHE_EVERY, CACHE_AGE), fill_width=True) as demo:
        page = lay_out(
            worker.offer.choices(), worker.offer.row(model), {key: tab.face for key, tab in TABS.items()}, uploads
        )
        events = Events(page, TABS, model, worker)
        events.connect(demo)
        endpoint.add(worker)
    demo.queue(max_size=MAX_EVENTS, default_concurrency_limit=AT_ONCE, api_open=False)
    return demo, events


def launch(demo: gr.Blocks, limit: int = MAX_FILE_BYTES, **where: Any) -> None:
    """Start the server of a built demo, in the background, closed where Gradio is open by default; no file may have more bytes
    than the limit."""
    demo.launch(
        **where,
        prevent_thread_lock=True,
        quiet=True,
        show_error=False,
        enable_monitoring=False,
        run_history=False,
        ssr_mode=False,
        max_file_size=limit,
        state_session_capacity=100,
        footer_links=["api"],
        theme=gr.themes.Default(
            primary_hue="indigo",
            neutral_hue="slate",
            spacing_size="sm",  # the whole question fits on a laptop's screen
            font=FONTS,
            font_mono=["monospace"],
        ).set(**LEGIBLE),
        css_paths=[ASSETS / "style.css"],
        max_threads=THREADS,
        app_kwargs={"middleware": [Middleware(Headers), Middleware(BodyLimit, limit=limit + AROUND)]},
    )
