"""Reading a slow stream in gulps: what trickles in is left in the socket for a moment, and then read as one.

Most of what a relayed chunk costs is not the chunk but the waking up for it (the poll, the scheduler, seven generators
of the client between the socket and us). Chunks that come every 20 ms are therefore read every 40 to 50 ms, two or
three at a time, which a person who reads along cannot see. The moments lie on a grid, so that streams wake up together,
and share their sleep; where many more wait for one of two moments than for the other, a stream takes the other, since
streams that have begun together would else keep each other, and everybody else, waiting for ever.

The first text is never kept waiting, nor is anything after the last; and a stream of which much is there at once is
read as it comes.

The connection's own stream is public (`network_stream`, an extension of the response), its way of reading is not to be
exchanged by any interface: the gulps stand before the `read` of this one object for the time of one answer. Rejected: a
transport of our own, which would lose the proxies that the environment names. Where there is no such stream, or where
it does not allow it, nothing is slowed.

Even then the client takes each chunk of HTTP by itself through its state machine, which is more than all that we do
with it. So between two chunks we read past the client (`more`): whole chunks are taken out of the stream, and the
client is given the first thing that is none: half a chunk, the last one, the end. It sees an answer with fewer chunks.
That must only be done where the client stands between two chunks, and it does not say where it stands. But it can be
told from what it does: if a read gave nothing but whole chunks, each of which begins like an event, and just their
contents came out, it stood between two chunks before and does so behind them. (Had it stood inside of one, a line with
a size would have come out first; behind half a line with a size, one would have come out later.) Where an answer is
compressed, has a length, or is cut otherwise, that never happens, and all of it goes the client's way.
"""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING, Any, Final, Self

import httpx2
import trio

from actors.models.ticks import EVERY

if TYPE_CHECKING:
    from actors.models.ticks import Ticks

PAUSE: Final = 4
"""Ticks after which a trickle that was just read is read again, the present one included; or one more."""

TRICKLE: Final = 4096
"""Bytes: when one read gives more, the next follows at once."""

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
_LIKE_AN_EVENT: Final = (b"data:", b"event:")


class Gulps:
    """Stands before the socket of one response while the block lasts; slows it while `on`.

    Args:
        response: whose body is about to be read.
        ticks: shared by all that are to wake up together.
    """

    def __init__(self, response: httpx2.Response, ticks: Ticks) -> None:
        self.on = False
        self._ticks = ticks
        self._stream: Any = response.extensions.get("network_stream")
        self._read: Any = getattr(self._stream, "read", None)
        self._socket = _plain_socket(self._stream)
        self._got = 0
        self._timeout: float | None = None
        self._standing = False
        self._between = False  # the client stands between two chunks, and has nothing that it has not given out
        self._expected: bytes | None = None  # what the last read has to come to, if it was nothing but whole chunks
        self._given = 0  # bytes of it that have come out so far
        self._left: bytes | Exception | None = None  # read past the client, and for it to take

    def __enter__(self) -> Self:
        if self._read is not None:
            try:
                self._stream.read = self.read
            except AttributeError:
                return self
            self._standing = True
        return self

    def __exit__(self, *exc: object) -> None:
        # Once the answer has ended, the client may give the connection to the next call, and only then come back to us:
        # what stands there by now are the gulps of that one.
        if self._standing and vars(self._stream).get("read") == self.read:
            del self._stream.read

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # the client's own signature
        """As the stream's own, a moment later. Cancelled, nothing has been read."""
        self._between = False
        self._timeout = timeout
        left, self._left = self._left, None
        if isinstance(left, Exception):
            raise left
        data: bytes = await self._gulp(max_bytes) if left is None else left
        self._expected, self._given = _of_whole_events(data), 0
        return data

    def gave(self, piece: bytes) -> None:
        """The client has given out this piece of the body."""
        if self._expected is not None:
            as_expected = self._expected.startswith(piece, self._given)
            self._given += len(piece)
            self._between = as_expected and self._given == len(self._expected)
            if not as_expected:
                self._expected = None

    async def more(self) -> bytes | None:
        """The contents of the chunks that have come a moment later; None: the client is to be asked.

        Cancelled, nothing has been read.
        """
        if self._left is not None or not (self._between and self.on):
            return None
        try:
            data = await self._gulp(2 * TRICKLE)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is to meet it, and to say what it means
            self._left = error
            return None
        contents, end = whole_chunks(data)
        if end < len(data) or not data:
            self._left = data[end:]
        return b"".join(contents) if contents else None

    async def _gulp(self, most: int) -> bytes:
        """Read, after the pause that is due."""
        data: bytes | None = None
        if self.on and self._got <= TRICKLE:
            await self._ticks.wait(next_gulp(trio.current_time(), self._ticks))
            data = self._at_once(most)
        if data is None:
            data = await self._read(most, timeout=self._timeout)
        self._got = len(data)
        return data

    def _at_once(self, most: int) -> bytes | None:
        """What there is: without a deadline, a checkpoint and three context managers, for none of which is a need."""
        if self._socket is None:
            return None
        try:
            return os.read(self._socket.fileno(), min(most, 2 * TRICKLE))
        except BlockingIOError:
            return None
        except OSError as error:
            raise httpx2.ReadError(str(error)) from error


def _plain_socket(stream: Any) -> Any:
    """The socket beneath a stream that is not encrypted."""
    ask = getattr(stream, "get_extra_info", None)
    return None if ask is None or ask("ssl_object") is not None else ask("socket")


def next_gulp(now: float, ticks: Ticks) -> int:
    """The tick at which a trickle that was just read is read again."""
    tick = math.floor(now / EVERY) + PAUSE
    return ticks.quieter(tick, tick + 1)


def whole_chunks(data: bytes) -> tuple[list[bytes], int]:
    """The contents of the chunks (of HTTP/1.1, without extensions) at the beginning of `data`, and where they end.

    The last chunk of a body, which is empty, is none of them.
    """
    contents: list[bytes] = []
    start = 0
    while (size := _SIZE.match(data, start)) is not None:
        begin = size.end()
        end = begin + int(size[1], 16)
        if end == begin or data[end : end + 2] != b"\r\n":
            break
        contents.append(data[begin:end])
        start = end + 2
    return contents, start


def _of_whole_events(data: bytes) -> bytes | None:
    """The contents of `data`, if it is nothing but whole chunks, each of which begins like an event."""
    contents, end = whole_chunks(data)
    if not contents or end < len(data) or not all(content.startswith(_LIKE_AN_EVENT) for content in contents):
        return None
    return b"".join(contents)
