"""What a visitor's file may do to us, and what a photo must look like once it is read."""

from __future__ import annotations

import os
import struct
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageFile, PngImagePlugin

from iscam import decoding, images, kinds
from iscam.images import Geometry, Photo, read_photo

GPS = {1: "N", 2: (48.0, 51.0, 30.0)}


def scene(width: int = 48, height: int = 32) -> Image.Image:
    """A picture no flip or turn of which looks like itself: red grows to the right, green downward, blue corner."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    pixels[: height // 4, : width // 4, 2] = 200
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def difference(a: Image.Image, b: Image.Image) -> float:
    assert a.size == b.size
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).mean())


def grey(photo: Photo) -> np.ndarray:
    """The grey values of a photo all of whose channels are equal."""
    red, green, blue = np.moveaxis(np.asarray(photo.image), 2, 0)
    assert (red == green).all() and (green == blue).all()
    return red.astype(int)


def sentence(source: object, **options: object) -> str:
    """The error of a source that cannot be read: one sentence that says what to do."""
    with pytest.raises(ValueError) as caught:
        read_photo(source, **options)  # type: ignore[arg-type]
    text = str(caught.value)
    assert text.endswith(".") and ": " in text and text.isprintable() and len(text) < 160, text
    return text


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    chunks = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 99))
    body = (
        struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in (*chunks, (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def cmyk_profile() -> bytes:
    """A colour profile whose cyan is a grey ink and whose other inks cannot be seen, as in no plain conversion."""
    clut = bytes((255, 128, 128)) * 8 + bytes((0, 128, 128)) * 8  # Lab; cyan is the slowest of the four inks
    ramp = bytes(range(256))
    matrix = b"".join(struct.pack(">i", 65536 * (i in (0, 4, 8))) for i in range(9))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + ramp * 4 + clut + ramp * 3
    head = struct.pack(">I4sI4s4s4s", 128 + 16 + len(lut), b"none", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + struct.pack(">I4sII", 1, b"A2B0", 144, len(lut)) + lut


# ---- what is read


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "JPEG", "WEBP", "AVIF", "HEIF", "MPO"])
def test_every_format_gives_the_same_photo(tmp_path: Path, kind: str) -> None:
    decoding._add_heif()
    flat = scene().quantize(64) if kind == "GIF" else scene()
    path = tmp_path / f"a picture.{kind.lower()}"
    path.write_bytes(encoded(flat, kind))
    photo = read_photo(path)
    assert (photo.name, photo.size, photo.image.mode) == (path.name, (48, 32), "RGB")
    assert difference(photo.image, flat.convert("RGB")) < (
        6 if kind in ("JPEG", "WEBP", "AVIF", "HEIF", "MPO") else 0.01
    )
    for twin in (
        read_photo(str(path)),
        read_photo(path.read_bytes()),
        read_photo(Image.open(BytesIO(path.read_bytes()))),
    ):
        assert difference(twin.image, photo.image) == 0
    assert read_photo(photo) is photo


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_shows_the_same_upright_picture(kind: str, orientation: int) -> None:
    decoding._add_heif()
    # What EXIF says of a picture: where the 0th row and the 0th column of the stored pixels belong.
    first_row, first_column = {
        1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
        5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
    }[orientation]  # fmt: skip
    pixels = np.asarray(scene())
    if first_row in ("left", "right"):
        pixels = pixels.swapaxes(0, 1)
    pixels = pixels[
        :: -1 if first_row in ("bottom", "right") else 1, :: -1 if first_column in ("bottom", "right") else 1
    ]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.IFD.GPSInfo] = GPS
    data = encoded(Image.fromarray(np.ascontiguousarray(pixels)), kind, exif=exif.tobytes())
    for source in (data, Image.open(BytesIO(data))):
        photo = read_photo(source)
        assert photo.size == photo.image.size == (48, 32)
        assert difference(photo.image, scene()) < 6
        assert photo.image.info == {} and not photo.image.getexif()
        assert b"Exif" not in encoded(photo.image, "JPEG") and b"eXIf" not in encoded(photo.image, "PNG")


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"Exif\0\0nonsense", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"])
def test_broken_exif_costs_nothing(exif: bytes) -> None:
    data = encoded(scene(), "JPEG")
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    assert read_photo(data).size == (48, 32)
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", "\n\n\nnot hexadecimal")
    assert read_photo(encoded(scene(), "PNG", pnginfo=text)).size == (48, 32)


def test_a_broken_tag_beside_the_orientation_does_not_cost_the_rotation() -> None:
    """ImageOps.exif_transpose raises on this file."""
    entries = struct.pack("<HHHIHH", 2, 0x112, 3, 1, 6, 0) + struct.pack("<HHII", 0x9003, 2, 99, 9_000)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + entries
    data = encoded(scene(), "JPEG")
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    assert read_photo(data).size == (32, 48)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_keeps_its_mid_greys(kind: str) -> None:
    values = np.array([[0, 128, 129, 257, 16448, 32768, 65406, 65407, 65535]], np.uint16)
    expected = [0, 0, 1, 1, 64, 128, 254, 255, 255]
    assert grey(read_photo(encoded(Image.fromarray(values), kind)))[0].tolist() == expected
    assert (
        grey(read_photo(encoded(Image.fromarray(values[:, 3:6]), kind)))[0].tolist() == expected[3:6]
    )  # no stretching
    big_endian = Image.frombytes("I;16B", (9, 1), values.astype(">u2").tobytes())
    assert grey(read_photo(big_endian))[0].tolist() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0.0, 0.2, 0.5, 1.0], np.float32), [0, 51, 128, 255]),  # in [0, 1]: what it says
        (np.array([0.25, 0.5], np.float32), [64, 128]),  # no stretching there
        (np.array([-1.0, 0.0, 1.0], np.float32), [0, 128, 255]),  # else from the lowest to the highest
        (np.array([np.nan, 0.2, np.inf, -np.inf], np.float32), [0, 51, 255, 0]),
        (np.array([np.nan, 10, 30, np.inf, -np.inf], np.float32), [0, 0, 255, 255, 0]),
        (np.array([np.nan, np.nan], np.float32), [0, 0]),
        (np.array([-3.4e38, 0.0, 3.4e38], np.float32), [0, 128, 255]),
        (np.array([7.0, 7.0], np.float32), [0, 0]),
        (np.array([0x7F800001, 0x3F800000], np.uint32).view(np.float32), [0, 255]),  # a signalling NaN
        (np.array([0, 100, 255], np.int32), [0, 100, 255]),  # 32 bits that hold 8
        (np.array([0, 32896, 65535], np.int32), [0, 128, 255]),  # 32 bits that hold 16
        (np.array([-(2**31), 0, 2**31 - 1], np.int32), [0, 128, 255]),
    ],
)
def test_floats_and_32_bit_integers_are_scaled(values: np.ndarray, expected: list[int]) -> None:
    image = Image.fromarray(values[None])
    for source in (image, encoded(image, "TIFF")):
        assert grey(read_photo(source))[0].tolist() == expected


def transparent(mode: str) -> Image.Image:
    """Left half: a hidden dark colour at alpha 0. Right half: 100 (of 255) in all channels, opaque."""
    dark = Image.new("L", (8, 4), 10)
    dark.paste(100, (4, 0, 8, 4))
    alpha = Image.new("L", (8, 4), 0)
    alpha.paste(255, (4, 0, 8, 4))
    match mode:
        case "LA" | "La":
            return Image.merge("LA", (dark, alpha)).convert(mode)
        case "RGBA" | "RGBa" | "PA":
            return Image.merge("RGBA", (dark, dark, dark, alpha)).convert(mode)
        case "P":
            paletted = dark.convert("P")
            paletted.info["transparency"] = 10
            return paletted
        case _:
            keyed = dark.convert(mode)
            keyed.info["transparency"] = 10 if mode == "L" else (10, 10, 10)
            return keyed


@pytest.mark.parametrize("mode", ["LA", "La", "RGBA", "RGBa", "PA", "P", "L", "RGB"])
def test_transparent_parts_are_white(mode: str) -> None:
    """Colours hidden under alpha 0 do not show, nor does the key colour of a picture without an alpha channel."""
    image = transparent(mode)
    sources: list[Image.Image | bytes] = [image]
    if mode in ("LA", "RGBA", "P", "L", "RGB"):
        sources.append(encoded(image, "PNG"))
    for source in sources:
        assert grey(read_photo(source))[0].tolist() == [255] * 4 + [100] * 4


def test_half_transparent_is_half_way_to_white() -> None:
    assert grey(read_photo(Image.new("RGBA", (1, 1), (0, 0, 0, 51)))).item() == 204


def test_cmyk_goes_through_its_profile_if_it_has_a_readable_one() -> None:
    inks = Image.new("CMYK", (24, 8), (0, 90, 40, 10))
    inks.paste((128, 200, 0, 0), (8, 0, 16, 8))
    inks.paste((255, 0, 70, 30), (16, 0, 24, 8))
    for data in (encoded(inks, "TIFF", icc_profile=cmyk_profile()), encoded(inks, "JPEG", icc_profile=cmyk_profile())):
        assert grey(read_photo(data))[4, 4::8] == pytest.approx([255, 119, 0], abs=3)  # L 100, 50, 0
    plain = read_photo(encoded(inks, "TIFF")).image
    assert difference(plain, inks.convert("RGB")) == 0
    for profile in (b"", b"no profile", cmyk_profile()[:200], cmyk_profile().replace(b"CMYK", b"RGB ")):
        assert difference(read_photo(encoded(inks, "TIFF", icc_profile=profile)).image, plain) == 0


def test_an_rgb_profile_leaves_the_values_alone() -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (at,) = struct.unpack_from(">I", profile, profile.index(b"rXYZ") + 4)
    profile[at + 8 : at + 12] = b"\0\0\x20\0"  # another red: not sRGB any more
    assert difference(read_photo(encoded(scene(), "PNG", icc_profile=bytes(profile))).image, scene()) == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr", "HSV", "RGBX", "CMYK", "LAB"])
def test_other_modes_show_their_colour(mode: str) -> None:
    if mode == "LAB":
        image = Image.merge("LAB", [Image.new("L", (2, 2), value) for value in (110, 128, 128)])  # L 43, a 0, b 0
    else:
        image = Image.new("RGB", (2, 2), (102, 102, 102)).convert(mode, dither=Image.Dither.NONE)
    assert np.abs(grey(read_photo(image)) - (0 if mode == "1" else 102)).max() <= 2


def test_of_an_animation_the_first_frame_is_read() -> None:
    frames = [Image.new("RGB", (6, 5), colour) for colour in ("red", "blue", "lime")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(
            frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
        )
        assert difference(read_photo(data).image, frames[0]) < 1, kind


@pytest.mark.parametrize("size", [(1, 1), (10_000, 1), (1, 10_000)])
def test_tiny_and_thin_pictures(size: tuple[int, int]) -> None:
    photo = read_photo(encoded(Image.new("RGB", size, "teal"), "PNG"))
    assert photo.size == size
    assert max(photo.reduced().image.size) <= 1024 and min(photo.reduced().image.size) == 1
    left, top, right, bottom = Geometry(256, 224).crop(size)
    assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]


def test_the_callers_picture_is_left_as_it_is() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    stored = Image.open(BytesIO(encoded(scene(), "PNG", exif=exif)))
    stored.load()
    animation = Image.open(
        BytesIO(encoded(scene(), "GIF", save_all=True, append_images=[Image.new("RGB", (48, 32), "red")]))
    )
    animation.seek(1)
    plain = scene()
    plain.info["title"] = "mine"
    for image in (stored, animation, plain, transparent("RGBA"), transparent("P")):
        before = image.tobytes(), image.mode, image.size, dict(image.info), dict(image.getexif())
        photo = read_photo(image)
        photo.image.paste("black", (0, 0, 4, 4))
        assert (image.tobytes(), image.mode, image.size, dict(image.info), dict(image.getexif())) == before
    assert animation.tell() == 1


def test_reduced_is_for_display_only() -> None:
    photo = read_photo(scene(300, 200))
    assert photo.reduced() is photo and photo.reduced(300) is photo
    small = photo.reduced(60)
    assert (small.size, small.image.size, small.name) == ((300, 200), (60, 40), "photo")
    assert difference(small.image, scene(60, 40)) < 6


# ---- what is refused

ODD_BYTES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "empty"),
    "text": (lambda: b"hello, I am a photo\n" * 9, "as a photo"),
    "svg": (
        lambda: b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/hosts"/></svg>',
        "as a photo",
    ),
    "pdf": (lambda: encoded(scene(), "PDF"), "as a photo"),
    "eps": (lambda: encoded(scene(), "EPS"), "as a photo"),
    "icon": (lambda: encoded(scene(), "ICO"), "as a photo"),
    "zeros": (lambda: bytes(5_000), "as a photo"),
    "cut header": (lambda: encoded(scene(), "PNG")[:20], ""),
    "no pixels": (lambda: png(0, 4), ""),
    "too many bytes": (lambda: encoded(scene(), "PNG") + bytes(images.MAX_FILE_BYTES), "larger than 80 MB"),
    **{
        f"cut {kind}": (lambda kind=kind: encoded(scene(400, 300), kind)[:-400], "damaged")  # type: ignore[misc]
        for kind in ("JPEG", "PNG", "GIF", "BMP", "HEIF")
    },
    "cut WEBP": (lambda: encoded(scene(400, 300), "WEBP")[:-400], ""),
    "cut AVIF": (lambda: encoded(scene(400, 300), "AVIF")[:-400], ""),
    "cut TIFF": (lambda: encoded(scene(400, 300), "TIFF", compression="tiff_lzw")[:-400], ""),
    "just too large": (lambda: png(10_000, 5_001), "50 million pixels"),
    "PIL's warning": (lambda: png(10_000, 10_000), "50 million pixels"),
    "PIL's error": (lambda: png(20_000, 20_000), "50 million pixels"),
    "overflow": (lambda: png(2**31 - 1, 2**31 - 1), "50 million pixels"),
    "huge GIF frame": (lambda: gif_with_a_frame_larger_than_itself(), "50 million pixels"),
}


def gif_with_a_frame_larger_than_itself() -> bytes:
    data = encoded(Image.new("P", (1, 1)), "GIF")
    at = data.index(b",\0\0\0\0\1\0\1\0")
    return data[:at] + b"," + struct.pack("<HHHH", 0, 0, 60_000, 60_000) + data[at + 9 :]


@pytest.mark.parametrize("case", ODD_BYTES)
def test_odd_files_give_a_sentence(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is too large gets it before any of its pixels is read."""
    decoding._add_heif()
    make, words = ODD_BYTES[case]
    if "million" in words:
        monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("it is read"))
    path = tmp_path / "holiday.jpg"
    path.write_bytes(make())
    data = path.read_bytes()
    text = sentence(path)
    assert words in text and "holiday.jpg" in text and str(tmp_path) not in text
    assert words in sentence(data)


