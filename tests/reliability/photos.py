"""Photos to begin with: small ones of every kind that is read, in every way that their programs pack them."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageCms

from iscam.images import read_photo

SIZE = 61, 47


def read(_name: str, data: bytes) -> object:
    """As an upload is: the photo, and the picture of it that a page shows."""
    return read_photo(data).reduced()


def seeds() -> dict[str, bytes]:
    """By name; each can be read."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    colours = _picture("RGB")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames = [colours.rotate(angle) for angle in (90, 180)]
    made: Mapping[str, tuple[Image.Image, str, dict[str, object]]] = {
        "jpeg": (colours, "JPEG", {"exif": exif, "icc_profile": profile}),
        "progressive jpeg": (colours, "JPEG", {"progressive": True}),
        "grey jpeg": (_picture("L"), "JPEG", {}),
        "cmyk jpeg": (_picture("CMYK"), "JPEG", {}),
        "png": (colours, "PNG", {"exif": exif, "icc_profile": profile}),
        "palette png": (_picture("P"), "PNG", {"transparency": 3}),
        "transparent png": (_picture("RGBA"), "PNG", {}),
        "grey and alpha png": (_picture("LA"), "PNG", {}),
        "16-bit png": (_picture("I;16"), "PNG", {}),
        "one-bit png": (_picture("1"), "PNG", {}),
        "animated png": (colours, "PNG", {"save_all": True, "append_images": frames}),
        "gif": (_picture("P"), "GIF", {}),
        "animated gif": (_picture("P"), "GIF", {"save_all": True, "append_images": [f.convert("P") for f in frames]}),
        "webp": (colours, "WEBP", {"exif": exif}),
        "lossless webp": (_picture("RGBA"), "WEBP", {"lossless": True}),
        "animated webp": (colours, "WEBP", {"save_all": True, "append_images": frames}),
        "bmp": (colours, "BMP", {}),
        "palette bmp": (_picture("P"), "BMP", {}),
        "tiff": (colours, "TIFF", {"exif": exif}),
        "deflated tiff": (colours, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "lzw tiff": (_picture("RGBA"), "TIFF", {"compression": "tiff_lzw"}),
        "jpeg tiff": (colours, "TIFF", {"compression": "jpeg"}),
        "fax tiff": (_picture("1"), "TIFF", {"compression": "group4"}),
        "float tiff": (_picture("F"), "TIFF", {}),
        "32-bit tiff": (_picture("I"), "TIFF", {}),
        "avif": (colours, "AVIF", {"speed": 10}),
        "heic": (colours, "HEIF", {}),
        "ppm": (colours, "PPM", {}),
        "16-bit pgm": (_picture("I;16"), "PPM", {}),
    }
    found = {}
    for name, (picture, kind, options) in made.items():
        file = io.BytesIO()
        picture.save(file, kind, **options)
        found[name] = file.getvalue()
    found["plain ppm"] = b"P3 2 2 255\n" + b" ".join(str(value).encode() for value in range(12)) + b"\n"
    return found


def _picture(mode: str) -> Image.Image:
    """Shapes and noise in a mode of PIL's, always the same."""
    width, height = SIZE
    draw = random.Random(7)
    noise = np.frombuffer(draw.randbytes(width * height * 3), np.uint8).reshape(height, width, 3).copy()
    noise[10:30, 5:40] = (200, 90, 30)
    colours = Image.fromarray(noise)
    if mode == "RGBA":
        colours.putalpha(colours.convert("L"))
        return colours
    if mode == "LA":
        return colours.convert("RGBA").convert("LA")
    if mode == "I;16":
        return Image.fromarray(np.asarray(colours.convert("L")).astype(np.uint16) * 257)
    return colours.convert(mode)
