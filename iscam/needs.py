"""What methods need to be run, beside the pass over the photo, by the settings. No torch here."""

from __future__ import annotations

from iscam.engine import Passes, Probe
from iscam.path import integration_path
from iscam.settings import Settings


def nothing(settings: Settings) -> Passes:
    """The pass over the photo alone."""
    return Passes()


def along_the_path(settings: Settings) -> Passes:
    """The masked photo at every multiplier of the path."""
    path = integration_path(settings.path, settings.steps)
    return Passes(tuple(Probe(multiplier) for multiplier in path.multipliers), path.weights, settings.weighting)


def masked_once(settings: Settings) -> Passes:
    """The masked photo as it is."""
    return Passes((Probe(),), (1.0,), settings.weighting)


def masked_with_noise(settings: Settings) -> Passes:
    """The masked photo with several fields of noise."""
    probes = tuple(Probe(noise=noise) for noise in _noises(settings))
    return Passes(probes, (1 / len(probes),) * len(probes))


def silenced(settings: Settings) -> Passes:
    """The photo as it is, with the channel silenced in the network."""
    return Passes((Probe(silence=True),), (1.0,), "logit")


def every_cell(settings: Settings) -> Passes:
    """The photo as it is, with one cell of the layer left in the network."""
    return Passes(cells=True)


def gradient(settings: Settings) -> Passes:
    """The gradient at the photo."""
    return Passes(gradients=(None,))


def gradients_with_noise(settings: Settings) -> Passes:
    """The mean of the gradients at several noisy photos."""
    return Passes(gradients=_noises(settings))


def _noises(settings: Settings) -> tuple[tuple[int, int], ...]:
    return tuple((settings.seed, sample) for sample in range(settings.samples))