def test_a_picture_that_cannot_be_decoded_or_is_too_large() -> None:
    assert "damaged" in sentence(Image.open(BytesIO(encoded(scene(400, 300), "JPEG")[:-400])))
    assert "50 million" in sentence(Image.new("1", (10_000, 5_001)))
    sentence(Image.new("RGB", (0, 3)))
    assert "No photo" in sentence(None)


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """(allowed, elsewhere), each with a picture; links lead from the first to the second."""
    allowed, elsewhere = tmp_path / "uploads", tmp_path / "secret"
    for folder in (allowed, elsewhere, tmp_path / "uploads-2"):
        folder.mkdir()
        scene().save(folder / "a.png")
    (allowed / "link.png").symlink_to(elsewhere / "a.png")
    (allowed / "folder").symlink_to(elsewhere)
    (allowed / "inner.png").symlink_to(allowed / "a.png")
    (allowed / "round.png").symlink_to(allowed / "round.png")
    yield allowed, elsewhere


def test_only_what_lies_in_an_allowed_folder_is_read(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed, elsewhere = folders
    monkeypatch.chdir(allowed.parent)
    for fine in (allowed / "a.png", str(allowed / "a.png"), allowed / "inner.png", allowed / "folder/../uploads/a.png"):
        assert read_photo(fine, allowed=[elsewhere / "none", allowed]).size == (48, 32)
    assert read_photo("uploads/a.png", allowed=[Path("uploads")]).size == (48, 32)
    refused = {
        sentence(bad, allowed=[allowed])
        for bad in (
            elsewhere / "a.png", elsewhere / "missing.png", allowed / "link.png", allowed / "folder/a.png", elsewhere,
            allowed / "../secret/a.png", "secret/a.png", allowed.parent / "uploads-2/a.png", "/etc/passwd", "/dev/zero",
            "/proc/self/environ", "", "..",
        )
    }  # fmt: skip
    assert len(refused) == 1, "the sentence tells which files there are"
    text = refused.pop()
    assert not any(word in text for word in ("secret", "passwd", ".png", str(allowed.parent)))
    sentence(allowed / "a.png", allowed=[])


def test_paths_that_are_no_files(folders: tuple[Path, Path]) -> None:
    allowed, _ = folders
    os.mkfifo(allowed / "pipe.png")
    for path in (allowed, allowed / "pipe.png", "/dev/zero", "/dev/null", ""):
        assert "folder or a device" in sentence(path)
    for path in (
        allowed / "missing.png", allowed / "round.png", allowed / "a.png/b.png", "null\0byte.png", "x" * 5_000,
        "data:image/png;base64," + "A" * 9_000, "https://example.org/a.png", "two\nlines.png", "bell\a\udc80.png",
    ):  # fmt: skip
        assert "cannot be opened" in sentence(path)
        assert "cannot be opened" in sentence(path, allowed=[allowed, Path.cwd()]) or "\0" in str(path)
    assert str(allowed) not in sentence(allowed / "missing.png")


def test_heic_needs_no_preparation_by_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    decoding._add_heif()
    data = encoded(scene(), "HEIF")
    monkeypatch.delitem(Image.OPEN, "HEIF")
    decoding._add_heif.cache_clear()
    assert read_photo(data).size == (48, 32)


def test_threads_read_one_at_a_time_and_leave_the_warning_filters_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(warnings.filters)
    sizes: list[tuple[int, int]] = []
    inside: list[int] = []
    busy: set[int] = set()

    def slow(image: Image.Image) -> tuple[Image.Image, str]:
        busy.add(threading.get_ident())
        time.sleep(0.01)
        inside.append(len(busy))
        busy.remove(threading.get_ident())
        return image.convert("RGB"), ""

    monkeypatch.setattr(decoding, "to_rgb", slow)
    threads = [
        threading.Thread(target=lambda i=i: sizes.append(read_photo(scene(20 + i)).size))  # type: ignore[misc]
        for i in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sizes) == [(20 + i, 32) for i in range(6)] and inside == [1] * 6
    assert warnings.filters == before


# ---- what the network sees


@pytest.mark.parametrize(
    "size", [(640, 480), (480, 640), (500, 500), (333, 1000), (1001, 257), (90, 61), (61, 90), (224, 224)]
)
@pytest.mark.parametrize("geometry", [Geometry(256, 224), Geometry(224, 224), Geometry(232, 224), Geometry(64, 33)])
def test_crop_is_what_torchvision_shows(size: tuple[int, int], geometry: Geometry) -> None:
    """A photo whose colours are its own coordinates goes through Resize and CenterCrop: the coordinates seen at the
    edges of the result are those of crop(), within a pixel of the photo and one of the resized photo."""
    torch = pytest.importorskip("torch")
    transforms = pytest.importorskip("torchvision.transforms.v2")
    width, height = size
    across, down = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    place = torch.stack((across.expand(height, width), down[:, None].expand(height, width)))
    seen = transforms.CenterCrop(geometry.input_size)(transforms.Resize(geometry.resize, antialias=True)(place))
    step = min(size) / geometry.resize  # of the photo's pixels per resized one
    left, top, right, bottom = geometry.crop(size)
    middle = geometry.input_size // 2
    found = (
        float(seen[0, middle, 0]) - step / 2,
        float(seen[1, 0, middle]) - step / 2,
        float(seen[0, middle, -1]) + step / 2,
        float(seen[1, -1, middle]) + step / 2,
    )
    assert found == pytest.approx((left, top, right, bottom), abs=0.5 + step)
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    assert right - left == pytest.approx(bottom - top, abs=2)


def test_a_crop_larger_than_the_resized_photo_is_refused() -> None:
    for resize, input_size in ((224, 256), (224, 0), (0, 0)):
        with pytest.raises(ValueError, match=r"cannot be cut .*\.$"):
            Geometry(resize, input_size)


# ---- photos as cameras and programs make them


def jpeg_of(width: int, height: int, **options: object) -> bytes:
    return encoded(scene(width, height), "JPEG", quality=95, **options)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("most", "part"), [(400 * 300, 1), (400 * 300 - 1, 2), (200 * 150 - 1, 4), (100 * 75 - 1, 8)])
