"""One client of a user, with its connection while it has one, and how far it has come. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.storage.interface import Cursor

if TYPE_CHECKING:
    from runtime import Ref

NEVER: Final = -1
NOT_YET: Final = float("inf")


@attrs.define(eq=False)
class Device:
    """See the module. There is one for each that is connected, and no more: it is a few numbers.

    Attributes:
        client_id: empty for those who poll without saying who they are; of them nothing is stored.
        came_in: the log's top when it first came in, or had to begin afresh.
        acked: the last event that it has processed; `NEVER` if it never said so.
        connection: the open one.
        attached_at: when that was attached (trio's clock).
        joined: the last event before the live ones on it.
        acks_since: when the first ack came on it; `NOT_YET`: a client that never acks cannot be missed.
        moved_at: when an ack last told of something new.
        dirty: whether it stands elsewhere than is stored.
    """

    client_id: str
    came_in: int
    acked: int = NEVER
    connection: Ref[Any] | None = None
    attached_at: float = 0.0
    joined: int = 0
    acks_since: float = NOT_YET
    moved_at: float = 0.0
    dirty: bool = False

    @property
    def seq(self) -> int:
        """Where it goes on if it does not say itself how far it is."""
        return self.came_in if self.acked == NEVER else self.acked

    def cursor(self, user: str, epoch: str, seen: float) -> Cursor:
        """What is stored of it."""
        acked = None if self.acked == NEVER else self.acked
        return Cursor(user, self.client_id, epoch, self.came_in, acked, seen)

    def acknowledge(self, seq: int, now: float) -> tuple[int, int]:
        """It has processed everything up to `seq`. Behind which event, and up to which, that says something new."""
        before = self.seq
        if seq > self.acked and seq >= self.came_in:
            self.acked = seq
            self.dirty = True
        if self.seq > before:
            self.moved_at = now
        return before, self.seq

    def resume_at(self, seq: int, now: float) -> tuple[int, int]:
        """It says that it goes on behind `seq`, and so has processed what is before; as `acknowledge`.

        Where it has never acknowledged anything it may be further back than where it came in.
        """
        if self.acked == NEVER and seq < self.came_in:
            self.came_in = seq
        return self.acknowledge(seq, now)

    def begin_at(self, seq: int) -> None:
        """It begins afresh behind `seq`: what it had before, and what it had not, says nothing any more."""
        self.came_in = seq
        self.acked = NEVER
        self.dirty = True


def device_of(cursor: Cursor) -> Device:
    """A client as it was stored."""
    return Device(cursor.client_id, cursor.came_in, NEVER if cursor.acked is None else cursor.acked)
