"""A user's connections as the context sees them: who is attached, what is sent to all, and what was acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.users.live import LiveTexts
from actors.users.messages import Attach, Attached, Deliver

if TYPE_CHECKING:
    from actors.protocol.events import Event
    from actors.storage.interface import Position
    from actors.users.context import UserContext
    from runtime import Ref


class Devices:
    """The attached connections of one user.

    Acknowledgements are not stored yet. A context that wakes cannot know what was acknowledged before, and takes all
    that its log then held as acknowledged: of some events that were delivered it will never be counted, but of none is
    it counted twice.
    """

    def __init__(self, context: UserContext) -> None:
        self._context = context
        self._connections: dict[Ref[Any], str] = {}
        self._live = LiveTexts()
        self._acked = 0

    def __len__(self) -> int:
        return len(self._connections)

    def log_found(self, top: int) -> None:
        """What the log's top was when this incarnation began."""
        self._acked = top

    def attach(self, message: Attach, position: Position, released: int) -> Attached:
        """Send everything after `released` to this connection too, from now on."""
        self._connections[message.connection] = message.client_id
        self._context.watch(message.connection)
        live = self._live.frames(self._context.services.stamps.stamp)
        return Attached(position.epoch, position.first, released, live, self._context.incarnation)

    def forget(self, connection: Ref[Any]) -> bool:
        """Send it nothing any more. False if it was not attached."""
        if self._connections.pop(connection, None) is None:
            return False
        self._context.unwatch(connection)
        return True

    def see(self, event: Event) -> None:
        """An event is being released, or turns out to have been before."""
        self._live.take(event)

    def deliver(self, frame: bytes, seq: int | None) -> None:
        """Send a frame to every connection."""
        deliver = Deliver(self._context.user, frame, seq, self._context.incarnation)
        for connection in self._connections:
            # A refusal is counted at the connection's mailbox; the connection sees the missing seq and closes.
            connection.tell(deliver)

    def acked(self, seq: int, released: int) -> int:
        """A client has processed everything up to `seq`: how many events no client had acknowledged before."""
        news = min(seq, released) - self._acked
        self._acked = max(self._acked, min(seq, released))
        return max(0, news)