def test_a_very_large_jpeg_is_decoded_at_a_fraction(
    monkeypatch: pytest.MonkeyPatch, most: int, part: int, orientation: int
) -> None:
    """The same picture, with the size of the whole, by which the crop goes."""
    monkeypatch.setattr(decoding, "JPEG_PIXELS", most)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for kind in ("JPEG", "MPO"):
        data = encoded(scene(400, 300), kind, quality=95, exif=exif)
        photo = read_photo(data)
        size, fraction = (400, 300), (400 // part, -(-300 // part))
        assert photo.size == (size if orientation == 1 else size[::-1])
        assert photo.image.size == (fraction if orientation == 1 else fraction[::-1])
        expected = scene(400, 300) if orientation == 1 else scene(400, 300).transpose(Image.Transpose.ROTATE_270)
        assert difference(photo.image.resize((80, 60)), expected.resize((80, 60))) < 3
        assert photo.reduced(40).size == photo.size


def test_what_a_network_sees_of_a_fraction_is_what_it_sees_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    data = jpeg_of(1000, 801)
    cut = transforms.Compose([transforms.Resize(72), transforms.CenterCrop(64)])
    whole = cut(read_photo(data).image)
    monkeypatch.setattr(decoding, "JPEG_PIXELS", 500_000)
    assert difference(cut(read_photo(data).image), whole) < 1


@pytest.mark.parametrize("options", [{"progressive": True}, {}])
def test_a_jpeg_that_must_be_held_whole_has_a_limit_of_its_own(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, bool]
) -> None:
    """A progressive one, and one whose colours come one after the other; their coefficients are kept until the last scan."""
    data = jpeg_of(400, 300, **options)
    assert decoding.in_one_scan(data) is not bool(options)
    monkeypatch.setattr(decoding, "MAX_SCANS_PIXELS", 400 * 300 - 1)
    if not options:
        assert read_photo(data).size == (400, 300)
        at = data.index(b"\xff\xda")
        data = data[: at + 4] + b"\x01" + data[at + 5 :]
        assert not decoding.in_one_scan(data)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("it is read"))
    assert "million pixels" in sentence(data)
    for cut in range(0, 700, 7):
        decoding.in_one_scan(data[:cut])


