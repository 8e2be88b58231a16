"""Batches side by side: how many, and the threads that run them.

On a CPU several batches at once, each on one thread, are through sooner than one batch on as many threads: there is no
barrier between the threads in every layer, and a busy neighbour holds up only one of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import Barrier, Lock
from typing import TypeVar

import torch
from torch import Tensor, nn

from .devices import allowed

T = TypeVar("T")


def stream_count(device: torch.device) -> int:
    """How many batches run at once on a device: on a CPU as many as there are threads for torch."""
    return allowed(torch.get_num_threads()) if device.type == "cpu" else 1


class Crowd:
    """Counts the batches that run at the same time, of at most so many."""

    def __init__(self, most: int) -> None:
        self._most, self._running, self._lock = most, 0, Lock()

    def join(self) -> bool:
        """A batch begins; whether all streams are busy now."""
        with self._lock:
            self._running += 1
            return self._running == self._most

    def leave(self) -> bool:
        """A batch ends; whether all streams were busy until now."""
        with self._lock:
            self._running -= 1
            return self._running == self._most - 1


@dataclass(frozen=True, eq=False)
class Batch:
    """Logits (B, K) of a batch, in float32 and on the processor, and how long it took.

    `crowded` is whether no stream was idle then: how long a batch takes alone says little of how long it takes beside others.
    """

    logits: Tensor
    seconds: float
    crowded: bool


def timed(run: Callable[[], Tensor], crowd: Crowd) -> Batch:
    """Run a batch, without gradients."""
    begun, crowded = time.perf_counter(), crowd.join()
    try:
        with torch.no_grad():
            logits = run().float().cpu()  # waits for the device
    finally:
        crowded = crowd.leave() and crowded
    return Batch(logits, time.perf_counter() - begun, crowded)


def started(streams: int, task: Callable[[], T]) -> Future[T]:
    """Run a task on one of so many threads, on each of which torch uses no other; a lone stream is the caller's thread."""
    if streams > 1:
        return _pool(streams, os.getpid()).submit(task)
    done: Future[T] = Future()
    try:
        done.set_result(task())
    except Exception as error:
        done.set_exception(error)
    return done


@cache
def _pool(count: int, _process: int) -> ThreadPoolExecutor:
    """The threads of a process; one that was forked has none of its parent's."""
    threads = torch.get_num_threads()
    pool, there = ThreadPoolExecutor(count, "stream"), Barrier(count)

    def begin() -> None:
        torch.get_num_threads()  # a thread takes the number that was said last when it is first asked; it must not be later
        torch.set_num_threads(1)  # of this thread, and of those that begin later, unless it is said anew
        there.wait()

    for begun in [pool.submit(begin) for _ in range(count)]:
        begun.result()
    torch.set_num_threads(threads)
    return pool


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let torch use no other thread while the body runs: for many small steps, between which threads would wait for each
    other, on a busy machine longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def held(network: nn.Module) -> list[object]:
    """What the modules hold between two passes. If a pass changes it, two passes at once could disturb each other."""
    found: list[object] = []
    for module in network.modules():
        for value in (*vars(module).values(), *module._buffers.values()):
            found.append(value)
            if isinstance(value, Tensor) and not value.is_inference():
                found.append(value._version)
            elif isinstance(value, (list, dict, set)):
                found.append(len(value))
    return found


def unchanged(one: list[object], other: list[object]) -> bool:
    """Whether the modules hold the same things."""
    alike = (a is b or (isinstance(a, (int, float)) and a == b) for a, b in zip(one, other, strict=False))
    return len(one) == len(other) and all(alike)
