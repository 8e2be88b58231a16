"""The demo: `python app.py`, then http://127.0.0.1:7860."""

from __future__ import annotations

import argparse
import os


def main() -> None:
    """Read the options and serve the page; on Hugging Face Spaces it listens to the outside."""
    on_spaces = "SPACE_ID" in os.environ
    host = os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if on_spaces else "127.0.0.1")
    port = os.environ.get("PORT") or os.environ.get("GRADIO_SERVER_PORT")
    from iscam.models import DEFAULT_MODEL, MODELS

    parser = argparse.ArgumentParser(description="Serve the IS-CAM page.")
    parser.add_argument("--host", default=host, help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=port, help="port (default: 7860, or the next free one)")
    parser.add_argument(
        "--model", choices=tuple(MODELS), default=DEFAULT_MODEL, metavar="KEY", help="default: %(default)s"
    )
    options = parser.parse_args()

    from iscam.ui.serve import serve

    serve(options.host, options.port, options.model)


if __name__ == "__main__":
    main()
