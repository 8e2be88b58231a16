"""Passes of a network by OpenVINO, an extra (`requirements-fast.txt`): the same arithmetic by other, often faster code.

https://docs.openvino.ai. A network is traced once, and what was traced is compiled for each kind of pass when it is first
wanted. Left to torch is a network of which a trace would not hold all: one that chooses by the input's numbers what it does,
that keeps something between passes, that somebody watches by hooks, or that gives other logits then.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from .norms import UNFIT
from .outputs import ask, logits_of, scores_in
from .streams import held, unchanged

if TYPE_CHECKING:
    import openvino


def has_openvino(device: torch.device | str = "cpu") -> bool:
    """Whether OpenVINO is there and may be used (`ISCAM_NO_OPENVINO=1` denies it)."""
    denied = os.environ.get("ISCAM_NO_OPENVINO") == "1"
    return not denied and torch.device(device).type == "cpu" and find_spec("openvino") is not None


def _quiet() -> None:
    """Keep OpenVINO, which is imported next, from telling its makers of it, as it does without asking anybody."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


class Converted:
    """A network in OpenVINO's form, for so many batches at once, each on one thread."""

    def __init__(self, graph: openvino.Model, streams: int) -> None:
        self._graph, self._streams = graph, streams
        self._idle: dict[bool, list[openvino.InferRequest]] = {}

    def prepare(self, rough: bool) -> None:
        """Compile a kind of pass, unless it has been; must be done before its first `run`."""
        if rough in self._idle:
            return
        _quiet()
        import openvino.properties as properties
        from openvino import Core, Type
        from openvino.properties import hint

        options = {
            hint.inference_precision: Type.bf16 if rough else Type.f32,
            hint.enable_cpu_pinning: False,  # a busy neighbour would hold up the stream whose core it has
            properties.num_streams: self._streams,
            properties.inference_num_threads: self._streams,
        }
        model = Core().compile_model(self._graph, "CPU", options)
        self._idle[rough] = [model.create_infer_request() for _ in range(self._streams)]

    def run(self, images: Tensor, rough: bool) -> Tensor:
        """Logits (B, K) in float32 of images (B, 3, H, W); of as many batches at once as there are streams."""
        request = self._idle[rough].pop()
        try:
            found = request.infer([images.contiguous().numpy()], share_inputs=True)
            return logits_of(torch.from_numpy(found[0]))
        finally:
            self._idle[rough].append(request)


class _Asked(nn.Module):
    """A network that returns its scores and nothing else; what shape they have is not part of the trace."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return scores_in(self.network(images))


def convert(network: nn.Module, images: Tensor, streams: int) -> Converted | None:
    """The network, in eval mode and without gradients, in OpenVINO's form; None where that cannot be had or gives other
    logits for the images (B, 3, H, W), of which there are several."""
    _quiet()
    from openvino import convert_model
    from openvino.frontend import OpConversionFailure

    if any(module._forward_hooks or module._forward_pre_hooks for module in network.modules()):
        return None
    try:
        before = held(network)
        wanted = ask(network, images)
        if not unchanged(before, held(network)):
            return None
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter(
                "always"
            )  # that tracing is outdated, too: what follows it takes several times as long
            traced = torch.jit.trace(_Asked(network), images[:2], check_trace=False)  # type: ignore[no-untyped-call]
            if any(issubclass(each.category, TracerWarning) for each in said):
                return None
            found = Converted(convert_model(traced, input=[[-1, *images.shape[1:]]]), streams)
        found.prepare(rough=False)
        same = torch.allclose(found.run(images, rough=False), wanted, rtol=1e-3, atol=1e-4)
    except (*UNFIT, OpConversionFailure):
        return None
    return found if same else None
