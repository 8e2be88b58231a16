"""Measure the bundled classifier's stored file: `python -m iscam.models.bundled.accuracy --data DIR|ZIP`.

Every photo goes the way a visitor's photo goes: `read_photo`, the model's transforms, one pass.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import torch

from iscam.images import read_photo
from iscam.models import LoadedModel, load_model

from .network import CATEGORIES
from .photos import read_labelled

BATCH = 64


def measure(model: LoadedModel, data: Path, split: str) -> tuple[Counter[int], Counter[int]]:
    """How many photos each class has, and how many of them the most probable class is right for."""
    photos: Counter[int] = Counter()
    right: Counter[int] = Counter()
    batch: list[torch.Tensor] = []
    labels: list[int] = []

    def count() -> None:
        with torch.no_grad():
            found = model.network(torch.stack(batch)).argmax(1).tolist()
        photos.update(labels)
        right.update(label for label, index in zip(labels, found, strict=True) if label == index)
        batch.clear()
        labels.clear()

    for _, label, contents in read_labelled(data, split):
        batch.append(model.transforms(read_photo(contents).image))
        labels.append(label)
        if len(batch) == BATCH:
            count()
    if batch:
        count()
    return photos, right


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m iscam.models.bundled.accuracy", description="Accuracy of photo11.")
    parser.add_argument("--data", type=Path, required=True, help="folder or zip with val/<class>/ inside")
    parser.add_argument("--split", default="val", help="default val")
    parser.add_argument(
        "--checkpoint", type=Path, help="other weights than the bundled ones, from iscam.models.bundled.train"
    )
    options = parser.parse_args()
    own = options.checkpoint is not None
    model = load_model(arch="photo11", checkpoint=options.checkpoint) if own else load_model("photo11")
    try:
        photos, right = measure(model, options.data, options.split)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    for index, category in enumerate(CATEGORIES):
        if photos[index]:
            print(f"{category:16} {right[index]:5d} of {photos[index]:5d}  {100 * right[index] / photos[index]:5.1f} %")
    total, correct = photos.total(), right.total()
    print(f"{'all':16} {correct:5d} of {total:5d}  {100 * correct / total:5.1f} %")


if __name__ == "__main__":
    main()
