"""Files that are nearly right: bytes changed at random, as a seed says, so that any of them can be made again."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

HEAD = 400  # bytes of a file that say what the others mean, where half of all changes are made
EXTREME = (0, 1, 0x7F, 0x80, 0xFF)
NUMBERS = (0, 1, 2, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF, 50_000, 7071)  # sizes, counts and offsets
MOST_CHANGES = 6

Change = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def mutated(seeds: Mapping[str, bytes], number: int) -> tuple[str, bytes]:
    """File `number` made of the seeds, and the name of the one that it is made of."""
    draw = random.Random(number)
    name = draw.choice(sorted(seeds))
    data = bytearray(seeds[name])
    for _ in range(draw.randint(1, MOST_CHANGES)):
        draw.choice(CHANGES)(draw, data, list(seeds.values()))
    return name, bytes(data)


def _place(draw: random.Random, data: bytearray) -> int:
    end = min(HEAD, len(data)) if draw.random() < 0.5 else len(data)
    return draw.randrange(max(1, end))


def _bit(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[_place(draw, data)] ^= 1 << draw.randrange(8)


def _extreme(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[_place(draw, data)] = draw.choice(EXTREME)


def _number(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A size, a count or an offset in either byte order, two bytes long or four."""
    width, order = draw.choice((2, 4)), draw.choice(("big", "little"))
    value = draw.choice(NUMBERS) % 256**width
    at = _place(draw, data)
    data[at : at + width] = value.to_bytes(width, order)


def _cut(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[_place(draw, data) :]


def _lose(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = _place(draw, data)
    del data[at : at + draw.choice((1, 2, 4, 64, 1000))]


def _again(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = _place(draw, data)
    part = data[at : at + draw.choice((4, 64, 1000))]
    data[at:at] = part * draw.choice((1, 3, 50))


def _splice(draw: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    other = draw.choice(others)
    at = _place(draw, data)
    data[at:] = other[draw.randrange(max(1, len(other))) :]


CHANGES: tuple[Change, ...] = (_bit, _bit, _extreme, _extreme, _number, _number, _number, _cut, _lose, _again, _splice)
