"""What stands in for the package `spaces` of a ZeroGPU Space: copied as `spaces.py` to where the app finds it.

As the package (0.51) does, it notes the functions that may ask for a GPU, and reports at the launch of the page, to the
address in the environment, that there are some. The platform ends a Space that does not; here the launch fails. A call asks
the platform for a GPU, and there is none.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable
from functools import wraps
from typing import Any

import gradio

PLATFORM = os.environ["SPACES_ZERO_DEVICE_API_URL"]
declared: list[Callable[..., Any]] = []
_launch = gradio.Blocks.launch


def _tell(what: str) -> None:
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{PLATFORM}/{what}", data=b"").close()


def GPU(task: Callable[..., Any]) -> Callable[..., Any]:
    """Declare a function."""
    declared.append(task)

    @wraps(task)
    def call(*given: Any, **named: Any) -> Any:
        _tell("schedule")
        raise RuntimeError("No GPU was available")

    return call


@wraps(_launch)
def _reporting(*given: Any, **named: Any) -> Any:
    if not declared:
        raise RuntimeError("No @spaces.GPU function detected during startup")
    _tell("startup-report")
    return _launch(*given, **named)


gradio.Blocks.launch = _reporting  # type: ignore[method-assign]
