"""What is said in the gateway."""

from __future__ import annotations

from typing import Final

import attrs
import trio

from actors.gateway.refusal import Refusal

COME_BACK: Final = 5.0
LEAVING: Final = Refusal(503, "unavailable", "The daemon is going down for a moment.", retry_after=COME_BACK)
FULL: Final = Refusal(503, "unavailable", "There are too many connections. Please try later.", retry_after=COME_BACK)


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
