"""Which event of the page does what.

Events are connected without Gradio's preprocessing, which trusts paths that lack its own mark, decodes pictures in its own
way and answers a wrong value with a list of all right ones: whatever a client sends goes through `checks.py`, or through the
tab that asks for it. Every event gets the values of all components, by component.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import gradio as gr

from iscam.project import ASSETS
from iscam.ui.done.worker import Worker
from iscam.ui.seen import words
from iscam.ui.seen.layout import Page
from iscam.ui.seen.updates import Updates, lasting

from .desk import Desk
from .limits import AT_ONCE
from .maps import MapEvents
from .tab import Tabs
from .tabs import TabEvents

SCRIPT = ASSETS / "page.js"


class Events:
    """The events of a page."""

    def __init__(self, page: Page, tabs: Tabs, model: str, worker: Worker) -> None:
        self.desk = Desk(page, tabs, model, worker)
        self.maps, self.tabs = MapEvents(self.desk), TabEvents(self.desk)

    def _bringing(self, given: set[Any], everything: list[Any], follower: dict[str, Any]) -> list[Any]:
        """The event of weights that were brought, where they may be."""
        bring = self.desk.page.bring
        if not bring:
            return []
        asked = {*given, *bring.values()} - {bring["take"]}
        return [bring["take"].click(stream(self.maps.bring), asked, everything, **follower | {"api_name": "bring"})]

    def connect(self, demo: gr.Blocks) -> None:
        """Connect the events; to be called inside `demo`."""
        page, maps, tabs = self.desk.page, self.maps, self.tabs
        everything = [*page.work.values(), *page.ask.values()]
        given: set[Any] = {*page.ask.values(), *page.look.values()}
        for key, parts in page.parts.items():
            face = self.desk.tabs[key].face
            everything += [*parts.shows.values(), *(parts.looks[name] for name in face.settle)]
            everything += [parts.asks[name] for name in face.of_the_photo]
            given |= {*parts.asks.values(), *parts.looks.values()}
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "preprocess": False}
        # followers only wait for the compute process: many at once cost little, and its own queue has a limit
        follower = quiet | {"concurrency_id": "follow", "concurrency_limit": AT_ONCE, "trigger_mode": "multiple"}
        run = follower | {"trigger_mode": "once", "api_name": "maps"}  # the name "explain" is the public endpoint's
        for event in (
            demo.load(stream(maps.open), None, everything, **follower | {"concurrency_id": "open"}),
            page.ask["photo"].change(stream(maps.new_photo), given, everything, **follower),
            page.ask["model"].input(stream(maps.new_model), given, everything, **follower),
            page.work["explain"].click(stream(maps.explain), given, everything, **run),
            *self._bringing(given, everything, follower),
            page.ask["target"].input(stream(maps.switch), given, everything, **follower),
            page.ask["against"].input(stream(maps.switch), given, everything, **follower),
        ):
            event.then(stream(tabs.follow_up), given, everything, **follower)
        script = f"() => ({SCRIPT.read_text(encoding='utf-8')})({json.dumps(words.SCRIPT)})"
        demo.load(None, js=script, api_visibility="private")
        page.work["take"].submit(stream(tabs.take), page.work["take"], page.ask["photo"], **follower)
        page.work["stop"].click(maps.halt, None, page.work["stop"], **quiet)
        latest = follower | {"trigger_mode": "always_last"}
        for name, tab in page.tabs.items():
            tab.select(stream(tabs.opened(name)), given, everything, **follower | {"api_name": f"tab_{name}"})
        for parts in page.parts.values():
            for part in parts.asks.values():
                if isinstance(part, gr.File):
                    gr.on([part.upload, part.clear, part.delete], stream(tabs.revisit), given, everything, **follower)
                elif isinstance(part, gr.Textbox):
                    part.submit(stream(tabs.revisit), given, everything, **latest)
                    part.blur(stream(tabs.left), given, everything, **latest)
                else:
                    part.input(stream(tabs.revisit), given, everything, **follower)
            for part in parts.looks.values():
                part.input(tabs.redraw, given, everything, **latest)
        for part in page.look.values():
            part.input(tabs.redraw, given, everything, **latest)
        demo.unload(maps.leave)


def stream(handler: Callable[..., Iterator[Updates]]) -> Callable[..., Iterator[Updates]]:
    """The handler of an event with several updates, none of which a busy browser can lose."""

    @wraps(handler)
    def event(*given: Any) -> Iterator[Updates]:
        yield from lasting(handler(*given))

    return event
