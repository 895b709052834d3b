"""Looks for silent failures of one user, as long as there is anything that could be one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.users.silence import DueEvents, SilentFailure, attends

if TYPE_CHECKING:
    from actors.users.context import UserContext
    from actors.users.device import Device
    from actors.users.outbox import Outbox


class SilenceWatch:
    """See `silence` for what is one. A timer runs only while something is due, or waits to be committed.

    Args:
        context: whose events are watched.
        outbox: where they wait to be committed.
        within: seconds in which an event has to be committed, and then to be acknowledged.
    """

    __slots__ = ("_armed", "_context", "_due", "_outbox", "_within")

    def __init__(self, context: UserContext, outbox: Outbox, within: float) -> None:
        self._context = context
        self._outbox = outbox
        self._within = within
        self._due = DueEvents(within)
        self._armed = False

    def offered(self) -> None:
        """Events wait to be committed."""
        if not self._armed:
            self._armed = True
            self._context.later("silence", self._within, self._look)

    def committed(self, seq: int) -> None:
        """An event is in the log and goes to the connections."""
        if attends(self._context.devices.all()):
            self._context.services.counters.events_due += 1
            self._due.add(seq - 1, seq, self._context.now())
            self.offered()

    def attached_again(self, device: Device, sent: int) -> None:
        """A connection is back after a crash of the context; it has been sent everything up to `sent`."""
        if sent > device.settled:
            self._due.add(device.settled, sent, self._context.now())
            self.offered()

    def settle(self) -> None:
        """Something was acknowledged."""
        if self._due:
            self._context.services.counters.events_due_acknowledged += self._due.settle(self._context.devices.coverage)

    def _look(self) -> None:
        context = self._context
        now = context.now()
        found = self._due.look(now, context.devices.coverage, context.devices.all())
        context.services.counters.events_due_acknowledged += found.acknowledged
        if found.silent:
            self._tell(SilentFailure(context.user, "unacknowledged", found.silent, self._within, found.clients))
        uncommitted = self._outbox.overdue(now, self._within)
        if uncommitted:
            self._tell(SilentFailure(context.user, "uncommitted", uncommitted, self._within))
        looks = [self._due.next_look, self._outbox.next_overdue(self._within)]
        due = [look for look in looks if look is not None]
        self._armed = bool(due)
        if due:
            context.later("silence", max(0.0, min(due) - now), self._look)

    def _tell(self, failure: SilentFailure) -> None:
        context = self._context
        context.continuity.silent += failure.events
        context.services.counters.silent_failures[failure.kind] += failure.events
        context.services.silent(failure)
