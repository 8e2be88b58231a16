"""How maps are made: what can be set, within which bounds. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from iscam.path import DEFAULT_STEPS, PATHS, integration_path

WEIGHTINGS = ("probability", "logit")
ENGINES = ("fast", "exact")  # to within a tolerance; every channel and step in float32
DEFAULT_ENGINE = "fast"
DEFAULT_TOLERANCE = 0.01
DEFAULT_SAMPLES = 8
MAX_SAMPLES = 100


@dataclass(frozen=True)
class Settings:
    """How maps are made. A method heeds some of it, see `Method.heeds`.

    Args:
        steps, path: of IS-CAM, see `integration_path`.
        weighting: of the scores: `probability` or `logit`.
        samples, seed: of the noise of SS-CAM and Smooth Grad-CAM++.

    Raises:
        ValueError: an unknown name, or a number out of range; one sentence.

    >>> Settings(steps=4).path
    'cumulative'
    """

    steps: int = DEFAULT_STEPS
    path: str = PATHS[0]
    weighting: str = WEIGHTINGS[0]
    samples: int = DEFAULT_SAMPLES
    seed: int = 0

    def __post_init__(self) -> None:
        if self.weighting not in WEIGHTINGS:
            raise ValueError(f"The weighting must be one of {', '.join(WEIGHTINGS)}, not {self.weighting!r}.")
        if not 1 <= self.samples <= MAX_SAMPLES:
            raise ValueError(f"The number of samples must lie between 1 and {MAX_SAMPLES}, not {self.samples}.")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"The seed must lie between 0 and {2**32 - 1}, not {self.seed}.")
        integration_path(self.path, self.steps)


DEFAULT_SETTINGS = Settings()
