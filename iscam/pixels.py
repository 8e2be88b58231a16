"""A loaded picture of any mode -> 8-bit RGB, and a word where its values had to be guessed at."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

DEPTHS = (8, 10, 12, 16)  # bits that cameras, scanners and microscopes put into 16 or 32
BAND = 1 << 20  # values that are worked on at once: in double, all of a large photo would take 8 bytes each


def to_rgb(image: Image.Image) -> tuple[Image.Image, str]:
    """A new 8-bit RGB picture from a loaded one of any mode, and what must be said of it, empty if nothing."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image)
        low, high, said = value_range(values)
        return Image.fromarray(to_8_bit(values, low, high)).convert("RGB"), said
    if image.has_transparency_data:
        # PIL goes from La (multiplied by alpha) to nothing but LA.
        alpha = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), alpha).convert("RGB"), ""
    if image.mode == "CMYK" and (profile := image.info.get("icc_profile")):
        try:
            cmyk = ImageCms.ImageCmsProfile(BytesIO(profile))
            rgb = ImageCms.profileToProfile(image, cmyk, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            rgb = None  # the profile is broken, or not one for CMYK
        if rgb is not None:
            return rgb, ""
    return image.convert("RGB"), ""


def value_range(values: NDArray[np.generic]) -> tuple[float, float, str]:
    """Which values (of 16 or 32 bit, or floats) are black and white, and what must be said if that was guessed.

    Whole numbers from 0 on tell by their highest how many of the DEPTHS they have; 16-bit ones need no word. Floats within
    [0, 1] are shares. All others are stretched from the lowest to the highest.
    """
    lows, highs = zip(*_extremes(values), strict=True)
    low, high = float(min(lows)), float(max(highs))
    if high < low:  # nothing but NaN
        return 0.0, 0.0, ""
    if values.dtype.kind == "f":
        if low >= 0 and high <= 1:
            return 0.0, 1.0, ""
    elif depth := next((bits for bits in DEPTHS if low >= 0 and high < 2**bits), None):
        guessed = high > 0 and 8 * values.dtype.itemsize > depth
        said = f"The photo's values, none of which is above {high:.0f}, were taken for {depth}-bit ones."
        return 0.0, 2.0**depth - 1, said if guessed else ""
    return low, high, f"The photo's values, from {low:g} to {high:g}, were stretched from black to white."


def _extremes(values: NDArray[np.generic]) -> Iterator[tuple[float, float]]:
    """The lowest and highest finite value of every band."""
    for band in _bands(values):
        exact = band[np.isfinite(band)] if values.dtype.kind == "f" else band
        yield (exact.min(), exact.max()) if exact.size else (np.inf, -np.inf)


def _bands(values: NDArray[np.generic]) -> Iterator[NDArray[np.float64]]:
    """All values, flat, in double, a band at a time: the range of 32-bit integers, and of floats, overflows their own type."""
    flat = values.reshape(-1)
    with np.errstate(invalid="ignore"):  # a signalling NaN
        for start in range(0, max(flat.size, 1), BAND):
            yield flat[start : start + BAND].astype(np.float64)


def to_8_bit(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """Values of any shape -> 0..255, linear from `low` to `high`, which infinities are taken for; NaN for `low`."""
    found = np.empty(values.size, np.uint8)
    scale = 255 / (high - low) if high > low else 0.0
    for number, band in enumerate(_bands(values)):
        np.nan_to_num(band, copy=False, nan=low, posinf=high, neginf=low)
        np.clip(band, low, high, out=band)
        band -= low
        band *= scale
        found[number * BAND : number * BAND + band.size] = np.rint(band, out=band)
    return found.reshape(values.shape)
