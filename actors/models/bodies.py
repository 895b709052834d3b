"""How far the body of an answer is read: a provider may send one without an end.

What comes with a status of 3xx, 4xx or 5xx are words for an operator. The client reads them to their end before it
raises anything, so they are cut here, after so many bytes and so long; and however they end, cut, reset or never, it is
the status that is judged, which had come before them. Streams of events have limits of their own (`stream`), and any
other answer, such as a vector, is read by `whole`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import httpx2
import trio

from actors.models.failure import AnswerBroken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WORDS_BYTES: Final = 64 * 1024
"""Of a refusal, as they come over the network. (Packed by gzip, they may come to a thousand times as many.)"""

WORDS_WITHIN: Final = 2.0
"""Seconds, from the first look at them."""


async def cut_words(response: httpx2.Response) -> None:
    """A hook of the client for every answer, called when its head has come."""
    if not response.is_success and isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Words(response.stream)


async def whole(response: httpx2.Response, limit: int) -> bytes:
    """The body. AnswerBroken where it has more bytes than the limit, unpacked; else what the client raises.

    Cancelled, it closes the connection.
    """
    read: list[bytes] = []
    pieces = response.aiter_bytes()
    try:
        async for piece in pieces:
            read.append(piece)
            limit -= len(piece)
            if limit < 0:
                raise AnswerBroken("malformed", "the answer has no end, or a very late one")
    finally:
        await let_go(pieces)
    return b"".join(read)


async def let_go(pieces: AsyncIterator[bytes], patience: float = 0.0) -> None:
    """Reads the rest for so many seconds, and then ends the reading by cancelling it from within.

    The client's reader is five generators deep, and closing the outermost leaves the others to the collector, with a
    warning each. Cancelled, every one of them is left by an exception, and the innermost closes the connection.
    """
    with trio.move_on_after(patience), suppress(httpx2.HTTPError, httpx2.StreamError):
        async for _ in pieces:
            pass


class _Words(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = aiter(self._stream)
        left, until = WORDS_BYTES, trio.current_time() + WORDS_WITHIN
        while left > 0:
            piece = b""
            with trio.move_on_at(until), suppress(httpx2.HTTPError, httpx2.StreamError):
                piece = await anext(pieces, b"")
            if not piece:
                return
            yield piece[:left]
            left -= len(piece)
        await let_go(pieces)

    async def aclose(self) -> None:
        await self._stream.aclose()
