"""Where passes are run: what a device is called, whether it is there, and what it does. Importing this module loads no torch,
so that the command line can check a name."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
DEVICE = re.compile(r"cpu|cuda(:(0|[1-9][0-9]*))?|mps|auto")


def check_device(name: str) -> str:
    """The name of a device, which need not be there. Raises ValueError, one sentence, if none is called so."""
    if not DEVICE.fullmatch(name):
        raise ValueError(f"The device must be cpu, cuda, cuda:0 (or another number), mps or auto, not {name!r}.")
    return name


def find_device(name: str) -> str:
    """The device of that name; for `auto` a GPU if there is one. Raises ValueError, one sentence, if it is not there."""
    import torch

    check_device(name)
    graphics = torch.cuda.is_available()
    there = ["cpu", *(["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))] if graphics else ())]
    if torch.backends.mps.is_available():
        there.append("mps")
    if name == "auto":
        return next(kind for kind in ("cuda", "mps", "cpu") if kind in there)
    if name not in there:
        choice = f"choose one of {', '.join(there)}" if len(there) > 1 else "there is only the cpu"
        raise ValueError(f"There is no device {name} that torch can use here: {choice}.")
    return name


def device_label(name: str) -> str:
    """What a device that is there is called for people: a CUDA device by its maker's name."""
    import torch

    return torch.cuda.get_device_name(name) if name.startswith("cuda") else name


def has_bf16(device: torch.device | str) -> bool:
    """Whether bfloat16 arithmetic pays on the device (on a CPU: AVX-512 BF16 or AMX; `ISCAM_NO_BF16=1` denies it)."""
    import torch

    if os.environ.get("ISCAM_NO_BF16") == "1":
        return False
    match torch.device(device).type:
        case "cpu":
            return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
        case "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        case _:
            return False  # on MPS it depends on chip and system, and nobody has measured that it pays


def set_threads() -> None:
    """Use as many threads as `ISCAM_THREADS` says; else as many as torch takes by itself and the container allows.

    Raises ValueError if it is no number.
    """
    import torch

    if threads := os.environ.get("ISCAM_THREADS"):
        if not threads.isdecimal() or int(threads) < 1:
            raise ValueError(f"ISCAM_THREADS must be a whole number of threads, not {threads!r}.")
        torch.set_num_threads(int(threads))
    else:
        torch.set_num_threads(allowed(torch.get_num_threads()))


def allowed(threads: int) -> int:
    """Of so many threads those that the container's quota allows; all if `ISCAM_THREADS` has said how many."""
    return threads if os.environ.get("ISCAM_THREADS") else min(threads, quota() or threads)


def quota(groups: Path = CGROUPS, own: Path = OWN_CGROUP) -> int | None:
    """How many cores a container may keep busy, a part of one being a whole; None if nothing is said (Linux cgroups v2)."""
    try:
        path = next(line[3:] for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    found: list[float] = []
    here = groups / path.strip("/")
    for group in (here, *here.parents):
        try:
            limit, period = (group / "cpu.max").read_text().split()
            found.append(int(limit) / int(period))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return max(1, math.ceil(min(found))) if found else None


@contextmanager
def full_float32() -> Iterator[None]:
    """No TF32 while the body runs, whatever is allowed outside, which is put back: it has 10 bits where float32 has 23, and
    convolutions on CUDA are allowed it unless somebody says otherwise."""
    import torch

    places = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    allowed = [place for place in places if place.fp32_precision == "tf32"]
    try:
        for place in allowed:
            place.fp32_precision = "ieee"
        yield
    finally:
        for place in allowed:
            place.fp32_precision = "tf32"
