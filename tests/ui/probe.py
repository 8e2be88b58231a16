"""Work for the real compute process, told by name; imports nothing that the process does not have."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

from iscam.ui.done.bench import Bench
from iscam.ui.done.question import Question
from iscam.ui.done.task import Task


def surroundings(bench: Bench, question: Question, choices: Any, task: Task) -> Iterator[object]:
    """The process's number, its number of threads for networks, and what of the heavy libraries is loaded."""
    threads = sys.modules["torch"].get_num_threads()
    yield os.getpid(), threads, {name for name in ("gradio", "torch", "pytest") if name in sys.modules}


def deaf(bench: Bench, question: Question, choices: Any, task: Task) -> Iterator[object]:
    """Never looks whether it is to stop."""
    yield os.getpid()
    while True:
        sum(range(1000))
