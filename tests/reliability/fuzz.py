"""Thousands of nearly right files through a reader, in a process of its own: whatever it raises, takes or hangs at is counted.

python -m tests.reliability.fuzz photos --count 10000
"""

from __future__ import annotations

import argparse
import importlib
import json
import queue
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.reliability.mutation import mutated

ROOT = Path(__file__).resolve().parents[2]
HANGS = 2.0  # seconds
KILLED = 20.0  # seconds after which a file has hung for good
STARTS = 120.0  # seconds that a reader may take to be loaded
MEMORY = 500 * 1024  # KB that a file may take
SPACE = 8 * 1024**3  # bytes of addresses that the process may have at all
READERS = {"photos": "tests.reliability.photos", "weights": "tests.reliability.weights"}

Read = Callable[[str, bytes], object]  # a seed's name and a file made of it; raises ValueError or OSError, a sentence


@dataclass(eq=False)
class Found:
    """How many files were read, refused by a sentence, and what went wrong with others."""

    read: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0
    largest: int = 0  # KB beyond what the process took before

    @property
    def tried(self) -> int:
        return self.read + self.refused + len(self.wrong)


def fuzz(reader: str, count: int, first: int = 0) -> Found:
    """Try files number `first` to `first + count - 1`. A process that dies or hangs is replaced."""
    found, number = Found(), first
    while number < first + count:
        number = _batch(reader, number, first + count, found)
    return found


def _batch(reader: str, number: int, end: int, found: Found) -> int:
    """Try files in one process until it ends; the number of the next file."""
    command = [sys.executable, "-m", "tests.reliability.fuzz", reader, "--inside", str(number), str(end)]
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    errors: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        out, err = process.stdout, process.stderr
        assert out is not None and err is not None

        def listen() -> None:
            for line in out:
                lines.put(line)
            lines.put("")  # it has ended

        threads = [threading.Thread(target=listen), threading.Thread(target=lambda: errors.extend(err))]
        for thread in threads:
            thread.start()
        limit, reason = STARTS, "ended its process"
        while number < end:
            try:
                line = lines.get(timeout=limit)
            except queue.Empty:
                process.kill()
                reason = f"hung for {limit:.0f} s"
                break
            if not line:
                break
            _count(found, json.loads(line))
            number, limit = number + 1, KILLED
        for thread in threads:
            thread.join()
    if number < end:
        found.wrong.append(f"file {number} {reason}: {''.join(errors[-1:]).strip()}")
        number += 1
    return number


def _count(found: Found, line: Mapping[str, object]) -> None:
    seconds, memory, wrong = float(str(line["seconds"])), int(str(line["memory"])), line.get("wrong")
    found.slowest, found.largest = max(found.slowest, seconds), max(found.largest, memory)
    if wrong is None and seconds > HANGS:
        wrong = f"took {seconds:.1f} s"
    if wrong is None and memory > MEMORY:
        wrong = f"took {memory // 1024} MB"
    if wrong is not None:
        found.wrong.append(f"file {line['number']} of {line['seed']}: {wrong}")
    elif line["refused"]:
        found.refused += 1
    else:
        found.read += 1


# Inside


def inside(reader: str, first: int, end: int) -> None:
    """Try files in this process, and print a line of each."""
    resource.setrlimit(resource.RLIMIT_AS, (SPACE, SPACE))
    module = importlib.import_module(READERS.get(reader, reader))
    seeds: dict[str, bytes] = module.seeds()
    read: Read = module.read
    for name, data in seeds.items():
        read(name, data)  # what is loaded once belongs to no file
    _peak()
    before = _peak()
    for number in range(first, end):
        name, data = mutated(seeds, number)
        line: dict[str, object] = {"number": number, "seed": name, "refused": False}
        begun = time.perf_counter()
        try:
            read(name, data)
        except (ValueError, OSError) as error:
            line["refused"] = True
            if trouble := no_sentence(str(error)):
                line["wrong"] = f"says {trouble}: {str(error)[:200]!r}"
        except BaseException as error:
            line["wrong"] = f"raises {type(error).__name__}: {str(error)[:200]}"
        line["seconds"] = time.perf_counter() - begun
        line["memory"] = max(0, _peak() - before)
        print(json.dumps(line), flush=True)


def _peak() -> int:
    """KB that this process has taken at most since this was last asked."""
    status = Path("/proc/self/status").read_text()
    (peak,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    Path("/proc/self/clear_refs").write_text("5")
    return peak


def no_sentence(words: str) -> str:
    """What is wrong with a sentence for people; empty if nothing."""
    if not words.endswith((".", "!")) or " " not in words:
        return "no sentence"
    if not words.isprintable():
        return "what cannot be printed"
    return "too much" if len(words) > 1000 else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reader", help=f"{', '.join(READERS)}, or a module with `seeds` and `read`")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--inside", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(options.reader, *options.inside)
        return
    found = fuzz(options.reader, options.count, options.first)
    print("\n".join(found.wrong))
    print(
        f"{found.tried} tried, {found.read} read, {found.refused} refused, {len(found.wrong)} wrong; "
        f"slowest {found.slowest:.2f} s, largest {found.largest // 1024} MB"
    )


if __name__ == "__main__":
    main()
