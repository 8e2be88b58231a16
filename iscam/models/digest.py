"""Whether a file of weights is the one that was published."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256(file: Path) -> str:
    """The file's SHA-256 in hexadecimal. Raises OSError if it cannot be read."""
    with file.open("rb") as contents:
        return hashlib.file_digest(contents, "sha256").hexdigest()


def verify(file: Path, published: str, remedy: str) -> None:
    """Raises OSError, one sentence that ends with the remedy, if the file's SHA-256 is not the published one."""
    if sha256(file) != published:
        raise OSError(f"The weights file {file.name} in {file.parent} is damaged: {remedy}.")
