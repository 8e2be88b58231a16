"""The queue of jobs and the protocol with the compute process, here a thread."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from iscam.ui.done import maps
from iscam.ui.done.bench import Bench
from iscam.ui.done.compute import Link
from iscam.ui.done.job import Job
from iscam.ui.done.messages import Stop
from iscam.ui.done.news import Failed
from iscam.ui.done.order import Order
from iscam.ui.done.question import Question
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


# Turns


_gates: dict[str, threading.Event] = {}


def long_work(bench: Bench, question: Question, choices: list[str], task: Task) -> Iterator[object]:
    """Tells of each of its parts, and how many turns it has taken. Each takes until its gate opens, or the task is stopped."""
    for part in choices:
        while not (_gates[part].is_set() or task.stop.is_set()):
            time.sleep(0.002)
        yield part if _gates[part].is_set() else f"half of {part}"
        if task.stop.is_set():
            return


@pytest.fixture(autouse=True)
def _no_gate_stays_shut() -> Iterator[None]:
    yield
    for gate in _gates.values():
        gate.set()


def long_order(*parts: str, model: str = "photo11") -> Order:
    for part in parts:
        _gates[part] = threading.Event()
    return Order(long_work, ask(parts[0], model=model), list(parts))


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iscam.ui.done.worker.TURN_SECONDS", 0.05)


@pytest.mark.usefixtures("short_turns")
def test_a_long_job_gives_way_at_the_end_of_its_turn_and_goes_on(worker: Worker) -> None:
    """Who comes later is answered meanwhile; what was told is not told again, nor what was half done."""
    long = worker.submit("ann", long_order("one", "two"))
    _gates["one"].set()
    reader = long.follow()
    assert next(news for news in reader if news) == ["one"]
    assert told(worker.submit("bob", deed(lambda task: task.tell("bob's")))) == ["bob's"]
    assert worker.ahead(long) in (None, 0) and not long._ended
    _gates["two"].set()
    assert [news for batch in reader for news in batch] == ["two"]


@pytest.mark.usefixtures("short_turns")
def test_long_jobs_take_turns(worker: Worker) -> None:
    """None waits for the end of another."""
    names = "abc"
    jobs = [worker.submit(name, long_order(name, f"{name}2")) for name in names]
    for name, job in zip(reversed(names), reversed(jobs), strict=True):  # the last first
        _gates[name].set()
        assert next(news for news in job.follow() if news) == [name]
    for name, job in zip(names, jobs, strict=True):
        _gates[f"{name}2"].set()
        assert told(job) == [name, f"{name}2"]


@pytest.mark.usefixtures("short_turns")
def test_a_job_that_has_given_way_can_be_stopped(worker: Worker) -> None:
    long = worker.submit("ann", long_order("d", "e"))
    gate = threading.Event()
    other = worker.submit("bob", deed(lambda task: gate.wait(PATIENCE)))
    until(lambda: worker._running is other)
    assert worker.ahead(long) == 1 and long.begun
    worker.release(long)
    assert told(long) == []
    gate.set()
    assert told(other) == []


@pytest.mark.usefixtures("short_turns")
def test_a_stop_while_a_job_gives_way_shows_what_there_is(worker: Worker) -> None:
    """As any stop does: nobody else is to have it."""
    slow = threading.Event()

    def deaf(task: Task) -> None:
        slow.wait(PATIENCE)
        task.tell("half" if task.stop.is_set() and not task.gives_way else "whole")

    long = worker.submit("ann", deed(deaf))
    other = worker.submit("bob", deed(lambda task: None))
    until(lambda: long.gives_way)
    worker.release(long)
    slow.set()
    assert (told(long), told(other)) == (["half"], [])


@pytest.mark.usefixtures("short_turns")
def test_a_job_that_is_stopped_as_it_gives_way_is_not_taken_up_again(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the process hears of the stop only after it has let go."""
    tries, lets_go = [], threading.Event()
    long = worker.submit("ann", deed(lambda task: (tries.append(1), lets_go.wait(PATIENCE))))
    other = worker.submit("bob", deed(lambda task: None))
    until(lambda: long.gives_way)
    send = worker._send
    monkeypatch.setattr(worker, "_send", lambda message: None if isinstance(message, Stop) else send(message))
    worker.release(long)
    lets_go.set()
    assert (told(long), told(other), tries) == ([], [], [1])


@pytest.mark.usefixtures("short_turns")
def test_a_storm_of_stops_leaves_the_worker_ready(worker: Worker) -> None:
    """Several visitors who ask and stop, twice and at any moment: each job ends, and the next visitor is answered."""
    heeded: list[bool] = []

    def storm(owner: str) -> None:
        for number in range(20):
            job = worker.submit(owner, deed(lambda task: (heeded.append(task.stop.wait(PATIENCE)), task.tell("some"))))
            if number % 2:
                time.sleep(0.002 * (number % 5))
            for _ in range(2):
                worker.release(job)
            assert told(job) in ([], ["some"])

    with ThreadPoolExecutor() as pool:
        list(pool.map(storm, "abcde"))
    assert told(worker.submit("z", deed(lambda task: task.tell("answered")))) == ["answered"]
    until(lambda: worker._running is None)
    assert heeded and all(heeded) and not worker._waiting


@pytest.mark.usefixtures("short_turns")
@pytest.mark.parametrize("why", ["models", "begun"])
def test_no_job_gives_way_where_it_would_have_to_be_begun_anew(
    network: StandIn, hire: Callable[[Bench], Worker], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process keeps few models, and the scores of few photos."""
    worker = hire(Bench(lambda key: network, lambda key, progress: None))  # type: ignore[arg-type,return-value]
    models = ("photo11", "efficientnet_lite0", "resnet18") if why == "models" else ("photo11",) * 3
    monkeypatch.setattr("iscam.ui.done.waiting.MOST_BEGUN", 9 if why == "models" else 1)
    jobs = [worker.submit(name, long_order(name, model=model)) for name, model in zip("fgh", models, strict=True)]
    until(lambda: jobs[0].begun and worker._running in jobs[1:])
    running = worker._running
    time.sleep(0.3)  # six turns, were it to give way
    assert worker._running is running and sum(job.begun for job in jobs) == 2
    for name in "fgh":
        _gates[name].set()
    assert [told(job)[-1] for job in jobs] == ["f", "g", "h"]


# What is fetched


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
    shown = looked = False
    asked = threading.Event()

    def work(task: Task) -> None:
        task.show(lambda: "a preview")
        due.append(task.previews.due())
        asked.set()
        until(task.previews.due)
        due.append(True)

    job = worker.submit("ann", deed(work))
    for batch in job.follow():
        if "a preview" in batch:
            shown, looked = True, asked.wait(PATIENCE)
    assert shown and looked and due == [False, True]


def void(*values: object) -> None:
    """For lambdas of several steps."""
