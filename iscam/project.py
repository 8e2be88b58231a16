"""Which version this is, and where the files lie that come with it."""

from pathlib import Path

__version__ = "1.0.0"


def assets_of(package: Path) -> Path:
    """The folder of those files: inside the package where it is installed, else beside it, as in the project's own folder."""
    inside = package / "assets"
    return inside if inside.is_dir() else package.parent / "assets"


ASSETS = assets_of(Path(__file__).resolve().parent)
EXAMPLES = ASSETS / "examples"
