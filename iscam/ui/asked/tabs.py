"""Events of the tabs beside Compare: one is opened, asks on its own, or is drawn in another look."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import gradio as gr

from iscam.ui.done.news import Analysed, Measuring, Sharpening
from iscam.ui.done.study import Told
from iscam.ui.seen.canvas import Canvas
from iscam.ui.seen.face import Chosen, Shelf
from iscam.ui.seen.shown import Line, Shown
from iscam.ui.seen.updates import Updates

from . import checks, links
from .desk import Desk, trouble
from .tab import Glance, Values
from .visits import Studied, Turn, Visit


class TabEvents:
    """The open tab follows the question: each event shows what belongs to it."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._updates = desk, desk.updates

    def opened(self, tab: str) -> Callable[[Values, gr.Request], Iterator[Updates]]:
        """The event of a tab that was opened: it shows what belongs to the question."""

        def event(values: Values, request: gr.Request) -> Iterator[Updates]:
            self._desk.visit(request).tab = tab
            yield from self.revisit(values, request)

        return event

    def follow_up(self, values: Values, request: gr.Request) -> Iterator[Updates]:
        """The maps are there: another tab that is open follows them, unless it has asked about them since.

        On a busy machine this event comes late and brings old values: the classes are those of the maps that are shown.
        """
        visit = self._desk.visit(request)
        if visit.shown is not None and visit.shown.subject is not None and not visit.shown.stopped:
            values = values | self._updates.chosen(visit.shown)
        if visit.tab == "compare" or visit.followed == self._desk.subject(values):
            yield self._updates.nothing()
        else:
            yield from self.revisit(values, request)

    def left(self, values: Values, request: gr.Request) -> Iterator[Updates]:
        """The visitor goes on from a field of the open tab, which may have been changed."""
        visit = self._desk.visit(request)
        if [*self._desk.choices(visit.tab, values).values()] == visit.chosen.get(visit.tab):
            yield self._updates.nothing()
        else:
            yield from self.revisit(values, request)

    def take(self, digest: object, request: gr.Request) -> Iterator[Updates]:
        """A photo of the open tab becomes that of the page, which then tells of it as of one that was uploaded."""
        box, studied = self._desk.page.ask["photo"], self._desk.visit(request).studied
        find = None if studied is None else self._desk.tabs[studied.tab].photo
        found = None if studied is None or find is None else find(studied.told, digest)
        if found is None:
            yield {box: gr.skip()}
            return
        try:
            yield {box: checks.upload({"path": found.path}).path}
        except ValueError as error:  # it has been deleted meanwhile
            raise trouble(error) from error

    def redraw(self, values: Values, request: gr.Request) -> Updates:
        """The open tab in another look, from what it shows: nothing is asked anew for that."""
        visit = self._desk.visit(request)
        shown, studied = visit.shown, visit.studied
        if shown is None:
            return self._updates.nothing()
        changed: Updates = {}
        try:
            shown.look = self._desk.look(values)
            if visit.tab == "compare":
                changed = {part: picture for part, picture in self._updates.pictures(shown).items() if picture}
            elif self._desk.tabs[visit.tab].at_once is not None and shown.over:
                changed = self._made_at_once(visit.tab, shown, values, request)
            elif studied is not None and studied.tab == visit.tab:
                shelf = self._arranged(visit.tab, studied.told, shown, self._desk.drawn_by(visit.tab, values))
                drawn = self._desk.tabs[visit.tab].face.drawn
                changed = self._updates.shelved(visit.tab, {name: shelf[name] for name in drawn if name in shelf})
        except (ValueError, OSError) as error:
            raise trouble(error) from error
        return changed or self._updates.nothing()

    def revisit(self, values: Values, request: gr.Request) -> Iterator[Updates]:
        """The open tab once more, because its question or the look has changed."""
        visit = self._desk.visit(request)
        try:
            if visit.shown is not None:
                visit.shown.look = self._desk.look(values)
            if visit.shown is None or not (visit.shown.over or visit.tab == "compare"):
                yield self._updates.nothing()  # the maps come first; this event comes again after them
            elif self._desk.tabs[visit.tab].study is not None:
                yield from self._study(visit, visit.shown, values, request)
            else:
                yield self.redraw(values, request)
        except (ValueError, OSError) as error:
            raise trouble(error) from error

    def _study(self, visit: Visit, shown: Shown, values: Values, request: gr.Request) -> Iterator[Updates]:
        desk, updates, tab = self._desk, self._updates, visit.tab
        row, drawn = desk.tabs[tab], desk.drawn_by(tab, values)
        assert row.study is not None
        asked = desk.asked(tab, desk.question(values), values)
        visit.chosen[tab], visit.followed = [*desk.choices(tab, values).values()], desk.subject(values)
        if asked.remark:
            gr.Warning(asked.remark)
        known, before = row.study.recall(desk.worker.answers, asked), visit.studied
        turn = desk.turn(request, known, row.study.order(asked))
        line = Line()
        with desk.having(turn):
            if known is None:
                yield updates.busy(True) | updates.says("Starting …")
            visit.studied = studied = Studied(tab, asked.maps, [])
            outdated = before is not None and before.tab == tab and before.maps != asked.maps
            for batch in turn.job.follow():
                if not visit.has(turn):
                    return
                told = [each for each in batch if not isinstance(each, (Measuring, Sharpening))]
                studied.told += told
                for each in batch:
                    line.take(each)
                if known is None:  # else all is shown at once, below
                    shelf = self._so_far(tab, studied.told if told else [], shown, drawn, outdated)
                    outdated = outdated and not shelf
                    yield updates.shelved(tab, shelf) | desk.status(line, turn.job)
            if known is None and not (line.failed or turn.job.stop.is_set()):
                row.study.remember(desk.worker.answers, asked, studied.told)
            if visit.has(turn):
                yield self._concluded(studied, shown, drawn, line, turn)
                if line.failed:
                    raise gr.Error(line.sentence, print_exception=False)

    def _so_far(self, tab: str, told: Told, shown: Shown, drawn: Chosen, outdated: bool) -> Shelf:
        """What a tab shows of the news so far: no plots, which come at the end; those of another question are taken away."""
        shelf = self._arranged(tab, told, shown, drawn)
        for plot in self._desk.tabs[tab].face.plots:
            if plot in shelf and outdated:
                shelf[plot] = None
            else:
                shelf.pop(plot, None)
        return shelf

    def _concluded(self, studied: Studied, shown: Shown, drawn: Chosen, line: Line, turn: Turn) -> Updates:
        """All parts once more: a busy browser may have passed over an update between two others."""
        words = shown.conclusion()
        if line.failed:
            words = line.sentence
        elif turn.job.stop.is_set():
            words = "Stopped: this tab shows what was known by then."
        tab = studied.tab
        settle, looks = self._desk.tabs[tab].face.settle, self._desk.page.parts[tab].looks
        settled = {name: choose(studied.told, drawn) for name, choose in settle.items()}
        shelf = self._arranged(tab, studied.told, shown, {**drawn, **settled})
        choices = {looks[name]: value for name, value in settled.items() if value != drawn[name]}
        return self._updates.shelved(tab, shelf) | choices | self._updates.busy(False) | self._updates.says(words)

    def _arranged(self, tab: str, told: Told, shown: Shown, drawn: Chosen) -> Shelf:
        """What a tab shows of its news; nothing before the photo has been analysed."""
        subjects = [each.subject for each in told if isinstance(each, Analysed)]
        if not subjects:
            return {}
        return self._desk.tabs[tab].face.arrange(Canvas.of(subjects[-1], shown.look), told, drawn)

    def _made_at_once(self, tab: str, shown: Shown, values: Values, request: gr.Request) -> Updates:
        """What a tab shows of what is known."""
        desk, question = self._desk, self._desk.question(values)

        def told(other: str) -> Told | None:
            study = desk.tabs[other].study
            return None if study is None else study.recall(desk.worker.answers, desk.asked(other, question, values))

        make, address = desk.tabs[tab].at_once, links.address(dict(request.headers or {}))
        assert make is not None
        return self._updates.shelved(tab, make(Glance(shown, question, address, desk.worker.offer, told)))
