"""Which version this is, and where the files lie that come with it."""

from pathlib import Path

__version__ = "0.1.0"
ASSETS = Path(__file__).resolve().parent.parent / "assets"
EXAMPLES = ASSETS / "examples"
