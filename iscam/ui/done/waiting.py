"""The jobs that wait for the compute process, in the order of their turns."""

from __future__ import annotations

from collections.abc import Iterator

from .bench import KEPT_MODELS
from .job import Job

MOST_BEGUN = 4  # jobs that wait to go on: of more, the compute process would not keep the scores


class Waiting:
    """Visitors' jobs, those that came first before the others; behind them the jobs in the background. Not safe for threads."""

    def __init__(self) -> None:
        self._visitors: list[Job] = []
        self._background: list[Job] = []

    def __iter__(self) -> Iterator[Job]:
        return iter([*self._visitors, *self._background])

    def __len__(self) -> int:
        return len(self._visitors) + len(self._background)

    @property
    def visitors(self) -> int:
        """How many of them somebody waits for."""
        return len(self._visitors)

    def add(self, job: Job) -> None:
        (self._background if job.background else self._visitors).append(job)

    def remove(self, job: Job) -> None:
        (self._background if job.background else self._visitors).remove(job)

    def next(self) -> Job:
        """The job whose turn it is, which waits no longer."""
        return (self._visitors or self._background).pop(0)

    def ahead_of(self, job: Job) -> int:
        """How many have their turn before a job that waits."""
        return list(self).index(job)

    def may_pass(self, job: Job) -> bool:
        """Whether somebody waits for whom a running job can give way without having to be begun anew: the process keeps the
        scores of a few photos and models."""
        if job.background or not self._visitors:
            return bool(self._visitors)
        begun = [other for other in self._visitors if other.begun]
        models = {other.order.question.model for other in (job, self._visitors[0], *begun) if other.order is not None}
        return len(begun) < MOST_BEGUN and len(models) <= KEPT_MODELS
