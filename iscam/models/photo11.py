"""The classifier that comes with the project."""

from __future__ import annotations

from iscam.images import Geometry
from iscam.project import ASSETS

from .bundled import network as bundled
from .checkpoint import fill, read_checkpoint
from .describe import describe
from .digest import verify
from .loaded import LoadedModel
from .preprocessing import make_transforms
from .table import BUNDLED, MODELS

BUNDLED_WEIGHTS = ASSETS / "bundled" / "photo11.safetensors"
SHA256 = "664dbea01ab8b244d34efa208a55bfb8b7cd886a2f1f8430371f2018d5d5b04f"


def load_bundled(device: str) -> LoadedModel:
    """The bundled classifier `photo11`. Raises OSError, one sentence, if its file is not the published one."""
    verify(BUNDLED_WEIGHTS, SHA256, "get the files of the project again")
    network = bundled.Photo11Net()
    fill(network, read_checkpoint(BUNDLED_WEIGHTS), BUNDLED_WEIGHTS.name)
    geometry = Geometry(bundled.RESIZE_SIZE, bundled.INPUT_SIZE)
    return describe(
        network,
        MODELS[BUNDLED],
        bundled.CATEGORIES,
        geometry,
        make_transforms(geometry, bundled.MEAN, bundled.STD),
        BUNDLED_WEIGHTS,
        device,
    )
