"""Serving the page."""

from __future__ import annotations

from .done import compute
from .done.offer import OWN, Offer, Own
from .done.worker import Worker


def serve(host: str, port: int | None, model: str, own: Own | None = None, uploads: bool = False) -> None:
    """Serve the page until interrupted, with a model chosen at first, which is `own` if there is one. It is loaded while the
    page is there already. With `uploads` visitors may bring weights."""
    worker = Worker(compute.start, Offer(own))  # it loads torch while gradio is loaded here
    from iscam.images import MAX_FILE_BYTES

    from .asked.checks import MAX_WEIGHTS_BYTES
    from .demo import build, launch

    demo, events = build(worker, model if own is None else OWN, uploads)
    launch(demo, MAX_WEIGHTS_BYTES if uploads else MAX_FILE_BYTES, server_name=host, server_port=port)
    print(f"IS-CAM is at {demo.local_url}", flush=True)
    events.desk.opening()
    try:
        demo.block_thread()
    finally:
        worker.close()
