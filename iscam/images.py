"""A file, bytes or a PIL image in, a safe upright RGB photo out; and the part of it that a network sees.

Visitors' files are read here and nowhere else. Every failure is a ValueError with one sentence for people.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from iscam.decoding import decode

MAX_FILE_BYTES = 80_000_000  # a phone's 200 million pixels
FITS = ("center", "squash", "pad")  # how a photo becomes a square
INTERPOLATIONS = ("bilinear", "bicubic")  # of what is resized
LONGEST = 10  # long side over short side, beyond which only the middle of a photo is resized

SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright photo.

    image: RGB, upright, without EXIF or any other metadata; smaller than `size` once `reduced`, or if it is very large.
    size: (width, height) of the whole photo, upright, in pixels.
    name: the file's name, or "photo" for bytes and PIL images.
    sha256: of the file's bytes, in hexadecimal; empty for PIL images.
    note: what must be said of how it was read, in a sentence; empty if nothing.

    >>> photo = read_photo("assets/examples/chelsea.jpg")
    >>> photo.name, photo.size, photo.reduced(100).image.size
    ('chelsea.jpg', (451, 300), (100, 67))
    """

    image: Image.Image
    size: tuple[int, int]
    name: str
    sha256: str = ""
    note: str = ""

    def reduced(self, longest: int = 1024) -> Photo:
        """The same photo for display: the image at most `longest` pixels on its longer side, `size` as it was."""
        width, height = self.image.size
        if max(width, height) <= longest:
            return self
        scale = longest / max(width, height)
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        return replace(self, image=self.image.resize(small, Image.Resampling.LANCZOS, reducing_gap=2.0))


@dataclass(frozen=True)
class Geometry:
    """How a network's input is cut from a photo, as torchvision does it: the short side is resized to `resize`, then
    the central square of side `input_size` is taken (both in pixels, input_size <= resize). `interpolation` is `bilinear` or
    `bicubic`. With another `fit` than `center` the whole photo becomes that square: `squash` bends its sides to the same
    length, `pad` adds what lacks to the shorter one."""

    resize: int
    input_size: int
    interpolation: str = "bilinear"
    fit: str = "center"

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise ValueError(f"A photo becomes a square by one of {', '.join(FITS)}, not by {self.fit!r}.")
        if not 1 <= self.input_size <= self.resize:
            raise ValueError(
                f"A crop of {self.input_size} pixels cannot be cut from a short side of {self.resize}: "
                "choose an input size of at least 1 and at most the resized side."
            )

    def crop(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Where the network looks on a photo of `size` (width, height): (left, top, right, bottom) in whole pixels,
        inside the photo and at least one pixel wide and high; where the photo is padded, beyond it."""
        if self.fit != "center":
            across, down = (max(size), max(size)) if self.fit == "pad" else size
            left, top = (across - size[0]) // 2, (down - size[1]) // 2
            return -left, -top, across - left, down - top
        short = min(size)
        spans = []
        for side in size:
            resized = self.resize * side // short  # Resize: the long side is cut off, not rounded
            start = round((resized - self.input_size) / 2)  # CenterCrop: halves go to the even pixel
            low = round(start * side / resized)
            high = max(round((start + self.input_size) * side / resized), low + 1)
            spans.append((low, high))
        (left, right), (top, bottom) = spans
        return left, top, right, bottom


def read_photo(source: str | Path | bytes | Image.Image | Photo, allowed: Sequence[Path] | None = None) -> Photo:
    """Read a photo from a path, a file's bytes or a PIL image, which is left as it is; a Photo is returned unchanged.

    allowed: folders. If given, a path that leads outside them once its links are followed is refused.

    The picture is turned upright by its EXIF orientation, laid on white where it is transparent, and brought to 8-bit
    RGB; of an animation the first frame is taken. A CMYK picture goes through its colour profile if it has one; RGB
    values are left alone whatever their profile, as torchvision does. All metadata are dropped. A JPEG of more than 40
    million pixels is decoded at a half, a quarter or an eighth of its sides; its `size` is that of the whole.

    Raises ValueError, one sentence, on whatever cannot be read: no such file, no regular file, over MAX_FILE_BYTES, of too
    many pixels, damaged or cut off, or no photo: a camera raw file is named, and not its thumbnail read.

    >>> read_photo(b"no photo")
    Traceback (most recent call last):
    ...
    ValueError: The photo cannot be read as a photo: use an intact JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, AVIF or HEIC file.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, Image.Image):
        found = decode(source, "The picture")
        return Photo(found.image, found.size, "photo", note=found.note)
    if isinstance(source, bytes):
        name, shown, data = "photo", "The photo", source
    elif isinstance(source, (str, Path)):
        name = Path(source).name or "photo"
        shown = _quoted(name)
        data = _read_file(Path(source), shown, allowed)
    else:
        raise ValueError("No photo was given: pass a path, the bytes of a file or a PIL image.")
    if not data:
        raise ValueError(f"{shown} is empty: get the photo again from where it came.")
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"{shown} is larger than {MAX_FILE_BYTES // 1_000_000} MB: save the photo smaller.")
    found = decode(data, shown)
    return Photo(found.image, found.size, name, hashlib.sha256(data).hexdigest(), found.note)


def digest_of(source: str | Path, allowed: Sequence[Path] | None = None) -> str:
    """The SHA-256 of a photo's file, in hexadecimal, as `Photo.sha256`; it is not decoded.

    Raises ValueError, one sentence, as `read_photo` does of a path.

    >>> digest_of("assets/examples/chelsea.jpg") == read_photo("assets/examples/chelsea.jpg").sha256
    True
    """
    return hashlib.sha256(_read_file(Path(source), _quoted(Path(source).name), allowed)).hexdigest()


def one_line(text: str) -> str:
    """Text fit to be shown: names of files and classes may hold line breaks, control codes, or no Unicode at all.

    >>> one_line("cat.jpg\\n")
    'cat.jpg?'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _quoted(name: str) -> str:
    """A file name fit for a sentence: quoted, short, and on one line."""
    kept = one_line(name)
    return f'"{kept}"' if len(kept) <= 60 else f'"{kept[:57]}..."'


def _read_file(path: Path, shown: str, allowed: Sequence[Path] | None) -> bytes:
    """The file's bytes, at most one more than MAX_FILE_BYTES. Nothing is opened before it is known to be a file."""
    try:
        real = Path(os.path.realpath(path))  # Path.resolve would raise RuntimeError on links that go round
        inside = allowed is None or any(real.is_relative_to(os.path.realpath(folder)) for folder in allowed)
        status = real.stat() if inside else None
        if status is not None and stat.S_ISREG(status.st_mode):
            with real.open("rb") as file:
                return file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise ValueError(
            f"{shown} cannot be opened: check that there is such a file and that it may be read."
        ) from error
    if status is None:  # not even a word on whether there is such a file
        raise ValueError("The photo is not in a folder that may be read from here: upload it instead.")
    raise ValueError(f"{shown} is not a file but a folder or a device: choose a photo.")


def middle(image: Image.Image) -> Image.Image:
    """The photo, without the far ends of a very long one: the crop lies in the middle, and resizing all could fill memory."""
    short, long = min(image.size), max(image.size)
    if long <= LONGEST * short:
        return image
    cut = (long - LONGEST * short) // 2
    left, top = (cut, 0) if image.width == long else (0, cut)
    return image.crop((left, top, image.width - left, image.height - top))


def find_photos(folder: Path) -> list[Path]:
    """The photos in a folder, going by their names' endings, sorted."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
