"""Which of a file's tensors are the network's, whatever the names that training programs gave them. Nothing is guessed
silently: what is left out or read under another name is said, and where two things could be meant neither is taken."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

DEPTH = 4  # of wrappings, at most
LONGEST = 120  # letters of a name
AVERAGED = re.compile(
    r"(^|[._])(ema|swa|averaged|average|shadow)([._]|$)"
)  # kept beside what is trained, to be used instead

# Old names of parameters -> those of today, as torchvision itself reads them
OLD_NAMES = (
    (re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)"), r"\1\2", "DenseNet's"),
    (re.compile(r"\.mlp\.linear_1\."), ".mlp.0.", "the transformer's"),
    (re.compile(r"\.mlp\.linear_2\."), ".mlp.3.", "the transformer's"),
)
# Tensors that are no part of what a network computes -> what they are
SPARE = (
    (re.compile(r"(^|\.)total_(ops|params)$"), "a profiler's counts"),
    (re.compile(r"^(\w*criterion\w*|\w*loss\w*)(\.|$)"), "of a loss"),
    (re.compile(r"^((train|val|valid|test)_)?(\w*metrics?|acc\w*|auroc|f1\w*|precision|recall|confmat)(\.|$)"), "of a metric"),
    (re.compile(r"^(n_averaged|num_updates|decay|step|epoch)$"), "a counter"),
    (re.compile(r"^(aux1|aux2|AuxLogits)\."), "an auxiliary head, used in training alone"),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Named:
    """Tensors by the architecture's names where it has such, `outside` those found beside them; and what must be said."""

    inside: dict[str, Tensor]
    outside: dict[str, Tensor]
    said: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Find:
    """A mapping of the file, with the place where it lies, and the prefix by which most wanted names are found in it."""

    place: str
    tensors: Mapping[str, Tensor]
    prefix: str
    hits: int

    @property
    def name(self) -> str:
        return ".".join(part for part in (self.place, self.prefix.rstrip(".")) if part)


def mappings(content: object, place: str = "", depth: int = DEPTH) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """(place, tensors by name) of every mapping in a file that has some."""
    if not isinstance(content, dict) or not depth:
        return
    if tensors := {
        name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)
    }:
        yield place, tensors
    for name, value in content.items():
        if isinstance(name, str):
            yield from mappings(value, f"{place}.{name}" if place else name, depth - 1)


def find_weights(content: object, wanted: Collection[str], source: str) -> Named:
    """The tensors of a network with the `wanted` names in a file's content.

    Raises:
        ValueError: there are no tensors, or those of the network several times; one sentence.
    """
    found = [find for place, tensors in mappings(content) for find in _under_prefixes(place, _renamed(tensors), wanted)]
    if not found:
        raise ValueError(f"{source} holds no state dict: a mapping from parameter names to tensors is needed.")
    most = max(find.hits for find in found)
    best, said = _chosen([find for find in found if find.hits == most], source)
    others = [find.prefix for find in found if find.place == best.place and find.hits == most and find is not best]
    inside, outside, left = dict[str, Tensor](), dict[str, Tensor](), dict[str, list[str]]()
    for name, tensor in best.tensors.items():
        short = name.removeprefix(best.prefix)
        own = name.startswith(best.prefix)
        if not (own and short in wanted) and (what := _spare(short if own else name)):
            left.setdefault(what, []).append(name)
        elif own:
            inside[short] = plain(tensor)
        elif not any(name.startswith(prefix) for prefix in others):
            outside[name] = plain(tensor)
    before = next(tensors for place, tensors in mappings(content) if place == best.place)
    old = {whose for pattern, _, whose in OLD_NAMES if any(pattern.search(name) for name in before)}
    said += [f"{whose[0].upper()}{whose[1:]} old names in {source} were read as today's." for whose in sorted(old)]
    if left:
        parts = [f"{_listed(names)} ({what})" for what, names in left.items()]
        said.append(f"Left out of {source}: {', '.join(parts)}.")
    return Named(inside, outside, tuple(said))


def plain(tensor: Tensor) -> Tensor:
    """A tensor without history; numbers of any precision in float32."""
    return tensor.detach().float() if tensor.is_floating_point() else tensor


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in tensors.items():
        for pattern, new, _ in OLD_NAMES:
            name = pattern.sub(new, name)
        found[name] = tensor
    return found


def _under_prefixes(place: str, tensors: Mapping[str, Tensor], wanted: Collection[str]) -> Iterator[_Find]:
    """The prefixes under which the most wanted names are found; the empty one if there are none."""
    counts = Counter[str]()
    for name in tensors:
        ends = [0, *(dot.end() for dot in re.finditer(r"\.", name))]
        counts.update(name[:end] for end in ends if name[end:] in wanted)
    most = max(counts.values(), default=0)
    for prefix in [prefix for prefix, hits in counts.items() if hits == most] or [""]:
        yield _Find(place, tensors, prefix, most)


def _chosen(finds: Sequence[_Find], source: str) -> tuple[_Find, list[str]]:
    """Of several finds that are as good the averaged one, as training programs measure by it; and what must be said."""
    if len(finds) == 1 or finds[0].hits == 0:
        return finds[0], []
    averaged = [find for find in finds if AVERAGED.search(find.name)]
    names = [find.name or "at the top" for find in finds]
    if len(averaged) != 1:
        raise ValueError(
            f"{source} has the network's weights {len(finds)} times ({_listed(names)}): save the one that is meant alone."
        )
    others = [name for name in names if name != averaged[0].name]
    return averaged[0], [
        f"Of the weights in {source} the averaged ones were taken ({spoken(averaged[0].name)}), not {_listed(others)}."
    ]


def _spare(name: str) -> str | None:
    return next((what for pattern, what in SPARE if pattern.search(name)), None)


def _listed(names: Sequence[str]) -> str:
    """Up to three names, and how many more there are."""
    return ", ".join(map(spoken, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def spoken(name: str) -> str:
    """A name out of a file as it may stand in a sentence."""
    return name if name.isprintable() and len(name) <= LONGEST else f"{name[:LONGEST]!r}"