def claimed(data: bytes, width: int, height: int) -> bytes:
    """A JPEG that says it is of another size."""
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def test_200_million_pixels_are_not_too_many_for_a_jpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """PIL's own Image.open refuses 179 million."""
    sizes: list[tuple[int, int]] = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: sizes.append(self.size))
    monkeypatch.setattr(decoding, "to_rgb", lambda image: (Image.new("RGB", (1, 1)), ""))
    assert read_photo(claimed(jpeg_of(64, 64), 16_320, 12_240)).size == (16_320, 12_240)
    assert sizes == [(4_080, 3_060)]
    assert "210 million" in sentence(claimed(jpeg_of(64, 64), 20_000, 20_000))


@pytest.mark.parametrize("words", ["zTXt", "iTXt", "iCCP", "tEXt"])
@pytest.mark.parametrize("where", ["before", "after"])
def test_large_texts_and_profiles_in_a_png_cost_nothing(words: str, where: str) -> None:
    """PIL raises on more than a megabyte in one, and on more than 64 in all."""
    text = zlib.compress(bytes(2_000_000)) if words != "tEXt" else b"x" * 70_000_000
    head = {"zTXt": b"a\0\0", "iTXt": b"a\0\1\0\0\0", "iCCP": b"a\0\0", "tEXt": b"a\0"}[words]
    body = words.encode() + head + text
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = encoded(scene(), "PNG", exif=exif)
    at = data.index(b"IDAT") - 4 if where == "before" else data.index(b"IEND") - 4
    photo = read_photo(data[:at] + chunk + data[at:])
    assert difference(photo.image, scene().transpose(Image.Transpose.ROTATE_270)) == 0


