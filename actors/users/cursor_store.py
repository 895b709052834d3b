"""Writes down how far a user's clients are.

It is done with the user's next commit, or after a second, or when a connection goes. So a `kill -9` can lose the
acknowledgements of the last second, and a client that comes back without saying itself how far it is (`resume` left
out) is then sent once more what it acknowledged in that second. That is within the contract: an `ack` has no answer, so
its client never knows that it has arrived; one that was lost with the connection has the same effect; and nothing is
sent twice on one connection. Having each on the disk before anything else happens would mean, with 10,000 connections,
10,000 commits a second, for the sake of clients that could simply say `resume`. Who wants to be certain acknowledges
by `POST /api/commands`: that is answered when it is on the disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.storage.attending import MoveCursors

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.users.context import UserContext
    from runtime import Replied

STORE_WITHIN: Final = 60.0
STORE_AFTER: Final = 1.0
"""Seconds after which it is written down, if no commit has taken it along before."""


class CursorStore:
    """See the module. `context` is the user's. One writing is under way at a time."""

    __slots__ = ("_armed", "_context", "_storing", "_waiting")

    def __init__(self, context: UserContext) -> None:
        self._context = context
        self._storing = False
        self._armed = False
        self._waiting: list[Callable[[bool], object]] = []

    @property
    def idle(self) -> bool:
        """Whether there is nothing to write down."""
        return not self._storing and not self._context.devices.dirty

    def soon(self) -> None:
        """Something has changed."""
        if not self._armed and self._context.devices.dirty:
            self._armed = True
            self._context.later("store", STORE_AFTER, self._due)

    def left(self) -> None:
        """Somebody has gone, or was here only for a question: not kept in memory longer than it has to be stored."""
        if self._context.devices.dirty:
            self.soon()
        elif not self._storing:
            self._context.devices.tidy()

    def at_the_end(self) -> None:
        """The context ends, and will hear no answer: what there is is on its way, and perhaps arrives."""
        cursors = self._context.devices.take_dirty(self._context.epoch, self._context.services.stamps.wall())
        if cursors:
            self._context.services.journal.tell(MoveCursors(cursors))

    def _due(self) -> None:
        self._armed = False
        self.now()

    def tell(self, stored: Callable[[bool], object]) -> None:
        """Write down at once what there is, and tell whether it is on the disk."""
        self._waiting.append(stored)
        self.now()

    def now(self) -> None:
        """Write down at once what there is, unless a writing is under way; then it is done after that."""
        if self._storing:
            return
        context = self._context
        waiting, self._waiting = self._waiting, []
        cursors = context.devices.take_dirty(context.epoch, context.services.stamps.wall())

        def done(replied: Replied) -> None:
            self._storing = False
            if replied.error is not None:
                context.devices.not_stored(cursors)
            for stored in waiting:
                stored(replied.error is None)
            if self._waiting:
                self.now()
            else:
                context.devices.tidy()
                self.soon()

        if cursors:
            self._storing = True
            context.request(context.services.journal, MoveCursors(cursors), STORE_WITHIN, tag=done)
            return
        context.devices.tidy()
        for stored in waiting:
            stored(True)
