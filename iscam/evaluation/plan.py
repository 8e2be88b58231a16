"""What an evaluation is to do, and under which conditions its rows are found. No torch here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product

from iscam.methods import METHODS
from iscam.settings import Settings

BATCH = 8  # rows; fixed, because another size moves scores by 1e-6 and with them what the fast engine runs next


@dataclass(frozen=True)
class Recipe:
    """A method with its settings, and its name in tables."""

    name: str
    method: str
    settings: Settings


@dataclass(frozen=True)
class Network:
    """Which network is asked, how it is fed, and at which layer."""

    model: str
    weights_sha256: str | None
    categories_sha256: str
    preprocessing: str
    device: str
    layer: str
    head: str = "softmax"


@dataclass(frozen=True)
class Maps:
    """Which maps are made, by every combination of the values that a method heeds; and which ceilings beside the controls."""

    methods: tuple[str, ...]
    target: str  # "predicted" or "label"
    steps: tuple[int, ...]
    path: tuple[str, ...]
    weighting: tuple[str, ...]
    engine: str
    tolerance: float
    samples: int
    seed: int
    rivals: tuple[str | None, ...] = (None,)
    strength: float = 1.0
    ceilings: tuple[str, ...] = ()

    def recipes(self) -> list[Recipe]:
        """Every method with every value of the settings that it heeds, of which there may be several."""
        found = []
        for key in self.methods:
            heeds = METHODS[key].heeds
            steps = self.steps if "steps" in heeds else self.steps[:1]
            paths = self.path if "path" in heeds else self.path[:1]
            weightings = self.weighting if "weighting" in heeds else self.weighting[:1]
            every = self.rivals if METHODS[key].class_specific else (None,)
            for path, weighting, count, rivals in product(paths, weightings, steps, every):
                several = (f"N={count}", len(steps)), (path, len(paths)), (weighting, len(weightings))
                strength = 1.0 if rivals is None else self.strength
                settings = Settings(count, path, weighting, self.samples, self.seed, rivals, strength)
                words = [key, *(said for said, number in several if number > 1), settings.rivalry]
                found.append(Recipe(" ".join(words).rstrip(), key, settings))
        return found


@dataclass(frozen=True)
class Measures:
    """What is measured of a map, by how many threads and rows at once, and whether of photos or of grids of them."""

    metrics: tuple[str, ...]
    curve_steps: int
    threads: int
    bfloat16: bool
    openvino: bool
    batch: int = BATCH
    grid: bool = False


@dataclass(frozen=True)
class Conditions:
    """What the rows depend on, beside the photos: rows of different conditions are never mixed."""

    network: Network
    maps: Maps
    measures: Measures

    def record(self) -> dict[str, object]:
        """All of them by name, as they stand in settings.json."""
        return asdict(self.network) | asdict(self.maps) | asdict(self.measures)
