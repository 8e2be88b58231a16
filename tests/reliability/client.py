"""A visitor over raw HTTP: uploads, events and their messages, without a browser and without Gradio's own client."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any, Self

import httpx

PATIENCE = 600.0  # seconds; of a crowd the last one waits long


class Visitor:
    """One session with a running app. Close it, or use it as a context."""

    def __init__(self, url: str, session: str = "") -> None:
        self.url, self.session = url, session or uuid.uuid4().hex
        self.web = httpx.Client(base_url=url, timeout=PATIENCE, verify=False)  # nothing is encrypted here
        self.waited: list[int] = []  # the places in the queue that it was told

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.web.close()

    def upload(self, name: str, data: bytes) -> str:
        """The path of an upload on the server."""
        answer = self.web.post("/gradio_api/upload", files={"files": (name, data)})
        answer.raise_for_status()
        return str(answer.json()[0])

    def event(self, name: str) -> int:
        """The number of an event."""
        dependencies = self.web.get("/config").json()["dependencies"]
        (number,) = [each["id"] for each in dependencies if each["api_name"] == name]
        return int(number)

    def join(self, event: int, data: list[Any]) -> httpx.Response:
        """Ask for an event."""
        body = {"data": data, "fn_index": event, "session_hash": self.session}
        return self.web.post(
            "/gradio_api/queue/join", content=json.dumps(body), headers={"content-type": "application/json"}
        )

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the server says to this session."""
        with self.web.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def explain(self, path: object, *settings: Any) -> dict[str, Any]:
        """The endpoint's last message about a photo; see `answer_of`."""
        return self.ask(self.event("explain"), [{"path": path}, *settings])

    def ask(self, event: int, data: list[Any]) -> dict[str, Any]:
        """The last message about an event; of one that is not taken, what is said instead."""
        joined = self.join(event, data)
        if joined.status_code != 200:
            return {"success": False, "status": joined.status_code, "output": {"error": joined.text}}
        for message in self.messages():
            if message.get("msg") == "estimation" and message.get("rank") is not None:
                self.waited.append(int(message["rank"]))
            if message.get("msg") in ("process_completed", "unexpected_error"):
                return message
        return {"success": False, "output": {"error": "the server said no last word"}}


def error_of(message: dict[str, Any]) -> str:
    """What was said of an event that failed; empty if it did not."""
    return "" if message.get("success") else str(message.get("output", {}).get("error"))
