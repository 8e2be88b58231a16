"""A Space of this machine: the app's files in a folder that cannot be written, a user of its own, an empty home, a proxy."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.serving import NOWHERE, ROOT, Served, free_port, serving

from .proxy import proxied

FILES = ("app.py", "iscam", "assets", "README.md", "LICENSE", "requirements.txt")
STAND_IN = Path(__file__).with_name("spaces_stand_in.py")
PATH = "/spaces/rehearsal"
HOST = "space.example"
PUBLIC = f"https://{HOST}{PATH}"  # how visitors call the page
USER = 61_234  # that has nothing on this machine
READ_ALL = 2  # Linux's CAP_DAC_READ_SEARCH


@dataclass(frozen=True)
class Space:
    """A Space that answers: the app's processes, its own port, its address at the proxy, what it told the platform, its folder,
    its user, when it was started, and how many seconds its server took to answer."""

    served: Served
    port: int
    url: str
    told: list[str]
    folder: Path
    user: int | None
    begun: float
    seconds: float

    @property
    def files(self) -> Path:
        return self.folder / "app"


@contextmanager
def platform() -> Iterator[tuple[str, list[str]]]:
    """The address to which a ZeroGPU Space reports, and the paths that it has posted to."""
    told: list[str] = []

    class Hears(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(self.path.partition("?")[0])
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hears) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", told
        server.shutdown()


def another_user() -> list[str] | None:
    """The beginning of a command that makes it another user's, where we may do that; that user may read what we may, and write
    nothing, because the Python of this environment may lie where nobody else can read."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return None
    who = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    reads = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    for begin in ([*who, *reads], who):
        if subprocess.run([*begin, sys.executable, "-c", ""], capture_output=True).returncode == 0:
            return begin
    return None


@contextmanager
def space(package: Path | None = None) -> Iterator[Space]:
    """A running Space; `package` is a folder with the real package `spaces`, which takes the place of the stand-in."""
    folder = Path(tempfile.mkdtemp(prefix="iscam-rehearsal-"))
    become = another_user()
    try:
        environment = _furnish(folder, package, become is not None)
        with platform() as (address, told):
            port, front = free_port(), free_port()
            environment |= {"SPACES_ZERO_DEVICE_API_URL": address, "GRADIO_SERVER_PORT": str(port)}
            url, begun = f"http://127.0.0.1:{front}{PATH}", time.monotonic()
            with (
                proxied(port, front, PATH, "https"),
                serving(
                    [*(become or ()), sys.executable, "app.py"], folder / "app", environment, url, folder / "log"
                ) as app,
            ):
                user = USER if become else None
                yield Space(app, port, url, told, folder, user, begun, time.monotonic() - begun)
    finally:
        for place in (folder / "app").rglob("*"):
            if place.is_dir():
                place.chmod(0o755)
        (folder / "app").chmod(0o755)
        shutil.rmtree(folder)


def _furnish(folder: Path, package: Path | None, foreign: bool) -> dict[str, str]:
    """Put everything into its place, and say in an environment where it is."""
    folder.chmod(0o755)
    app, home, temporary, packages = (folder / name for name in ("app", "home", "tmp", "packages"))
    for place in (app, home, temporary):
        place.mkdir()
    if foreign:
        os.chown(home, USER, USER)
        os.chown(temporary, USER, USER)
    for name in FILES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, app / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, app / name)
    for place in (*app.rglob("*"), app):
        place.chmod(0o555 if place.is_dir() else 0o444)
    if package is None:
        packages.mkdir()
        shutil.copy(STAND_IN, packages / "spaces.py")
    ours = {name: value for name, value in os.environ.items() if name.startswith("ISCAM_") or name in ("PATH", "LANG")}
    return (
        ours
        | NOWHERE
        | {
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "PYTHONPATH": str(package or packages),
            "SYSTEM": "spaces",
            "SPACE_ID": "somebody/rehearsal",
            "SPACES_ZERO_GPU": "true",
            "GRADIO_SERVER_NAME": "127.0.0.1",  # a Space listens to the outside; nobody need hear this one
            "GRADIO_ROOT_PATH": PATH,
            "GRADIO_SSR_MODE": "false",
        }
    )
