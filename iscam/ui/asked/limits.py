"""What a request may weigh."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from iscam.images import MAX_FILE_BYTES

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

AROUND = 100_000  # bytes of what surrounds a file in a request
MAX_BODY_BYTES = MAX_FILE_BYTES + AROUND


class BodyLimit:
    """ASGI middleware: answers 413 to a request body over the limit, also to one that does not say its length.

    Gradio's own limit holds per uploaded file; text fields, many files and `data:` URLs pass it.
    """

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY_BYTES) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if not said.isdigit() or int(said) > self.limit:
            await _too_large(send, self.limit)
            return
        taken = 0
        over = started = False

        async def counted() -> Message:
            nonlocal taken, over
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.limit:
                over = True
                raise _TooLarge
            return message

        async def guarded(message: Message) -> None:
            nonlocal started
            if not over:  # what the app says about its broken input is of no interest
                started = True
                await send(message)

        with contextlib.suppress(_TooLarge):
            await self.app(scope, counted, guarded)
        if over and not started:
            await _too_large(send, self.limit)


class _TooLarge(Exception):
    pass


async def _too_large(send: Send, limit: int) -> None:
    body = f"The request is larger than {limit // 1_000_000} MB.".encode()
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
