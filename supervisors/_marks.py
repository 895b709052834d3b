"""Where the messages of each key are, in a pool by key.

A mark is a mailbox, and how many messages it had accepted with the key's last one. A mailbox is first in, first out, so
that message is finished when as many have left lane and hand; then the mark says nothing any more. Nothing is done when
a message ends. (It is why a pool by key does not go with a mailbox that conflates or drops the oldest: there one leaves
before another that came earlier.)

Marks that say nothing are swept out whenever the number of marks has doubled: there are never many more than twice the
messages under way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from runtime._cell import Cell

SWEEP_AT_LEAST: Final = 1024


@attrs.define(eq=False)
class Mark:
    """The key's last message has the number `at` in the mailbox of `cell`; `senders` of the key wait there for room."""

    cell: Cell
    at: int
    senders: int = 0

    def under_way(self, leaving: Cell | None = None) -> bool:
        """Whether there is anything of the key at the cell. Who waits at one that is `leaving` will wait elsewhere."""
        cell = self.cell
        if cell.ref.target is not cell:
            return False
        return self.at > cell.passed or (self.senders > 0 and cell is not leaving)


class Marks:
    """The marks of a pool."""

    __slots__ = ("_marks", "_sweep_at")

    def __init__(self) -> None:
        self._marks: dict[Any, Mark] = {}
        self._sweep_at = SWEEP_AT_LEAST

    def __len__(self) -> int:
        return len(self._marks)

    def cell_of(self, key: Any, leaving: Cell | None) -> Cell | None:
        """The cell that has messages of this key, if any has."""
        mark = self._marks.get(key)
        return mark.cell if mark is not None and mark.under_way(leaving) else None

    def void(self, cell: Cell) -> None:
        """Everything that waits at `cell` is about to be taken out of it, and nothing is in hand."""
        for mark in self._marks.values():
            if mark.cell is cell:
                mark.at = 0

    def note(self, key: Any, cell: Cell) -> Mark:
        """The last message that `cell` has accepted is one of this key."""
        mark = self._marks.get(key)
        if mark is None:
            if len(self._marks) >= self._sweep_at:
                self._marks = {key: mark for key, mark in self._marks.items() if mark.under_way()}
                self._sweep_at = max(SWEEP_AT_LEAST, 2 * len(self._marks))
            mark = self._marks[key] = Mark(cell, 0)
        mark.cell, mark.at = cell, cell.accepted
        return mark
