"""How a batch is pushed through the network fast on this machine: precision, memory layout, batch size, threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch
from torch import Tensor

BATCH_SECONDS = 0.12  # a batch is the grain of a stop: aim at half of the 0.25 s that may pass
MAX_ROWS = {"cpu": 16, "cuda": 128}  # small batches stay in a CPU's caches


def has_bf16(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic pays on the device (on a CPU: AVX-512 BF16 or AMX; `ISCAM_NO_BF16=1` denies it)."""
    if os.environ.get("ISCAM_NO_BF16") == "1":
        return False
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def set_threads() -> None:
    """Use as many threads as `ISCAM_THREADS` says, if it is set. Raises ValueError if it is no number."""
    if threads := os.environ.get("ISCAM_THREADS"):
        if not threads.isdecimal() or int(threads) < 1:
            raise ValueError(f"ISCAM_THREADS must be a whole number of threads, not {threads!r}.")
        torch.set_num_threads(int(threads))


class Pace:
    """How many rows go into the next batch so that it takes about BATCH_SECONDS, learnt from the batches so far."""

    def __init__(self, device: torch.device) -> None:
        self._most = MAX_ROWS[device.type]
        self.rows = 1

    def learn(self, rows: int, seconds: float) -> None:
        fitting = max(1, min(int(BATCH_SECONDS * rows / max(seconds, 1e-9)), 4 * self.rows, self._most))
        self.rows = 1 << (
            fitting.bit_length() - 1
        )  # a power of two: every new batch shape costs the CPU's planner time


def timed_logits(run: Callable[[Tensor], Tensor], images: Tensor) -> tuple[Tensor, float]:
    """Logits (B, K) in float32 that `run` gives for images (B, 3, H, W), without gradients, and the seconds it took."""
    started = time.perf_counter()
    with torch.no_grad():
        logits = run(images.contiguous(memory_format=torch.channels_last)).float()
        if images.is_cuda:
            torch.cuda.synchronize()
    return logits, time.perf_counter() - started
