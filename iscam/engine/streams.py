"""Batches side by side: how many, and the threads that run them.

On a CPU several batches at once, each on one thread, are through sooner than one batch on as many threads: there is no
barrier between the threads in every layer, and a busy neighbour holds up only one of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")

CGROUPS = Path("/sys/fs/cgroup")


def stream_count(device: torch.device) -> int:
    """How many batches run at once on a device: on a CPU as many as torch has threads, and the container's quota has cores."""
    return min(torch.get_num_threads(), quota() or math.inf) if device.type == "cpu" else 1  # type: ignore[return-value]


def quota(groups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int | None:
    """How many cores the container may keep busy, of a part of one a whole; None if nothing is said (cgroup v2, `cpu.max`)."""
    try:
        paths = [line.rstrip("\n").split("::")[1] for line in own.read_text().splitlines() if line.startswith("0::")]
    except OSError:
        return None
    found: list[float] = []
    for path in paths:
        here = groups / path.strip("/")
        for group in (here, *here.parents):
            try:
                limit, period = (group / "cpu.max").read_text().split()
            except (OSError, ValueError):
                continue
            if limit != "max":
                found.append(int(limit) / int(period))
    return max(1, math.ceil(min(found))) if found else None


def started(streams: int, task: Callable[[], T]) -> Future[T]:
    """Run a task on one of so many threads, on each of which torch uses no other; a lone stream is the caller's thread."""
    if streams > 1:
        return _pool(streams, os.getpid()).submit(task)
    done: Future[T] = Future()
    done.set_result(task())
    return done


@cache
def _pool(count: int, _process: int) -> ThreadPoolExecutor:
    """The threads of a process; one that was forked has none of its parent's."""
    threads = torch.get_num_threads()
    pool, there = ThreadPoolExecutor(count, "stream"), Barrier(count)

    def begin() -> None:
        torch.set_num_threads(1)  # of this thread, and of those that begin later, unless it is said anew
        there.wait()

    for begun in [pool.submit(begin) for _ in range(count)]:
        begun.result()
    torch.set_num_threads(threads)
    return pool


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
