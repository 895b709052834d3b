"""A consistent hash ring with bounded load. Pure.

Each member stands at many points of a circle; a key belongs to the member at the first point after its own. When a
member comes or goes, only the keys between its points and those before them change hands (Karger et al., 1997). Since
a member may be left with more than its share of what happens to be busy, a key may pass it by: no member is given more
than (1 + slack) times the mean, rounded up (Mirrokni, Thorup and Zadimoghaddam, 2016).

Points come from BLAKE2, not from `hash`: the same key has the same place in every process and on every day.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Key: TypeAlias = "str | bytes | int | tuple[Key, ...]"
"""What a message may be hashed by."""

POINTS: Final = 100
"""Points of a member: with so many, the largest share of keys is some 1.25 times the mean."""


def encoded(key: object) -> bytes:
    """A key as bytes: equal keys give equal bytes, different keys different ones.

    Raises:
        TypeError: it is not a `Key`.
    """
    match key:
        case str():
            return b"s" + key.encode("utf-8", "surrogatepass")
        case bytes():
            return b"b" + key
        case int():
            return b"i%d" % key
        case tuple():
            parts = [encoded(part) for part in key]
            return b"t" + b"".join(b"%d:" % len(part) + part for part in parts)
        case _:
            raise TypeError(f"a key must be text, bytes, a whole number or a tuple of them, not {type(key).__name__}")


def place_of(key: object) -> int:
    """Where a key lies on the circle of 2 to the 64 points."""
    return int.from_bytes(blake2b(encoded(key), digest_size=8).digest(), "big")


class Ring:
    """The members of a pool on a circle. Immutable.

    Args:
        names: the members; their order plays no part in who owns what.
        points: how many points each has.
    """

    __slots__ = ("_owners", "_places", "names")

    def __init__(self, names: Sequence[str], points: int = POINTS) -> None:
        self.names = tuple(names)
        circle = sorted(
            (place_of((name, point)), name, index) for index, name in enumerate(self.names) for point in range(points)
        )
        self._places = [place for place, _, _ in circle]
        self._owners = [index for _, _, index in circle]

    def walk(self, place: int) -> Iterator[int]:
        """The positions of all members in `names`, in the order in which they come clockwise after `place`."""
        owners = self._owners
        start = bisect_right(self._places, place)
        first = owners[start % len(owners)]
        yield first
        seen = {first}
        for step in range(1, len(owners)):
            if len(seen) == len(self.names):
                return
            owner = owners[(start + step) % len(owners)]
            if owner not in seen:
                seen.add(owner)
                yield owner

    def owner(self, key: object) -> str:
        """The name of the member to whom `key` belongs when nobody is busy."""
        return self.names[next(self.walk(place_of(key)))]


def bound(total: int, members: int, slack: float) -> int:
    """How much a member may have when `members` have `total` together."""
    return math.ceil((1 + slack) * total / members - 1e-9)  # less what floats add


def bounded(walk: Iterator[int], load: Callable[[int], int | None], members: int, slack: float) -> int | None:
    """Who takes one more: the first on the walk with less than the bound that holds once it is taken.

    Args:
        walk: positions of members, as `Ring.walk` gives them.
        load: what a member has; None if it is to be passed over.
        members: how many there are.
        slack: how far above the mean a member may go, as a part of it; `math.inf` for no bound.

    Returns:
        A position, or None if all are to be passed over.
    """
    first = next(walk)
    if load(first) == 0:  # below any bound: the loads of the others need not be read
        return first
    if slack == math.inf:
        return next((index for index in chain((first,), walk) if load(index) is not None), None)
    loads = {index: amount for index in range(members) if (amount := load(index)) is not None}
    if not loads:
        return None
    limit = bound(sum(loads.values()) + 1, len(loads), slack)
    if first in loads and loads[first] < limit:
        return first
    return next(index for index in walk if index in loads and loads[index] < limit)
