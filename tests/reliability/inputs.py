"""Hostile photos, made here, through the library, the page's endpoint and the command line: a photo or one sentence each."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from iscam.images import read_photo
from tests.serving import ROOT, Served

from .abuse import MODEL, settings
from .client import Visitor, error_of
from .fuzz import HANGS, no_sentence
from .photos import seeds
from .rows import Row, counted

SIZES = {"1x1": (1, 1), "1x20000": (1, 20_000), "20000x1": (20_000, 1)}
REFUSED = "refused"
SHOWN = "shown"
SCANS = 2_000  # of a JPEG that is decoded again and again


def files() -> dict[str, tuple[bytes, str]]:
    """By name: the bytes, and whether there is a photo in them."""
    good = seeds()
    made = {
        f"{name} ({kind.lower()})": (_of(size, kind), SHOWN) for name, size in SIZES.items() for kind in ("PNG", "JPEG")
    }
    made |= {name: (data, SHOWN) for name, data in good.items()}
    made |= {
        f"cut off {name}": (good[name][: len(good[name]) // 2], REFUSED) for name in ("jpeg", "png", "webp", "heic")
    }
    jpeg, png = good["jpeg"], good["png"]
    made |= {
        "empty": (b"", REFUSED),
        "text": (b"hello, world\n" * 50, REFUSED),
        "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', REFUSED),
        "web page": (b"<!doctype html><img src=x onerror=alert(1)>", REFUSED),
        "only the head of a gif": (b"GIF89a", REFUSED),
        "only the head of a jpeg": (b"\xff\xd8\xff\xe0", REFUSED),
        "png of 2,500 million pixels": (_bomb(50_000, 50_000), REFUSED),
        "png of 49 million pixels from 6 KB": (_bomb(7_000, 7_000), SHOWN),
        "gif of 65535x65535": (good["gif"][:6] + b"\xff\xff\xff\xff" + good["gif"][10:], REFUSED),
        "tiff of 2,000 million pixels": (_tiff(good["tiff"], 65_000, 32_000), REFUSED),
        "broken exif": (jpeg[:30] + b"\xff" * 20 + jpeg[50:], SHOWN),
        "png with a profile of nonsense": (_chunked(png, b"iCCP", b"x\0\0" + zlib.compress(b"nonsense" * 99)), SHOWN),
        "png with a text of 40 MB in 40 KB": (
            _chunked(png, b"zTXt", b"x\0\0" + zlib.compress(bytes(40_000_000))),
            SHOWN,
        ),
        "png and zip at once": (png + b"PK\x05\x06" + bytes(18), SHOWN),
        "jpeg and web page at once": (jpeg + b"<script>alert(1)</script>", SHOWN),
        f"small jpeg of {SCANS:,} scans": (_scans(good["progressive jpeg"], SCANS), SHOWN),
        f"large jpeg of {SCANS:,} scans": (_scans(_of((3_000, 3_000), "JPEG", progressive=True), SCANS), REFUSED),
    }
    return made


NAMES = (
    "<img src=x onerror=alert(1)>.png",
    "..%2f..%2fapp.png",
    "a" * 240 + ".png",
    "ü ☃ \u202e.png",
    "x.exe",
    "-rf.png",
)


def tried(app: Served, folder: Path) -> Iterator[Row]:
    """Every file through every door, and files that are none."""
    made = files()
    yield _library(made)
    yield _endpoint(app, made)
    yield _command(made, folder)
    yield _names(app, made["png"][0])
    yield _no_files(folder)


def _verdict(name: str, data: bytes) -> str:
    begun = time.perf_counter()
    try:
        read_photo(data).reduced()
        found = SHOWN
    except ValueError as error:
        found = no_sentence(str(error)) or REFUSED
    took = time.perf_counter() - begun
    return f"took {took:.1f} s" if took > HANGS else found


def _library(made: dict[str, tuple[bytes, str]]) -> Row:
    found = {name: _verdict(name, data) for name, (data, _) in made.items()}
    wrong = [f"{name}: {found[name]}" for name, (_, wanted) in made.items() if found[name] != wanted]
    return counted(
        "input", "hostile and odd photos, by the library", len(made), "shown or refused, each within 2 s", wrong
    )


def _endpoint(app: Served, made: dict[str, tuple[bytes, str]]) -> Row:
    wrong = []
    with Visitor(app.url) as visitor:
        event = visitor.event("explain")
        for name, (data, wanted) in made.items():
            said = error_of(visitor.ask(event, [{"path": visitor.upload("photo.jpg", data)}, *settings()]))
            found = REFUSED if said else SHOWN
            if found != wanted or (said and no_sentence(said)):
                wrong.append(f"{name}: {said or found}")
    return counted("input", "the same as uploads called photo.jpg, by the endpoint", len(made), "the same", wrong)


def _command(made: dict[str, tuple[bytes, str]], folder: Path) -> Row:
    paths = []
    for number, (data, _) in enumerate(made.values()):
        paths.append(folder / f"{number}.png")
        paths[-1].write_bytes(data)
    command = [sys.executable, "-m", "iscam", "explain", *map(str, paths), "--model", MODEL, "--methods", "grad-cam"]
    run = subprocess.run(
        [*command, "--out", str(folder / "out")], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    wrong = ["a traceback"] if "Traceback" in run.stderr else []
    for number, (name, (_, wanted)) in enumerate(made.items()):
        there = (folder / "out" / f"{number}.iscam.png").exists()
        said = [line for line in run.stderr.splitlines() if f"{number}.png" in line]
        if there != (wanted == SHOWN) or (not there and len(said) != 1):
            wrong.append(f"{name}: {said or 'nothing said'}")
    return counted("input", "the same as files, by the command line", len(made), "the same", wrong)


def _names(app: Served, data: bytes) -> Row:
    wrong = []
    with Visitor(app.url) as visitor:
        event = visitor.event("explain")
        for name in NAMES:
            path = visitor.upload(name, data)
            message = visitor.ask(event, [{"path": path}, *settings()])
            if error_of(message):
                wrong.append(f"{name[:30]}: {error_of(message)}")
            if "<img" in path or ".." in Path(path).parts:
                wrong.append(f"{name[:30]} became {path}")
    return counted("input", "names with markup, dots, 240 letters and other scripts", len(NAMES), "read", wrong)


def _no_files(folder: Path) -> Row:
    """A folder, a pipe that nobody writes, a socket's place, a device, a link out of the folder, a link in a circle."""
    pipe, circle, link = folder / "pipe.png", folder / "circle.png", folder / "link.png"
    os.mkfifo(pipe)
    circle.symlink_to(circle)
    link.symlink_to("/etc/hostname")
    wrong = []
    odd = [
        folder,
        pipe,
        circle,
        link,
        Path("/dev/zero"),
        Path("/proc/self/mem"),
        folder / ("x" * 300),
        folder / "no\0name",
    ]
    for path in odd:
        try:
            read_photo(path, allowed=[folder])
            wrong.append(f"{path.name} was read")
        except ValueError as error:
            if trouble := no_sentence(str(error)):
                wrong.append(f"{path.name}: {trouble}")
    return counted(
        "input", "folders, pipes, devices and links in place of a file", len(odd), "one sentence each", wrong
    )


def _of(size: tuple[int, int], kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "teal").save(file, kind, **options)
    return file.getvalue()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _bomb(width: int, height: int) -> bytes:
    """A PNG of one colour, in a thousandth of its size."""
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pack = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    rows = min(height, 7_000)  # of a larger one nobody comes so far
    body = b"".join(pack.compress(row) for _ in range(rows)) + pack.flush()
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunked(png: bytes, name: bytes, data: bytes) -> bytes:
    """A PNG with another chunk behind its head."""
    return png[:33] + _chunk(name, data) + png[33:]


def _tiff(tiff: bytes, width: int, height: int) -> bytes:
    """A TIFF that says another size of itself."""
    data = bytearray(tiff)
    at = int.from_bytes(data[4:8], "little")
    for place in range(at + 2, at + 2 + 12 * int.from_bytes(data[at : at + 2], "little"), 12):
        tag = int.from_bytes(data[place : place + 2], "little")
        if tag in (256, 257):
            data[place + 2 : place + 12] = struct.pack("<HII", 4, 1, width if tag == 256 else height)
    return bytes(data)


def _scans(jpeg: bytes, count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:last] + jpeg[last:-2] * count + jpeg[-2:]
