"""From a photo to its `Analysis`: what comes in, what the network says of it, and what it is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from iscam.arrays import as_picture
from iscam.engine import NoMaps, ScoreTable, forward_pass
from iscam.images import Photo, middle, read_photo
from iscam.models import LoadedModel
from iscam.results import FEWEST, FOUND, Analysis, Prediction

Source = str | Path | bytes | Image.Image | Photo | NDArray[np.generic] | Tensor


def photo_of(source: Source) -> Photo:
    """A photo from a file, its bytes, a picture, or an array or tensor (see `as_picture`). Raises ValueError as these do."""
    return read_photo(as_picture(source) if isinstance(source, (np.ndarray, Tensor)) else source)


def input_of(model: LoadedModel, photo: Photo) -> Tensor:
    """What the network is fed (1, 3, H, W)."""
    whole = (
        model.geometry.fit != "center"
    )  # of a crop's photo, far ends that it does not reach would be resized for nothing
    return model.transforms(photo.image if whole else middle(photo.image))[None]


def analysed(model: LoadedModel, photo: Photo, crop: tuple[int, int, int, int], image: Tensor, layer: str) -> Analysis:
    """An input (1, 3, H, W) that shows the crop of a photo: one forward pass.

    Raises:
        ValueError: the layer has no maps, or the network gives no finite scores; one sentence.
    """
    try:
        forward = forward_pass(model.network, layer, image.to(next(model.network.parameters())))
    except NoMaps as error:
        raise ValueError(f"{error}: choose one of {', '.join(model.layers)}.") from error
    forward = replace(forward, activations=forward.activations.float(), logits=forward.logits.float())
    if not forward.logits.isfinite().all():
        raise ValueError(f"{model.label} gives no finite scores for this photo: check its weights, mean and std.")
    probabilities = model.head.probabilities(forward.logits).numpy()  # (K,)
    shown = max(FEWEST, int((probabilities > FOUND).sum()))
    top = probabilities.argsort()[::-1][:shown]
    return Analysis(
        photo=photo,
        crop=crop,
        predictions=tuple(Prediction(int(i), model.categories[i], float(probabilities[i])) for i in top),
        probabilities=probabilities,
        layer=layer,
        forward=forward,
        table=ScoreTable(forward.logits, len(forward.activations), head=model.head),
        gradients={},
    )


def shown_to(model: LoadedModel, image: Tensor) -> NDArray[np.uint8]:
    """What the network is shown by an input (1, 3, H, W), as an RGB picture (H, W, 3)."""
    black, white = (model.transforms(Image.new("RGB", (64, 64), shade))[:, :1, :1] for shade in ("black", "white"))
    shares = (
        ((image[0].float().cpu() - black) / (white - black)).clamp(0, 1).expand(3, -1, -1)
    )  # (3, H, W), also of grey
    found: NDArray[np.uint8] = (255 * shares).round().byte().permute(1, 2, 0).numpy()
    return found
