"""The running app as a hostile or a programming client sees it, without a browser."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import json
import math
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from iscam.ui.asked.endpoint import MAX_OPEN, Callers
from iscam.ui.asked.limits import MAX_BODY_BYTES, BodyLimit
from iscam.ui.seen.several import EACH
from tests.reliability.client import Visitor, error_of
from tests.serving import ROOT, running_app
from tests.ui.stand_in import PATIENCE

WEB = httpx.Client(timeout=PATIENCE)

CHELSEA = ROOT / "assets" / "examples" / "chelsea.jpg"
LOOK = [0.5, "viridis", "overlay"]
LABELS = (
    "Photo",
    "Model",
    "Layer",
    "Target class",
    "Against",
    "Integration steps",
    "Methods",
    "Path",
    "Weighting",
    "Engine",
    "Opacity",
    "Colour map",
    "View",
    "By method",
    "With method",
    "Method",
    "Models beside the page's",
    "Photos",
    "Class of the maps",
    "Sorted",
    "By the map of",
    "Perturbation",
    "Share of the pixels, %",
    "Measure also (slow)",
    "Box",
    "Random heads too (slow)",
)
TABS = ["is-cam", "grad-cam", "grad-cam", ["photo11"], None, EACH, "", "is-cam", "deletion", 25, [], "", False]
SETTINGS = ["photo11", "layer3", 0, -1, 2, ["grad-cam"], "cumulative", "probability", "fast"]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_app(tmp_path_factory.mktemp("app")) as served:
        yield served.url
    WEB.close()


@pytest.fixture(scope="module")
def events(app: str) -> dict[str, int]:
    """Name -> number of every event."""
    return {event["api_name"]: event["id"] for event in WEB.get(f"{app}/config").json()["dependencies"]}


@pytest.fixture
def ask(app: str, events: dict[str, int]) -> Callable[..., dict[str, Any]]:
    """Send an event its data and return the last message about it."""

    def send(event: str, data: list[Any], session: str = "") -> dict[str, Any]:
        with Visitor(app, session) as one:
            return one.ask(events[event], data)

    return send


def upload(app: str, file: Path) -> str:
    with Visitor(app) as one:
        return one.upload(file.name, file.read_bytes())


@pytest.fixture
def event_data(app: str) -> Callable[..., list[Any]]:
    """The data of an event that takes a photo: of those of the page, the values of its components in their order."""
    config = WEB.get(f"{app}/config").json()
    labels = {part["id"]: part["props"].get("label") for part in config["components"]}

    def data(event: str, photo: Any, settings: list[Any] = SETTINGS, **others: Any) -> list[Any]:
        if event == "explain":
            return [photo, *settings[:3], *settings[4:]]
        given = dict(zip(LABELS, [photo, *settings, *LOOK, *TABS], strict=True)) | others
        (inputs,) = [found["inputs"] for found in config["dependencies"] if found["api_name"] == event]
        return [given[labels[part]] for part in inputs]

    return data


PHOTO_EVENTS = ("new_photo", "new_model", "maps", "explain")  # those that read it before anything has been shown


def test_one_endpoint_is_public(app: str) -> None:
    info = WEB.get(f"{app}/gradio_api/info").json()
    assert list(info["named_endpoints"]) == ["/explain"] and not info["unnamed_endpoints"]


def test_all_events_with_a_photo_are_tested_here(app: str) -> None:
    config = WEB.get(f"{app}/config").json()
    (photo,) = [part["id"] for part in config["components"] if part["props"].get("elem_id") == "photo"]
    takers = {event["api_name"] for event in config["dependencies"] if photo in event["inputs"]}
    later = {name for name in takers if re.match("revisit|redraw|left|follow_up|switch|tab_", name)}
    assert takers - later == set(PHOTO_EVENTS) - {"explain"}


def test_events_of_a_page_that_shows_nothing_read_no_photo(
    app: str, ask: Callable[..., dict[str, Any]], event_data: Callable[..., list[Any]]
) -> None:
    """Tabs, other looks and other classes are answered from what is shown."""
    for event in ("revisit", "redraw", "left", "switch", "tab_classes", "tab_export"):
        answer = ask(event, event_data(event, {"path": "/etc/hostname"}))
        parts = answer["output"]["data"]
        assert answer["success"] and '"value"' not in json.dumps(parts) and "<" not in json.dumps(parts)


def test_tabs_read_no_picture_elsewhere_on_the_server(
    app: str, ask: Callable[..., dict[str, Any]], event_data: Callable[..., list[Any]], tmp_path: Path
) -> None:
    """Also once the page shows maps."""
    Image.new("RGB", (9, 9)).save(tmp_path / "private.png")
    session = uuid.uuid4().hex
    assert ask("maps", event_data("maps", {"path": upload(app, CHELSEA)}), session)["success"]
    for event in ("tab_classes", "tab_layers", "tab_integration", "switch"):
        another_class = [*SETTINGS[:2], 1, *SETTINGS[3:]]
        answer = ask(event, event_data(event, {"path": str(tmp_path / "private.png")}, another_class), session)
        assert not answer["success"] and "not in a folder that may be read" in answer["output"]["error"]


def test_several_photos_are_read_only_where_uploads_lie_and_taken_only_where_they_are_shown(
    app: str, ask: Callable[..., dict[str, Any]], event_data: Callable[..., list[Any]], tmp_path: Path
) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "private.png")
    mark, session = {"meta": {"_type": "gradio.FileData"}}, uuid.uuid4().hex
    photo = {"path": upload(app, CHELSEA)} | mark
    assert ask("maps", event_data("maps", photo), session)["success"]
    private, host = {"path": str(tmp_path / "private.png")}, {"path": "/etc/hostname"}
    for others in ([photo, private], [photo, host], [private | mark], [host | mark], "x" * 100, photo, [[photo]]):
        assert not ask("tab_several", event_data("tab_several", photo, Photos=others), session)["success"]
    answer = ask("tab_several", event_data("tab_several", photo, Photos=[photo] * 21), session)
    assert not answer["success"] and "at most 20 photos" in answer["output"]["error"]
    answer = ask("tab_several", event_data("tab_several", photo, Photos=[photo]), session)
    assert answer["success"] and "<article>" in json.dumps(answer["output"]["data"])
    digest = hashlib.sha256(CHELSEA.read_bytes()).hexdigest()
    for said, whose in ((digest, "another"), (photo["path"], session), (["x"], session)):
        assert "path" not in json.dumps(ask("take", [said], whose)["output"]["data"])
    (taken,) = ask("take", [digest], session)["output"]["data"]
    assert taken["path"] == photo["path"]


@pytest.mark.parametrize("event", PHOTO_EVENTS)
def test_a_picture_elsewhere_on_the_server_is_not_read(
    event: str, ask: Callable[..., dict[str, Any]], tmp_path: Path, event_data: Callable[..., list[Any]]
) -> None:
    """Without the mark that makes Gradio check the path, our own reader refuses it, whether or not the file exists."""
    Image.new("RGB", (9, 9)).save(tmp_path / "private.png")
    for path in (tmp_path / "private.png", tmp_path / "nothing.png", ROOT / "assets" / "examples" / ".." / "style.css"):
        answer = ask(event, event_data(event, {"path": str(path)}))
        assert not answer["success"] and "not in a folder that may be read" in answer["output"]["error"]


@pytest.mark.parametrize("event", PHOTO_EVENTS)
def test_a_marked_path_and_a_data_url_get_no_answer_either(
    event: str, ask: Callable[..., dict[str, Any]], tmp_path: Path, event_data: Callable[..., list[Any]]
) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "private.png")
    pixel = f"data:image/png;base64,{base64.b64encode((tmp_path / 'private.png').read_bytes()).decode()}"
    for photo in (
        {"path": str(tmp_path / "private.png"), "meta": {"_type": "gradio.FileData"}},
        {"path": pixel},
        {"path": None, "url": pixel},
        {"path": "", "url": pixel},
    ):
        assert not ask(event, event_data(event, photo))["success"]


@pytest.mark.parametrize("event", PHOTO_EVENTS)
def test_nothing_is_fetched_from_an_address(
    event: str, ask: Callable[..., dict[str, Any]], event_data: Callable[..., list[Any]]
) -> None:
    """Which Gradio would do for whatever bears its mark, as a photo or in the place of something else."""
    marked = {"path": "https://example.org/huge.png", "meta": {"_type": "gradio.FileData"}}
    elsewhere = [SETTINGS[0], {"a": [marked]}, *SETTINGS[2:]]
    for data in (event_data(event, marked), event_data(event, {"path": str(CHELSEA)}, elsewhere)):
        answer = ask(event, data)
        assert not answer["success"] and "Nothing is fetched" in answer["output"]["error"]


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (0, "alexnet", "no such model"),
        (1, "layer99", "no such layer"),
        (4, -1, "whole number from 1 to 100"),
        (4, 10**9, "whole number from 1 to 100"),
        (4, math.nan, "whole number from 1 to 100"),
        (5, ["sorcery"], "at least one method"),
        (6, "zigzag", "path"),
        (8, "steam", "engine"),
        (2, 99, "index"),
    ],
)
@pytest.mark.parametrize("event", ["maps", "explain"])
def test_wrong_settings_get_a_sentence(
    event: str,
    place: int,
    value: Any,
    words: str,
    app: str,
    ask: Callable[..., dict[str, Any]],
    event_data: Callable[..., list[Any]],
) -> None:
    settings = [value if number == place else setting for number, setting in enumerate(SETTINGS)]
    answer = ask(event, event_data(event, {"path": upload(app, CHELSEA)}, settings))
    assert not answer["success"]
    assert words in answer["output"]["error"]


def test_the_endpoint_explains_a_photo(
    app: str, ask: Callable[..., dict[str, Any]], event_data: Callable[..., list[Any]]
) -> None:
    settings = ["photo11", None, None, -1, 2, ["is-cam", "grad-cam", "cam"], "linear", "logit", "exact"]
    answer = ask("explain", event_data("explain", {"path": upload(app, CHELSEA)}, settings))
    assert answer["success"], answer
    (result,) = answer["output"]["data"]
    assert result["predictions"][0]["category"] == "cat"
    assert set(result["methods"]) == {"is-cam", "grad-cam", "cam"} and result["methods"]["is-cam"]["complete"]
    assert result["methods"]["is-cam"]["estimated_error"] == 0
    assert result["methods"]["is-cam"]["rivals"] == []  # what a caller does not name has its default
    figure = WEB.get(f"{app}/gradio_api/file={result['figure']['path']}")
    assert figure.headers["content-type"] == "image/png" and len(figure.content) > 10_000


def test_the_official_client_can_call_it(app: str, tmp_path: Path) -> None:
    from gradio_client import Client, handle_file

    client = Client(app, verbose=False, download_files=tmp_path)
    result = client.predict(
        handle_file(str(CHELSEA)), "photo11", methods=["grad-cam"], target="dog", api_name="/explain"
    )
    assert result["methods"]["grad-cam"]["category"] == "dog"
    with Image.open(result["figure"]) as figure:
        assert figure.format == "PNG"


def test_the_endpoint_holds_a_class_against_rivals(
    app: str, ask: Callable[..., dict[str, Any]], event_data: Callable[..., list[Any]]
) -> None:
    settings = ["photo11", None, "cat", -1, 2, ["is-cam", "grad-cam"], "linear", "probability", "exact"]
    data = event_data("explain", {"path": upload(app, CHELSEA)}, settings)
    results = {}
    for contrast in ([], ["nearest:2"], ["nearest:2", 0.5], ["dog", 1, True]):
        answer = ask("explain", data + contrast)
        assert answer["success"], answer
        results[str(contrast)] = answer["output"]["data"][0]
    plain, held, half, signed = results.values()
    assert plain["methods"]["is-cam"]["specificity"] < 0.05 < 0.5 < held["methods"]["is-cam"]["specificity"]
    assert held["methods"]["is-cam"]["specificity"] != half["methods"]["is-cam"]["specificity"]
    assert held["methods"]["grad-cam"]["rivals"] == [row["category"] for row in held["predictions"][1:3]]
    assert (
        signed["methods"]["is-cam"]["rivals"] == ["dog"] and signed["methods"]["is-cam"]["masked_probability"] is None
    )
    for contrast, words in (
        (["nearest:0"], "names no rivals"),
        ([7], "Rivals are"),
        (["all", 2], "between 0 and 1"),
        ([None, 0.5], "name some"),
        (["all", 1, "yes"], "true or false"),
        (["all", math.nan], "0 and 1"),
    ):
        answer = ask("explain", data + contrast)
        assert not answer["success"] and words in answer["output"]["error"], contrast
    settings[5] = ["eigen-cam"]
    answer = ask("explain", [*event_data("explain", {"path": upload(app, CHELSEA)}, settings), "all"])
    assert not answer["success"] and "same map for every class" in answer["output"]["error"]


def block(page: str, words: str, app: str = "", photo: Path = CHELSEA) -> str:
    """The block with these words of a page of documentation, for this app and a photo."""
    text = (ROOT / page).read_text(encoding="utf-8")
    (found,) = [code for code in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) if words in code]
    return found.replace("http://127.0.0.1:7860", app).replace("photo.jpg", str(photo))


def test_the_documented_client_gets_its_answer(app: str, tmp_path: Path) -> None:
    code = block("docs/endpoint.md", "gradio_client", app)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "'category': 'cat'" in done.stdout and ".png" in done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("page", ["docs/endpoint.md", "llms.txt"])
def test_the_documented_curl_gets_its_answer(page: str, app: str) -> None:
    code = block(page, "curl", app)
    done = subprocess.run(["bash", "-euc", code], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert "event: complete" in done.stdout and '"category": "cat"' in done.stdout


def test_every_parameter_and_field_is_documented(app: str, ask: Callable[..., dict[str, Any]]) -> None:
    """With its default, in the endpoint's order; what the example in JavaScript names is among them."""
    taken, given = (ROOT / "docs" / "endpoint.md").read_text(encoding="utf-8").split("## What it gives")
    rows = re.findall(r"^\| `(\w+)` \| (?:`(.*?)`)? ?\|", taken, re.MULTILINE)
    (endpoint,) = WEB.get(f"{app}/gradio_api/info").json()["named_endpoints"].values()
    parameters = {each["parameter_name"]: each for each in endpoint["parameters"]}
    assert [name for name, _ in rows] == list(parameters)
    for name, default in rows:
        assert parameters[name]["parameter_has_default"] is bool(default)
        assert not default or json.loads(default) == parameters[name]["parameter_default"], name
    (named,) = re.findall(r'"/explain", \{(.*?)\}\)', block("docs/endpoint.md", "@gradio/client"))
    assert set(re.findall(r"(?:^|, )\s*(\w+)(?=:|,)", named)) <= set(parameters)
    data = [{"path": upload(app, CHELSEA)}, "photo11", None, None, 2, ["grad-cam"]]
    (answer,) = ask("explain", data)["output"]["data"]
    fields = {*answer, *answer["predictions"][0], *answer["methods"]["grad-cam"]}
    assert fields <= set(re.findall(r"`(\w+)`", given))


