"""Closing a TCP connection so that the last thing said arrives.

A socket that is closed with unread bytes in its buffer sends a reset, and a reset makes the other side's kernel throw
away what it had received but not yet read: the refusal, or the Close frame with its code. So whoever has spoken last
closes its own direction only, reads on until the other side is done, and closes then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

# A client that was refused in the middle of one large message still gets to the end of it; a flood does not.
LINGER_LIMIT_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 65_536


async def linger(
    stream: trio.SocketStream,
    *,
    limit_bytes: int = LINGER_LIMIT_BYTES,
    until: Callable[[bytes], bool] | None = None,
) -> None:
    """Half-close, then read and discard until the peer closes, `until` says of a piece that it was the last, or
    `limit_bytes` are read.

    Has no deadline of its own and does not close the stream: the caller does both. Raises `trio.BrokenResourceError`
    when the connection breaks. Nobody else may be reading.
    """
    await stream.send_eof()
    discarded = 0
    while discarded < limit_bytes:
        data = await stream.receive_some(_CHUNK_BYTES)
        if not data or (until is not None and until(data)):
            return
        discarded += len(data)
