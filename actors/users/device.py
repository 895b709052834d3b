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
        came_in: the log's top when it first came in, or was last told to begin afresh.
        acked: the last event that it has processed; `NEVER` if it never said so. Below `came_in`: where it stood when
            it was told to begin afresh, which it has not said yet that it has done.
        connection: the open one.
        attached_at: when that was attached (trio's clock).
        joined: the last event before the live ones on it.
        acks_since: when the first ack came on it; `NOT_YET`: a client that never acks cannot be missed.
        moved_at: when an ack last told of something new.
        dirty: whether it stands elsewhere than is stored.
        elsewhere: the epoch of an earlier log in which it stood, while it has acknowledged nothing of this one.
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
    elsewhere: str = ""

    @property
    def seq(self) -> int:
        """Where it goes on if it does not say itself how far it is."""
        return self.came_in if self.acked == NEVER else self.acked

    @property
    def settled(self) -> int:
        """Up to here nothing is due to it: it has processed that, or came in above it, or was told that it is lost."""
        return max(self.came_in, self.acked)

    def cursor(self, user: str, epoch: str, seen: float) -> Cursor:
        """What is stored of it."""
        acked = None if self.acked == NEVER else self.acked
        return Cursor(user, self.client_id, self.elsewhere or epoch, self.came_in, acked, seen)

    def acknowledge(self, seq: int, now: float) -> tuple[int, int]:
        """It has processed everything up to `seq`. Behind which event, and up to which, that says something new."""
        before = self.settled
        if seq > self.acked and seq >= self.came_in:
            self.acked = seq
            self.elsewhere = ""
            self.dirty = True
        if self.settled > before:
            self.moved_at = now
        return before, self.settled

    def resume_at(self, seq: int, now: float) -> tuple[int, int]:
        """It says that it goes on behind `seq`, and so has processed what is before; as `acknowledge`."""
        self.go_on(seq)
        return self.acknowledge(seq, now)

    def go_on(self, seq: int) -> None:
        """It is sent what is behind `seq`.

        Where it has never acknowledged anything that may be further back than where it came in. And where it was told
        to begin afresh, and has not, it need not: what it was to do without comes after all.
        """
        if seq < self.came_in and self.acked < self.came_in:
            if seq < self.acked:
                self.acked = NEVER
            self.came_in = seq if self.acked == NEVER else self.acked
            self.dirty = True

    def begin_at(self, seq: int) -> None:
        """It begins behind `seq`: what it had before, and what it had not, says nothing any more."""
        self.came_in = seq
        self.acked = NEVER
        self.elsewhere = ""
        self.dirty = True

    def begin_afresh(self, seq: int) -> None:
        """It is told that it has lost something, and begins behind `seq`. Its connection may break before it hears it.

        So where it goes on stays what it was, and it is told so again, until it acknowledges something of what is new.
        """
        if not self.elsewhere:
            self.acked = self.seq
        self.came_in = seq
        self.dirty = True


def device_of(cursor: Cursor, epoch: str) -> Device:
    """A client as it was stored; `epoch` is that of the log."""
    if cursor.epoch != epoch:
        return Device(cursor.client_id, cursor.came_in, elsewhere=cursor.epoch)
    return Device(cursor.client_id, cursor.came_in, NEVER if cursor.acked is None else cursor.acked)