def tiff(
    entries: dict[int, tuple[int, object]], order: str = "<", sub: dict[int, tuple[int, object]] | None = None
) -> bytes:
    """A TIFF with a small picture, as cameras put before their raw values, and directories with the given tags."""
    small = bytes(8 * 6 * 3)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)

    def directory(tags: dict[int, tuple[int, object]], at: int) -> bytes:
        texts = b""
        rows = b""
        end = at + 2 + 12 * len(tags) + 4
        for number, (kind, value) in sorted(tags.items()):
            if isinstance(value, bytes):
                rows += struct.pack(f"{order}HHII", number, kind, len(value), end + len(texts))
                texts += value
            else:
                packed = (
                    struct.pack(f"{order}H", value).ljust(4, b"\0") if kind == 3 else struct.pack(f"{order}I", value)
                )
                rows += struct.pack(f"{order}HHI", number, kind, 1) + packed
        return struct.pack(f"{order}H", len(tags)) + rows + bytes(4) + texts

    picture: dict[int, tuple[int, object]] = {
        **{254: (4, 1), 256: (3, 8), 257: (3, 6), 258: (3, 8), 259: (3, 1), 262: (3, 2), 273: (4, 0), 277: (3, 3)},
        **{278: (3, 6), 279: (4, len(small)), 284: (3, 1)},
        **entries,
    }
    length = len(directory(picture | ({330: (4, 0)} if sub else {}), 8))
    picture[273] = (4, 8 + length)
    if sub:
        picture[330] = (4, 8 + length + len(small))
    found = head + directory(picture, 8) + small
    return found + (directory(sub, len(found)) if sub else b"")


