"""From a file's bytes, or an open picture, to upright RGB, in bounded memory: the one place where files are decoded."""

from __future__ import annotations

import functools
import threading
import warnings
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageFile, JpegImagePlugin, UnidentifiedImageError
from PIL.ExifTags import Base as ExifTag

from iscam.kinds import kind_of
from iscam.pixels import to_8_bit, to_rgb, value_range

MAX_PIXELS = 50_000_000  # decoded whole: the 48 million of a phone's HEIC
MAX_JPEG_PIXELS = 210_000_000  # decoded at a half, a quarter or an eighth, so that no more are left than ...
JPEG_PIXELS = 40_000_000
MAX_SCANS_PIXELS = (
    65_000_000  # of a JPEG in several scans, which is held whole, at up to 8 bytes a pixel, however small
)
MAX_SCANNED = 1_500_000_000  # pixels of a JPEG times its scans, each of which goes over all of it: two seconds' work
MAX_SLOW_VALUES = 3_000_000  # which PIL reads one by one: two or three seconds' work

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "PPM")
READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, AVIF or HEIC"

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
_ON_ITS_SIDE = (5, 6, 7, 8)

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_PNG_WORDS = (
    b"iCCP",
    b"tEXt",
    b"zTXt",
    b"iTXt",
)  # chunks that PIL refuses when they are large, and the picture does not need
# 16 bits a colour, of which PIL keeps the first 8 -> how it keeps the others
_OTHER_BYTE = {"RGB;16B": "RGB;16L", "RGB;16L": "RGB;16B"}

# One picture at a time: it bounds the memory that a crowd of uploads can take, and `catch_warnings`, which changes the
# filters of the whole process, is not safe between threads that use it together.
_decoding = threading.Lock()


@dataclass(frozen=True, eq=False)
class Decoded:
    """An upright RGB image, perhaps at a fraction of the photo's upright `size`; `note` says what was guessed of its values."""

    image: Image.Image
    size: tuple[int, int]
    note: str


class _TooLarge(Exception):
    """More pixels than the number it is given."""


class _TooOften(Exception):
    """Scans over scans."""


def decode(source: bytes | Image.Image, shown: str) -> Decoded:
    """Decode a file's bytes or an open picture, which is left as it is; its size is checked before its pixels are touched.

    `shown` is what it is called in sentences. Raises ValueError, one sentence, if it cannot be decoded.
    """
    kind = kind_of(source) if isinstance(source, bytes) else None
    if kind is not None:
        raise ValueError(f"{shown} cannot be read as a photo, because it is {kind.what}: {kind.advice}.")
    with _decoding, warnings.catch_warnings():
        # PIL warns of odd metadata, which we survive, and of many pixels, which we refuse ourselves.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            image, size, rgb, note = _of_bytes(source) if isinstance(source, bytes) else _of_picture(source)
        except UnidentifiedImageError as error:
            raise ValueError(f"{shown} cannot be read as a photo: use an intact {READABLE} file.") from error
        except (Image.DecompressionBombError, _TooLarge) as error:
            most = error.args[0] if isinstance(error, _TooLarge) else MAX_PIXELS
            raise ValueError(
                f"{shown} has more than {most // 1_000_000} million pixels: scale the photo down."
            ) from error
        except _TooOften as error:
            raise ValueError(f"{shown} is stored in too many scans: open it elsewhere and save it anew.") from error
        except Exception as error:  # on hostile bytes the decoders raise nearly anything
            raise ValueError(f"{shown} is damaged or cut off: get or save the photo again.") from error
        try:
            orientation = image.getexif().get(ExifTag.Orientation, 1)
            turn = _UPRIGHT.get(orientation)
        except Exception:  # broken EXIF: show the photo as it is stored
            orientation, turn = 1, None
    upright = rgb if turn is None else rgb.transpose(turn)
    upright.info = {}
    return Decoded(upright, size[::-1] if orientation in _ON_ITS_SIDE else size, note)


_Found = tuple[Image.Image, tuple[int, int], Image.Image, str]  # as opened, its whole size, as RGB, what must be said


def _of_picture(image: Image.Image) -> _Found:
    _check_pixels(image.size, MAX_PIXELS)
    image.load()
    return image, image.size, *to_rgb(image)


def _of_bytes(data: bytes) -> _Found:
    try:
        return _load(data)
    except (_TooLarge, _TooOften, UnidentifiedImageError, Image.DecompressionBombError):
        raise
    except ValueError:  # of texts and profiles over a megabyte PIL says no more than that
        if not data.startswith(_PNG):
            raise
        return _load(_without_words(data))


