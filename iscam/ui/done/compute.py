"""The compute process: it alone loads networks and runs them, one order after the other.

While maps are made, Python's interpreter lock is held most of the time: in one process, the server and the networks would wait
for each other. The server's side of the pipe is in `worker.py`. The main thread here reads what the server says, so that a stop
is heard at once and the process ends with its server, however that ends; a thread of its own, and no other, runs networks.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection

import iscam
from iscam import models
from iscam.models import ModelSpec
from iscam.notes import trouble_of

from .bench import Bench
from .messages import Begin, Ended, Fetch, Fetched, GiveWay, Ready, Rendered, Sent, Stop
from .news import Failed
from .order import Order
from .task import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Link:
    """The server's end of the pipe, and what ends the process at the other end."""

    connection: Connection
    kill: Callable[[], None]


def start() -> Link:
    """Start a compute process, which says when it is ready."""
    fresh = multiprocessing.get_context("spawn")  # a fork would take over the server's locks and sockets
    ours, theirs = fresh.Pipe()
    process = fresh.Process(target=main, args=(theirs,), name="compute", daemon=True)
    process.start()
    theirs.close()  # only the process has it now: the pipe ends with it
    return Link(ours, process.kill)


def main(connection: Connection) -> None:
    """What the process does: load torch, and serve until the server has gone, whatever is being done then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # in a terminal, Ctrl-C goes to both; the server decides
    _ = iscam.Explainer, models.load_model  # what is named is loaded, and torch with it
    Compute(connection, Bench()).serve()
    os._exit(0)


def carry_out(order: Order, bench: Bench, task: Task) -> int:
    """Tell the news of an order that have not been told; how many have been by then.

    What is unfinished because the task gave way is not told: it will be made again, from what lies on the bench.
    """
    told = order.told
    for news in islice(order.work(bench, order.question, order.choices, task), told, None):
        if task.gives_way:
            break
        task.tell(news)
        told += 1
    return told


class Compute:
    """One end of a pipe, and the bench at which its orders are carried out."""

    def __init__(self, connection: Connection, bench: Bench) -> None:
        self._connection = connection
        self._bench = bench
        self._sending = threading.Lock()
        self._tasks: dict[int, Task] = {}
        self._orders: queue.SimpleQueue[Begin | None] = queue.SimpleQueue()

    def serve(self) -> None:
        """Take messages until the pipe is closed."""
        threading.Thread(target=self._work, name="compute", daemon=True).start()
        try:
            self._connection.send(Ready())
            while True:
                self._take(self._connection.recv())
        except (EOFError, OSError):
            for task in list(self._tasks.values()):
                task.stop.set()
            self._orders.put(None)

    def _send(self, message: object) -> None:
        with self._sending, contextlib.suppress(OSError):  # the server has gone: `serve` will end in a moment
            self._connection.send(message)

    def _take(self, message: object) -> None:
        match message:
            case Begin(number):
                self._tasks[number] = Task(number, self._send, message.background, message.trouble)
                self._orders.put(message)
            case Fetch(number, row):
                task = self._tasks[number] = Task(number, self._send)
                threading.Thread(target=self._fetch, args=(number, row, task), name="fetch", daemon=True).start()
            case Stop(number) if number in self._tasks:
                self._tasks[number].gives_way = False
                self._tasks[number].stop.set()
            case GiveWay(number) if number in self._tasks:
                self._tasks[number].gives_way = True
                self._tasks[number].stop.set()
            case Sent(number, photo) if number in self._tasks:
                self._tasks[number].deliver(photo)
            case Rendered(number, seconds) if number in self._tasks:
                self._tasks[number].previews.rendered(seconds)

    def _work(self) -> None:
        for begin in iter(self._orders.get, None):
            told = self._carry_out(begin.order, self._tasks[begin.number])
            del self._tasks[begin.number]  # and with it a full-size photo
            self._send(Ended(begin.number, told))

    def _carry_out(self, order: Order, task: Task) -> int | None:
        """How many of its news have been told, if it has given way; None if it is over."""
        try:
            told = carry_out(order, self._bench, task)
            return told if task.gives_way else None
        except Exception as error:  # whatever it is: the visitor gets a sentence, and the others go on
            said = trouble_of(error)
            if not said:
                log.exception("a job failed")
            task.tell(Failed(said or "Something went wrong here. Please try another photo, model or method."))
        return None

    def _fetch(self, number: int, row: ModelSpec, task: Task) -> None:
        trouble = None
        try:
            self._bench.fetch(row, task)
        except (OSError, ValueError) as error:
            trouble = str(error)
        finally:
            del self._tasks[number]
            self._send(Fetched(number, trouble))
