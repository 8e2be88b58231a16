"""The real compute process: what it loads, and what becomes of the page when it ends, and of it when the server does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from iscam.ui.asked import checks
from iscam.ui.done import compute, maps
from iscam.ui.done.news import Analysed, Contrasted, Failed, Loading, Mapped, Sharpening
from iscam.ui.done.opening import PHOTO
from iscam.ui.done.order import Order
from iscam.ui.done.question import Question
from iscam.ui.done.worker import DIED, Worker
from tests.conftest import ROOT
from tests.serving import alive
from tests.ui import probe
from tests.ui.stand_in import OFFER, ask, told, until


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """Survives whatever the tests do to its process."""
    worker = Worker(compute.start)
    yield worker
    worker.close()


def example(methods: tuple[str, ...] = ("is-cam", "grad-cam")) -> Question:
    return replace(checks.question(OFFER, {"path": str(PHOTO)}, "photo11"), methods=methods)


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")


def test_it_has_torch_and_no_gradio(worker: Worker) -> None:
    """It is another process, with the environment's threads."""
    ((process, threads, loaded),) = told(worker.submit("ann", Order(probe.surroundings, ask())))
    assert process != os.getpid() and "torch" in loaded and "gradio" not in loaded
    told(worker.submit("ann", Order(maps.predict, example())))  # which sets the threads
    ((again, threads, _),) = told(worker.submit("ann", Order(probe.surroundings, ask())))
    assert again == process and threads == int(os.environ["ISCAM_THREADS"])


def test_what_it_has_answered_the_server_knows(worker: Worker) -> None:
    """By a real network: the very news that were told are there for the next visitor."""
    question = replace(example(), against=2)
    news = told(worker.submit("ann", Order(maps.explain, question)))
    answers = [each for each in news if not isinstance(each, (Loading, Sharpening))]
    assert [type(each) for each in answers] == [Analysed, Mapped, Mapped, Contrasted]
    assert worker.answers.to(question) == answers


@linux
def test_when_it_is_killed_its_job_says_so_and_the_next_job_has_another(worker: Worker) -> None:
    busy = worker.submit("ann", Order(probe.deaf, ask()))
    waiting = worker.submit("bob", Order(maps.explain, example(("grad-cam",))))
    until(lambda: busy._news)
    (process,) = busy._news
    assert isinstance(process, int)
    os.kill(process, signal.SIGKILL)
    assert told(busy) == [process, Failed(DIED)]
    assert any(isinstance(each, Mapped) for each in told(waiting))
    until(lambda: not alive(process))


@linux
def test_a_job_that_does_not_stop_is_ended_with_its_process(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iscam.ui.done.worker.OBEY_SECONDS", 0.1)
    deaf = worker.submit("ann", Order(probe.deaf, ask()))
    until(lambda: deaf._news)
    (process,) = deaf._news
    worker.release(deaf)
    assert told(deaf) == [process] and isinstance(process, int)
    ((another, *_),) = told(worker.submit("ann", Order(probe.surroundings, ask())))
    assert another != process
    until(lambda: not alive(process))


SERVER = """
import signal, sys
from tests.ui import probe
from tests.ui.stand_in import ask, until
from iscam.ui.done import compute
from iscam.ui.done.order import Order
from iscam.ui.done.worker import Worker

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # these tests may run in the background of a shell
    job = Worker(compute.start).submit("ann", Order(probe.deaf, ask()))
    until(lambda: job._news)
    print(job._news[0], flush=True)
    sys.stdin.read()
"""


@linux
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_its_server_however_that_ends(how: signal.Signals) -> None:
    """In the middle of its work."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        text=True,
    ) as server:
        assert server.stdout is not None
        process = int(server.stdout.readline())
        assert alive(process)
        server.send_signal(how)
        server.wait()
    until(lambda: not alive(process))


PAGE = """
import asyncio, sys
from iscam.ui.demo import build
from iscam.ui.done import compute
from iscam.ui.done.worker import Worker
from iscam.ui.done.opening import PHOTO
from tests.ui.stand_in import Watcher, asked, page_of, visitor

async def page(worker):
    return build(worker, "photo11")

if __name__ == "__main__":
    worker = Worker(compute.start)
    demo, events = asyncio.run(page(worker))
    photo, steps = {"path": str(PHOTO)}, dict(steps=2, methods=["grad-cam"], classes__method="grad-cam")
    values = asked(events, photo, **steps)
    state = Watcher(events.maps.explain(values, visitor())).finished()
    for tab in events.desk.tabs:
        state = Watcher(events.tabs.opened(tab)(values, visitor())).finished() or state
        print(tab, state.get(page_of(events).status))
    (endpoint,) = [fn.fn for fn in demo.fns.values() if fn.api_name == "explain"]
    print(list(endpoint(photo, methods=["eigen-cam"])["methods"]))
    print(sorted(name for name in ("torch", "torchvision") if name in sys.modules))
    worker.close()
"""


def test_the_server_needs_no_torch(uploads: Path) -> None:
    """With maps, every tab and the endpoint, by a real network: all news can be read and drawn without it."""
    done = subprocess.run([sys.executable, "-c", PAGE], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    *tabs, endpoint, loaded = done.stdout.splitlines()
    assert len(tabs) == 10 and not any("wrong" in line or "ended" in line for line in tabs), tabs
    assert (endpoint, loaded) == ("['eigen-cam']", "[]"), done.stdout