SENSOR = {262: (3, 32803)}
NO_PHOTOS: dict[str, tuple[Callable[[], bytes], str]] = {
    "DNG": (lambda: tiff({50706: (1, b"\1\4\0\0")}), "camera raw file (DNG)"),
    "NEF": (lambda: tiff({271: (2, b"NIKON CORPORATION\0")}, ">", SENSOR), "camera raw file (Nikon NEF)"),
    "ARW": (lambda: tiff({271: (2, b"SONY\0")}, "<", SENSOR), "camera raw file (Sony ARW)"),
    "PEF": (lambda: tiff({271: (2, b"PENTAX Corporation \0")} | SENSOR, ">"), "camera raw file (Pentax PEF)"),
    "of a camera that nobody knows": (lambda: tiff({271: (2, b"Nobody\0")}, "<", {262: (3, 34892)}), "camera raw file:"),
    "CR2": (lambda: b"II*\0\x10\0\0\0CR\2\0" + tiff({})[16:], "camera raw file (Canon CR2)"),
    "CR3": (lambda: b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "camera raw file (Canon CR3)"),
    "RAF": (lambda: b"FUJIFILMCCD-RAW 0201" + jpeg_of(8, 8), "camera raw file (Fujifilm RAF)"),
    "ORF": (lambda: b"IIRO" + tiff({})[4:], "camera raw file (Olympus ORF)"),
    "RW2": (lambda: b"IIU\0" + tiff({})[4:], "camera raw file (Panasonic RW2)"),
    "JPEG XL": (lambda: b"\xff\x0a" + bytes(99), "JPEG XL picture: save it as a JPEG or PNG"),
    "JPEG XL in a box": (lambda: b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "JPEG XL picture"),
    "JPEG 2000": (lambda: encoded(scene(), "JPEG2000"), "JPEG 2000 picture"),
    "video": (lambda: b"\0\0\0\x18ftypisom" + bytes(99), "a video"),
    "web page": (lambda: b"\n<!DOCTYPE html><html>", "a web page"),
    "pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git lfs pull"),
    "Photoshop": (lambda: b"8BPS\0\1" + bytes(99), "Photoshop"),
    "DICOM": (lambda: bytes(128) + b"DICM" + bytes(99), "DICOM"),
    "zip": (lambda: b"PK\3\4" + bytes(99), "zip archive"),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_PHOTOS)
