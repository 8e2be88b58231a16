"""The path of IS-CAM: at which intensities a masked photo is shown to the network, and how the scores are averaged."""

from __future__ import annotations

from dataclasses import dataclass

PATHS = ("cumulative", "linear")
DEFAULT_STEPS = 10  # the authors' N
MAX_STEPS = 100


@dataclass(frozen=True)
class IntegrationPath:
    """The masked photo is multiplied by each of `multipliers` (N,); the scores are averaged with `weights` (N,), sum 1.

    >>> integration_path("linear", 2)
    IntegrationPath(name='linear', multipliers=(0.5, 1.0), weights=(0.5, 0.5))
    """

    name: str
    multipliers: tuple[float, ...]
    weights: tuple[float, ...]


def integration_path(name: str, steps: int) -> IntegrationPath:
    r"""The path of N = `steps` points (arXiv 2010.03023).

    - `cumulative`, the authors': $M_i = M_{i-1} + \frac{i}{N} X \circ H_k$, so the i-th multiplier is $i(i+1)/(2N)$.
      A larger N reaches farther past the photo, up to (N + 1) / 2; it is not a finer integral.
    - `linear`: $i/N$, a Riemann sum of the integral from the data set's mean colour to the masked photo.

    >>> integration_path("cumulative", 4).multipliers
    (0.25, 0.75, 1.5, 2.5)

    Raises:
        ValueError: unknown name, or steps outside 1..100.
    """
    if name not in PATHS:
        raise ValueError(f"The path must be one of {', '.join(PATHS)}, not {name!r}.")
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= MAX_STEPS:
        raise ValueError(
            f"The number of integration steps must be a whole number from 1 to {MAX_STEPS}, not {steps!r}."
        )
    indices = range(1, steps + 1)
    if name == "cumulative":
        multipliers = tuple(i * (i + 1) / (2 * steps) for i in indices)
    else:
        multipliers = tuple(i / steps for i in indices)
    return IntegrationPath(name, multipliers, (1 / steps,) * steps)
