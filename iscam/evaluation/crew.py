"""The processes that share an evaluation: this one alone, or those that `torchrun` has started."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

from iscam.engine import device_label, find_device
from iscam.show import versions

T = TypeVar("T")
PATIENCE = timedelta(days=7)  # for the processes that have more to do than others


@dataclass(frozen=True)
class Crew:
    """The processes that share the work, and which of them this is."""

    rank: int = 0
    size: int = 1

    def agreed(self, work: Callable[[], T]) -> T:
        """What the work of the first process gives, for all. Raises ValueError in all if it did in the first."""
        said: list[Any] = [None, None]
        if self.rank == 0:
            try:
                said[0] = work()
            except ValueError as error:
                said[1] = str(error)
        if self.size > 1:
            distributed.broadcast_object_list(said)
        if said[1] is not None:
            raise ValueError(said[1])
        found: T = said[0]
        return found

    def wait(self) -> None:
        """Until all have come here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def join_crew(device: str) -> Iterator[Crew]:
    """The processes that `torchrun` has started, or this one alone; on `cuda` each has a GPU of its own.

    Raises:
        ValueError: they cannot work, or there are too few GPUs; one sentence.
    """
    size = os.environ.get("WORLD_SIZE", "1")
    if size == "1":
        yield Crew()
        return
    if not size.isdigit() or not {"RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        raise ValueError(f"WORLD_SIZE is {size!r}, but torchrun has not started this: unset it, or use torchrun.")
    if device == "cuda":
        torch.cuda.set_device(find_device(f"cuda:{os.environ['LOCAL_RANK']}"))
    distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Crew(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def machine(crew: Crew, device: str) -> dict[str, object]:
    """What is recorded beside the settings: it should not matter."""
    return {
        "processes": crew.size,
        "machine": platform.processor() or platform.machine(),
        "device": device_label(device),
        "versions": versions(),
    }
