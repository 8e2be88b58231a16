"""What a map is of, as data: a class as such, or a class rather than its rivals. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

Side = tuple[int, ...]  # a class alone, or rivals that are taken together
PROFILES, LOGITS, WEIGHTS = "profiles", "logits", "weights"


@dataclass(frozen=True)
class Aim:
    """The class of a map, and the rivals that it is held against, if there are any.

    Args:
        target: the class.
        rivals: other classes; their order means nothing.
        strength: how much of what speaks for the rivals is taken away, 0..1.
        signed: whether the map shows what speaks for the rivals too, as negative values.
        by: what is taken away: the mean of the rivals' PROFILES, which are channel weights as shares of their sum, of their
            LOGITS, or their WEIGHTS as they are.

    >>> Aim(3, (7, 5)).sides
    ((3,), (7, 5))
    >>> Aim(3, (7, 5), strength=0).sides
    ((3,),)
    """

    target: int
    rivals: Side = ()
    strength: float = 1.0
    signed: bool = False
    by: str = PROFILES

    @property
    def sides(self) -> tuple[Side, ...]:
        """What must be known: the target, and the rivals if they count at all."""
        return ((self.target,), self.rivals) if self.rivals and self.strength else ((self.target,),)
