"""The queue of jobs and the protocol with the compute process, here a thread."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

import pytest

from iscam.ui.done import maps
from iscam.ui.done.bench import Bench
from iscam.ui.done.compute import Link
from iscam.ui.done.job import Job
from iscam.ui.done.news import Failed
from iscam.ui.done.order import Order
from iscam.ui.done.task import Task
from iscam.ui.done.worker import DIED, MAX_WAITING, Worker
from tests.ui.stand_in import PATIENCE, StandIn, ask, cut, deed, told, until


@pytest.fixture
def worker(bench: Bench, hire: Callable[[Bench], Worker]) -> Worker:
    return hire(bench)


def test_jobs_run_one_by_one_on_one_thread_in_order(worker: Worker) -> None:
    seen: list[tuple[int, int]] = []
    gate = threading.Event()
    for number in range(4):
        worker.submit(
            str(number),
            deed(lambda task, n=number: (gate.wait(PATIENCE), seen.append((n, threading.get_ident())))),  # type: ignore[misc]
        )
    until(lambda: worker._running is not None)
    jobs = list(worker._waiting)
    assert [worker.ahead(job) for job in jobs] == [1, 2, 3]
    gate.set()
    for job in jobs:
        told(job)
    assert [number for number, _ in seen] == [0, 1, 2, 3]
    assert len({thread for _, thread in seen}) == 1


def test_the_queue_is_bounded_and_says_so(worker: Worker) -> None:
    gate = threading.Event()
    running = worker.submit("first", deed(lambda task: gate.wait(PATIENCE)))
    until(lambda: worker.ahead(running) is None)
    for number in range(MAX_WAITING):
        worker.submit(str(number), deed(lambda task: None))
    with pytest.raises(ValueError, match="waiting already"):
        worker.submit("one too many", deed(lambda task: None))
    gate.set()


def test_a_visitor_has_one_job(worker: Worker) -> None:
    """A new job of the same visitor stops the running one and removes the waiting one; others stay."""
    goes_on = threading.Event()  # else the second could have its turn before there is a third

    def bobs(task: Task) -> None:
        goes_on.wait(PATIENCE)
        task.tell("bob's")

    running = worker.submit("ann", deed(lambda task: task.stop.wait(PATIENCE)))
    until(lambda: worker.ahead(running) is None)
    other = worker.submit("bob", deed(bobs))
    second = worker.submit("ann", deed(lambda task: task.tell("never")))
    third = worker.submit("ann", deed(lambda task: task.tell("last")))
    goes_on.set()
    assert running.stop.is_set()
    assert (told(other), told(second), told(third)) == (["bob's"], [], ["last"])


def test_previews_are_dropped_and_news_are_not(worker: Worker) -> None:
    """A slow reader gets all news and only the newest preview; a second reader gets the same from the beginning."""
    job = Job("ann", None)
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


def test_background_work_gives_way_and_is_taken_up_again(worker: Worker) -> None:
    rounds: list[int] = []
    order: list[str] = []

    def background(task: Task) -> None:
        rounds.append(1)
        if len(rounds) == 1:
            task.stop.wait(PATIENCE)
        else:
            order.append("background")

    both = (
        threading.Event()
    )  # have asked; else the first could be answered, and the work be taken up, before the second

    def answer(name: str) -> Order:
        return deed(lambda task: (both.wait(PATIENCE), order.append(name)))

    job = worker.submit("", deed(background), background=True)
    until(lambda: rounds)
    visitors = [worker.submit(name, answer(name)) for name in ("ann", "bob")]
    both.set()
    for each in (*visitors, job):
        told(each)
    assert order == ["ann", "bob", "background"]


def test_background_work_that_waits_stays_behind_visitors_who_come_later(worker: Worker) -> None:
    gate = threading.Event()
    order: list[str] = []
    first = worker.submit("first", deed(lambda task: gate.wait(PATIENCE)))
    until(lambda: worker.ahead(first) is None)
    waiting = worker.submit("", deed(lambda task: order.append("background")), background=True)
    late = [worker.submit(name, deed(lambda task, name=name: order.append(name))) for name in ("ann", "bob")]  # type: ignore[misc]
    assert [worker.ahead(job) for job in (*late, waiting)] == [1, 2, 3]
    gate.set()
    for job in (*late, waiting):
        told(job)
    assert order == ["ann", "bob", "background"]


def test_what_one_visitor_fetches_stalls_no_other(network: StandIn, hire: Callable[[Bench], Worker]) -> None:
    """A download runs beside the compute process; its job takes its turn when it is there."""
    arrived = threading.Event()
    worker = hire(Bench(lambda key: network, lambda key, progress: void(arrived.wait(PATIENCE))))  # type: ignore[arg-type,return-value]
    slow = worker.submit("ann", deed(lambda task: task.tell("ann's"), model="vgg16"))
    assert told(worker.submit("bob", deed(lambda task: task.tell("bob's")))) == ["bob's"]
    assert not slow._ended
    arrived.set()
    assert told(slow)[-1] == "ann's"


def test_a_job_that_is_still_fetching_can_be_stopped_and_counts_as_waiting(
    network: StandIn, hire: Callable[[Bench], Worker]
) -> None:
    """And what only a visitor who has left wanted is not fetched any more."""
    arrived, fetched = threading.Event(), []

    def download(key: str, progress: object) -> None:
        fetched.append(key)
        arrived.wait(PATIENCE)

    worker, done = hire(Bench(lambda key: network, download)), []  # type: ignore[arg-type,return-value]

    def submit(number: int, model: str) -> Job:
        return worker.submit(str(number), deed(lambda task: done.append(number), model))

    jobs = [submit(0, "vgg16")]
    until(lambda: fetched)  # one at a time: whatever the others want waits for it
    jobs += [submit(number, "resnet18" if number == 3 else "resnet50") for number in range(1, MAX_WAITING)]
    with pytest.raises(ValueError, match="waiting already"):
        submit(MAX_WAITING, "vgg16")
    worker.release_owner("3")
    assert jobs[3]._ended
    told(worker.submit("bob", deed(lambda task: None)))  # whatever the process was told before, it knows
    arrived.set()
    for job in jobs:
        told(job)
    assert set(done) == set(range(MAX_WAITING)) - {3} and set(fetched) == {"vgg16", "resnet50"}


def test_a_job_that_is_over_lets_its_order_go(worker: Worker) -> None:
    """Pages keep their jobs, and an order holds a full-size photo."""
    order = deed(lambda task: task.tell("done"))
    gone = weakref.ref(order)
    job = worker.submit("ann", order)
    del order
    assert told(job) == ["done"]
    worker.submit("bob", deed(lambda task: None))
    until(lambda: gone() is None)


def test_the_process_survives_whatever_a_job_raises(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """An error for people arrives as it is; of a fault in the program only the log tells. What cannot be sent is one, too."""

    def fail(error: Exception) -> Callable[[Task], None]:
        def does(task: Task) -> None:
            raise error

        return does

    assert told(worker.submit("a", deed(fail(ValueError("A sentence."))))) == [Failed("A sentence.")]
    assert not caplog.records
    (failed,) = told(worker.submit("b", deed(fail(KeyError("/secret/path")))))
    assert "secret" not in failed.sentence and failed.sentence.endswith(".")
    assert "secret" in caplog.text
    assert told(worker.submit("c", deed(lambda task: task.tell(lambda: None)))) == [failed]
    assert told(worker.submit("d", deed(lambda task: task.tell("still here")))) == ["still here"]


# The process dies


def test_a_job_whose_process_dies_says_so_and_the_next_goes_on(worker: Worker) -> None:
    running = worker.submit("ann", deed(lambda task: void(task.tell("begun"), task.stop.wait(PATIENCE))))
    waiting = worker.submit("bob", deed(lambda task: task.tell("bob's")))
    until(lambda: running._news)
    assert worker._link is not None
    cut(worker._link.connection)
    assert told(running) == ["begun", Failed(DIED)]
    assert told(waiting) == ["bob's"]


def test_the_next_process_is_there_before_it_is_needed(worker: Worker) -> None:
    until(lambda: worker._link)
    first = worker._link
    assert first is not None
    cut(first.connection)
    until(lambda: worker._link not in (None, first))
    assert told(worker.submit("ann", deed(lambda task: task.tell("ann's")))) == ["ann's"]


def test_what_was_being_fetched_when_the_process_died_is_not_lost(
    network: StandIn, hire: Callable[[Bench], Worker]
) -> None:
    begun, never = threading.Event(), threading.Event()

    def download(key: str, progress: object) -> None:
        begun.set()
        never.wait(PATIENCE)

    worker = hire(Bench(lambda key: network, download))  # type: ignore[arg-type,return-value]
    job = worker.submit("ann", deed(lambda task: task.tell("ann's"), model="vgg16"))
    assert begun.wait(PATIENCE) and worker._link is not None
    cut(worker._link.connection)
    assert told(job)[-1] == "ann's"
    never.set()


def test_a_background_job_that_dies_with_its_process_is_not_tried_for_ever(worker: Worker) -> None:
    tries: list[int] = []
    job = worker.submit("", deed(lambda task: void(tries.append(1), task.stop.wait(PATIENCE))), background=True)
    until(lambda: tries)
    assert worker._link is not None
    cut(worker._link.connection)
    assert told(job) == [Failed(DIED)] and tries == [1]


def test_a_process_that_cannot_begin_is_not_started_over_and_over(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever waits is told, and every visitor is reason enough to try once more."""
    starts: list[int] = []

    def start() -> Link:
        starts.append(1)
        raise OSError("no memory")

    worker = Worker(start)
    until(lambda: "before it was ready" in caplog.text)
    assert len(starts) == 1
    assert told(worker.submit("ann", deed(lambda task: None))) == [Failed(DIED)]
    assert len(starts) == 2
    worker.close()


