"""What is said in the gateway."""

from __future__ import annotations

import attrs
import trio


@attrs.frozen(eq=False)
class Accepted:
    """From the listener: somebody has connected."""

    stream: trio.SocketStream


@attrs.frozen
class Drain:
    """To the connections, and by their supervisor to each: say goodbye (`draining`, then Close 1012).

    The supervisor answers when no connection is left.

    `retry_after`: seconds after which the client may come back; each one gets its own random part of it.
    """

    retry_after: float


@attrs.frozen
class Frame:
    """From a connection's reading task: one text message."""

    text: str
