"""The demo: `python app.py`, then http://127.0.0.1:7860."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iscam.ui.done.offer import Own

LOCAL = ("127.0.0.1", "localhost", "::1")  # addresses that only this machine reaches


def main() -> None:
    """Read the options and serve the page; on Hugging Face Spaces it listens to the outside."""
    from iscam.cli import add_network, check_network, complain, sentence_of
    from iscam.models import DEFAULT_MODEL

    on_spaces = "SPACE_ID" in os.environ
    host = os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if on_spaces else "127.0.0.1")
    port = os.environ.get("PORT") or os.environ.get("GRADIO_SERVER_PORT")
    parser = argparse.ArgumentParser(
        description="Serve the IS-CAM page, with the model it begins with, or a network of your own."
    )
    parser.add_argument("--host", default=host, help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=port, help="port (default: 7860, or the next free one)")
    add_network(parser)
    parser.add_argument(
        "--allow-uploads", action="store_true", help="take weights on the page (.safetensors); never for the public"
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of whatever goes wrong")
    options = parser.parse_args()
    try:
        check_network(options)
        if options.allow_uploads and (on_spaces or options.host not in LOCAL):
            raise ValueError(f"--allow-uploads is for this machine alone: leave it out, or listen at {LOCAL[0]}.")
    except ValueError as error:
        parser.error(str(error))
    own = own_of(options)

    from iscam.ui.serve import serve

    try:
        serve(options.host, options.port, options.model or DEFAULT_MODEL, own, options.allow_uploads)
    except Exception as error:
        complain(f"{parser.prog}: {sentence_of(error)}")
        if options.debug:
            raise
        raise SystemExit(2) from error


def _port(text: str) -> int:
    """A port's number."""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: ports are numbers from 1 to 65535.")
    return int(text)


def own_of(options: argparse.Namespace) -> Own | None:
    """The network of the options, if it is none of the table: visitors see the names of its files and folder alone."""
    from iscam.cli import own_options, wanted
    from iscam.models import DEFAULT_MODEL, MODELS
    from iscam.ui.done.offer import Own

    if options.checkpoint is not None:
        return Own(wanted(options), f"{options.arch} ({options.checkpoint.name})", own_options(options))
    name = options.model or DEFAULT_MODEL
    if name in MODELS:
        return None
    begins, _, place = name.partition(":")
    shown = f"{begins}:{Path(place).name}" if begins == "local-dir" else name
    return Own(wanted(options), shown, ["--model", shown])


if __name__ == "__main__":
    main()
