"""What nobody should send: odd paths, bodies, settings, sessions and markup, over raw HTTP against the real server."""

from __future__ import annotations

import base64
import http.client
import json
import math
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from iscam.project import ASSETS, EXAMPLES
from tests.serving import Served

from .client import Visitor, error_of
from .load import photo
from .rows import Row, counted

MODEL = "photo11"
MARKUP = "<img src=x onerror=alert(1)>"
PROMPT = 1.0  # seconds
MANY = 300  # events at once, or files in one request
FAULT = "Something went wrong"  # what a visitor is told of a fault of ours


def settings(**changes: Any) -> list[Any]:
    """The endpoint's arguments behind the photo."""
    usual = {
        "model": MODEL,
        "layer": "layer3",
        "target": None,
        "steps": 2,
        "methods": ["grad-cam"],
        "path": "cumulative",
        "weighting": "probability",
        "engine": "fast",
        "rivals": None,
        "strength": 1.0,
        "signed": False,
    }
    return [*(usual | changes).values()]


ODD: dict[str, list[dict[str, Any]]] = {
    "unknown model": [{"model": each} for each in ("alexnet", "../photo11", MARKUP, 7, None, ["photo11"], {}, "x" * 10**5)],
    "folders and own repositories as model": [
        {"model": each} for each in ("local-dir:/etc", "hf-hub:a/b", "hf:a/b", "timm/../x", "own", "local-dir:.")
    ],
    "unknown layer": [{"layer": each} for each in ("layer99", "fc", "", MARKUP, 3, ["layer3"], {}, "layer3.0.conv1.weight")],
    "unknown class": [{"target": each} for each in (99, -1, 10**30, "zebra", MARKUP, 1.5, math.nan, True, [1], {"a": 1})],
    "steps": [{"steps": each} for each in (-1, 0, 101, 10**9, 10**400, 1.5, math.nan, math.inf, "2", None, True, [2])],
    "methods": [{"methods": each} for each in ([], ["sorcery"], "is-cam", None, [1], [MARKUP], {"is-cam": 1}, [["is-cam"]])],
    "path, weighting and engine": [
        {name: each} for name in ("path", "weighting", "engine") for each in ("zigzag", MARKUP, None, 1, [], {})
    ],
    "rivals, strength and sign": [
        *({"rivals": each} for each in ("nearest:0", "nearest:x", "zebra", MARKUP, 7, [1])),
        *({"rivals": "all", "strength": each} for each in (2, -1, math.nan, "much", None)),
        {"rivals": "all", "signed": "yes"},
    ],
}  # fmt: skip


def tried(app: Served, folder: Path) -> Iterator[Row]:
    """Everything, row by row."""
    yield from _paths(app, folder)
    yield from _odd_settings(app)
    yield from _bodies(app)
    yield from _sessions(app)
    yield _floods(app)


def _refused(message: dict[str, Any]) -> str:
    """What is wrong with how an event was refused; empty if it was, by a sentence that repeats no markup as such."""
    said = error_of(message)
    if message.get("success"):
        return "answered"
    if not said or said == "None":
        return ""  # Gradio's own refusal, without words
    return "a fault" if FAULT in said or "Traceback" in said else ""


def _paths(app: Served, folder: Path) -> Iterator[Row]:
    private = folder / "private.png"
    Image.new("RGB", (9, 9)).save(private)
    link = folder / "link.png"
    link.symlink_to(private)
    pixel = f"data:image/png;base64,{base64.b64encode(private.read_bytes()).decode()}"
    odd: list[Any] = [
        *({"path": str(path)} for path in (private, link, ASSETS / "style.css", EXAMPLES / ".." / "style.css")),
        *(
            {"path": path}
            for path in ("/etc/passwd", "/dev/zero", "/dev/stdin", "/proc/self/environ", "/", "", ".", "\0")
        ),
        *(
            {"path": path}
            for path in ("x" * 10_000, MARKUP, "http://127.0.0.1:9/x.png", "file:///etc/passwd", 7, ["a"])
        ),
        {"path": str(private), "meta": {"_type": "gradio.FileData"}},
        *({"path": pixel}, {"path": None, "url": pixel}, {"path": "", "url": "http://127.0.0.1:9/x.png"}),
        *(None, 7, [], {}, "/etc/passwd", [{"path": str(private)}], {"image": {"path": str(private)}}),
    ]
    wrong = []
    with Visitor(app.url) as visitor:
        event = visitor.event("explain")
        for each in odd:
            if trouble := _refused(visitor.ask(event, [each, *settings()])):
                wrong.append(f"{str(each)[:60]}: {trouble}")
        files = ["/etc/passwd", str(private), "../../app.py", str(ASSETS.parent / "app.py"), "%2e%2e/%2e%2e/etc/passwd"]
        read = [path for path in files if visitor.web.get(f"/gradio_api/file={path}").status_code == 200]
        found = visitor.web.get("/gradio_api/file=" + str(private)).content
        if private.read_bytes() in found:
            read.append("its bytes")
    expected = "refused, nothing read"
    yield counted("abuse", "paths outside of the uploads, devices, addresses and data: URLs", len(odd), expected, wrong)
    yield counted("abuse", "files asked for by their path", len(files), "not served", read)


def _odd_settings(app: Served) -> Iterator[Row]:
    with Visitor(app.url) as visitor:
        event, path = visitor.event("explain"), visitor.upload("x.png", photo(0))
        for what, cases in ODD.items():
            wrong = []
            for case in cases:
                message = visitor.ask(event, [{"path": path}, *settings(**case)])
                if (trouble := _refused(message)) and not _harmless(case, message):
                    wrong.append(f"{str(case)[:60]}: {trouble}")
            yield counted("abuse", f"{what}, or of the wrong type", len(cases), "one sentence each", wrong)


