"""Events: what a visitor does -> one job for the compute thread -> what the page shows. No torch here.

Events are connected without Gradio's preprocessing, which trusts paths that lack its own mark, decodes pictures in its own
way and answers a wrong value with a list of all right ones: whatever a client sends goes through `checks.py`. Every event
gets the values of all components, by component.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import gradio as gr

from iscam.methods import METHODS
from iscam.ui.done import STUDIES, Bench, Job, Measuring, Question, Sharpening, Work, Worker, studies
from iscam.ui.seen import OPENING, Page, Shown, Updater, Updates, galleries
from iscam.ui.seen import words as text

from . import checks, links, pack
from .checks import Look
from .visits import NOWHERE, Studied, Turn, Visit, Visits

Values = dict[Any, Any]  # component -> what the page says is in it

LEAVE_SECONDS = 2.0  # longer than an event takes to notice that its page has gone over to another job


class Handlers:
    """The events of a page. Safe for many visitors at once: what is theirs lies in a `Visit`, by session."""

    def __init__(self, page: Page, model: str, bench: Bench) -> None:
        self.page = page
        self.updates = Updater(page)
        self.model = model
        self.bench = bench
        self.worker = Worker()
        self.visits = Visits()
        self._lock = threading.Lock()
        self._opening: Job | None = None

    def connect(self, demo: gr.Blocks) -> None:
        """Connect the events; to be called inside `demo`."""
        page = self.page
        pictures = [*page.maps.values(), page.contrast, page.scale, page.notice]
        main = [*pictures, page.explain, page.stop, page.status, page.predictions, page.framed, *page.ask.values()]
        tabs = [*page.shelf.values(), *page.export.values(), page.look["by"], page.measure["box"]]
        given: set[Any] = {*page.ask.values(), *page.look.values(), *page.over.values(), *page.measure.values()}
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "preprocess": False}
        # followers only wait for the compute thread: many at once cost nothing, and its own queue has a limit
        follower = quiet | {"concurrency_id": "follow", "concurrency_limit": 24, "trigger_mode": "multiple"}
        everything = [*main, *tabs]
        run = follower | {"trigger_mode": "once", "api_name": "maps"}  # the name "explain" is the public endpoint's
        for event in (
            demo.load(self.open, None, everything, **follower | {"concurrency_id": "open"}),
            page.ask["photo"].change(self.new_photo, given, everything, **follower),
            page.ask["model"].input(self.new_model, given, everything, **follower),
            page.explain.click(self.explain, given, everything, **run),
            page.ask["target"].input(self.switch, given, everything, **follower),
            page.ask["against"].input(self.switch, given, everything, **follower),
        ):
            event.then(self.follow_up, given, everything, **follower)
        demo.load(None, js=text.NAMED_EXAMPLES, api_visibility="private")
        page.stop.click(self.halt, None, page.stop, **quiet)
        for name, tab in page.tabs.items():
            tab.select(self.opened(name), given, everything, **follower | {"api_name": f"tab_{name}"})
        for choice in page.over.values():
            choice.input(self.revisit, given, everything, **follower)
        page.measure["also"].input(self.revisit, given, everything, **follower)
        latest = follower | {"trigger_mode": "always_last"}
        page.measure["box"].submit(self.revisit, given, everything, **latest)
        page.measure["box"].blur(self.left_box, given, everything, **latest)
        for part in page.look.values():
            part.input(self.redraw, given, everything, **latest)
        demo.unload(self.leave)

    # A page is opened and left

    def open(self, request: gr.Request) -> Iterator[Updates]:
        """A page was loaded: it shows the example, explained once for all visitors, or what its link asks."""
        yield {self.page.status: text.status("Getting ready …")}
        try:
            given = links.read(dict(request.query_params or {}))
            question = checks.question(**{"photo": {"path": str(OPENING)}, "model": self.model} | given)
        except ValueError as error:
            gr.Warning(f"The link cannot be followed. {error}", duration=None)
            given = {}
        if not given:
            yield from self._present(self.opening(), request)
            return
        chosen = {
            name: value for name, value in given.items() if name in ("steps", "methods", "path", "weighting", "engine")
        }
        if "photo" in given:
            chosen["photo"] = given["photo"]["path"]
        yield {self.page.status: text.status("Getting ready …")} | {
            self.page.ask[name]: value for name, value in chosen.items()
        }
        yield from self._maps(question, Look(), request, new_choices=True)

    def opening(self) -> Job:
        """The background job that explains the example, started when first wanted."""
        with self._lock:
            if self._opening is None:
                work = self.bench.explain(checks.question({"path": str(OPENING)}, self.model))
                self._opening = self.worker.submit("", work, background=True)
            return self._opening

    def _present(self, job: Job, request: gr.Request) -> Iterator[Updates]:
        visit, question = self.visits.of(checks.session(request)), checks.question({"path": str(OPENING)}, self.model)
        visit.asked = question.place[:2]
        shown = Shown(Look(), example=True, settings=pack.settings(question))
        yield from self._follow(visit, Turn(job), shown, new_choices=True)

    def leave(self, request: gr.Request) -> None:
        """A page was closed: nothing more is computed or kept for it."""
        self.worker.release_owner(checks.session(request))
        self.visits.forget(checks.session(request))

    # The question changes

    def new_photo(self, values: Values, request: gr.Request) -> Iterator[Updates]:
        """Another photo: predict at once, or show its maps if they are known. Without one the page is emptied."""
        visit, photo = self.visits.of(checks.session(request)), values[self.page.ask["photo"]]
        path = photo.get("path") if isinstance(photo, dict) else None
        repeated, visit.told = visit.told == path, path
        if repeated:  # Gradio tells of every upload twice
            yield {self.page.status: gr.skip()}  # an event without any answer would empty the page
        elif photo is None:
            self.worker.release_owner(checks.session(request))
            visit.turn = visit.shown = visit.asked = visit.studied = None
            yield self.updates.cleared("Choose a photo to begin.")
        else:
            yield from self._predict(values, request)

    def new_model(self, values: Values, request: gr.Request) -> Iterator[Updates]:
        """Another model: its layers at once, so that the page can ask even if it is stopped; then predict at its own."""
        yield self.updates.layers(values[self.page.ask["model"]])
        yield from self._predict(values | {self.page.ask["layer"]: None}, request)

    def _predict(self, values: Values, request: gr.Request) -> Iterator[Updates]:
        visit = self.visits.of(checks.session(request))
        try:
            question, look = self._question(values, anew=True), self._look(values)
            if visit.asked == question.place[:2]:  # such as the photo of a link, which the page tells of as well
                yield {self.page.status: gr.skip()}
                return
            drawn: Updates = {}
            if visit.asked is None or visit.asked[0] != question.place[0]:
                drawn = {self.page.measure["box"]: ""}  # on another photo
            visit.studied = None
            yield self.updates.cleared("Looking at the photo …") | drawn
            news = self.bench.recall(question)
            work = self.bench.predict(question)
            turn, shown = self._turn(request, question, news, work), Shown(look, recalled=news is not None)
        except (ValueError, OSError) as error:
            visit.asked = None
            yield self.updates.cleared(str(error))
            raise gr.Error(str(error), print_exception=False) from error
        visit.asked, shown.settings = question.place[:2], pack.settings(question)
        yield from self._follow(visit, turn, shown, new_choices=True)

    # Maps

    def explain(self, values: Values, request: gr.Request) -> Iterator[Updates]:
        """The maps as they come, until all are there or the visitor stops or leaves."""
        try:
            question, look = self._question(values), self._look(values)
        except (ValueError, OSError) as error:
            raise gr.Error(str(error), print_exception=False) from error
        visit = self.visits.of(checks.session(request))
        late = visit.asked is not None and visit.asked != question.place[:2]
        if late:  # pressed before the photo was predicted: the classes on the page are those of another
            question = self._question(values, anew=True)
        waiting = {self.page.maps[key]: text.empty_card(METHODS[key].label) for key in question.methods}
        yield self.updates.pictures(None) | waiting
        yield from self._maps(question, look, request, new_choices=late)

    def switch(self, values: Values, request: gr.Request) -> Iterator[Updates]:
        """Another class, or one against it, of a photo that is explained already: the scores of all classes are known."""
        shown = self.visits.of(checks.session(request)).shown
        if shown is None or not shown.complete:
            yield {self.page.status: gr.skip()}
            return
        try:
            question, look = self._question(values), self._look(values)
        except (ValueError, OSError) as error:
            against = self.page.ask["against"]
            if values[self.page.ask["target"]] != values[against]:
                raise gr.Error(str(error), print_exception=False) from error
            gr.Warning(str(error))
            yield {against: text.NOBODY}  # a class that speaks against itself would be refused by every tab
            return
        yield from self._maps(question, look, request, new_choices=False)

    def halt(self, request: gr.Request) -> Any:
        """Stop was pressed: the job ends with the maps it has, and the event that follows it shows them."""
        self.worker.release_owner(checks.session(request))
        return gr.update(interactive=False)

    def _maps(self, question: Question, look: Look, request: gr.Request, new_choices: bool) -> Iterator[Updates]:
        visit = self.visits.of(checks.session(request))
        try:
            news = self.bench.recall(question)
            turn = self._turn(request, question, news, self.bench.explain(question))
        except (ValueError, OSError) as error:
            raise gr.Error(str(error), print_exception=False) from error
        visit.asked = question.place[:2]
        shown = Shown(look, recalled=news is not None, settings=pack.settings(question))
        yield from self._follow(visit, turn, shown, new_choices)

    # Tabs

    def opened(self, tab: str) -> Callable[[Values, gr.Request], Iterator[Updates]]:
        """The event of a tab that was opened: it shows what belongs to the question."""

        def event(values: Values, request: gr.Request) -> Iterator[Updates]:
            self.visits.of(checks.session(request)).tab = tab
            yield from self.revisit(values, request)

        return event

    def follow_up(self, values: Values, request: gr.Request) -> Iterator[Updates]:
        """The maps are there: another tab that is open follows."""
        if self.visits.of(checks.session(request)).tab == "compare":
            yield {self.page.status: gr.skip()}
        else:
            yield from self.revisit(values, request)

    def left_box(self, values: Values, request: gr.Request) -> Iterator[Updates]:
        """The visitor goes on from the field of the box, which may have been changed."""
        if values[self.page.measure["box"]] == self.visits.of(checks.session(request)).box:
            yield {self.page.status: gr.skip()}
        else:
            yield from self.revisit(values, request)

    def redraw(self, values: Values, request: gr.Request) -> Updates:
        """The open tab in another look, from what it shows: nothing is asked anew for that."""
        visit = self.visits.of(checks.session(request))
        if visit.shown is None:
            return {self.page.status: gr.skip()}
        try:
            look = visit.shown.look = self._look(values)
            updates: Updates = {}
            if visit.tab == "compare":
                updates = {part: picture for part, picture in self.updates.pictures(visit.shown).items() if picture}
            elif visit.tab == "export" and visit.shown.over:
                updates = self._exported(visit, values, request)
            elif visit.studied is not None and visit.studied.kind == visit.tab:
                updates = self.updates.shelved(galleries.redrawn(visit.tab, visit.studied.news, look))
        except (ValueError, OSError) as error:
            raise gr.Error(str(error), print_exception=False) from error
        return updates or {self.page.status: gr.skip()}

    def revisit(self, values: Values, request: gr.Request) -> Iterator[Updates]:
        """The open tab once more, because its question or the look has changed."""
        visit = self.visits.of(checks.session(request))
        try:
            if visit.shown is not None:
                visit.shown.look = self._look(values)
            if visit.shown is None or not (visit.shown.over or visit.tab == "compare"):
                yield {self.page.status: gr.skip()}  # the maps come first; this event comes again after them
            elif visit.tab in STUDIES:
                yield from self._study(visit, visit.shown, values, request)
            elif visit.tab == "export":
                yield self._exported(visit, values, request)
            else:
                yield self.redraw(values, request)
        except (ValueError, OSError) as error:
            raise gr.Error(str(error), print_exception=False) from error

    def _study(self, visit: Visit, shown: Shown, values: Values, request: gr.Request) -> Iterator[Updates]:
        kind, over = visit.tab, self.page.over.get(visit.tab)
        question = self._question(values | ({} if over is None else {self.page.ask["methods"]: [values[over]]}))
        if kind == "faithfulness":
            question, visit.box = self._measuring(values, question), values[self.page.measure["box"]]
        known, before = studies.recall(self.bench, kind, question), visit.studied
        turn = self._turn(request, question, known, studies.study(self.bench, kind, question))
        if known is None:
            yield self.updates.busy(True) | {self.page.status: text.status("Starting …")}
        state = Shown(shown.look)  # for its words
        with self._has_turn(visit, turn):
            visit.studied = studied = Studied(kind, question.maps, [])
            outdated = before is not None and before.kind == kind and before.maps != question.maps
            for batch in turn.job.follow():
                if visit.turn is not turn:
                    return
                told = [each for each in batch if not isinstance(each, (Measuring, Sharpening))]
                studied.news += told
                for each in batch:
                    state.take(each)
                if known is not None:
                    continue  # shown at once, below
                shelf = galleries.arranged(kind, studied.news, shown.look) if told else {}
                # plots only once, below, because of two soon after another the first may stay
                for plot in shelf.keys() & galleries.PLOTS:
                    if outdated:
                        shelf[plot] = None  # those of another question
                    else:
                        del shelf[plot]
                outdated = outdated and not shelf
                yield self.updates.shelved(shelf) | {self.page.status: self._status(state, turn.job)}
            if visit.turn is turn:
                words = shown.conclusion()
                if state.failed:
                    words = state.sentence
                elif turn.job.stop.is_set():
                    words = "Stopped: this tab shows what was known by then."
                updates = self.updates.busy(False) | {self.page.status: text.status(words)}
                measured = galleries.measured(studied.news)
                if measured and shown.look.by not in measured:
                    shown.look = replace(shown.look, by=measured[0])
                    updates[self.page.look["by"]] = measured[0]
                # all parts once more: a busy browser may have passed over an update between two others
                yield self.updates.shelved(galleries.arranged(kind, studied.news, shown.look)) | updates
                if state.failed:
                    raise gr.Error(state.sentence, print_exception=False)

    def _exported(self, visit: Visit, values: Values, request: gr.Request) -> Updates:
        parts, shown = self.page.export, visit.shown
        if shown is None or shown.subject is None or not shown.maps:
            return {
                parts["download"]: gr.update(value=None, interactive=False),
                parts["command"]: "",
                parts["link"]: "",
            }
        explanations = [shown.maps[key] for key in METHODS if key in shown.maps]
        question = self._question(values)
        measured = studies.figures(self.bench, self._measuring(values, question), shown.subject, explanations[0])
        file = pack.zip_file(shown.subject, explanations, shown.settings, shown.look, measured)
        link = links.query(question, explanations[0].class_index)
        origin = dict(request.headers or {}).get("origin", "")
        example = "example=" in link
        remark = "" if example else "The link brings back the settings, not the photo, which is not kept on the server."
        return {
            parts["download"]: gr.update(value=file, interactive=True),
            parts["command"]: pack.command(shown.subject, explanations, shown.settings),
            parts["link"]: f"{origin}/?{link}",
            parts["remark"]: text.notice([(remark, False)]),
        }

    # What the events share

    def _question(self, values: Values, anew: bool = False) -> Question:
        """The question on the page. `anew`: the classes on it are those of another photo or model."""
        asked = {name: values[part] for name, part in self.page.ask.items()}
        if anew:
            asked |= {"target": None, "against": None}
        elif asked["against"] == text.NOBODY:
            asked["against"] = None
        return checks.question(**asked)

    def _measuring(self, values: Values, question: Question) -> Question:
        """The question with what is to be measured beside the usual."""
        also, drawn = (values[self.page.measure[name]] for name in ("also", "box"))
        box = None
        try:
            box = checks.box(drawn, question.photo.size)
        except ValueError as error:
            gr.Warning(str(error))  # all else can be measured without it
        return replace(question, also=checks.metrics(also), box=box)

    def _look(self, values: Values) -> Look:
        return checks.look(**{name: values[part] for name, part in self.page.look.items()})

    def _turn(self, request: gr.Request, question: Question, news: list[Any] | None, work: Work) -> Turn:
        """A job of the visitor's, which takes the place of the one before; one that is over if its news are known."""
        owner = checks.session(request)
        if news is None:
            return Turn(self.worker.submit(owner, work, fetch=self.bench.fetch(question)))
        self.worker.release_owner(owner)
        return Turn(Job.known(owner, news))

    @contextmanager
    def _has_turn(self, visit: Visit, turn: Turn) -> Iterator[None]:
        """The page is this event's from now on, when the one before has sent its last word, which may be late."""
        before, visit.turn = visit.turn, turn
        try:
            if before is not None:
                before.left.wait(LEAVE_SECONDS)
            yield
        finally:
            turn.left.set()
            if not turn.job.background:
                self.worker.release(turn.job)

    def _follow(self, visit: Visit, turn: Turn, shown: Shown, new_choices: bool) -> Iterator[Updates]:
        """Show a job's news until it ends, or the page belongs to another event by then."""
        with self._has_turn(visit, turn):
            visit.shown, job = shown, turn.job
            if not job.background:
                yield self.updates.busy(True) | {self.page.status: text.status("Starting …")}
            for batch in job.follow():
                if visit.turn is not turn:
                    return
                updates: Updates = {}
                for news in batch:
                    shown.take(news)
                    updates |= self.updates.changed(news, shown, new_choices)
                yield updates | {self.page.status: self._status(shown, job)}
                if job.background and self.worker.ahead(job):
                    shown.forget_unfinished()  # questions of visitors come first: the page is ready for one
                    break
            if visit.turn is turn:
                shown.over = True
                if shown.subject is None:
                    visit.asked = NOWHERE
                # all pictures once more: a busy browser may have passed over an update between two others
                yield (
                    self.updates.pictures(shown)
                    | self.updates.busy(False)
                    | {self.page.status: text.status(shown.conclusion())}
                )
                if shown.failed:
                    raise gr.Error(shown.sentence, print_exception=False)

    def _status(self, shown: Shown, job: Job) -> str:
        ahead = None if job.background else self.worker.ahead(job)
        if ahead:
            return text.status(f"Waiting: {ahead} {'job' if ahead == 1 else 'jobs'} before yours.")
        return text.status(shown.sentence or "Getting ready …", shown.share)
