"""A reverse proxy under a path of its own, as hosts of pages have one in front."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

GONE = (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
OURS = ("connection", "x-forwarded-host", "x-forwarded-proto")


@contextmanager
def proxied(port: int, front: int, path: str, scheme: str) -> Iterator[None]:
    """While the body runs, requests for what is under the path at the port `front` are answered by the server at `port`, which
    is asked for it without the path, and told which host the visitor wanted by which scheme. All else is 404."""
    loop, over = asyncio.new_event_loop(), asyncio.Event()
    ready = threading.Event()

    async def run() -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(*GONE):
                await _pass(reader, writer, port, path, scheme)
            writer.close()

        async with await asyncio.start_server(connected, "127.0.0.1", front):
            ready.set()
            await over.wait()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, path: str, scheme: str) -> None:
    """One request and its answer, after which the connection ends."""
    first, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, version = first.split(" ")
    if not target.startswith(f"{path}/"):
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        return
    named = [(field, *field.partition(":")) for field in fields]
    host = next(value.strip() for _, name, _, value in named if name.lower() == "host")
    kept = [field for field, name, _, _ in named if name.lower() not in OURS]
    added = ["Connection: close", f"X-Forwarded-Host: {host}", f"X-Forwarded-Proto: {scheme}"]
    there, back = await asyncio.open_connection("127.0.0.1", port)
    asked = "\r\n".join([f"{method} {target.removeprefix(path)} {version}", *kept, *added])
    back.write(f"{asked}\r\n\r\n".encode("latin-1"))
    ways = [asyncio.create_task(_copy(reader, back)), asyncio.create_task(_copy(there, writer))]
    try:  # whoever leaves first, the visitor or the server
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        back.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
