"""Serving the page."""

from __future__ import annotations

import signal
import sys

from . import zero
from .done import compute
from .done.offer import OWN, Offer, Own
from .done.worker import Worker
from .uploads import folder


def serve(host: str, port: int | None, model: str, own: Own | None = None, uploads: bool = False) -> None:
    """Serve the page until interrupted or told to end, with a model chosen at first, which is `own` if there is one. It is
    loaded while the page is there already. With `uploads` visitors may bring weights.

    Raises:
        OSError: the port is taken, or there is no place for uploads; one sentence.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that what must be put away is
    zero.hide_gpus()
    worker = Worker(compute.start, Offer(own))  # it loads torch while gradio is loaded here
    try:
        with folder():
            _serve(worker, host, port, model if own is None else OWN, uploads)
    finally:
        worker.close()


def _serve(worker: Worker, host: str, port: int | None, model: str, uploads: bool) -> None:
    from iscam.images import MAX_FILE_BYTES

    from .asked.checks import MAX_WEIGHTS_BYTES
    from .demo import build, launch

    demo, events = build(worker, model, uploads)
    zero.declare()
    try:
        launch(demo, MAX_WEIGHTS_BYTES if uploads else MAX_FILE_BYTES, server_name=host, server_port=port)
    except OSError as error:  # of Gradio's, which has tried
        wanted = f"Port {port} of {host} is" if port else f"All usual ports of {host} are"
        raise OSError(f"{wanted} taken, or may not be listened at: choose another with --port.") from error
    print(f"IS-CAM is at {demo.local_url}", flush=True)
    events.desk.opening()
    try:
        demo.block_thread()
    finally:
        demo.close(verbose=False)
