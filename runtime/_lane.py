"""The lanes of a mailbox.

The *user* lane is a deque of bare messages and `Request` envelopes, bounded by the spec. The *system* lane (`signals`)
is unbounded and written only by the kernel. Rather than look for signals before each message, the kernel puts one
marker at the left of the user lane: the loop finds it as its next item.

This is the lowest layer of a cell. Each layer names its fields; `Cell` gives all of them their first values, because
six constructors that call each other cost a third of making a cell.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from trio.lowlevel import Task, enable_ki_protection, reschedule

from runtime._address import Ref, Target
from runtime._links import Links
from runtime._request import MARK

if TYPE_CHECKING:
    from runtime._cell import Cell
    from runtime._spec import Spec


class Lanes(Target):
    """The two lanes of a cell, and its counts."""

    __slots__ = (
        "accepted",
        "capacity",
        "dropped",
        "expired",
        "failed",
        "lane",
        "links",
        "marked",
        "moved",
        "peak",
        "ref",
        "rejected",
        "retry_at",
        "shut",
        "signals",
        "spec",
        "state",
        "system",
        "undelivered",
        "waiter",
    )

    kind: str
    """The class of the actor, for reports."""
    ref: Ref[Any]
    spec: Spec
    state: str
    lane: deque[Any] | None
    signals: deque[Any] | None
    marked: bool
    waiter: Task | None
    links: Links | None
    shut: bool
    retry_at: float | None
    accepted: int
    rejected: int
    failed: int
    expired: int
    dropped: int
    undelivered: int
    moved: int
    peak: int

    # --- what others may ask

    @property
    def depth(self) -> int:
        """How many messages wait in the user lane."""
        return len(self.lane) - self.marked if self.lane else 0

    def handling(self) -> tuple[str | None, float]:
        """The type of the message in hand, and its age in seconds."""
        raise NotImplementedError

    def need_links(self) -> Links:
        links = self.links
        if links is None:
            links = self.links = Links()
        return links

    def edge(self) -> Cell | None:
        return self  # type: ignore[return-value]

    def watchable(self) -> Cell | None:
        return self  # type: ignore[return-value]

    def _put(self, item: Any) -> None:
        lane = self.lane
        if lane is None:
            lane = self.lane = deque()
        lane.append(item)
        self.accepted += 1
        task = self.waiter
        if task is not None:
            self.waiter = None
            reschedule(task)

    @enable_ki_protection
    def signal(self, signal: object) -> None:
        """Put something in the system lane. Never refused."""
        signals = self.signals
        if signals is None:
            signals = self.signals = deque()
        signals.append(signal)
        self._mark()

    def _mark(self) -> None:
        if not self.marked:
            self.marked = True
            lane = self.lane
            if lane is None:
                lane = self.lane = deque()
            lane.appendleft(MARK)
        task = self.waiter
        if task is not None:
            self.waiter = None
            reschedule(task)

    def unmark(self) -> None:
        """Take the marker out: the system lane is being served without it. The next signal puts it back and wakes."""
        if self.marked:
            assert self.lane is not None
            self.lane.popleft()
            self.marked = False
