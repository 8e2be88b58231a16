"""A file, bytes or a PIL image in, a safe upright RGB photo out; and the part of it that a network sees.

Visitors' files are read here and nowhere else. Every failure is a ValueError with one sentence for people.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.ExifTags import Base as ExifTag

MAX_FILE_BYTES = 25_000_000
MAX_PIXELS = 40_000_000
FITS = ("center", "squash", "pad")  # how a photo becomes a square
LONGEST = 10  # long side over short side, beyond which only the middle of a photo is resized

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif")

# What the EXIF orientation says was done to the picture -> what undoes it. PIL's exif_transpose would also write the
# remaining EXIF again, and one broken tag among it would cost us the rotation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# One picture at a time: it bounds the memory that a crowd of uploads can take, and `catch_warnings`, which changes the
# filters of the whole process, is not safe between threads that use it together.
_decoding = threading.Lock()


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright photo.

    image: RGB, upright, without EXIF or any other metadata; may be smaller than `size` once `reduced`.
    size: (width, height) of the whole photo, upright, in pixels.
    name: the file's name, or "photo" for bytes and PIL images.
    sha256: of the file's bytes, in hexadecimal; empty for PIL images.

    >>> photo = read_photo("assets/examples/chelsea.jpg")
    >>> photo.name, photo.size, photo.reduced(100).image.size
    ('chelsea.jpg', (451, 300), (100, 67))
    """

    image: Image.Image
    size: tuple[int, int]
    name: str
    sha256: str = ""

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
    values are left alone whatever their profile, as torchvision does. All metadata are dropped.

    Raises ValueError, one sentence, on whatever cannot be read: no such file, no regular file, over MAX_FILE_BYTES or
    MAX_PIXELS, of a format not in FORMATS, damaged or cut off.

    >>> read_photo(b"no photo")
    Traceback (most recent call last):
    ...
    ValueError: The photo cannot be read as a photo: use an intact JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC file.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, Image.Image):
        image = _decode(source, "The picture")
        return Photo(image, image.size, "photo")
    if isinstance(source, bytes):
        name, shown, data = "photo", "The photo", source
    elif isinstance(source, (str, Path)):
        name = Path(source).name or "photo"
        shown = _printable(name)
        data = _read_file(Path(source), shown, allowed)
    else:
        raise ValueError("No photo was given: pass a path, the bytes of a file or a PIL image.")
    if not data:
        raise ValueError(f"{shown} is empty: get the photo again from where it came.")
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"{shown} is larger than {MAX_FILE_BYTES // 1_000_000} MB: save the photo smaller.")
    image = _decode(data, shown)
    return Photo(image, image.size, name, hashlib.sha256(data).hexdigest())


def _printable(name: str) -> str:
    """A file name fit for a sentence: quoted, short, and on one line."""
    kept = "".join(letter if letter.isprintable() else "?" for letter in name)
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


@functools.cache
def _add_heif() -> None:
    """Teach PIL to read HEIC and HEIF, once, and only when a file is to be read."""
    import pillow_heif

    pillow_heif.register_heif_opener()


def _decode(source: bytes | Image.Image, shown: str) -> Image.Image:
    """Upright RGB from a file's bytes or an open picture; its size is checked before its pixels are touched."""
    with _decoding, warnings.catch_warnings():
        # PIL warns of odd metadata, which we survive, and of many pixels, which we refuse ourselves.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            if isinstance(source, bytes):
                _add_heif()
                image: Image.Image = Image.open(BytesIO(source), formats=FORMATS)
            else:
                image = source
            _check_pixels(image.size)
            image.load()
            rgb = _to_rgb(image)
        except UnidentifiedImageError as error:
            kinds = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"
            raise ValueError(f"{shown} cannot be read as a photo: use an intact {kinds} file.") from error
        except Image.DecompressionBombError as error:
            millions = MAX_PIXELS // 1_000_000
            raise ValueError(f"{shown} has more than {millions} million pixels: scale the photo down.") from error
        except Exception as error:  # on hostile bytes the decoders raise nearly anything
            raise ValueError(f"{shown} is damaged or cut off: get or save the photo again.") from error
        try:
            turn = _UPRIGHT.get(image.getexif().get(ExifTag.Orientation, 1))
        except Exception:  # broken EXIF: show the photo as it is stored
            turn = None
    upright = rgb if turn is None else rgb.transpose(turn)
    upright.info = {}
    return upright


def _check_pixels(size: tuple[int, int]) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise Image.DecompressionBombError(f"{size[0]} x {size[1]} pixels")
    if 0 in size:
        raise ValueError("no pixels")


def _to_rgb(image: Image.Image) -> Image.Image:
    """A new 8-bit RGB picture from a loaded one of any mode."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return Image.fromarray(_to_8_bit(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        # PIL goes from La (multiplied by alpha) to nothing but LA.
        alpha = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), alpha).convert("RGB")
    if image.mode == "CMYK" and (profile := image.info.get("icc_profile")):
        try:
            cmyk = ImageCms.ImageCmsProfile(BytesIO(profile))
            rgb = ImageCms.profileToProfile(image, cmyk, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            rgb = None  # the profile is broken, or not one for CMYK
        if rgb is not None:
            return rgb
    return image.convert("RGB")


def _to_8_bit(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Grey values of 16 or 32 bit or floats -> 0..255.

    16-bit values are divided by 257. 32-bit integers tell by their range what they are: 8-bit values stay, 16-bit ones
    are divided by 257, others stretched from their lowest to their highest. Floats within [0, 1] are multiplied by 255,
    others stretched. Infinities are taken for the extremes and NaN for the lowest value.
    """
    with np.errstate(invalid="ignore"):  # a signalling NaN
        exact = values.astype(np.float64)  # the range of 32-bit integers, and of floats, overflows their own type
    if values.dtype.itemsize == 2:
        low, high = 0.0, 65535.0
    else:
        finite = exact[np.isfinite(exact)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        for known in (1.0,) if values.dtype.kind == "f" else (255.0, 65535.0):
            if low >= 0 and high <= known:
                low, high = 0.0, known
                break
    np.nan_to_num(exact, copy=False, nan=low, posinf=high, neginf=low)
    exact -= low
    exact *= 255 / (high - low) if high > low else 0.0
    return np.rint(exact, out=exact).astype(np.uint8)


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