def _harmless(case: dict[str, Any], message: dict[str, Any]) -> bool:
    """Whether what was asked has an answer: no value means the default, and each method may say why it has no map."""
    if not message.get("success"):
        return False
    (answer,) = message["output"]["data"]
    return next(iter(case.values())) in (None, {}) or (not answer["methods"] and bool(answer["refused"]))


def _bodies(app: Served) -> Iterator[Row]:
    address = urlsplit(app.url)
    assert address.hostname is not None and address.port is not None
    place = address.hostname, address.port
    wrong: list[str] = []

    def status(head: str, body: bytes = b"") -> int:
        with socket.create_connection(place, timeout=60) as line:
            line.sendall(head.encode() + b"\r\n\r\n" + body)
            answer = http.client.HTTPResponse(line)
            answer.begin()
            return answer.status

    post = f"POST /gradio_api/queue/join HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json"
    cases: dict[str, Callable[[], int]] = {
        "a length of 10^12": lambda: status(f"{post}\r\nContent-Length: {10**12}"),
        "a negative length": lambda: status(f"{post}\r\nContent-Length: -1"),
        "a length that is no number": lambda: status(f"{post}\r\nContent-Length: many"),
        "two lengths": lambda: status(f"{post}\r\nContent-Length: 2\r\nContent-Length: 3", b"{}"),
        "no JSON": lambda: status(f"{post}\r\nContent-Length: 1", b"{"),
        "a deep nest": lambda: status(f"{post}\r\nContent-Length: 100000", b"[" * 100_000),
        "another method": lambda: status(f"DELETE /gradio_api/queue/join HTTP/1.1\r\nHost: {address.netloc}"),
        "no HTTP": lambda: status("\x16\x03\x01\x02"),
        "an event that is none": lambda: status(
            f"{post}\r\nContent-Length: 50", json.dumps({"data": [], "fn_index": 10**6, "session_hash": "x"}).encode().ljust(50)
        ),
    }  # fmt: skip
    for what, send in cases.items():
        try:
            got = send()
        except (OSError, http.client.HTTPException) as error:
            got = 0
            if not isinstance(error, (ConnectionError, http.client.HTTPException)):
                wrong.append(f"{what}: {error}")
        if got and not 400 <= got < 500:
            wrong.append(f"{what}: {got}")
    yield counted("abuse", "bodies and requests that are none", len(cases), "4xx or hung up", wrong)
    kept = []
    with socket.create_connection(place, timeout=60) as slow:  # keeps its line, and nobody else's
        slow.sendall(f"{post}\r\nContent-Length: 1000000\r\n\r\n".encode())
        for _ in range(20):
            slow.sendall(b" ")
            with Visitor(app.url) as other:
                begun = time.perf_counter()
                other.web.get("/gradio_api/app_id").raise_for_status()
                if time.perf_counter() - begun > PROMPT:
                    kept.append(f"{time.perf_counter() - begun:.1f} s")
    yield counted("abuse", "questions of others beside a body that trickles", 20, "answered within a second", kept)


def _sessions(app: Served) -> Iterator[Row]:
    """What another page shows is not told to who sends its events under another name, nor again to who replays them."""
    wrong = []
    with Visitor(app.url) as owner, Visitor(app.url) as thief:
        path = owner.upload("mine.png", photo(1))
        assert not error_of(owner.explain(path, *settings()))
        dependencies = owner.web.get("/config").json()["dependencies"]
        inputs = {each["api_name"]: len(each["inputs"]) for each in dependencies}
        for name in ("tab_export", "tab_classes", "redraw", "revisit", "switch"):
            message = thief.ask(thief.event(name), [None] * inputs[name])
            if "<img" in json.dumps(message):
                wrong.append(f"{name} shows a picture")
        for name in ("maps", "new_model"):
            if message := _refused(thief.ask(thief.event(name), [None] * inputs[name])):
                wrong.append(f"{name}: {message}")
        if thief.ask(10**6, []).get("success"):
            wrong.append("an event that is none was answered")
        guesses = [Path(path).parent.parent / ("0" * 64) / "mine.png", Path(path).parent.parent, Path(path).parent]
        for guess in guesses:
            if not error_of(thief.explain(str(guess), *settings())):
                wrong.append(f"{guess.name} was read")
    yield counted(
        "abuse", "events of a page that has asked nothing, and guessed uploads", 11, "nothing of others", wrong
    )


def _floods(app: Served) -> Row:
    """Hundreds of files in a request, and of events of one session; the server answers others afterwards."""
    wrong = []
    with Visitor(app.url) as visitor:
        files = [("files", (f"{number}.png", b"x")) for number in range(MANY)]
        if visitor.web.post("/gradio_api/upload", files=files).status_code >= 500:
            wrong.append("an upload of many files is a fault")
        event, path = visitor.event("explain"), visitor.upload("x.png", photo(2))
        asked = [{"path": path}, *settings(steps=50, methods=["is-cam"], engine="exact")]
        statuses = {visitor.join(event, asked).status_code for _ in range(MANY)}
        if any(status >= 500 and status != 503 for status in statuses):
            wrong.append(f"events: {statuses}")
    with Visitor(app.url) as other:
        message = other.explain(other.upload("y.png", photo(3)), *settings())
        said = error_of(message)
        if said and "waiting already" not in said and "full" not in said.lower():
            wrong.append(f"afterwards: {said}")
    expected = "taken or refused; others are answered, or told that it is full"
    return counted("abuse", f"{MANY} files in one request, {MANY} events of one session", 2 * MANY, expected, wrong)
