"""What an application iterates over: one stream of events, whatever carries them at the moment.

The application's own task takes events straight from the source in charge, a WebSocket or the poller; there is no task
and no queue between, so what has not been taken is not processed, and a reader that is slow is seen by the daemon as
slow. A source that is replaced while the application waits for it is left by cancelling that wait, which takes
nothing. What stands unread in the old source is not lost: the new one begins at the last processed position.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from understudy.client.cursor import Cursor
from understudy.client.envelope import Event, Position
from understudy.client.errors import ConnectionEnded
from understudy.client.events import Gap, typed

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.client.exchange import Exchange


class Source(Protocol):
    """Where events come from."""

    async def take(self) -> tuple[Event, Position | None]:
        """The next event, and where it leaves the log (None where it is in none).

        Raises `ConnectionEnded` when there is no more. Cancelled, it has taken nothing.
        """

    def mark_processed(self, position: Position | None) -> None:
        """The application has processed everything up to `position`."""


@attrs.frozen(eq=False)
class WebSocketSource:
    """The events of one connection; also of one that has ended, until all that had arrived is taken."""

    exchange: Exchange

    async def take(self) -> tuple[Event, Position | None]:
        event = await self.exchange.next_event()
        welcome = self.exchange.welcome
        assert welcome is not None
        if event.type == "gap":
            return event, welcome.start
        return event, None if event.seq is None else Position(welcome.epoch, event.seq)

    def mark_processed(self, position: Position | None) -> None:
        welcome = self.exchange.welcome
        if position is not None and welcome is not None and position.epoch == welcome.epoch:
            self.exchange.mark_processed(position.seq)


@attrs.define(eq=False)
class Feed:
    """See the module. One task reads; everything else is for tasks of the same trio run."""

    cursor: Cursor = attrs.field(factory=Cursor)
    _source: Source | None = None
    _notices: deque[Event] = attrs.field(factory=deque)
    _held: tuple[Event, Position | None] | None = None
    _end: Callable[[], Exception] | None = None
    _busy: bool = False
    _waiting: trio.CancelScope | None = None

    def switch(self, source: Source) -> None:
        """Take events from `source` from now on."""
        self._source = source
        self._held = None
        self._interrupt()

    def notify(self, event: Event) -> None:
        """Hand out an event of the client's own, before any other."""
        self._notices.append(event)
        self._interrupt()

    def finish(self, error: Callable[[], Exception]) -> None:
        """No more sources. When nothing is left to hand out, the reader is raised what `error` makes."""
        self._end = error
        self._interrupt()

    def processed(self) -> None:
        """The application is done with what it was handed last."""
        self.cursor.mark_processed()
        if self._source is not None:
            self._source.mark_processed(self.cursor.processed)

    async def next_event(self) -> Event:
        """The next event, each exactly once and in order; asking says that the one before is processed.

        Cancelled, it has taken nothing. Raises trio.BusyResourceError where another task is waiting already.
        """
        if self._busy:
            raise trio.BusyResourceError("another task is already waiting for the next event")
        self._busy = True
        try:
            self.processed()
            await trio.lowlevel.checkpoint()
            while True:
                if self._notices:
                    return self._notices.popleft()
                taken = self._held or await self._take()
                self._held = None
                if taken is not None and (event := self._judge(*taken)) is not None:
                    return event
        finally:
            self._busy = False

    async def _take(self) -> tuple[Event, Position | None] | None:
        """What the source gives; None where there is something else to look at first."""
        source = self._source
        if source is None and self._end is not None:
            raise self._end()
        taken = None
        with trio.CancelScope() as self._waiting:
            try:
                if source is None:
                    await trio.sleep_forever()
                else:
                    taken = await source.take()
            except ConnectionEnded:
                if self._source is source:
                    self._source = None
        self._waiting = None
        return taken

    def _judge(self, event: Event, after: Position | None) -> Event | None:
        """What the application gets for this; None for nothing."""
        verdict = self.cursor.judge(event, after)
        if verdict == "repeat":
            return None
        if verdict == "hole":
            assert after is not None
            self._held = (event, after)
            self.cursor.hand(Position(after.epoch, after.seq - 1))
            return Gap(type="gap", reason="hole", content="Some events did not arrive. Please load afresh.")
        self.cursor.hand(after)
        return typed(event)

    def _interrupt(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
