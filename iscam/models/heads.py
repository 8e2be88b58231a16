"""Heads that were put in the place of an architecture's own: rebuilt from the shapes of their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

COUNTER = "num_batches_tracked"


@dataclass(frozen=True, eq=False)
class NewHead:
    """A module, filled, for a `path` in the network; the checkpoint's names that it took, and what must be said of it."""

    path: str
    module: nn.Module
    taken: frozenset[str]
    said: str


def find_head(
    outline: Mapping[str, Tensor], head: str, inside: Mapping[str, Tensor], outside: Mapping[str, Tensor]
) -> NewHead | None:
    """The head of a checkpoint that has another one than its architecture; None if it has that, or none that can be rebuilt.

    `outline` has the parameters of the architecture, `head` is the path of its last layer; `inside` and `outside` are as in
    `Named`. The smallest part around the last layer is replaced without which the rest fits. Where the network's own place
    has nothing, the head is what lies `outside`, if it is one.
    """
    parts = head.split(".")
    whole = _under(outline, parts[0])
    if all(name in inside and _fits(inside[name], outline[name], name.startswith(f"{head}.")) for name in whole):
        return None
    for length in range(len(parts), 0, -1):
        path = ".".join(parts[:length])
        replaced, there = _under(outline, path), _under(inside, path)
        kept = [name for name in whole if name not in replaced and not name.endswith(COUNTER)]
        if not all(name in inside and _fits(inside[name], outline[name]) for name in kept):
            continue
        entries = {name: inside[name] for name in there} or (dict(outside) if length == len(parts) else {})
        built = _rebuilt(entries, next((outline[name].shape[1] for name in replaced if outline[name].ndim == 2), 0))
        if built is not None:
            module, words = built
            return NewHead(path, module, frozenset(entries), f"Its head was rebuilt: {words}.")
    return None


def _under(names: Mapping[str, Tensor], path: str) -> list[str]:
    return [name for name in names if name.startswith(f"{path}.")]


def _fits(found: Tensor, wanted: Tensor, last: bool = False) -> bool:
    """Whether a tensor has the wanted shape; of the last layer, as many classes as it likes."""
    return found.shape[last:] == wanted.shape[last:] and found.ndim == wanted.ndim


def _rebuilt(entries: Mapping[str, Tensor], width: int) -> tuple[nn.Module, str] | None:
    """Linear layers and batch norms that fit one behind the other, and are given `width` numbers; with words for them.

    Layers without parameters leave a gap in the numbers. The first gap behind a linear layer is taken for a ReLU; others, and
    one before the first, for a dropout, which does nothing here.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in entries.items():
        module, _, parameter = name.rpartition(".")
        groups.setdefault(module, {})[parameter] = tensor
    layers, words, guessed, active, before = list[nn.Module](), list[str](), False, True, ""
    for name, tensors in groups.items():
        layer = _layer(tensors, width)
        if layer is None:
            return None
        if layers and not active and _gap(before, name):
            layers.append(nn.ReLU())
            words.append("a ReLU")
            guessed = active = True
        if isinstance(layer, nn.Linear):
            width, active = layer.out_features, False
            words.append(f"{name} ({layer.in_features} to {layer.out_features})")
        else:
            words.append(f"{name} (batch norm)")
        layer.load_state_dict(tensors, strict=False)  # old norms lack a counter that nothing reads
        layers.append(layer)
        before = name
    if not layers or not isinstance(layers[-1], nn.Linear):
        return None
    doubt = "; which activation it has between them no checkpoint tells" if guessed else ""
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers), ", ".join(words) + doubt


def _layer(tensors: Mapping[str, Tensor], width: int) -> nn.Linear | nn.BatchNorm1d | None:
    """A layer for these parameters that takes `width` numbers; None if there is no such."""
    weight = tensors.get("weight")
    if weight is None or weight.shape[-1] != width:
        return None
    if weight.ndim == 2 and tensors.keys() <= {"weight", "bias"}:
        return nn.Linear(width, len(weight), bias="bias" in tensors)
    if weight.ndim == 1 and {"weight", "bias", "running_mean", "running_var"} <= tensors.keys():
        return nn.BatchNorm1d(width)
    return None


def _gap(before: str, name: str) -> bool:
    """Whether something without parameters may stand between two modules: between 1 and 3, not between 1 and 2."""
    (parent, _, number), (other, _, following) = before.rpartition("."), name.rpartition(".")
    numbered = parent == other and number.isdecimal() and following.isdecimal()
    return not numbered or int(following) - int(number) > 1
