"""Faults: processes that are killed, ports and folders that are taken, disks that are full, weights that are not numbers."""

from __future__ import annotations

import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import safetensors.torch
import torch
from PIL import Image
from PIL.ExifTags import Base as ExifTag

from iscam.models.photo11 import BUNDLED_WEIGHTS
from iscam.project import EXAMPLES
from tests.serving import ROOT, Served, alive, running_app

from .abuse import MODEL, settings
from .client import Visitor, error_of
from .fuzz import no_sentence
from .load import photo
from .rows import Row

NAME = "holiday-in-secret.jpg"
WAIT = 60.0  # seconds


def tried(folder: Path) -> Iterator[Row]:
    """Everything, row by row; with servers of its own."""
    with running_app(_made(folder / "one")) as app:
        yield _killed_compute(app)
        yield _left(app)
        yield _private(app, folder / "one" / "app.log")
        yield _port(app)
    yield _gone(folder / "one", "the server is told to end")
    yield _killed_server(folder)
    yield _command(folder, "a temporary folder that cannot be written", ["app.py"], {"GRADIO_TEMP_DIR": "/proc/no"})
    yield _command(folder, "a port that is none", ["app.py", "--port", "99999"], {})
    explain = [
        "-m",
        "iscam",
        "explain",
        str(EXAMPLES / "chelsea.jpg"),
        "--methods",
        "grad-cam",
        "--out",
        str(folder / "o"),
    ]
    yield _command(folder, "results that cannot be written", [*explain, "--model", MODEL], {}, _no_room)
    evaluate = [
        "-m",
        "iscam",
        "evaluate",
        str(EXAMPLES),
        "--model",
        MODEL,
        "--methods",
        "grad-cam",
        "--out",
        str(folder / "e"),
    ]
    yield _command(folder, "a full disk under an evaluation", evaluate, {}, _no_room)
    broken = folder / "nan.safetensors"
    state = safetensors.torch.load_file(BUNDLED_WEIGHTS)
    state = {name: tensor * torch.nan if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    safetensors.torch.save_file(state, broken)
    yield _command(folder, "weights that are no numbers", [*explain, "--arch", MODEL, "--checkpoint", str(broken)], {})
    short = folder / "short.safetensors"
    short.write_bytes(Path(BUNDLED_WEIGHTS).read_bytes()[:1_000_000])
    yield _command(folder, "weights that are cut off", [*explain, "--arch", MODEL, "--checkpoint", str(short)], {})


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _row(what: str, expected: str, observed: str, holds: bool) -> Row:
    return Row("fault", what, 1, expected, observed, holds)


def _long(visitor: Visitor) -> None:
    """Ask for what takes minutes."""
    path = visitor.upload("x.png", photo(5))
    asked = [{"path": path}, *settings(layer="layer1", methods=["is-cam"], steps=100, engine="exact")]
    assert visitor.join(visitor.event("explain"), asked).status_code == 200


def _answered(app: Served) -> float | None:
    """Seconds until a small question is answered; None if it is not."""
    with Visitor(app.url) as visitor:
        begun = time.perf_counter()
        said = error_of(visitor.explain(visitor.upload("y.png", photo(6)), *settings()))
        return None if said else time.perf_counter() - begun


def _killed_compute(app: Served) -> Row:
    with Visitor(app.url) as visitor:
        _long(visitor)
        time.sleep(2)
        for child in app.children:
            os.kill(child, signal.SIGKILL)
        last = next(message for message in visitor.messages() if message["msg"] == "process_completed")
        said, after = error_of(last), _answered(app)
    expected = "a sentence for whom it was at work, and an answer for the next"
    good = "has ended" in said and not no_sentence(said) and after is not None
    return _row(
        "kill -9 of the compute process at work", expected, f"{said!r}; the next after {after or 0:.1f} s", good
    )


def _left(app: Served) -> Row:
    for _ in range(5):
        with Visitor(app.url) as visitor:
            _long(visitor)
            next(visitor.messages(), None)
    after = _answered(app)
    seen = f"the next is answered after {after or 0:.1f} s"
    return _row(
        "five visitors who leave while they are worked for", "within 10 s", seen, after is not None and after < 10
    )


def _private(app: Served, log: Path) -> Row:
    """A photo with a place and a name in it: nothing of that in what comes out, or in the log."""
    file, exif = io.BytesIO(), Image.Exif()
    exif[ExifTag.Make], exif[ExifTag.ImageDescription] = "Spy Camera", "a secret place"
    exif.get_ifd(0x8825)[2] = (48.0, 51.0, 29.6)
    Image.open(EXAMPLES / "coffee.jpg").save(file, "JPEG", exif=exif)
    with Visitor(app.url) as visitor:
        message = visitor.explain(visitor.upload(NAME, file.getvalue()), *settings())
        (answer,) = message["output"]["data"]
        figure = visitor.web.get(f"/gradio_api/file={answer['figure']['path']}").content
    words = log.read_text()
    found = [word for word in (b"secret", b"Spy", b"Exif") if word in figure] + [
        word for word in ("secret", "Spy") if word in words
    ]
    with Image.open(io.BytesIO(figure)) as picture:
        tags = len(picture.getexif())
    return _row(
        "a photo with GPS and a name",
        "nothing of it in results and log",
        f"{tags} tags, {found}",
        not tags and not found,
    )


def _port(app: Served) -> Row:
    port = app.url.rpartition(":")[2]
    return _command(Path(), "a port that is taken", ["app.py", "--model", MODEL, "--port", port], {})


def _gone(folder: Path, when: str) -> Row:
    left = [path.name for path in (folder / "uploads").glob("*")]
    return _row(f"uploads when {when}", "deleted", f"{len(left)} left", not left)


def _killed_server(folder: Path) -> Row:
    place = _made(folder / "two")
    with running_app(place) as app:
        with Visitor(app.url) as visitor:
            visitor.upload("mine.png", photo(7))
        children = app.children
        os.kill(app.pid, signal.SIGKILL)
        end = time.monotonic() + WAIT
        while any(alive(child) for child in children) and time.monotonic() < end:
            time.sleep(0.1)
    left, there = sum(map(alive, children)), len(list((place / "uploads").rglob("mine.png")))
    with running_app(place):
        after = len(list((place / "uploads").rglob("mine.png")))
    shutil.rmtree(place / "uploads", ignore_errors=True)
    seen = f"{left} processes left; {there} uploads before the next start, {after} after"
    holds = not left and there == 1 and not after
    return _row("kill -9 of the server", "its processes end, its uploads go at the next start", seen, holds)


def _no_room() -> None:
    """What a process writes beyond 2 KB fails."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))


def _command(
    folder: Path, what: str, arguments: list[str], changes: dict[str, str], before: Callable[[], None] | None = None
) -> Row:
    """A command that cannot do what it is asked for."""
    environment = os.environ | {"TORCH_HOME": str(folder / "nowhere"), "ISCAM_NO_OPENVINO": "1"} | changes
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=before,
    )
    words = run.stderr.strip().splitlines()
    said = words[-1] if words else ""
    holds = run.returncode == 2 and "Traceback" not in run.stderr and not no_sentence(said) and "Errno" not in said
    return _row(what, "exit code 2 and a sentence", f"{run.returncode}: {said}", holds)
