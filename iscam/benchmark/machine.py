"""What machine this is, and how much memory a map takes on it."""

from __future__ import annotations

import math
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from iscam.engine import device_label, has_bf16


def machine(against: str | None, device: str) -> str:
    """The machine in a line, and the device that the passes are run on, if that is not the processor."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    packages = ["torch", "torchvision", *(["torchcam"] if against else [])]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    kind = "with" if has_bf16(device) else "without"
    runs_on = "" if device == "cpu" else f"{device_label(device)}; "  # begins with CUDA, before its memory is measured
    span = "per map" if forget_peak(torch.device(device)) else "since the start"
    memory = f"of the GPU {span}, in MB" if "cuda" in device else f"{span}, in MB with everything imported"
    return (
        f"{runs_on}{cpu}, {os.cpu_count()} cores, threads: {torch.get_num_threads()}, {kind} bfloat16; "
        f"Python {platform.python_version()}, {versions}; peak memory {memory}"
    )


def forget_peak(device: torch.device) -> bool:
    """Let the peak be measured anew: of a CUDA device's memory, else of the process's resident memory. Returns whether
    that can be done."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_mb(device: torch.device) -> float:
    """The peak in MB of what `forget_peak` measures; nan on Windows, where Python does not tell it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024
    if sys.platform == "win32":
        return math.nan
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
