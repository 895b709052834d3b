"""Writing to one client.

What is to be written is collected during a turn of the connection and written at its end with one system call, which
does not wait: nearly always the kernel has room, and then neither a task nor a timer is needed. Where it has none, the
client lags. A task then writes on, each batch under a deadline that moves as long as the client takes anything at all;
what is ephemeral gives way to what is newer; and what still is too much closes the connection with 4413.

A producer never waits for any of this. What is counted as sent was taken by the kernel, to the last byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.gateway.outbound import Outbound
from actors.gateway.socket import Closed
from actors.protocol.codes import TOO_SLOW

if TYPE_CHECKING:
    from actors.gateway.connection import Connection
    from actors.gateway.outbound import Batch, Out
    from actors.gateway.socket import Socket

PATIENCE: Final = 4
"""A quarter of the limit may wait before it is looked at."""
LEAST: Final = 16_384


@attrs.frozen
class SendOverdue:
    """Timer: look whether the client has taken anything since."""


class Sending:
    """See the module.

    Args:
        connection: whose it is.
        socket: where it goes.
        most: bytes that may wait, `limits.outbound_bytes`.
        within: seconds in which the client has to take something.
    """

    __slots__ = ("_connection", "_look_at", "_most", "_outbound", "_socket", "_taken", "_within", "behind")

    def __init__(self, connection: Connection, socket: Socket, most: int, within: float) -> None:
        self._connection = connection
        self._socket = socket
        self._most = most
        self._within = within
        self._outbound = Outbound()
        self._look_at = self._first_look
        self._taken = 0
        self.behind = False
        """Whether the client lags: a task writes."""

    @property
    def _first_look(self) -> int:
        return max(min(LEAST, self._most), self._most // PATIENCE)

    @property
    def waiting(self) -> int:
        """Bytes that count against the limit."""
        return self._outbound.waiting

    def add(self, out: Out) -> None:
        """Queue a message. Too much of what counts closes the connection with 4413."""
        self._outbound.add(out)
        self._look()

    def add_batch(self, batch: Batch) -> None:
        """The same with several that come together."""
        self._outbound.add_batch(batch)
        self._look()

    def _look(self) -> None:
        """Where much is waiting, it is perhaps only because the turn is not over yet."""
        if self._outbound.waiting <= self._look_at:
            return
        self.flush()
        if self._outbound.waiting <= self._look_at:
            return
        self._conflate()
        waiting = self._outbound.waiting
        # Looked at again when it has doubled, so that the work stays in proportion to what comes.
        self._look_at = min(self._most, max(self._first_look, 2 * waiting))
        if waiting > self._most:
            self._connection.abort(TOO_SLOW)

    def _conflate(self) -> None:
        self._connection.services.counters.ephemeral_merged += self._outbound.conflate()

    def flush(self) -> None:
        """Write what the kernel takes at once; start the task if that is not all."""
        if self.behind:
            return
        while (batch := self._outbound.take()) is not None:
            rest = self._socket.write_now(batch.frames)
            if rest is not None:
                self.behind = True
                self._connection.start(self._catch_up, batch, rest, name="write")
                return
            self._count(batch)

    async def _catch_up(self, batch: Batch, rest: bytes) -> None:
        """Write until nothing waits."""
        try:
            while True:
                self._taken = self._socket.bytes_out
                self._connection.timer("send", self._within, SendOverdue())
                await self._socket.write(rest)
                self._count(batch)
                self._conflate()
                more = self._outbound.take()
                if more is None:
                    break
                batch, rest = more, more.frames
        except Closed:
            return  # `behind` stays: nothing is written any more
        finally:
            self._connection.cancel_timer("send")
        self._look_at = self._first_look
        self.behind = False
        self._connection.caught_up()

    def overdue(self) -> None:
        """The time is over in which the client had to take something."""
        taken = self._socket.bytes_out
        if taken == self._taken:
            self._connection.abort(TOO_SLOW)
        elif self.behind:
            self._taken = taken
            self._connection.timer("send", self._within, SendOverdue())

    def clear(self) -> None:
        """Drop what waits."""
        self._outbound.clear()

    def _count(self, batch: Batch) -> None:
        if batch.seqs:
            self._connection.count_sent(len(batch.seqs))
        self._connection.services.counters.ephemeral_sent += batch.ephemeral
