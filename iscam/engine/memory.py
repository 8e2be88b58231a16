"""Want of memory, as the programs beneath say it. No torch is loaded here."""

from __future__ import annotations

SAID = ("not enough memory", "out of memory", "allocate memory")  # by torch, on its devices and systems


def is_want_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory.

    >>> is_want_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    True
    """
    return isinstance(error, MemoryError) or any(words in str(error) for words in SAID)