def test_a_stop_that_is_not_obeyed_is_enforced(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs the process, not the jobs that wait; the visitor has stopped the job and needs no sentence."""
    monkeypatch.setattr("iscam.ui.done.worker.OBEY_SECONDS", 0.05)
    free = threading.Event()
    deaf = worker.submit("ann", deed(lambda task: void(task.tell("begun"), free.wait(PATIENCE))))
    waiting = worker.submit("bob", deed(lambda task: task.tell("bob's")))
    until(lambda: deaf._news)
    first = worker._link
    worker.release(deaf)
    assert told(deaf) == ["begun"] and told(waiting) == ["bob's"]
    assert worker._link is not first
    free.set()


def test_a_stop_that_is_obeyed_costs_nothing(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iscam.ui.done.worker.OBEY_SECONDS", 0.2)
    job = worker.submit("ann", deed(lambda task: void(task.tell("begun"), task.stop.wait(PATIENCE))))
    until(lambda: job._news)
    first = worker._link
    worker.release(job)
    told(job)
    gate = threading.Event()
    long = worker.submit("bob", deed(lambda task: gate.wait(PATIENCE)))
    assert not gate.wait(0.4) and worker._link is first  # the deadline of another's stop is none of it
    gate.set()
    told(long)


# What goes through the pipe


def test_an_order_travels_without_its_photo_until_that_is_wanted(worker: Worker) -> None:
    seen: list[tuple[int, int]] = []
    order = deed(lambda task: void(*(seen.append(task.photo().image.size) for _ in range(2))))
    assert order.light().question.photo.image.size == (1, 1) and order.light().question.place == order.question.place
    told(worker.submit("ann", order))
    assert seen == [(50, 30), (50, 30)]


def test_answers_are_remembered_on_the_servers_side(worker: Worker) -> None:
    """What is told and kept is one object there, as pages keep it as well."""

    def work(task: Task) -> None:
        found = ["found"]
        task.keep("key", found, 5)
        task.tell(found)

    (news,) = told(worker.submit("ann", deed(work)))
    assert news == ["found"] and worker.answers.get("key") is news


def test_pages_share_what_they_are_told_of_a_photo(worker: Worker, bench: Bench) -> None:
    """It has a picture of it; the news of later questions bring another copy, which nobody keeps."""
    first = told(worker.submit("ann", Order(maps.predict, ask())))
    second = told(worker.submit("bob", Order(maps.predict, ask())))
    assert first[-1] is second[-1] is worker.answers.get(ask().place)


def test_a_reader_says_what_a_preview_cost(worker: Worker) -> None:
    """The next one is made only when the last has been shown."""
    due: list[bool] = []
    shown = threading.Event()

    def work(task: Task) -> None:
        task.show(lambda: "a preview")
        due.append(task.previews.due())
        until(task.previews.due)
        due.append(True)

    job = worker.submit("ann", deed(work))
    for batch in job.follow():
        if "a preview" in batch:
            shown.set()
    assert shown.is_set() and due == [False, True]


def void(*values: object) -> None:
    """For lambdas of several steps."""
