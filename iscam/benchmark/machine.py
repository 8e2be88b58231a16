"""What machine this is, and how much memory a map takes on it."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from iscam.engine import has_bf16


def machine(against: str | None) -> str:
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    packages = ["torch", "torchvision", *(["torchcam"] if against else [])]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    kind = "with" if has_bf16("cpu") else "without"
    memory = "peak memory per map" if forget_peak() else "peak memory since the start"
    return (
        f"{cpu}, {os.cpu_count()} cores, threads: {torch.get_num_threads()}, {kind} bfloat16; "
        f"Python {platform.python_version()}, {versions}; {memory}, in MB with everything imported"
    )


def forget_peak() -> bool:
    """Let the system measure the peak of resident memory anew. Returns whether it can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
