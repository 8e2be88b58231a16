"""`python -m iscam benchmark`: how fast the maps are on this machine, and how exact."""

from __future__ import annotations

import argparse
import os

from iscam import benchmark, engine
from iscam.images import find_photos

from .files import make_folder


def run_benchmark(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    if not os.path.isdir(options.photos):
        raise ValueError(f"There is no folder {options.photos}: name a folder of pictures with --photos.")
    make_folder(options.out)
    engine.set_threads()
    photos = find_photos(options.photos)
    device = engine.find_device(options.device)
    report = benchmark.benchmark(options.models, photos, options.against, device, lambda line: print(line, flush=True))
    benchmark.write_report(options.out, report)
    print((options.out / "benchmark.md").read_text(encoding="utf-8"))
    return 0
