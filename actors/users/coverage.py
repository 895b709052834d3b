"""Which events of a user's log a client of the user has acknowledged. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST: Final = 100
"""Ranges that are kept, however old."""


class Coverage:
    """A set of seqs, kept as ranges: nearly always one of them, and one more for each client that came in above events
    that nobody had acknowledged."""

    __slots__ = ("_ranges",)

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []  # (after, to), in order, not touching

    def fill(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Add several ranges."""
        for after, to in ranges:
            self.add(after, to)

    def add(self, after: int, to: int) -> int:
        """Add everything behind `after` up to `to`; how many of these were new."""
        if to <= after:
            return 0
        new = self.missing(after, to)
        apart = [each for each in self._ranges if each[1] < after or each[0] > to]
        touching = [each for each in self._ranges if not (each[1] < after or each[0] > to)]
        low = min([after, *(each[0] for each in touching)])
        high = max([to, *(each[1] for each in touching)])
        self._ranges = sorted([*apart, (low, high)])
        return new

    def missing(self, after: int, to: int) -> int:
        """How many behind `after` up to `to` are not in it."""
        here = sum(max(0, min(to, high) - max(after, low)) for low, high in self._ranges)
        return max(0, to - after) - here

    def forget(self, below: int) -> None:
        """The log has forgotten seqs below this one. A client that is far behind may acknowledge them still, and they
        are not to count again; but there is an end to what is remembered."""
        if len(self._ranges) > MOST:
            self._ranges = [(low, high) for low, high in self._ranges if high >= below]

    def __len__(self) -> int:
        """How many ranges it takes."""
        return len(self._ranges)
