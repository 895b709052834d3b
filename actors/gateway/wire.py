"""The stream beneath trio-websocket: the only place through which a WebSocket's bytes go.

trio-websocket gives a receiving task, frame decoding and the answers to pings. What it gets wrong lies in how
connections end (DESIGN.md, "The gateway"), so it is never allowed to end one: to the library, every end but the
client's own Close looks like a broken or a closed stream, and what is then to be said and waited for, we say and wait
for here, once its receiving task has stopped. In particular it never reads while *our* Close is out, which is the
state in which a ping kills it (python-trio/trio-websocket#184).

Three more things it cannot know: the time of the last sign of life, bytes rather than characters, and how to put a
batch into one system call. A batch is joined into one buffer before it comes here: cheaper than corking the library's
own writes.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import trio

from actors.gateway.frames import CLOSE
from actors.gateway.lingering import linger

if TYPE_CHECKING:
    from actors.gateway.scanner import FrameScanner

# What an empty message costs in the library's queue; without it, a million empty ones would be no bytes at all.
_MESSAGE_OVERHEAD_BYTES = 256


class WireStream(trio.abc.Stream):
    """What the library takes for its transport.

    `handshake`: the request that the library is to see first. `rest`: what the client had sent after its own; it is
    kept back until the library has answered the handshake, since it drops whatever it reads before (as it would do
    with what arrives meanwhile). `inbox_bytes`: how much of complete, untaken messages there may be before reading
    pauses.

    Public counters: `bytes_in` and `bytes_out`, and `last_received`, a time of trio's clock.
    """

    def __init__(
        self,
        stream: trio.SocketStream,
        *,
        handshake: bytes,
        rest: bytes,
        scanner: FrameScanner,
        inbox_bytes: int,
        close_within: float,
    ) -> None:
        self.scanner = scanner
        self.bytes_in = len(rest)
        self.bytes_out = 0
        self.last_received = trio.current_time()
        self.writing = trio.StrictFIFOLock()  # whoever holds it knows that no frame is half written by a living task
        self.answering_close = False  # the library has the client's Close, and answers it if it is let
        self._stream = stream
        self._handshake = handshake
        self._rest = rest
        self._inbox_bytes = inbox_bytes
        self._inbox_used = 0
        self._close_within = close_within
        self._upgraded: trio.Event | None = trio.Event()
        self._room: trio.Event | None = None
        self._released = False
        self._owed = b""

    # -- for the library -------------------------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes that the library may see. Raises `trio.BrokenResourceError` where a breach begins, and after
        a Close frame. Cancelled, no byte is lost."""
        if self._handshake:
            handshake, self._handshake = self._handshake, b""
            return handshake
        if self._upgraded is not None:
            await self._upgraded.wait()
        while self._inbox_used >= self._inbox_bytes and not self._released:
            self._room = trio.Event()
            await self._room.wait()
        if self._released:
            raise trio.ClosedResourceError
        if self.scanner.over:
            raise trio.BrokenResourceError
        if self._rest:
            data, self._rest = self._rest, b""
        else:
            data = await self._stream.receive_some(max_bytes)
            self.bytes_in += len(data)
            self.last_received = trio.current_time()
            if not data:
                return data
        waiting = len(self.scanner.unread)
        served = self.scanner.feed(data)
        for position in range(waiting, len(self.scanner.unread)):
            self._inbox_used += self.scanner.unread[position] + _MESSAGE_OVERHEAD_BYTES
        if not served:
            raise trio.BrokenResourceError
        return data[:served]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """One event of the library: the answer to the handshake, a Pong, the echo of a Close."""
        if self._released:
            raise trio.ClosedResourceError
        if self._upgraded is not None:
            await self.write(data)
            self._upgraded.set()
            self._upgraded = None
        elif data[0] & 0x0F == CLOSE:
            self.answering_close = True
            with trio.move_on_after(self._close_within) as scope:
                await self.write(data)
            if scope.cancelled_caught:
                raise trio.BrokenResourceError("the client does not take the answer to its Close")
        else:
            await self.write(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Part of the interface; the library has no use for it."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """The library is done with the stream. We are not: see `finish`."""
        self._released = True
        await trio.lowlevel.checkpoint()

    # -- for the socket --------------------------------------------------------------------------------------------

    def taken(self) -> None:
        """The oldest complete message has left the library."""
        self._inbox_used -= self.scanner.unread.pop(0) + _MESSAGE_OVERHEAD_BYTES
        if self._room is not None and self._inbox_used < self._inbox_bytes:
            self._room.set()
            self._room = None

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write whole frames, in one system call where the kernel has room for them.

        Raises `trio.BrokenResourceError` or `trio.ClosedResourceError`. Cancelled when part of it has gone out, the
        rest is owed, and goes out before whatever is written next: a frame is never left half written with another
        behind it.
        """
        async with self.writing:
            await self.write_locked(data)

    async def write_locked(self, data: bytes | bytearray | memoryview) -> None:
        """As `write`, for one who holds `writing`."""
        if self._owed:
            owed, self._owed = self._owed, b""
            await self._send(owed, begun=True)
        await self._send(data, begun=False)

    async def _send(self, data: bytes | bytearray | memoryview, *, begun: bool) -> None:
        """trio's own `send_all` would not say how far it came when it is cancelled."""
        sent = 0
        send = self._stream.socket.send
        try:
            with memoryview(data) as view:
                while sent < len(view):
                    with view[sent:] as remaining:
                        sent += await send(remaining)
        except OSError as error:
            raise trio.BrokenResourceError from error
        finally:
            self.bytes_out += sent
            if sent < len(data) and (sent or begun):
                self._owed = bytes(data[sent:])

    async def finish(self, farewell: bytes | None) -> None:
        """Write the Close frame `farewell`, then read on until the client's Close or its end of file.

        `None`: there is nobody to tell, or the library has answered the client's Close. To be called when the library's
        receiving task has ended, and under a deadline.

        Raises nothing about the connection: what cannot be said any more is not said.
        """
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if farewell is not None:
                await self.write(farewell)
            if self.scanner.close_seen:  # both sides have said theirs: the server closes first
                return
            await linger(self._stream, until=self._is_last)

    def destroy(self, parting: bytes | None = None) -> None:
        """Close the socket at once; whoever waits in it gets `trio.ClosedResourceError`.

        `parting`, a Close frame, goes out before if the kernel has room for it and no frame is half written. No
        checkpoint: `trio.aclose_forcefully` lets an outer cancellation through, and what follows would not be done.
        """
        if parting is not None and not self._released and not self._owed and not self.writing.locked():
            with contextlib.suppress(OSError):
                os.write(self._stream.socket.fileno(), parting)
        self._released = True
        self._stream.socket.close()

    def _is_last(self, data: bytes) -> bool:
        self.bytes_in += len(data)
        self.scanner.feed(data)
        return self.scanner.close_seen
