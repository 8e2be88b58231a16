"""A sheet of photos that no network has seen, for what is tested of sheets with and without a browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from iscam import MODELS, Explanation, Prediction
from iscam.images import Geometry, Photo
from iscam.models import Preparation
from iscam.results import Outcome, Subject, Yardstick
from iscam.show import new_sheet

EVIL = """"><script>alert(1)</script></select></style>'<img src=x onerror=alert(2)>&lt;\u202egpj"""
PREPARATION = Preparation(Geometry(120, 100), (0.5,) * 3, (0.5,) * 3, False)
STEPS = {"steps": 10, "rivals": None}


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def subject(category: str = "cat", probability: float = 0.5, size: tuple[int, int] = (200, 120)) -> Subject:
    """A photo of noise, which no format makes small, and of two classes."""
    image = Image.fromarray((255 * noise(0, size[1], size[0], 3)).astype(np.uint8))
    rows = (Prediction(1, category, probability), Prediction(2, "dog", 1 - probability))
    crop = Geometry(120, 100).crop(size)
    shares = np.array([0, probability, 1 - probability], np.float32)
    names = ("fox", category, "dog")
    return Subject(Photo(image, size, "x.jpg"), crop, rows, shares, "layer3", MODELS["photo11"], names, "", PREPARATION)


def explanation(
    method: str, target: Prediction, heatmap: np.ndarray, other: np.ndarray | None = None, note: str = ""
) -> Explanation:
    """A map, and if there is `another`, how far it depends on the class."""
    yardstick = None if other is None else Yardstick(Prediction(2, "dog", 0.1), other, heatmap)
    return Explanation(method, target, (), False, None, heatmap, heatmap, Outcome(1.0, 9, 0.0, True), note, yardstick)


def pair(seen: Subject, alike: float, specific: float | None, note: str = "") -> list[Explanation]:
    """Two maps of the most probable class: the more `alike` (0 to 1), the better they agree; the first the less like that for
    another class the more `specific` it is (0 to 1), None: it is not known."""
    one, other = noise(1, 40, 40), noise(2, 40, 40)
    rival = None if specific is None else (1 - specific) * one + specific * other
    target = seen.predictions[0]
    return [
        explanation("is-cam", target, one, rival, note),
        explanation("grad-cam", target, alike * one + (1 - alike) * other, one, note),
    ]


def written(folder: Path) -> Path:
    """Three photos, of which the second's maps disagree and the third's depend on the class in an unknown degree, and one that
    could not be read."""
    file = folder / "sheet.html"
    with new_sheet(folder, STEPS) as sheet:
        cards = (("b 10.jpg", "cat", 0.9, 1.0, 0.1), ("a.jpg", EVIL, 0.2, 0.0, 0.9), ("b 9.jpg", "cat", 0.6, 0.8, None))
        for name, category, probability, alike, specific in cards:
            seen = subject(category, probability)
            note = "This map is blank." if name == "a.jpg" else ""
            sheet.add(name, seen, pair(seen, alike, specific, note), figure=f"{name}.iscam.png")
        sheet.miss(EVIL, f"{EVIL} cannot be read.")
        sheet.write(file)
    return file
