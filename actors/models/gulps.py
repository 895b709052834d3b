"""Reading a slow stream in gulps: what trickles in is left in the socket for a moment, and then read as one.

Most of what a relayed chunk costs is not the chunk but the waking up for it (the poll, the scheduler, five generators
of the client between the socket and us). Chunks that come every 20 ms are therefore read every 40 to 50 ms, two or
three at a time, which a person who reads along cannot see. The moments lie on a grid, so that streams wake up in
groups.

The first text is never kept waiting, nor is anything after the last; and a stream of which much is there at once is
read as it comes.

The connection's own stream is public (`network_stream`, an extension of the response), its way of reading is not to be
exchanged by any interface: the gulps stand before the `read` of this one object for the time of one answer. Rejected: a
transport of our own, which would lose the proxies that the environment names. Where there is no such stream, or where
it does not allow it, nothing is slowed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import trio

if TYPE_CHECKING:
    import httpx2

SHORTEST = 0.04
"""Seconds between two reads of a trickle, at least."""

GRID = 0.01
"""Seconds: reads take place at multiples of this."""

TRICKLE = 4096
"""Bytes: when one read gives more, the next follows at once."""


class Gulps:
    """Stands before the socket of one response while the block lasts; slows it while `on`."""

    def __init__(self, response: httpx2.Response) -> None:
        self.on = False
        self._stream: Any = response.extensions.get("network_stream")
        self._read: Any = getattr(self._stream, "read", None)
        self._got = 0
        self._standing = False

    def __enter__(self) -> Self:
        if self._read is not None:
            try:
                self._stream.read = self.read
            except AttributeError:
                return self
            self._standing = True
        return self

    def __exit__(self, *exc: object) -> None:
        if self._standing:
            del self._stream.read

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # the client's own signature
        """As the stream's own, a moment later. Cancelled, nothing has been read."""
        if self.on and self._got <= TRICKLE:
            await trio.sleep_until(next_gulp(trio.current_time()))
        data: bytes = await self._read(max_bytes, timeout=timeout)
        self._got = len(data)
        return data


def next_gulp(now: float) -> float:
    """When a trickle that was just read is read again."""
    return math.ceil((now + SHORTEST) / GRID) * GRID
