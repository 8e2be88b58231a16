"""What a request may weigh and how long it may take to arrive, and what browsers are told to hold an answer to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from gradio.utils import get_upload_folder

from iscam.images import MAX_FILE_BYTES

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

AT_ONCE = 80  # events that follow a job, each of which takes a thread now and then: more than there may be jobs
THREADS = 96
MAX_EVENTS = 200  # that wait for that
AROUND = 100_000  # bytes of what surrounds a file in a request
MAX_BODY_BYTES = MAX_FILE_BYTES + AROUND
# A body may take so many seconds, and those that its bytes take at the pace of a poor telephone line
PATIENCE = 30.0
SLOWEST = 4_000  # bytes a second
SPARE_BYTES = 200_000_000  # of the disk, that uploads leave free
log = logging.getLogger(__name__)

# Gradio's page consists of scripts and styles in its own text; its plots compile theirs; in a frame, it is told its size by a
# script of cdnjs. Spaces show it in a frame of theirs.
_FRAMES = "'self' https://huggingface.co https://*.hf.space"
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' https://cdnjs.cloudflare.com/ajax/libs/iframe-resizer/",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        f"frame-ancestors {_FRAMES}",
    )
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


class Headers:
    """ASGI middleware: every answer tells browsers what its page may load, and who may show it. A request at which the app
    fails, such as one for an event that is none, is answered 400; of what was in it nothing is logged."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def telling(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                said = {name for name, _ in message.get("headers", ())}
                message["headers"] = [*message.get("headers", ()), *(row for row in HEADERS if row[0] not in said)]
            await send(message)

        try:
            await self.app(scope, receive, telling)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            frame = traceback.extract_tb(error.__traceback__)[-1]
            log.warning("a request failed: %s in %s, line %s", type(error).__name__, frame.filename, frame.lineno)
            await _answer(telling, 400, "This request cannot be answered.")


class BodyLimit:
    """ASGI middleware: answers 413 to a request body over the limit, also to one that does not say its length; 408 to one that
    comes too slowly; 507 to an upload for which there is no room.

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
            await self._refuse(send, _TooLarge())
            return
        if scope["method"] == "POST" and scope["path"].rstrip("/").endswith("/upload") and not _has_room():
            await self._refuse(send, _NoRoom())
            return
        begun, taken = time.monotonic(), 0
        whole = started = False
        refused: _Refused | None = None

        async def counted() -> Message:
            nonlocal taken, whole, refused
            if whole:  # there is nothing to wait for but that the client leaves
                return await receive()
            try:
                async with asyncio.timeout(begun + PATIENCE + taken / SLOWEST - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                refused = _TooSlow()
                raise refused from None
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > self.limit:
                refused = _TooLarge()
                raise refused
            return message

        async def guarded(message: Message) -> None:
            nonlocal started
            if refused is None:  # what the app says about its broken input is of no interest
                started = True
                await send(message)

        with contextlib.suppress(_Refused):
            await self.app(scope, counted, guarded)
        if refused is not None and not started:
            await self._refuse(send, refused)

    async def _refuse(self, send: Send, why: _Refused) -> None:
        await _answer(send, why.status, why.words.format(most=self.limit // 1_000_000))


async def _answer(send: Send, status: int, words: str) -> None:
    """A line of text, after which the connection is closed."""
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words.encode()})


class _Refused(Exception):
    status: int
    words: str


class _TooLarge(_Refused):
    status, words = 413, "The request is larger than {most} MB."


class _TooSlow(_Refused):
    status, words = 408, "The request came too slowly: try again."


class _NoRoom(_Refused):
    status, words = 507, "There is no room for uploads at the moment: try again in half an hour."


def _has_room() -> bool:
    folder = Path(get_upload_folder())
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(folder).free > SPARE_BYTES
    return False
