"""Streams on their way from the listener to their connections: at every moment there is somebody to close them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import trio


@attrs.define(eq=False)
class Handover:
    """The streams that were accepted and lie in the connections' mailbox, of one incarnation of the gateway.

    The mailbox outlives a crash of the connections. Nobody hears what was in the mailbox of an actor that has ended for
    good: the gateway closes it then, and the clients come back.
    """

    _streams: set[trio.SocketStream] = attrs.field(factory=set)

    def offer(self, stream: trio.SocketStream) -> None:
        """It was accepted."""
        self._streams.add(stream)

    def take(self, stream: trio.SocketStream) -> bool:
        """The caller closes it from now on. False where it is closed."""
        there = stream in self._streams
        self._streams.discard(stream)
        return there

    def close(self) -> None:
        """Close those that nobody has taken."""
        for stream in self._streams:
            stream.socket.close()
        self._streams.clear()
