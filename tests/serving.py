"""The real app in a process of its own, as the tests over HTTP and in the browser need it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 120
NOWHERE = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}  # nothing can be downloaded


@dataclass(frozen=True)
class Served:
    """A running app: its address, and its process by number, whose child runs the networks."""

    url: str
    pid: int

    @property
    def children(self) -> list[int]:
        """The processes that it has started."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/children")  # a child is that of the thread that started it
        return [int(child) for thread in threads for child in thread.read_text().split()]

    def cpu_seconds(self) -> float:
        """How long all its threads, and those of its children, have kept a processor busy so far."""
        return sum(_cpu_seconds(pid) for pid in (self.pid, *self.children))


def alive(process: int) -> bool:
    """Whether there is such a process, and not only its entry that nobody has read."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running_app(folder: Path, weights: Path | None = None, *options: str) -> Iterator[Served]:
    """A running app without a way out, whose uploads and log lie in `folder`; it begins with photo11 unless told otherwise.

    It has the bundled classifier, and what lies in torch's folder of `weights`.
    """
    port = free_port()
    places = {"GRADIO_TEMP_DIR": str(folder / "uploads"), "TORCH_HOME": str(weights or folder / "no weights")}
    environment = {key: value for key, value in os.environ.items() if key not in ("GRADIO_SERVER_NAME", "SPACE_ID")}
    environment |= places | NOWHERE | {"PORT": str(port)}
    command = [sys.executable, "app.py", *(options or ("--model", "photo11"))]
    with serving(command, ROOT, environment, f"http://127.0.0.1:{port}", folder / "app.log") as served:
        yield served


def free_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: list[str], place: Path, environment: dict[str, str], url: str, log: Path) -> Iterator[Served]:
    """The app by a command, run in a folder, once it answers at the address; it is ended in the end."""
    with log.open("w") as said:
        process = subprocess.Popen(command, cwd=place, env=environment, stdout=said, stderr=subprocess.STDOUT)
        try:
            _wait(url, process, log)
            yield Served(url, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/config", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise AssertionError(f"the app did not start:\n{log.read_text()}")
