"""Serving the page."""

from __future__ import annotations

from .done import compute
from .done.worker import Worker


def serve(host: str, port: int | None, model: str) -> None:
    """Serve the page, with a model chosen at first, until interrupted. That model is loaded while the page is there already."""
    worker = Worker(compute.start)  # it loads torch while gradio is loaded here
    from .demo import build, launch

    demo, events = build(worker, model)
    launch(demo, server_name=host, server_port=port)
    print(f"IS-CAM is at {demo.local_url}", flush=True)
    events.desk.opening()
    try:
        demo.block_thread()
    finally:
        worker.close()
