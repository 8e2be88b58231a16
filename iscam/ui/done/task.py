"""An order while it is carried out, on the side of the compute process."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Hashable

from iscam.images import Photo

from .messages import Answer, Previewed, Told, Wanted
from .previews import Previews


class Task:
    """What work has of its surroundings: where its news go, whether it is to stop, and the photo in full size.

    Args:
        number: of the job, on the server.
        send: takes a message to the server.
        background: nobody waits for it.
        trouble: why what it needs could not be fetched, if so.
    """

    def __init__(
        self, number: int, send: Callable[[object], None], background: bool = False, trouble: str | None = None
    ) -> None:
        self.background = background
        self.trouble = None if trouble is None else OSError(trouble)
        self.stop = threading.Event()
        self.gives_way = False  # whether it was stopped only to be taken up again
        self.previews = Previews()
        self._number, self._send = number, send
        self._photo: Photo | None = None
        self._sent: queue.SimpleQueue[Photo] = queue.SimpleQueue()
        self._answers: list[Answer] = []

    def tell(self, news: object) -> None:
        """Send news that every reader gets, with what has been kept meanwhile."""
        answers, self._answers = tuple(self._answers), []
        self._send(Told(self._number, news, answers))

    def show(self, make: Callable[[], object]) -> None:
        """Make and send a preview; a reader who has not read the one before never will."""
        self.previews.begin()
        self._send(Previewed(self._number, make()))
        self.previews.made()

    def keep(self, key: Hashable, answer: object, size: int) -> None:
        """Have the server remember an answer as well, which goes along with the next news."""
        self._answers.append(Answer(key, answer, size))

    def photo(self) -> Photo:
        """The photo in full size, which is sent for when it is first needed."""
        if self._photo is None:
            self._send(Wanted(self._number))
            self._photo = self._sent.get()
        return self._photo

    def deliver(self, photo: Photo) -> None:
        """The photo has come. For any thread."""
        self._sent.put(photo)
