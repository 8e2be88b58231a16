"""The one compute thread and its jobs."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

import pytest

from iscam.ui.done.news import Failed
from iscam.ui.done.worker import MAX_WAITING, Job, Worker
from tests.ui.stand_in import PATIENCE, told, until, void


def test_jobs_run_one_by_one_on_one_thread_in_order() -> None:
    worker, seen = Worker(), []
    gate = threading.Event()
    for number in range(4):
        worker.submit(
            str(number), lambda job, n=number: (gate.wait(PATIENCE), seen.append((n, threading.get_ident())))[1]
        )
    until(lambda: worker._running is not None)
    jobs = list(worker._waiting)
    assert [worker.ahead(job) for job in jobs] == [1, 2, 3]
    gate.set()
    for job in jobs:
        told(job)
    assert [number for number, _ in seen] == [0, 1, 2, 3]
    assert len({thread for _, thread in seen}) == 1


def test_the_queue_is_bounded_and_says_so() -> None:
    worker, gate = Worker(), threading.Event()
    running = worker.submit("first", lambda job: void(gate.wait(PATIENCE)))
    until(lambda: worker.ahead(running) is None)
    for number in range(MAX_WAITING):
        worker.submit(str(number), lambda job: None)
    with pytest.raises(ValueError, match="waiting already"):
        worker.submit("one too many", lambda job: None)
    gate.set()


def test_a_visitor_has_one_job() -> None:
    """A new job of the same visitor stops the running one and removes the waiting one; others stay."""
    worker = Worker()
    running = worker.submit("ann", lambda job: void(job.stop.wait(PATIENCE)))
    until(lambda: worker.ahead(running) is None)
    other = worker.submit("bob", lambda job: job.tell("bob's"))
    second = worker.submit("ann", lambda job: job.tell("never"))
    third = worker.submit("ann", lambda job: job.tell("last"))
    assert running.stop.is_set()
    assert (told(other), told(second), told(third)) == (["bob's"], [], ["last"])


def test_previews_are_dropped_and_news_are_not() -> None:
    """A slow reader gets all news and only the newest preview; a second reader gets the same from the beginning."""
    job = Job("ann", lambda job: None)
    reader = job.follow(tick=0.01)
    job.show("first preview")
    job.show("second preview")
    assert next(reader) == ["second preview"]
    assert next(reader) == []
    job.tell("one")
    job.show("third preview")
    job.tell("two")
    job.show("fourth preview")
    assert next(reader) == ["one", "two", "fourth preview"]
    job.tell("three")
    job.end()
    assert list(reader) == [["three"]]
    assert told(job) == ["one", "two", "three"]


def test_background_work_gives_way_and_is_taken_up_again() -> None:
    worker, rounds, order = Worker(), [], []

    def background(job: Job) -> None:
        rounds.append(1)
        if len(rounds) == 1:
            job.stop.wait(PATIENCE)
        else:
            order.append("background")

    job = worker.submit("", background, background=True)
    until(lambda: rounds)
    visitors = [worker.submit(name, lambda job, name=name: order.append(name)) for name in ("ann", "bob")]
    for each in (*visitors, job):
        told(each)
    assert order == ["ann", "bob", "background"]


def test_background_work_that_waits_stays_behind_visitors_who_come_later() -> None:
    worker, gate, order = Worker(), threading.Event(), []
    first = worker.submit("first", lambda job: void(gate.wait(PATIENCE)))
    until(lambda: worker.ahead(first) is None)
    waiting = worker.submit("", lambda job: order.append("background"), background=True)
    late = [worker.submit(name, lambda job, name=name: order.append(name)) for name in ("ann", "bob")]
    assert [worker.ahead(job) for job in (*late, waiting)] == [1, 2, 3]
    gate.set()
    for job in (*late, waiting):
        told(job)
    assert order == ["ann", "bob", "background"]


def test_what_one_visitor_fetches_stalls_no_other() -> None:
    """A download runs beside the compute thread; its job takes its turn when it is there."""
    worker, arrived = Worker(), threading.Event()
    slow = worker.submit("ann", lambda job: job.tell("ann's"), fetch=lambda job: void(arrived.wait(PATIENCE)))
    assert told(worker.submit("bob", lambda job: job.tell("bob's"))) == ["bob's"]
    assert not slow._ended
    arrived.set()
    assert told(slow) == ["ann's"]


def test_a_job_that_is_still_fetching_can_be_stopped_and_counts_as_waiting() -> None:
    worker, arrived, done = Worker(), threading.Event(), []
    jobs = [
        worker.submit(str(number), lambda job: done.append(job), fetch=lambda job: void(arrived.wait(PATIENCE)))
        for number in range(MAX_WAITING)
    ]
    with pytest.raises(ValueError, match="waiting already"):
        worker.submit("one too many", lambda job: None)
    worker.release_owner("0")
    assert told(jobs[0]) == []
    arrived.set()
    for job in jobs[1:]:
        told(job)
    assert set(done) == set(jobs[1:])


def test_a_job_that_is_over_lets_its_work_go() -> None:
    """Pages keep their jobs, and work holds a full-size photo."""
    worker = Worker()

    class Work:
        def __call__(self, job: Job) -> None:
            job.tell("done")

    work = Work()
    gone = weakref.ref(work)
    job = worker.submit("ann", work)
    del work
    assert told(job) == ["done"]
    worker.submit("bob", lambda job: None)  # the thread itself remembers only the job it is at
    until(lambda: gone() is None)


def test_the_thread_survives_whatever_a_job_raises(caplog: pytest.LogCaptureFixture) -> None:
    """An error for people arrives as it is; of a fault in the program only the log tells."""

    def fail(error: Exception) -> Callable[[Job], None]:
        def work(job: Job) -> None:
            raise error

        return work

    worker = Worker()
    assert told(worker.submit("a", fail(ValueError("A sentence.")))) == [Failed("A sentence.")]
    assert not caplog.records
    (failed,) = told(worker.submit("b", fail(KeyError("/secret/path"))))
    assert "secret" not in failed.sentence and failed.sentence.endswith(".")
    assert "secret" in caplog.text
    assert told(worker.submit("c", lambda job: job.tell("still here"))) == ["still here"]
