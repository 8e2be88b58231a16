"""What is done to a photo before a network sees it, measured of what does it, in numbers and in words. No torch here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from PIL import Image

from iscam.images import Geometry

if TYPE_CHECKING:
    from torch import Tensor

PROBE = 64  # side of the pictures that are fed to see what becomes of them
SHADES = ("black", "white", "red")


@dataclass(frozen=True)
class Preparation:
    """How photos are cut, whether they are made grey, and by which mean and std their values in [0, 1] are normalised, a number
    for each colour; both are empty if another thing than that is done.

    >>> Preparation(Geometry(256, 224), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), False).words
    'resized to 256 on the short side (bilinear), centre 224 x 224, mean 0.5, std 0.25'
    """

    geometry: Geometry
    mean: tuple[float, ...]
    std: tuple[float, ...]
    grey: bool

    @property
    def words(self) -> str:
        """All of it, on a line."""
        geometry = self.geometry
        square = f"{geometry.input_size} x {geometry.input_size}"
        cut = {
            "center": f"resized to {geometry.resize} on the short side ({geometry.interpolation}), centre {square}",
            "squash": f"squeezed to {square} ({geometry.interpolation})",
            "pad": f"padded to a square and resized to {square} ({geometry.interpolation})",
        }[geometry.fit]
        normalised = (
            f"mean {_numbers(self.mean)}, std {_numbers(self.std)}" if self.std else "normalised in its own way"
        )
        return ", ".join([cut, *(["made grey"] if self.grey else []), normalised])

    def record(self) -> dict[str, object]:
        """All of it, for programs, and the words."""
        numbers = {"mean": list(self.mean), "std": list(self.std), "grey": self.grey}
        return asdict(self.geometry) | numbers | {"words": self.words}


def measure(geometry: Geometry, transforms: Callable[[Image.Image], Tensor]) -> Preparation:
    """What `transforms`, which cut photos as the geometry says, make of their values: seen on black, white and red."""
    fed = [
        transforms(Image.new("RGB", (PROBE, PROBE), shade)) for shade in SHADES
    ]  # each (3, H, W), of grey ones also (1, H, W)
    black, white, red = ([float(channel.float().mean()) for channel in image] for image in fed)
    if any(high == low for low, high in zip(black, white, strict=True)):
        return Preparation(geometry, (), (), False)
    std = [1 / (high - low) for low, high in zip(black, white, strict=True)]
    shares = [(value - low) * scale for value, low, scale in zip(red, black, std, strict=True)]
    mean = tuple(round(-low * scale, 4) + 0.0 for low, scale in zip(black, std, strict=True))  # + 0.0: no minus zero
    return Preparation(geometry, mean, tuple(round(scale, 4) for scale in std), max(shares) - min(shares) < 0.01)


def _numbers(values: tuple[float, ...]) -> str:
    """A number for each colour, or the one that all have."""
    return " ".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))
