"""Train the bundled classifier from scratch: `python -m iscam.models.bundled.train --data DIR|ZIP`.

Three habits make it cheap on two CPU cores: photos are decoded once into memory, most epochs see crops smaller than the
network's final input (progressive sizes; they also offset the apparent-size gap between random training crops and the
centre crop, arXiv 1906.06423), and passes run in bf16 where the processor has it. CutMix (arXiv 1905.04899) and label
smoothing regularise. A short second phase adds a reward for last maps that take up little of the picture, so that a map
shows a place rather than a haze. The weights of the last epoch are kept: none is picked by the validation photos.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn

from iscam.engine import has_bf16

from .network import CATEGORIES, MEAN, STD, Photo11Net
from .photos import read_labelled

SIZES = ((0.4, 96), (0.8, 112), (1.0, 128))  # up to this share of the epochs, crops of this size
LABEL_SMOOTHING = 0.1
CUTMIX_SHARE = 0.3  # of the batches, until the last size is reached
SPREAD_WEIGHT = 0.5  # of `spread` beside the cross-entropy, in the second phase
FOCUS_RATE = 0.2  # learning rate of the second phase, as a share of the first's
FOCUS_SEED = 1000
JITTER = 0.3  # brightness, contrast and saturation are scaled by 1 +- this


def decode(source: Path, split: str) -> tuple[list[Image.Image], Tensor]:
    """Every photo of a split as an RGB picture, and its class index (n,)."""
    photos, labels = [], []
    for _, label, contents in read_labelled(source, split):
        photos.append(Image.open(io.BytesIO(contents)).convert("RGB"))
        labels.append(label)
    return photos, torch.tensor(labels)


def random_crop(photo: Image.Image, size: int, rng: np.random.Generator) -> np.ndarray:
    """A random part of the photo (30-100 % of its area, aspect 3:4 to 4:3), perhaps mirrored, as (size, size, 3) uint8."""
    width, height = photo.size
    area = width * height * rng.uniform(0.3, 1.0)
    aspect = math.exp(rng.uniform(-1, 1) * math.log(4 / 3))
    w, h = min(width, math.sqrt(area * aspect)), min(height, math.sqrt(area / aspect))
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    crop = np.asarray(photo.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h)))
    return crop[:, ::-1] if rng.random() < 0.5 else crop


def jitter(batch: Tensor) -> Tensor:
    """Scale brightness, contrast and saturation of each picture of (B, 3, S, S) in [0, 1] at random."""
    factors = 1 + JITTER * (2 * torch.rand(3, len(batch), 1, 1, 1) - 1)
    batch = batch * factors[0]
    means = batch.mean((1, 2, 3), keepdim=True)
    batch = means + (batch - means) * factors[1]
    grey = batch.mean(1, keepdim=True)
    return (grey + (batch - grey) * factors[2]).clamp(0, 1)


def cutmix(batch: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of another picture into each picture, and mix the target rows (B, K) by area."""
    size = batch.shape[-1]
    side = math.sqrt(float(torch.rand(()))) * size
    centre_y, centre_x = (torch.rand(2) * size).tolist()
    top, bottom = round(max(0, centre_y - side / 2)), round(min(size, centre_y + side / 2))
    left, right = round(max(0, centre_x - side / 2)), round(min(size, centre_x + side / 2))
    order = torch.randperm(len(batch))
    mixed = batch.clone()
    mixed[:, :, top:bottom, left:right] = batch[order, :, top:bottom, left:right]
    share = (bottom - top) * (right - left) / size**2
    return mixed, (1 - share) * targets + share * targets[order]


