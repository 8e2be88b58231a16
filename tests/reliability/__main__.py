"""Writes docs/reliability.md: every input, abuse, fault and load that is tried, how often, what is expected and what is seen.

    python -m tests.reliability

Everything runs on this machine, over the loopback alone. Exit code 1 if anything did not hold.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.serving import ROOT, running_app

from . import abuse, faults, inputs, load
from .fuzz import HANGS, MEMORY, fuzz
from .rows import Row

PAGE = ROOT / "docs" / "reliability.md"
PHOTOS, WEIGHTS, VISITORS, JOBS, VISITS = 10_000, 2_000, 50, 300, 200
HEAD = """# What has been tried against it

Made by `python -m tests.reliability`, which is how it is checked, in {minutes:.0f} minutes on {cores} cores. Files are made by
scripts in `tests/reliability`, visitors and attackers speak raw HTTP with the real server, and nothing leaves the machine.
What is promised because of it stands in [SECURITY.md](../SECURITY.md).

| part | what | times | expected | observed | holds |
|---|---|---|---|---|---|
"""


def fuzzed(reader: str, what: str, count: int) -> Row:
    found = fuzz(reader, count)
    expected = f"a sentence or a result, within {HANGS:.0f} s and {MEMORY // 1024} MB"
    seen = (
        f"{found.read} read, {found.refused} refused, {len(found.wrong)} wrong; slowest {found.slowest:.2f} s, "
        f"largest {found.largest // 1024} MB" + "".join(f"; {each}" for each in found.wrong[:3])
    )
    return Row("input", what, found.tried, expected, seen, not found.wrong and found.tried == count)


def everything(folder: Path, part: float) -> Iterator[Row]:
    """All rows, with a part of the counts."""

    def some(count: int) -> int:
        return max(1, round(part * count))

    yield fuzzed("photos", "photos with random changes, of 30 kinds", some(PHOTOS))
    yield fuzzed("weights", "weights, labels and configurations with random changes", some(WEIGHTS))
    (folder / "app").mkdir()
    with running_app(folder / "app") as app:
        yield from inputs.tried(app, Path(tempfile.mkdtemp(dir=folder)))
        yield from abuse.tried(app, Path(tempfile.mkdtemp(dir=folder)))
    (folder / "crowd").mkdir()
    with running_app(folder / "crowd") as app:
        yield from load.crowd(app, some(VISITORS))
        yield from load.fairness(app)
        yield from load.growth(app, some(JOBS), some(VISITS))
    yield from faults.tried(Path(tempfile.mkdtemp(dir=folder)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--part", type=float, default=1.0, help="of the counts, for a shorter look; then nothing is written"
    )
    options = parser.parse_args()
    begun, rows = time.monotonic(), []
    with tempfile.TemporaryDirectory() as place:
        for row in everything(Path(place), options.part):
            rows.append(row)
            print(
                f"{time.monotonic() - begun:5.0f} s  {'holds' if row.holds else 'FAILS'}  {row.what}: {row.observed}",
                flush=True,
            )
    minutes, cores = (time.monotonic() - begun) / 60, len(os.sched_getaffinity(0))
    if options.part == 1:
        lines = [
            f"| {row.part} | {_cell(row.what)} | {row.count:,} | {_cell(row.expected)} | {_cell(row.observed)} | "
            f"{'yes' if row.holds else '**no**'} |"
            for row in rows
        ]
        PAGE.write_text(HEAD.format(minutes=minutes, cores=cores) + "\n".join(lines) + "\n", encoding="utf-8")
    return int(not all(row.holds for row in rows))


def _cell(words: str) -> str:
    """Words as they stand in a table, without the folders of this machine."""
    here = "|".join(re.escape(str(folder)) for folder in (ROOT, tempfile.gettempdir()))
    words = re.sub(rf"({here})/(\S*/)?", "", words)
    return words.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
