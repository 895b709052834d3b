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
    """To the connections, and by their supervisor to each: say goodbye (`draining`), and after a while go (Close 1012).

    The supervisor answers when none is left of those that there were. It does not wait for who comes later.

    Attributes:
        retry_after: seconds after the close until the client may come back; each one gets its own random part of it.
        over: seconds over which the closes are spread.
    """

    retry_after: float
    over: float = 0.0


@attrs.frozen
class Frame:
    """From a connection's reading task: one text message."""

    text: str
