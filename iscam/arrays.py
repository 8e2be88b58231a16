"""Photos that are arrays already. No torch is loaded here: a tensor that comes has brought it along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor


def as_picture(values: NDArray[Any] | Tensor) -> Image.Image:
    """A picture from an array (H, W, 3), (H, W, 1) or (H, W), or a tensor (3, H, W) or (1, H, W): whole numbers of 0 to 255, or
    other numbers of 0 to 1.

    Raises:
        ValueError: another shape, or numbers that no photo has, such as normalised ones; one sentence.

    >>> as_picture(np.full((2, 3), 0.5)).getpixel((0, 0))
    (128, 128, 128)
    """
    kind = "array" if isinstance(values, np.ndarray) else "tensor"
    array: NDArray[Any] = values if isinstance(values, np.ndarray) else _rows_first(values)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        wanted = "(H, W, 3)" if kind == "array" else "(3, H, W)"
        raise ValueError(f"A photo as {kind} has the shape {wanted}, not {tuple(values.shape)}.")
    if array.dtype.kind == "f":
        array = np.rint(255 * array.astype(np.float64))
    if array.dtype.kind not in "uif" or not (array.min() >= 0 and array.max() <= 255):  # also if some are no numbers
        raise ValueError(
            f"A photo as {kind} has whole numbers from 0 to 255 or other numbers from 0 to 1: pass it as it is before it is "
            "normalised."
        )
    return Image.fromarray(np.broadcast_to(array, (*array.shape[:2], 3)).astype(np.uint8))


def _rows_first(tensor: Tensor) -> NDArray[Any]:
    """(C, H, W) -> (H, W, C), wherever it is; floating point numbers as float32, which numpy knows."""
    found = tensor.detach().cpu()
    if found.is_floating_point():
        found = found.float()
    rows: NDArray[Any] = (found.movedim(0, -1) if found.ndim == 3 else found).numpy()
    return rows
