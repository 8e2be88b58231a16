"""What a file is that is no photo: said by name, so that no thumbnail is explained for the picture it stands for."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """What a file is, and what can be done instead; both fit a sentence."""

    what: str
    advice: str


RAW = "develop it, or take the JPEG that the camera makes beside it"
CONVERT = "save it as a JPEG or PNG first"
AGAIN = "get the photo again from where it came"

# (where, bytes that stand there) -> what it is
_STARTS: tuple[tuple[int, bytes, Kind], ...] = (
    *(
        (at, start, Kind(f"a camera raw file ({name})", RAW))
        for at, start, name in (
            (8, b"CR\x02", "Canon CR2"),
            (4, b"ftypcrx ", "Canon CR3"),
            (6, b"HEAPCCDR", "Canon CRW"),
            (0, b"FUJIFILMCCD-RAW", "Fujifilm RAF"),
            (0, b"IIRO", "Olympus ORF"),
            (0, b"IIRS", "Olympus ORF"),
            (0, b"MMOR", "Olympus ORF"),
            (0, b"IIU\0", "Panasonic RW2"),
            (0, b"FOVb", "Sigma X3F"),
            (0, b"\0MRM", "Minolta MRW"),
        )
    ),
    *(
        (at, start, Kind(f"a {name} picture", CONVERT))
        for at, start, name in (
            (0, b"\xff\x0a", "JPEG XL"),
            (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
            (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
            (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
            (0, b"8BPS", "Photoshop"),
            (0, b"v/1\x01", "OpenEXR"),
            (0, b"#?RADIANCE", "Radiance HDR"),
            (0, b"SIMPLE  =", "FITS"),
            (128, b"DICM", "DICOM"),
        )
    ),
    (0, b"%PDF", Kind("a PDF document", CONVERT)),
    (0, b"PK\x03\x04", Kind("a zip archive", "unpack it and choose a photo in it")),
    (0, b"version https://git-lfs", Kind("a Git LFS pointer", "fetch the photo itself with git lfs pull")),
)
_PHOTO_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1")

# Camera raw files that are TIFFs with a small picture first
_TIFF_STARTS = {b"II*\0": "<", b"MM\0*": ">"}
_PHOTOMETRIC, _MAKE, _SUB_IFDS, _DNG = 262, 271, 330, 50706
_SENSOR = (32803, 34892)  # photometric interpretations: a colour filter array, and linear values of a sensor
_MAKES = {
    "NIKON": "Nikon NEF",
    "SONY": "Sony ARW",
    "PENTAX": "Pentax PEF",
    "RICOH": "Pentax PEF",
    "SAMSUNG": "Samsung SRW",
    "HASSELBLAD": "Hasselblad 3FR",
    "PHASE ONE": "Phase One IIQ",
    "EPSON": "Epson ERF",
}
_MOST_IFDS, _MOST_TAGS = 32, 512  # of a file that is looked through; a hostile one may be a ring


def kind_of(data: bytes) -> Kind | None:
    """What a file's bytes are, if it is known and no photo.

    >>> kind_of(b"%PDF-1.7 ...").what
    'a PDF document'
    """
    for at, start, kind in _STARTS:
        if data[at : at + len(start)] == start:
            return kind
    if data[4:8] == b"ftyp" and data[8:12] not in _PHOTO_BRANDS:
        return Kind("a video", "save one of its frames as a JPEG or PNG")
    text = data[:1000].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return Kind("an SVG drawing", CONVERT)
    if text.startswith((b"<!doctype html", b"<html")):
        return Kind("a web page", AGAIN)
    order = _TIFF_STARTS.get(data[:4])
    return None if order is None else _raw_in_tiff(data, order)


def _raw_in_tiff(data: bytes, order: str) -> Kind | None:
    """The camera raw file that a TIFF is, if it is one: a DNG, or one with the values of a sensor in any of its pictures."""
    make, sensor = "", False
    for tags in _directories(data, order):
        if _DNG in tags:
            return Kind("a camera raw file (DNG)", RAW)
        sensor = sensor or any(value in _SENSOR for value in tags.get(_PHOTOMETRIC, ()))
        for at in tags.get(_MAKE, ())[:1]:
            make = make or data[at : at + 20].decode("latin-1").upper()
    if not sensor:
        return None
    names = [name for maker, name in _MAKES.items() if make.startswith(maker)]
    return Kind(f"a camera raw file ({names[0]})" if names else "a camera raw file", RAW)


def _directories(data: bytes, order: str) -> Iterator[dict[int, tuple[int, ...]]]:
    """The tags of a TIFF's pictures, each with its whole numbers, or the place of its text."""
    waiting, seen = [int.from_bytes(data[4:8], "little" if order == "<" else "big")], set[int]()
    while waiting and len(seen) < _MOST_IFDS:
        at = waiting.pop(0)
        if at in seen or not 8 <= at <= len(data) - 2:
            continue
        seen.add(at)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        end = at + 2 + 12 * min(count, _MOST_TAGS)
        if end > len(data):
            continue
        tags = dict(_tag(data, order, place) for place in range(at + 2, end, 12))
        yield tags
        waiting += tags.get(_SUB_IFDS, ())
        if count <= _MOST_TAGS and end + 4 <= len(data):
            waiting += struct.unpack_from(f"{order}I", data, end)


def _tag(data: bytes, order: str, at: int) -> tuple[int, tuple[int, ...]]:
    """(number, values) of an entry: up to _MOST_IFDS whole numbers, wherever they lie; of other kinds their place."""
    number, kind, count = struct.unpack_from(f"{order}HHI", data, at)
    letter = {3: "H", 4: "I", 13: "I"}.get(kind)
    if letter is None or not count:
        return number, struct.unpack_from(f"{order}I", data, at + 8)
    form = f"{order}{min(count, _MOST_IFDS)}{letter}"
    place = at + 8
    if struct.calcsize(f"{order}{letter}") * count > 4:
        (place,) = struct.unpack_from(f"{order}I", data, at + 8)
    return number, struct.unpack_from(form, data, place) if place + struct.calcsize(form) <= len(data) else ()
