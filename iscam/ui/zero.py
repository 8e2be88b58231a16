"""Hugging Face's ZeroGPU, where a Space is started only if it declares a function that may ask for a GPU.

This page declares one and never calls it. What such a function makes is seen by nobody outside of its call, so that the scores
which make the next question cheap would be lost with every answer, and each call is taken from its visitor's daily share.
The maps are made on the processor, as on any machine without a GPU.
"""

from __future__ import annotations

import os


def here() -> bool:
    """Whether this is a ZeroGPU Space.

    >>> here()
    False
    """
    return os.environ.get("SPACES_ZERO_GPU") == "true"  # as Gradio asks as well


def hide_gpus() -> None:
    """On ZeroGPU, let no process that is started from now on see a GPU, which is nobody's there outside of a call."""
    if here():
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


def declare() -> None:
    """On ZeroGPU, declare a function that may ask for a GPU; to be called once gradio is imported, before the page is launched,
    which then reports it to the platform. Nothing is done elsewhere, or where the package `spaces` is not installed."""
    if here():
        try:
            import spaces
        except ModuleNotFoundError:
            return
        spaces.GPU(_never_called)


def _never_called() -> None:
    """What ZeroGPU wants to be there."""
