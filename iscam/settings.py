"""How maps are made: what can be set, within which bounds. No torch here."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from iscam.path import DEFAULT_STEPS, PATHS, integration_path

WEIGHTINGS = ("probability", "logit")
ENGINES = ("fast", "exact")  # to within a tolerance; every channel and step in float32
DEFAULT_ENGINE = "fast"
DEFAULT_TOLERANCE = 0.01
DEFAULT_SAMPLES = 8
MAX_SAMPLES = 100
NEAREST, EVERY_OTHER = "nearest", "all"  # rivals that are not named
LIKELY_RIVALS = f"{NEAREST}:20"  # found best on grids of photos, see docs/evaluation.md
CONTRAST = ("rivals", "strength", "signed")  # heeded by every method whose map depends on the class


@dataclass(frozen=True)
class Settings:
    """How maps are made. A method heeds some of it, see `Method.heeds`.

    Args:
        steps, path: of IS-CAM, see `integration_path`.
        weighting: of the scores: `probability` or `logit`.
        samples, seed: of the noise of SS-CAM and Smooth Grad-CAM++.
        rivals: what a class is held against: None, a class, `nearest:3`, the most probable others, or `all` others.
        strength: how much of what speaks for the rivals is taken away, 0 to 1.
        signed: whether what speaks for the rivals is shown too, as negative values.

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
    rivals: str | None = None
    strength: float = 1.0
    signed: bool = False

    def __post_init__(self) -> None:
        if self.weighting not in WEIGHTINGS:
            raise ValueError(f"The weighting must be one of {', '.join(WEIGHTINGS)}, not {self.weighting!r}.")
        if not 1 <= self.samples <= MAX_SAMPLES:
            raise ValueError(f"The number of samples must lie between 1 and {MAX_SAMPLES}, not {self.samples}.")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"The seed must lie between 0 and {2**32 - 1}, not {self.seed}.")
        integration_path(self.path, self.steps)
        if not 0 <= self.strength <= 1:
            raise ValueError(f"The strength of the rivals must lie between 0 and 1, not {self.strength}.")
        if self.rivals is not None:
            nearest(self.rivals)
        elif self.signed or self.strength < 1:
            raise ValueError("A signed map, and a strength, are of what speaks for the rivals: name some.")

    @property
    def rivalry(self) -> str:
        """How tables call the contrast, after the method's name; empty if there is none.

        >>> Settings(rivals="nearest:3", strength=0.5).rivalry
        'rivals=nearest:3 strength=0.5'
        """
        if self.rivals is None:
            return ""
        return f"rivals={self.rivals}" + (f" strength={self.strength:g}" if self.strength < 1 else "")

    def record(self) -> dict[str, object]:
        """The settings by name; those of the contrast only if there is one.

        >>> Settings().record()
        {'steps': 10, 'path': 'cumulative', 'weighting': 'probability', 'samples': 8, 'seed': 0}
        """
        left_out = CONTRAST if self.rivals is None else ()
        return {name: value for name, value in asdict(self).items() if name not in left_out}


def nearest(rivals: str) -> int | None:
    """The number in `nearest:3`; None of anything else. Raises ValueError, a sentence, if it is not a number from 1 on."""
    word, colon, count = rivals.partition(":")
    if word != NEAREST or not colon:
        return None
    if not (count.isascii() and count.isdigit() and int(count[:9]) > 0):
        raise ValueError(f"{rivals!r} names no rivals: nearest:3, for instance, are the three most probable others.")
    return int(count[:9])


def named_rival(rivals: str | None) -> str | None:
    """The class that is named as the only rival; None if there is none, or rivals are meant that are not named."""
    return None if rivals is None or rivals == EVERY_OTHER or nearest(rivals) is not None else rivals


DEFAULT_SETTINGS = Settings()
