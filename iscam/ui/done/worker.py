"""The one compute thread: it alone loads networks and runs them, one job after the other.

Gradio changes threads between the steps of a generator and frees its slot before a stopped step has ended: torch's
per-thread state and "one job at a time" are safe only on a thread of our own. Handlers submit a `Job` and follow its news.
What a job must fetch first, such as a model's weights, is fetched on a thread beside, where nobody else has to wait for it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from .news import Failed

MAX_WAITING = 8
TICK = 0.3  # seconds after which a reader without news is given control, to notice that its visitor has left

log = logging.getLogger(__name__)

Work = Callable[["Job"], None]


class Job:
    """A piece of work and its news, which any number of readers may follow, from the beginning and at their own pace.

    Of the previews only the latest is kept, so slow readers cost no memory. `trouble` is why its fetching failed; the work
    may have an answer to that.
    """

    def __init__(self, owner: str, work: Work, background: bool = False) -> None:
        self.owner = owner
        self.work: Work | None = work
        self.background = background
        self.trouble: OSError | None = None
        self.stop = threading.Event()
        self._changed = threading.Condition()
        self._news: list[object] = []
        self._preview: object = None
        self._ended = False

    @classmethod
    def known(cls, owner: str, news: Iterable[object]) -> Job:
        """A job that is over, because its news were known before."""
        job = cls(owner, lambda job: None)
        for each in news:
            job.tell(each)
        job.end()
        return job

    def tell(self, news: object) -> None:
        """Add news that every reader gets. Whatever the preview showed is outdated by it."""
        with self._changed:
            self._news.append(news)
            self._preview = None
            self._changed.notify_all()

    def show(self, preview: object) -> None:
        """Replace the preview; a reader who has not read the one before never will."""
        with self._changed:
            self._preview = preview
            self._changed.notify_all()

    def end(self) -> None:
        """No more news. Pages keep their jobs, so the work, which holds a full-size photo, is let go."""
        with self._changed:
            self.work = None
            self._ended = True
            self._changed.notify_all()

    def follow(self, tick: float = TICK) -> Iterator[list[object]]:
        """Lists of news, oldest first, the newest preview last; an empty list after `tick` seconds without any."""
        seen, preview = 0, None
        while True:
            with self._changed:
                if not self._ended and len(self._news) == seen and self._preview in (None, preview):
                    self._changed.wait(tick)
                fresh = self._news[seen:]
                seen += len(fresh)
                if self._preview not in (None, preview):
                    fresh.append(self._preview)
                preview, ended = self._preview, self._ended
            yield fresh
            if ended:
                return


class Worker:
    """The compute thread and the jobs that wait for it, first come first served.

    A visitor ("owner") has one job at a time: a new one takes the place of the old. A background job gives way to every
    other and is taken up again when none is left, so its work must be able to go on where it was stopped.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._fetching: set[Job] = set()
        self._running: Job | None = None
        threading.Thread(target=self._run, name="compute", daemon=True).start()

    def submit(self, owner: str, work: Work, background: bool = False, fetch: Work | None = None) -> Job:
        """Put work in the queue, once `fetch` is done. Raises ValueError, a sentence, if too many are waiting."""
        job = Job(owner, work, background)
        self.release_owner(owner)
        with self._changed:
            waiting = len(self._fetching) + sum(not other.background for other in self._waiting)
            if waiting >= MAX_WAITING and not background:
                raise ValueError(f"{waiting} visitors are waiting already: please try again in a minute.")
            if fetch is None:
                self._enqueue(job)
            else:
                self._fetching.add(job)
                threading.Thread(target=self._fetch, args=(job, fetch), name="fetch", daemon=True).start()
        return job

    def _enqueue(self, job: Job) -> None:
        """With the lock held: behind the visitors who came before; a background job behind all."""
        if job.background:
            self._waiting.append(job)
        else:
            self._waiting.insert(sum(not other.background for other in self._waiting), job)
            if self._running is not None and self._running.background:
                self._running.stop.set()
        self._changed.notify()

    def _fetch(self, job: Job, fetch: Work) -> None:
        try:
            fetch(job)
        except OSError as error:
            job.trouble = error
        finally:
            with self._changed:
                if job in self._fetching:  # else it was released meanwhile
                    self._fetching.remove(job)
                    self._enqueue(job)

    def ahead(self, job: Job) -> int | None:
        """How many jobs run before this one; None if it is running or over."""
        with self._changed:
            if job not in self._waiting:
                return None
            return self._waiting.index(job) + (self._running is not None and not self._running.background)

    def release(self, job: Job) -> None:
        """Stop a job, wherever it is: nobody waits for it any more."""
        job.stop.set()
        with self._changed:
            if job in self._waiting or job in self._fetching:
                self._waiting = deque(other for other in self._waiting if other is not job)
                self._fetching.discard(job)
                job.end()

    def release_owner(self, owner: str) -> None:
        """Stop whatever this visitor has running or waiting."""
        with self._changed:
            known = (self._running, *self._waiting, *self._fetching)
            jobs = [job for job in known if job is not None and job.owner == owner]
        for job in jobs:
            self.release(job)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._running = None
                self._changed.wait_for(lambda: self._waiting)
                job = self._running = self._waiting.popleft()
            try:
                assert job.work is not None  # it ends but once
                job.work(job)
            except (ValueError, OSError) as error:
                job.tell(Failed(str(error)))
            except Exception:  # a fault in the program: the visitor gets a sentence, we the traceback, the others go on
                log.exception("a job failed")
                job.tell(Failed("Something went wrong here. Please try another photo, model or method."))
            with self._changed:
                if job.background and job.stop.is_set():
                    job.stop.clear()
                    self._waiting.append(job)
                else:
                    job.end()
