"""The demo: `python app.py`, then http://127.0.0.1:7860."""

from __future__ import annotations

import argparse
import os

LOCAL = ("127.0.0.1", "localhost", "::1")  # addresses that only this machine reaches


def main() -> None:
    """Read the options and serve the page; on Hugging Face Spaces it listens to the outside."""
    from iscam.cli import add_network, check_network, own_options, wanted

    on_spaces = "SPACE_ID" in os.environ
    host = os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if on_spaces else "127.0.0.1")
    port = os.environ.get("PORT") or os.environ.get("GRADIO_SERVER_PORT")
    parser = argparse.ArgumentParser(
        description="Serve the IS-CAM page, with the model it begins with, or a network of your own."
    )
    parser.add_argument("--host", default=host, help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=port, help="port (default: 7860, or the next free one)")
    add_network(parser)
    parser.add_argument(
        "--allow-uploads", action="store_true", help="take weights on the page (.safetensors); never for the public"
    )
    options = parser.parse_args()
    try:
        check_network(options)
        if options.allow_uploads and (on_spaces or options.host not in LOCAL):
            raise ValueError(f"--allow-uploads is for this machine alone: leave it out, or listen at {LOCAL[0]}.")
    except ValueError as error:
        parser.error(str(error))
    arguments = wanted(options)

    from iscam.ui.done.offer import Own
    from iscam.ui.serve import serve

    own = None
    if options.checkpoint is not None:
        own = Own(arguments, f"{options.arch} ({options.checkpoint.name})", own_options(options))
    serve(options.host, options.port, arguments["key"], own, options.allow_uploads)


if __name__ == "__main__":
    main()