def test_what_is_no_photo_is_called_by_its_name(case: str) -> None:
    """Above all a camera raw file, most of which have a thumbnail in front that PIL would read instead."""
    make, words = NO_PHOTOS[case]
    text = sentence(make())
    assert words in text and "cannot be read as a photo" in text


def test_a_tiff_that_is_no_raw_file_is_read() -> None:
    """Also one with a small picture in front, and tags that lead nowhere or round in a ring."""
    assert read_photo(tiff({})).size == (8, 6)
    assert read_photo(tiff({271: (2, b"NIKON CORPORATION\0")}, ">", {262: (3, 2)})).size == (8, 6)
    for at in (0, 8, 2**32 - 1):
        data = bytearray(tiff({}, sub={262: (3, 2)}))
        entry = data.index(struct.pack("<HHI", 330, 4, 1))
        data[entry + 8 : entry + 12] = struct.pack("<I", at)
        assert read_photo(bytes(data)).size == (8, 6)
    data = tiff({271: (2, b"NIKON\0")}, "<", SENSOR)
    for cut in range(len(data)):
        kinds.kind_of(data[:cut])


@pytest.mark.parametrize(("top", "bits"), [(255, 8), (256, 10), (1023, 10), (1024, 12), (4095, 12)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_values_of_fewer_bits_are_stretched_and_that_is_said(kind: str, top: int, bits: int) -> None:
    """Of a microscope or a sensor: 12 bits in a file of 16 would be nearly black."""
    values = np.array([[0, top // 2, top]], np.uint16)
    photo = read_photo(encoded(Image.fromarray(values), kind))
    assert grey(photo)[0].tolist() == np.rint(values[0] * (255 / (2**bits - 1))).astype(int).tolist()
    assert photo.note == f"The photo's values, none of which is above {top}, were taken for {bits}-bit ones."


def test_values_of_16_bits_need_no_word() -> None:
    for values in ([0, 4096], [0, 0], [65535, 1]):
        assert read_photo(encoded(Image.fromarray(np.array([values], np.uint16)), "PNG")).note == ""
    assert read_photo(scene()).note == "" and read_photo(Image.fromarray(np.array([[0.0, 1.0]], np.float32))).note == ""
    stretched = read_photo(Image.fromarray(np.array([[-1.0, 2.5]], np.float32)))
    assert stretched.note == "The photo's values, from -1 to 2.5, were stretched from black to white."


def deep_png(values: np.ndarray) -> bytes:
    """A PNG with 16 bits for each of three colours, which PIL does not write."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    body = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def test_colours_of_12_bits_in_16_are_stretched_too() -> None:
    """Of which PIL keeps the first 8 alone: 16 shades."""
    colours = np.array([[[0, 1000, 4095], [2047, 15, 255]], [[4000, 3, 300], [1, 2, 3]]], np.uint16)
    photo = read_photo(deep_png(colours))
    assert np.asarray(photo.image).tolist() == np.rint(colours * (255 / 4095)).tolist()
    assert "12-bit" in photo.note
    full = read_photo(deep_png(colours * 16))
    assert full.note == "" and np.abs(np.asarray(full.image) - colours * 16 / 257).max() < 1


@pytest.mark.parametrize(
    ("head", "values", "expected"),
    [
        (b"P5\n# a comment\n3 1\n255\n", np.array([0, 128, 255], "u1"), [0, 128, 255]),
        (b"P5 3 1 100\n", np.array([0, 20, 100], "u1"), [0, 51, 255]),
        (b"P5 3 1 4095\n", np.array([0, 100, 4095], ">u2"), [0, 6, 255]),
        (b"P5 3 1 65535\n", np.array([0, 100, 200], ">u2"), [0, 0, 1]),  # the file says how deep it is
        (b"P6 1 1 255\n", np.array([1, 2, 3], "u1"), [1, 2, 3]),
        (b"P6 1 1 1023\n", np.array([0, 512, 2000], ">u2"), [0, 128, 255]),
        (b"P2 3 1 15\n", b"0 7 15\n", [0, 119, 255]),
        (b"P3 1 1 255\n", b"9 8 7\n", [9, 8, 7]),
        (b"P1 3 1\n", b"1 0 1\n", [0, 255, 0]),
    ],
)  # fmt: skip
def test_ppm_and_pgm_of_any_depth(head: bytes, values: np.ndarray | bytes, expected: list[int]) -> None:
    data = head + (values if isinstance(values, bytes) else values.tobytes())
    photo = read_photo(data)
    assert np.asarray(photo.image)[0, :, :].reshape(-1)[:: 1 if photo.size == (1, 1) else 3].tolist() == expected
    assert photo.note == ""
    assert "damaged" in sentence(data[: len(head)])


def test_a_deep_ppm_takes_no_time_and_a_long_text_is_refused() -> None:
    """PIL takes about a microsecond a value."""
    started = time.thread_time()
    assert read_photo(b"P5 3000 2000 4095\n" + bytes(12_000_000)).size == (3000, 2000)
    assert time.thread_time() - started < 3
    assert "3 million" in sentence(b"P2 2000 2000 255\n" + b"0 " * 4_000_000)
