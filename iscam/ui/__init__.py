"""The page: the only part of the program that imports gradio. Building it loads no weights and opens no connection.

Its process of the networks (`done/compute.py`) imports this package too, so gradio is not imported here."""

from __future__ import annotations

import os

# Read by the libraries when they are imported: nothing is reported to anybody.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("NO_PROXY", "localhost,127.0.0.1")  # Gradio asks its own server whether it is there
