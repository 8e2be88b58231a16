"""ZeroGPU: what must be declared there, and what is done nowhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from iscam.ui import zero


@pytest.mark.parametrize("there", [True, False])
def test_a_gpu_function_is_declared_on_zerogpu_alone(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no GPU is seen there."""
    declared: list[Callable[[], None]] = []
    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=declared.append))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("SPACES_ZERO_GPU", "true" if there else "")
    zero.hide_gpus()
    zero.declare()
    assert len(declared) == there and os.environ["CUDA_VISIBLE_DEVICES"] == ("-1" if there else "0")


def test_the_package_of_spaces_is_no_requirement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spaces", None)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    zero.declare()
