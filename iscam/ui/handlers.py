"""Events: what a visitor does -> one job for the compute thread -> what the page shows. No torch here.

Events are connected without Gradio's preprocessing, which trusts paths that lack its own mark, decodes pictures in its own
way and answers a wrong value with a list of all right ones: whatever a client sends goes through `checks.py`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, TypeVar

import gradio as gr

from iscam.methods import METHODS

from . import checks, text
from .checks import Look
from .layout import OPENING, Page
from .shown import Shown
from .tasks import Analysed, Bench, Contrasted, Mapped, Question, Refused, Sharpening, Unavailable
from .worker import Job, Work, Worker

Value = TypeVar("Value")
Updates = dict[Any, Any]  # component -> its new value or properties

KEPT_PAGES = 64
LEAVE_SECONDS = 2.0  # longer than a follower takes to notice that its page has gone over to another job


class Handlers:
    """The events of a page. Safe for many visitors at once: what is theirs lies in a `Shown`, by session."""

    def __init__(self, page: Page, model: str, bench: Bench) -> None:
        self.page = page
        self.model = model
        self.bench = bench
        self.worker = Worker()
        self._pages: OrderedDict[str, Shown] = OrderedDict()  # by session, as the next
        self._photos: OrderedDict[str, object] = OrderedDict()
        self._lock = threading.Lock()
        self._opening: Job | None = None

    def connect(self, demo: gr.Blocks) -> None:
        """Connect the events; to be called inside `demo`."""
        page = self.page
        look = [page.opacity, page.colours, page.view]
        question = [page.photo, page.model, page.layer]
        maps = [*page.maps.values(), page.contrast, page.scale]
        buttons = [page.explain, page.stop, page.status]
        seen = [page.predictions, page.framed]
        choices = [page.model, page.layer, page.target, page.against]
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "preprocess": False}
        # followers only wait for the compute thread: many at once cost nothing, and its own queue has a limit
        follower = quiet | {"concurrency_id": "follow", "concurrency_limit": 24, "trigger_mode": "multiple"}
        everything = [*maps, *buttons, *seen, *choices]
        demo.load(self.open, None, everything, **follower | {"concurrency_id": "open"})
        page.photo.change(self.new_photo, [*question, *look], everything, **follower)
        page.model.input(self.new_model, [page.photo, page.model, *look], everything, **follower)
        settings = [page.target, page.against, page.steps, page.methods, page.path, page.weighting, page.engine]
        run = follower | {"trigger_mode": "once", "api_name": "maps"}  # the name "explain" is the public endpoint's
        page.explain.click(self.explain, [*question, *settings, *look], [*maps, *buttons, *seen], **run)
        page.stop.click(self.halt, None, page.stop, **quiet)
        for change in (page.opacity.input, page.colours.input, page.view.input):
            change(self.redraw, look, maps, **quiet, trigger_mode="always_last")
        demo.unload(self.leave)

    def open(self, request: gr.Request) -> Iterator[Updates]:
        """A page was loaded: it shows the example, explained once for all visitors."""
        shown = self._remember(request, Shown(self.opening(), Look()))
        yield {self.page.status: text.status("Getting ready …")}
        yield from self._follow(shown, request, new_choices=True)

    def opening(self) -> Job:
        """The background job that explains the example, started when first wanted."""
        with self._lock:
            if self._opening is None:
                work = self.bench.explain(checks.question({"path": str(OPENING)}, self.model))
                self._opening = self.worker.submit("", work, background=True)
            return self._opening

    def new_photo(
        self, photo: Any, model: Any, layer: Any, opacity: Any, colours: Any, view: Any, request: gr.Request
    ) -> Iterator[Updates]:
        """Another photo: predict at once. Without one the page is emptied."""
        if self._repeated(photo, request):
            yield {self.page.status: gr.skip()}  # an event without any answer would empty the page
        elif photo is None:
            self.leave(request)
            yield self._cleared("Choose a photo to begin.")
        else:
            yield from self._predict(photo, model, layer, opacity, colours, view, request)

    def new_model(
        self, photo: Any, model: Any, opacity: Any, colours: Any, view: Any, request: gr.Request
    ) -> Iterator[Updates]:
        """Another model: predict at once, at its own layer."""
        yield from self._predict(photo, model, None, opacity, colours, view, request)

    def _predict(
        self, photo: Any, model: Any, layer: Any, opacity: Any, colours: Any, view: Any, request: gr.Request
    ) -> Iterator[Updates]:
        self.leave(request)
        yield self._cleared("Looking at the photo …")
        try:
            question, look = checks.question(photo, model, layer), checks.look(opacity, colours, view)
            job = self._submit(request, question, self.bench.predict(question))
        except (ValueError, OSError) as error:
            yield self._cleared(str(error))
            raise gr.Error(str(error), print_exception=False) from error
        try:
            yield from self._follow(self._remember(request, Shown(job, look)), request, new_choices=True)
        finally:
            self.worker.release(job)

    def explain(
        self,
        photo: Any,
        model: Any,
        layer: Any,
        target: Any,
        against: Any,
        steps: Any,
        methods: Any,
        path: Any,
        weighting: Any,
        engine: Any,
        opacity: Any,
        colours: Any,
        view: Any,
        request: gr.Request,
    ) -> Iterator[Updates]:
        """The maps as they come, until all are there or the visitor stops or leaves."""
        page, rival = self.page, None if against == text.NOBODY else against
        try:
            settings = target, rival, steps, methods, path, weighting, engine
            question = checks.question(photo, model, layer, *settings)
            look = checks.look(opacity, colours, view)
            job = self._submit(request, question, self.bench.explain(question))
        except (ValueError, OSError) as error:
            raise gr.Error(str(error), print_exception=False) from error
        try:
            shown = self._remember(request, Shown(job, look))
            waiting = {page.maps[key]: text.empty_card(METHODS[key].label) for key in question.methods}
            buttons = {page.explain: gr.update(visible=False), page.stop: gr.update(visible=True, interactive=True)}
            yield self._pictures(None) | waiting | buttons | {page.status: text.status("Starting …")}
            yield from self._follow(shown, request, new_choices=False)
        finally:
            self.worker.release(job)

    def halt(self, request: gr.Request) -> Any:
        """Stop was pressed: the job ends with the maps it has, and the event that follows it shows them."""
        self.worker.release_owner(checks.session(request))
        return gr.update(interactive=False)

    def redraw(self, opacity: Any, colours: Any, view: Any, request: gr.Request) -> Updates:
        """The same maps in another look, from the arrays at hand."""
        try:
            look = checks.look(opacity, colours, view)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error
        with self._lock:
            shown = self._pages.get(checks.session(request))
        if shown is None:
            return {self.page.scale: gr.skip()}
        shown.look = look
        return {component: picture for component, picture in self._pictures(shown).items() if picture}

    def leave(self, request: gr.Request) -> None:
        """A page was closed or emptied: nothing more is computed or kept for it."""
        self.worker.release_owner(checks.session(request))
        with self._lock:
            before = self._pages.pop(checks.session(request), None)
        if before is not None:
            before.left.wait(LEAVE_SECONDS)

    # What the handlers share

    def _submit(self, request: gr.Request, question: Question, work: Work) -> Job:
        return self.worker.submit(checks.session(request), work, fetch=self.bench.fetch(question))

    def _follow(self, shown: Shown, request: gr.Request, new_choices: bool) -> Iterator[Updates]:
        """Show a job's news until it ends, or the page belongs to another job by then."""
        page = self.page
        try:
            for batch in shown.job.follow():
                if not self._current(request, shown):
                    return
                updates: Updates = {}
                for news in batch:
                    shown.take(news)
                    updates |= self._changed(news, shown, new_choices)
                ahead = None if shown.job.background else self.worker.ahead(shown.job)
                if ahead:
                    shown.sentence = f"Waiting: {ahead} {'job' if ahead == 1 else 'jobs'} before yours."
                yield updates | {page.status: text.status(shown.sentence or "Getting ready …", shown.share)}
                if shown.job.background and self.worker.ahead(shown.job):
                    shown.forget_unfinished()  # questions of visitors come first: the page is ready for one
                    break
            if not self._current(request, shown):
                return
            # All pictures once more: a browser that is busy may have passed over an update between two others.
            yield self._pictures(shown) | {
                page.explain: gr.update(visible=True, interactive=True),
                page.stop: gr.update(visible=False),
                page.status: text.status(shown.conclusion()),
            }
            if shown.failed:
                raise gr.Error(shown.sentence, print_exception=False)
        finally:
            shown.left.set()

    def _changed(self, news: object, shown: Shown, new_choices: bool) -> Updates:
        """The components that a piece of news changes."""
        page = self.page
        match news:
            case Unavailable(sentence):
                gr.Warning(sentence, duration=None)
            case Analysed(model, layer, categories, layers, predictions=top):
                updates: Updates = {page.predictions: text.predictions(top, model), page.framed: shown.framed()}
                if not new_choices:
                    return updates
                rivals = text.class_choices(categories, top, nobody=True)
                return updates | {
                    page.model: model,
                    page.layer: gr.update(choices=text.layer_choices(layers), value=layer),
                    page.target: gr.update(choices=text.class_choices(categories, top), value=top[0].index),
                    page.against: gr.update(choices=rivals, value=text.NOBODY),
                }
            case Sharpening(explanation) | Mapped(explanation):
                return {page.maps[explanation.method]: shown.card(explanation.method), page.scale: shown.scale()}
            case Refused("contrast") | Contrasted():
                return {page.contrast: shown.contrast_card()}
            case Refused(method):
                return {page.maps[method]: shown.card(method)}
        return {}

    def _pictures(self, shown: Shown | None) -> Updates:
        """Every map, contrast and colour bar that there is; the others are empty, which hides them."""
        page = self.page
        updates: Updates = dict.fromkeys((*page.maps.values(), page.contrast, page.scale), "")
        if shown is not None:
            updates |= {page.maps[key]: shown.card(key) for key in page.maps if key in {*shown.maps, *shown.refused}}
            if shown.maps:
                updates[page.scale] = shown.scale()
            if shown.contrast is not None or "contrast" in shown.refused:
                updates[page.contrast] = shown.contrast_card()
        return updates

    def _cleared(self, sentence: str) -> Updates:
        page = self.page
        buttons = {page.explain: gr.update(visible=True, interactive=False), page.stop: gr.update(visible=False)}
        seen = {page.predictions: "", page.framed: "", page.status: text.status(sentence)}
        return self._pictures(None) | buttons | seen

    def _remember(self, request: gr.Request, shown: Shown) -> Shown:
        """Make this what the page shows. Returns when the event before has sent its last word, which may be late."""
        with self._lock:
            before = self._pages.get(checks.session(request))
            _put(self._pages, checks.session(request), shown)
        if before is not None:
            before.left.wait(LEAVE_SECONDS)
        return shown

    def _repeated(self, photo: Any, request: gr.Request) -> bool:
        """Whether the page told of this photo just before: Gradio tells of every upload twice."""
        path = photo.get("path") if isinstance(photo, dict) else None
        with self._lock:
            known = self._photos.get(checks.session(request), "none yet")
            _put(self._photos, checks.session(request), path)
        return known == path

    def _current(self, request: gr.Request, shown: Shown) -> bool:
        with self._lock:
            return self._pages.get(checks.session(request)) is shown


def _put(store: OrderedDict[str, Value], key: str, value: Value) -> None:
    """Keep the entries of the pages that were used last."""
    store[key] = value
    store.move_to_end(key)
    while len(store) > KEPT_PAGES:
        store.popitem(last=False)