def test_the_containers_health_check_is_answered(app: str) -> None:
    (path,) = re.findall(r"'GET', '(.*?)'", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert WEB.get(app + path).status_code == 200


def connect(app: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(app).netloc, timeout=PATIENCE)


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/queue/join"])
def test_a_body_over_the_limit_is_refused_by_its_length(app: str, path: str) -> None:
    client = connect(app)
    client.putrequest("POST", path)
    client.putheader("Content-Length", str(MAX_BODY_BYTES + 1))
    client.endheaders()
    assert client.getresponse().status == 413
    client.close()


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/queue/join"])
def test_a_body_over_the_limit_is_refused_without_a_length(app: str, path: str) -> None:
    """In chunks, no length is known beforehand: the bytes are counted as they come."""
    client = connect(app)
    headers = {"content-type": "multipart/form-data; boundary=x", "transfer-encoding": "chunked"}
    chunk = b" " * 1_000_000
    head = b'--x\r\ncontent-disposition: form-data; name="files"; filename="a"\r\n\r\n' if "upload" in path else b""
    chunks = iter([head + chunk, *[chunk] * (MAX_BODY_BYTES // len(chunk))])
    client.request("POST", path, body=chunks, headers=headers, encode_chunked=True)
    assert client.getresponse().status == 413
    client.close()


def test_a_body_under_the_limit_passes_in_chunks(app: str) -> None:
    client = connect(app)
    body = b'--x\r\ncontent-disposition: form-data; name="files"; filename="a.png"\r\n\r\nabc\r\n--x--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=x", "transfer-encoding": "chunked"}
    client.request("POST", "/gradio_api/upload", body=iter([body]), headers=headers, encode_chunked=True)
    assert client.getresponse().status == 200
    client.close()


def test_monitoring_and_other_files_are_closed(app: str) -> None:
    assert WEB.get(f"{app}/monitoring/summary").status_code in (401, 403, 404)
    assert WEB.get(f"{app}/gradio_api/file={ROOT / 'app.py'}").status_code in (403, 404)


def test_every_answer_tells_the_browser_what_it_may_load(app: str) -> None:
    """Also a refusal, a file and an error."""
    upload(app, CHELSEA)
    answers = [WEB.get(f"{app}{path}") for path in ("/", "/config", "/nowhere", f"/gradio_api/file={CHELSEA}")]
    answers.append(WEB.post(f"{app}/gradio_api/queue/join", content=b"{"))
    for answer in answers:
        assert "object-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["referrer-policy"]


def test_a_body_that_comes_too_slowly_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte is in time, all together are not."""
    monkeypatch.setattr("iscam.ui.asked.limits.PATIENCE", 0.2)
    monkeypatch.setattr("iscam.ui.asked.limits.SLOWEST", 1000)
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass

    async def receive() -> Any:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b".", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    asyncio.run(BodyLimit(app)(scope, receive, send))
    assert sent[0]["status"] == 408 and b"too slowly" in sent[1]["body"]


def test_uploads_are_refused_where_the_disk_is_full(app: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else is."""
    monkeypatch.setattr("iscam.ui.asked.limits.SPARE_BYTES", 10**18)
    statuses = {}
    for path in ("/gradio_api/upload", "/gradio_api/queue/join"):
        sent: list[Any] = []

        async def passed(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        asyncio.run(
            BodyLimit(passed)({"type": "http", "method": "POST", "path": path, "headers": []}, None, send)  # type: ignore[arg-type]
        )
        statuses[path] = sent[0]["status"]
    assert statuses == {"/gradio_api/upload": 507, "/gradio_api/queue/join": 200}


def test_a_session_has_few_questions_open(app: str, events: dict[str, int]) -> None:
    """And asks on when they are answered, or could not be."""
    callers = Callers()
    with ExitStack() as stack:
        for _ in range(MAX_OPEN):
            stack.enter_context(callers.one("ann"))
        with pytest.raises(ValueError, match="questions are open already"), callers.one("ann"):
            pass
        with callers.one("bob"):
            pass
    with pytest.raises(ZeroDivisionError), callers.one("ann"):
        raise ZeroDivisionError
    assert not callers._open
    asked = [
        {"path": upload(app, CHELSEA)},
        "photo11",
        "layer1",
        None,
        100,
        ["is-cam"],
        "linear",
        "probability",
        "exact",
    ]
    with Visitor(app) as flood:
        for _ in range(MAX_OPEN + 1):
            flood.join(events["explain"], asked).raise_for_status()
        ended = next(each for each in flood.messages() if each["msg"] == "process_completed")
    assert "questions are open already" in error_of(ended)
