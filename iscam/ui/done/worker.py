"""The server's side of the compute process: the jobs that take turns at it, and a courier for their news.

Gradio changes threads between the steps of a generator and frees its slot before a stopped step has ended: "one job at a
time" is safe only in a queue of our own. Handlers submit an order and follow the news of its job. What a job must fetch
first, such as a model's weights, is fetched beside, where nobody else has to wait for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from iscam.models import BUNDLED

from .answers import Answers
from .compute import Link
from .job import Job
from .messages import Begin, Ended, Fetch, Fetched, GiveWay, Previewed, Ready, Rendered, Sent, Stop, Told, Wanted
from .news import Analysed, Failed
from .offer import Offer
from .order import Order
from .waiting import Waiting

MAX_WAITING = 64
MAX_PIXELS = 300_000_000  # of the photos of all jobs, at three bytes each
TURN_SECONDS = 3.0  # after which a job gives way to those that wait
OBEY_SECONDS = (
    10.0  # after a stop; the longest step between two looks at it, loading VGG-16, takes half of that on a slow machine
)
DIED = "The process that runs the networks has ended, perhaps for want of memory: please try again, or another model."

log = logging.getLogger(__name__)


class Worker:
    """The jobs of all visitors, the process that does them one by one, and the answers given, for everybody.

    First come, first served; but who has had a turn of TURN_SECONDS gives way to those that wait, and goes on behind them. A
    visitor ("owner") has one job at a time: a new one takes the place of the old. A background job gives way at once to every
    other and is taken up again when none is left. A process that dies costs the job that it was at: the next takes its place.
    """

    def __init__(self, start: Callable[[], Link], offer: Offer | None = None) -> None:
        self.answers, self.offer = Answers(), offer or Offer()
        self._start = start
        self._changed = threading.Condition()
        self._waiting = Waiting()
        self._fetching: list[Job] = []
        self._running: Job | None = None
        self._link: Link | None = None  # to a process that is ready
        self._began = 0.0  # when the running job's turn did
        self._turn: threading.Timer | None = None  # for its end
        self._deadline: threading.Timer | None = None  # of a stop
        self._closed = False
        threading.Thread(target=self._run, name="courier", daemon=True).start()

    # For handlers

    def submit(self, owner: str, order: Order, background: bool = False) -> Job:
        """Put an order in the queue, once its weights are here. Raises ValueError, a sentence, if too many are waiting."""
        job = Job(owner, order, background)
        job.rendered = partial(self._rendered, job)
        self.release_owner(owner)
        with self._changed:
            waiting = len(self._fetching) + self._waiting.visitors
            pixels = sum(each.pixels for each in (job, *self._jobs()))
            if not background and (waiting >= MAX_WAITING or (waiting and pixels > MAX_PIXELS)):
                raise ValueError(f"{waiting} visitors are waiting already: please try again in a minute.")
            if background or order.question.model == BUNDLED or order.question.own is not None:
                self._enqueue(job)
            else:
                self._fetching.append(job)
                self._send(Fetch(job.number, order.question.row))
        return job

    def ahead(self, job: Job) -> int | None:
        """How many jobs run before this one; None if it is running or over."""
        with self._changed:
            if job not in self._waiting:
                return None
            return self._waiting.ahead_of(job) + (self._running is not None and not self._running.background)

    def release(self, job: Job) -> None:
        """Stop a job, wherever it is: nobody waits for it any more."""
        with self._changed:
            if job is self._running:
                self._halt(job)
                return
            job.stop.set()
            if job in self._fetching:
                self._fetching.remove(job)
                self._send(Stop(job.number))
                job.end()
            elif job in self._waiting:
                self._waiting.remove(job)
                job.end()
                self._share()  # it may have been one too many to give way to

    def release_owner(self, owner: str) -> None:
        """Stop whatever this visitor has running or waiting."""
        with self._changed:
            jobs = [job for job in self._jobs() if job.owner == owner]
        for job in jobs:
            self.release(job)

    def close(self) -> None:
        """End the process; no other is started."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            if self._link is not None:
                self._link.kill()

    # With the lock held

    def _jobs(self) -> list[Job]:
        """All that are not over."""
        return [job for job in (self._running, *self._waiting, *self._fetching) if job is not None]

    def _send(self, message: object) -> None:
        """Nothing comes of it while there is no process: whatever is to be known by the next is said when it is ready."""
        if self._link is not None:
            try:
                self._link.connection.send(message)
            except OSError:
                log.info("the compute process does not listen any more")  # the courier hears of it in a moment

    def _enqueue(self, job: Job) -> None:
        self._waiting.add(job)
        self._changed.notify_all()
        self._share()
        self._next()

    def _next(self) -> None:
        """Begin the next job if the process is free."""
        if self._link is not None and self._running is None and self._waiting:
            job = self._running = self._waiting.next()
            assert job.order is not None  # it ends but once
            self._began, job.begun = time.monotonic(), True
            self._send(Begin(job.number, job.order.light(), job.background, job.trouble))
            self._share()

    def _share(self) -> None:
        """Let the running job give way to those that wait: one in the background now, another at the end of its turn."""
        job = self._running
        if job is None or job.gives_way or job.stop.is_set() or not self._waiting.may_pass(job):
            return
        if job.background:
            self._give_way(job)
            self._insist(job)
        elif self._turn is None:
            left = self._began + TURN_SECONDS - time.monotonic()
            self._turn = threading.Timer(max(0.0, left), self._turn_is_over, [job])
            self._turn.daemon = True
            self._turn.start()

    def _give_way(self, job: Job) -> None:
        job.gives_way = True
        self._send(GiveWay(job.number))

    def _halt(self, job: Job) -> None:
        """Stop the running job, by force if it does not obey."""
        if not job.stop.is_set():
            job.stop.set()
            self._send(Stop(job.number))
            self._insist(job)

    def _insist(self, job: Job) -> None:
        if self._deadline is None:
            self._deadline = threading.Timer(OBEY_SECONDS, self._enforce, [job, self._link])
            self._deadline.daemon = True
            self._deadline.start()

    def _finish(self, job: Job, told: int | None) -> None:
        """The running job is over; or has given way, when so many of its news had been told."""
        self._running = None
        for timer in (self._deadline, self._turn):
            if timer is not None:
                timer.cancel()
        self._deadline = self._turn = None
        if told is None or job.stop.is_set():
            job.end()
        else:
            job.give_way(told)
            self._waiting.add(job)

    # Other threads

    def _turn_is_over(self, job: Job) -> None:
        with self._changed:
            if job is self._running:
                self._turn = None
                if not job.stop.is_set() and self._waiting.may_pass(job):
                    self._give_way(job)

    def _enforce(self, job: Job, link: Link | None) -> None:
        with self._changed:
            asked = job.stop.is_set() or job.gives_way
            if job is self._running and asked and link is not None and link is self._link:
                log.warning("a job did not stop within %s seconds: its process is ended", OBEY_SECONDS)
                link.kill()

    def _rendered(self, job: Job, seconds: float) -> None:
        with self._changed:
            if job is self._running or job in self._fetching:
                self._send(Rendered(job.number, seconds))

    def _run(self) -> None:
        """The courier: starts a process, hears it out, and starts the next."""
        while not self._closed:
            try:
                link = self._start()
                self._hear(link)
                link.kill()
            except Exception:  # whatever the reason: nobody may wait for a process that is not there
                log.exception("the compute process cannot be started")
            with self._changed:
                ready, self._link = self._link is not None, None
                if self._closed:
                    return
                log.error("the compute process has ended%s", "" if ready else " before it was ready")
                self._mourn(ready)
                if not ready:  # only a visitor is reason enough to try again
                    self._changed.wait_for(lambda: self._waiting or self._closed)

    def _hear(self, link: Link) -> None:
        """Take what a process says until it dies."""
        try:
            while True:
                message = link.connection.recv()
                with self._changed:
                    self._take(message, link)
        except (EOFError, OSError):
            return
        except Exception:  # what it says cannot be understood: a fault in the program
            log.exception("the compute process is not understood")

    def _take(self, message: object, link: Link) -> None:
        match message:
            case Ready() if self._closed:
                link.kill()
            case Ready():
                self._link = link
                for job in self._fetching:
                    assert job.order is not None
                    self._send(Fetch(job.number, job.order.question.row))
                self._next()
            case Told(number, news, answers):
                for each in answers:
                    self.answers.put(each.key, each.answer, each.size)
                if (known := self._job(number)) is not None:
                    known.tell(self._one_copy(news))
            case Previewed(number, preview):
                if (known := self._job(number)) is not None:
                    known.show(preview)
            case Wanted(number):
                if (known := self._job(number)) is not None and known.order is not None:
                    self._send(Sent(number, known.order.question.photo))
            case Fetched(number, trouble):
                if (known := self._job(number)) is not None and known in self._fetching:
                    known.trouble = trouble
                    self._fetching.remove(known)
                    self._enqueue(known)
            case Ended(number, told):
                if (known := self._job(number)) is not None:
                    self._finish(known, told)
                self._next()

    def _job(self, number: int) -> Job | None:
        """The job of a message, unless it was released meanwhile."""
        known = (self._running, *self._fetching)
        return next((job for job in known if job is not None and job.number == number), None)

    def _one_copy(self, news: object) -> object:
        """Pages keep what they are told of a photo, picture included: they share that of the answers."""
        if isinstance(news, Analysed):
            self.offer.learn(news.subject.spec)
            return self.answers.get(news.subject.place) or news
        return news

    def _mourn(self, ready: bool) -> None:
        """What was to be fetched by a process that died is fetched where it is needed; what it was at fails. One that was never
        ready cannot serve anybody who waits."""
        if self._running is not None:
            job = self._running
            assert job.order is not None  # it has not ended
            if not job.stop.is_set() and not job.gives_way:
                job.tell(Failed(DIED))
            self._finish(job, job.order.told if job.gives_way else None)
        fetching, self._fetching = self._fetching, []
        for job in fetching:
            self._enqueue(job)
        while not ready and self._waiting:
            job = self._waiting.next()
            job.tell(Failed(DIED))
            job.end()
