"""How the log and the live events of a user become one sequence on one connection, without a gap or a repeat. Pure.

The context registers the connection, and says what the last event before the live ones is. Everything up to that one is
read from the log, a page at a time and at the client's pace; what comes live meanwhile is held back, durable and
ephemeral events in the one order in which they happened, and follows when the last page is on its way.

Where the context restarts, the connection attaches anew and the same happens again, from the last event on: what is
held back is dropped, because the log, and the text so far of answers in progress, hold all of it; and so is what the
dead incarnation had sent and is still in the mailbox.

Rejected: reading on from the log for as long as live events come. It needs no memory for durable events, but ephemeral
ones that are held back meanwhile would come too late, a piece of text after the answer that it belongs to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.gateway.conflation import conflate
from actors.gateway.outbound import Out
from actors.protocol.codes import CONNECTION_FAILED, TOO_SLOW
from actors.protocol.events import with_seq

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actors.storage.interface import Stored
    from actors.users.messages import Attached, Deliver

PAGE: Final = 200


@attrs.frozen
class Broken:
    """The sequence cannot be kept whole: close with this code, the client resumes."""

    code: int


@attrs.frozen
class Wanted:
    """What to read from the log next."""

    after: int
    limit: int


class Joining:
    """What one connection has had of its user's events, and what it is to have next.

    Args:
        most_held: bytes of live events that may be held back.
    """

    def __init__(self, most_held: int) -> None:
        self._most_held = most_held
        self.last = 0
        """The last seq that was given out: what a client can have at most."""
        self._epoch = ""
        self._replay_to = 0
        self._incarnation: int | None = None
        self._reading: Wanted | None = None
        self._held: list[Out] = []
        self._held_bytes = 0

    @property
    def replaying(self) -> bool:
        """Whether there is something to come from the log before anything live."""
        return self.last < self._replay_to

    def begin(self, after: int, attached: Attached) -> list[Out] | Broken:
        """Attached for the first time: what is behind the seq `after` is to come."""
        self.last = after
        self._epoch = attached.epoch
        return self._join(attached)

    def again(self, attached: Attached) -> list[Out] | Broken:
        """Attached once more. Broken where the log is another one, or has lost what was to come next."""
        if attached.epoch != self._epoch or attached.seq < self.last or attached.first > self.last + 1:
            return Broken(CONNECTION_FAILED)
        return self._join(attached)

    def _join(self, attached: Attached) -> list[Out] | Broken:
        self._incarnation = attached.incarnation
        self._replay_to = attached.seq
        self._held = []
        self._held_bytes = 0
        self._hold([Out(frame) for frame in attached.live])
        return self._let_go()

    def detached(self) -> None:
        """The context has restarted: nothing counts until the connection is attached again."""
        self._incarnation = None

    def deliver(self, message: Deliver) -> bool | Broken:
        """Live events have come: whether they go out now, as they are. Else they are held back, or do not count."""
        if message.incarnation != self._incarnation:
            return False
        batch = message.batch
        if not self.replaying:
            return self._follow(batch.seqs) or Broken(TOO_SLOW)
        self._hold(batch.outs)
        return Broken(TOO_SLOW) if self._too_much else False

    def next_page(self) -> Wanted | None:
        """What to read from the log, if anything, and if it is not being read already. Call it when the client has
        taken what there was."""
        if not self.replaying or self._reading is not None:
            return None
        self._reading = Wanted(self.last, min(PAGE, self._replay_to - self.last))
        return self._reading

    def page(self, page: Sequence[Stored]) -> list[Out] | Broken:
        """What `next_page` wanted. Broken where something is missing: the log was cut meanwhile."""
        wanted, self._reading = self._reading, None
        assert wanted is not None
        if [stored.seq for stored in page] != list(range(wanted.after + 1, wanted.after + wanted.limit + 1)):
            return Broken(CONNECTION_FAILED)
        self.last = page[-1].seq
        outs = [Out(with_seq(stored.body, stored.seq), stored.seq, replayed=True) for stored in page]
        held = self._let_go()
        return held if isinstance(held, Broken) else outs + held

    def not_read(self) -> None:
        """What `next_page` wanted could not be read; it is wanted again."""
        self._reading = None

    def _hold(self, outs: Sequence[Out]) -> None:
        self._held += outs
        self._held_bytes += sum(len(out.frame) for out in outs)
        if self._too_much:
            self._held = conflate(self._held)
            self._held_bytes = sum(len(out.frame) for out in self._held)

    @property
    def _too_much(self) -> bool:
        return self._held_bytes > self._most_held

    def _let_go(self) -> list[Out] | Broken:
        """What was held back, if its time has come."""
        if self.replaying:
            return Broken(TOO_SLOW) if self._too_much else []
        outs, self._held = self._held, []
        self._held_bytes = 0
        return outs if self._follow(out.seq for out in outs if out.seq is not None) else Broken(TOO_SLOW)

    def _follow(self, seqs: Iterable[int]) -> bool:
        """Whether nothing is missing before or between them. If something is, the mailbox was full once."""
        for seq in seqs:
            if seq != self.last + 1:
                return False
            self.last = seq
        return True
