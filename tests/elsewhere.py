"""A device that is not the processor, for machines without one: tensors that refuse what a GPU, and MPS in particular, refuses.

They claim to lie on torch's device `lazy`, whose own arithmetic is not used: each holds a tensor of the processor, which does
the work. Refused are arithmetic with the processor's tensors (but for scalars and for indices), and float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

NAME = "lazy"
MOVES = {torch.ops.aten._to_copy, torch.ops.aten.copy_, torch.ops.aten._copy_from}
TAKES_INDICES = {
    torch.ops.aten.index,
    torch.ops.aten.index_put,
    torch.ops.aten.index_put_,
    torch.ops.aten._index_put_impl_,
}


class Remote(Tensor):
    """A tensor of the other device."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Remote:
        if inner.dtype == torch.float64:
            raise TypeError("The device has no float64.")
        made: Remote = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.size(), inner.stride(), inner.storage_offset(), dtype=inner.dtype, device=NAME
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """Numbers of Python's become a tensor of the processor first, as they do inside of torch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.tensor and torch.device(kwargs.get("device") or "cpu").type == NAME:
            return func(*args, **kwargs | {"device": "cpu"}).to(NAME)
        if func is Tensor.new_tensor and isinstance(args[0], Remote):
            return torch.tensor(*args[1:], dtype=args[0].dtype).to(NAME)
        if func is Tensor.__getitem__ and isinstance(args[0], Remote):
            wanted = args[1] if isinstance(args[1], tuple) else (args[1],)
            args = args[0], tuple(torch.tensor(each) if isinstance(each, list) else each for each in wanted)
        return func(*args, **kwargs)


@contextmanager
def there() -> Iterator[None]:
    """The device is there while the body runs."""
    with _Operations(), _Literals():
        yield


def run(func: Any, args: Any, kwargs: Any) -> Any:
    """An operation, on the device if its tensors lie there or it makes one there."""
    flat = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)]
    remote = any(isinstance(each, Remote) for each in flat)
    packet = func.overloadpacket
    if remote and packet not in MOVES | TAKES_INDICES:
        strangers = [each for each in flat if not isinstance(each, Remote) and each.ndim > 0]
        if strangers:
            raise RuntimeError(f"{func} of tensors of both devices.")
    device = kwargs.get("device")
    on_it = remote if device is None else torch.device(device).type == NAME
    if device is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    args, kwargs = tree_map(lambda each: each.inner if isinstance(each, Remote) else each, (args, kwargs))
    wrapped: dict[int, Remote] = {id(each.inner): each for each in flat if isinstance(each, Remote)}
    found = func(*args, **kwargs)
    if not on_it:
        return found

    def back(each: Any) -> Any:
        if not isinstance(each, Tensor):
            return each
        return (
            wrapped[id(each)] if id(each) in wrapped else Remote(each)
        )  # an operation in place gives what it was given

    return tree_map(back, found)
