"""How far an application has come in its log: what keeps repeats and holes from it over any change of transport. Pure.

Connections come and go, polling takes over and gives back, and each of them begins at the position that was processed
when it began. By the time its first event is read the application may be further. Positions decide, not connections:
an event is due if it is the next one; before that it is a repeat, after that something is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from understudy.client.envelope import Position

if TYPE_CHECKING:
    from understudy.client.envelope import Event

Verdict: TypeAlias = Literal["due", "repeat", "hole"]


@attrs.define(eq=False)
class Cursor:
    """`handed` is the last position that the application was given, `processed` the last that it is done with.

    They differ while an event, or a gap, is in the application's hands.
    """

    processed: Position | None = None
    handed: Position | None = None

    def adopt(self, start: Position) -> None:
        """Begin at `start`, where nothing is known yet: the daemon said where this client comes in."""
        if self.handed is None:
            self.handed = self.processed = start

    def mark_processed(self) -> None:
        """The application has asked for the next event."""
        self.processed = self.handed

    def judge(self, event: Event, after: Position | None) -> Verdict:
        """What to do with an event that leaves the log at `after`; None for one that is in no log.

        A gap is always due: it says that the daemon has moved the position, and where to.
        """
        if after is None or event.type == "gap" or self.handed is None:
            return "due"
        if after.epoch != self.handed.epoch or after.seq > self.handed.seq + 1:
            return "hole"
        return "due" if after.seq == self.handed.seq + 1 else "repeat"

    def hand(self, after: Position | None) -> None:
        """The application is given what leaves the log at `after`."""
        if after is not None:
            self.handed = after