def batches(
    photos: list[Image.Image], labels: Tensor, size: int, batch_size: int, mix: bool, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of (normalised inputs (B, 3, size, size), target rows (B, K)); pictures are cropped in two threads."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    order = torch.randperm(len(photos)).tolist()
    with ThreadPoolExecutor(max_workers=2) as pool:
        for start in range(0, len(order) - batch_size + 1, batch_size):
            chosen = order[start : start + batch_size]
            crops = pool.map(lambda i: random_crop(photos[i], size, np.random.default_rng((seed, i))), chosen)
            batch = torch.from_numpy(np.stack(list(crops))).permute(0, 3, 1, 2).float() / 255
            targets = nn.functional.one_hot(labels[chosen], len(CATEGORIES)).float()
            batch = (jitter(batch) - mean) / std
            if mix and torch.rand(()) < CUTMIX_SHARE:
                batch, targets = cutmix(batch, targets)
            yield batch.contiguous(memory_format=torch.channels_last), targets


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the network in float16; the file appears whole or not at all."""
    state = {name: t.half() if t.is_floating_point() else t for name, t in network.state_dict().items()}
    contents = save({name: t.cpu().contiguous() for name, t in state.items()}, {"categories": ",".join(CATEGORIES)})
    part = path.with_suffix(".part")
    part.write_bytes(contents)
    os.replace(part, path)


def spread(maps: Tensor) -> Tensor:
    """How much of the picture the summed activations of (B, C, h, w) take up, as a mean over the batch.

    The participation ratio (sum S)^2 / (h w sum S^2) of S = sum_k A_k >= 0: 1 for an even S, 1/(h w) for a single position.
    """
    total = maps.float().sum(1).flatten(1)  # (B, h w)
    return (total.sum(1) ** 2 / (total.shape[1] * (total**2).sum(1) + 1e-6)).mean()


@dataclass(frozen=True)
class Phase:
    """Epochs under one one-cycle schedule that rises to `learning_rate`; the crops' sizes are as in SIZES."""

    epochs: int
    sizes: tuple[tuple[float, int], ...]
    learning_rate: float
    spread_weight: float
    seed: int


def run_phase(
    network: Photo11Net, photos: list[Image.Image], labels: Tensor, phase: Phase, batch_size: int, out: Path
) -> None:
    """Train, and write the weights after every epoch."""
    device = network.fc.weight.device
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=phase.learning_rate, momentum=0.9, nesterov=True)
    steps = phase.epochs * (len(photos) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, phase.learning_rate, total_steps=steps, pct_start=0.15)
    for epoch in range(phase.epochs):
        started = time.perf_counter()
        size = next(size for share, size in phase.sizes if epoch < share * phase.epochs)
        mix = size != SIZES[-1][1]
        network.train()
        total, count = 0.0, 0
        for inputs, targets in batches(photos, labels, size, batch_size, mix, phase.seed + epoch):
            inputs, targets = inputs.to(device), targets.to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=has_bf16(device)):
                features = network.features(inputs)
                logits = network.classify(features)
            loss = nn.functional.cross_entropy(logits.float(), targets, label_smoothing=LABEL_SMOOTHING)
            if phase.spread_weight:
                loss = loss + phase.spread_weight * spread(features)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            total, count = total + float(loss.detach()), count + 1
        save_weights(network, out)
        seconds = time.perf_counter() - started
        print(f"epoch {epoch + 1}/{phase.epochs}  size {size}  loss {total / count:.4f}  {seconds:.0f} s", flush=True)


def train(
    data: Path, out: Path, epochs: int, focus_epochs: int, batch_size: int, learning_rate: float, seed: int
) -> None:
    """Train from scratch on `data`, then teach the last maps to be compact, and leave the weights in `out`."""
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    photos, labels = decode(data, "train")
    print(f"{len(photos)} photos, {epochs} + {focus_epochs} epochs on {device}", flush=True)
    network = Photo11Net().to(device).to(memory_format=torch.channels_last)
    for phase in (
        Phase(epochs, SIZES, learning_rate, 0.0, seed),
        Phase(focus_epochs, SIZES[-1:], learning_rate * FOCUS_RATE, SPREAD_WEIGHT, seed + FOCUS_SEED),
    ):
        if phase.epochs:
            run_phase(network, photos, labels, phase, batch_size, out)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m iscam.models.bundled.train", description="Train photo11 from scratch."
    )
    parser.add_argument("--data", type=Path, required=True, help="folder or zip with train/<class>/ inside")
    parser.add_argument("--out", type=Path, default=Path("photo11.safetensors"), help="file to write after every epoch")
    parser.add_argument("--epochs", type=int, default=75)
    parser.add_argument("--focus-epochs", type=int, default=5, help="after these, with a reward for compact maps")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        train(**vars(options))
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