def _load(data: bytes) -> _Found:
    if data.startswith(_JPEG):
        # not Image.open, which refuses 179 million pixels before it can be told to decode fewer
        image: ImageFile.ImageFile = JpegImagePlugin.jpeg_factory(BytesIO(data))
        size = image.size
        if data.count(b"\xff\xda") * size[0] * size[1] > MAX_SCANNED:
            raise _TooOften
        _shrink(image, in_one_scan(data))
    else:
        _add_heif()
        image = Image.open(BytesIO(data), formats=FORMATS)
        size = image.size
        _check_pixels(size, MAX_PIXELS)
    if image.format == "PPM" and image.tile and (read := _netpbm(image, data)) is not None:
        return image, size, read, ""
    kept = _raw_mode(image)
    image.load()
    if kept in _OTHER_BYTE and (deep := _deep_colours(image, data, kept)) is not None:
        return image, size, *deep
    return image, size, *to_rgb(image)


def _check_pixels(size: tuple[int, int], most: int) -> None:
    if size[0] * size[1] > most:
        raise _TooLarge(most)
    if 0 in size:
        raise ValueError("no pixels")


@functools.cache
def _add_heif() -> None:
    """Teach PIL to read HEIC and HEIF, once, and only when a file is to be read."""
    import pillow_heif

    pillow_heif.register_heif_opener()


def _shrink(image: ImageFile.ImageFile, one_scan: bool) -> None:
    """Have a JPEG of more than JPEG_PIXELS decoded at a half, a quarter or an eighth of its sides."""
    width, height = image.size
    _check_pixels(image.size, MAX_JPEG_PIXELS if one_scan else MAX_SCANS_PIXELS)
    for part in (1, 2, 4, 8):
        if -(-width // part) * -(-height // part) <= JPEG_PIXELS:
            break
    if part > 1:
        image.draft(None, (width // part, height // part))
        _check_pixels(image.size, JPEG_PIXELS)  # should it not heed the draft


def in_one_scan(data: bytes) -> bool:
    """Whether a JPEG's first scan has all of its colours and all of their detail, so that it can be decoded row by row."""
    at, components = 2, 0
    while at + 10 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xDA:  # the scan
            return data[at + 4] == components
        if marker in (0xC0, 0xC1):  # baseline or extended sequential
            components = data[at + 9]
        at += 2 + length
    return False


def _without_words(data: bytes) -> bytes:
    """A PNG without its profile and texts."""
    kept, at = [_PNG], len(_PNG)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] not in _PNG_WORDS:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _netpbm(image: ImageFile.ImageFile, data: bytes) -> Image.Image | None:
    """The picture of a PPM or PGM of any depth, if PIL would read it value by value, or would not say how deep it is."""
    codec, _, offset, form = image.tile[0]
    bands = len(image.getbands())
    count = image.width * image.height * bands
    if codec == "ppm_plain":
        _check_pixels((count, 1), MAX_SLOW_VALUES)
    if codec != "ppm" and (codec != "raw" or image.mode != "I"):
        return None
    most = form[-1] if codec == "ppm" and isinstance(form, tuple) else 65535
    assert isinstance(most, int)
    values = np.frombuffer(data, ">u2" if most > 255 else "u1", count, offset)
    shape = (image.height, image.width, bands)[: 2 if bands == 1 else 3]
    return Image.fromarray(to_8_bit(values.reshape(shape), 0, most)).convert("RGB")


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """How the file's values are packed, as PIL calls it; empty if they lie in no tiles."""
    form = image.tile[0][3] if image.tile else ""
    return str(form[0] if isinstance(form, tuple) else form)


def _deep_colours(image: Image.Image, data: bytes, kept: str) -> tuple[Image.Image, str] | None:
    """The picture, and a word, if its colours have 12 bits or fewer and are stored in 16, of which PIL keeps the first 8."""
    first = np.asarray(image)  # (h, w, 3)
    if first.max() > 15:
        return None
    again = Image.open(BytesIO(data), formats=FORMATS)
    form = again.tile[0].args
    other = _OTHER_BYTE[kept]
    again.tile = [tile._replace(args=(other, *form[1:]) if isinstance(form, tuple) else other) for tile in again.tile]
    values = first.astype(np.uint16) * 256 + np.asarray(again)
    low, high, said = value_range(values)
    return Image.fromarray(to_8_bit(values, low, high)), said
