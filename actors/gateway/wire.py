"""The stream beneath trio-websocket: the only place through which a WebSocket's bytes go.

trio-websocket gives a receiving task, frame decoding and the answers to pings. What it gets wrong lies in how
connections end (DESIGN.md, "The gateway"), so it is never allowed to end one: to the library, every end but the
client's own Close looks like a broken or a closed stream, and what is then to be said and waited for, we say and wait
for here, once its receiving task has stopped. In particular it never reads while *our* Close is out, which is the
state in which a ping kills it (python-trio/trio-websocket#184).

Three more things it cannot know: the time of the last sign of life, bytes rather than characters, and how to put a
batch into one system call. A batch is joined into one buffer before it comes here: cheaper than corking the library's
own writes. Most of the time the kernel has room for it, and `write_now` needs neither a task nor a turn of the loop.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import trio

from actors.gateway.frames import CLOSE
from actors.gateway.library import RECEIVE_BYTES
from actors.gateway.lingering import linger

if TYPE_CHECKING:
    from actors.gateway.scanner import FrameScanner
    from actors.gateway.turnstile import Turnstile


class WireStream(trio.abc.Stream):
    """What the library takes for its transport. The handshake is done on it before the library sees it.

    `rest`: what the client had sent behind its handshake; `turnstile`: where one whose client has gone passes.

    Public counters: `bytes_in` and `bytes_out`, and `last_received`, a time of trio's clock.
    """

    __slots__ = (
        "_close_within",
        "_owed",
        "_released",
        "_rest",
        "_stream",
        "_turnstile",
        "answering_close",
        "bytes_in",
        "bytes_out",
        "last_received",
        "scanner",
        "writing",
    )

    def __init__(
        self,
        stream: trio.SocketStream,
        *,
        rest: bytes,
        scanner: FrameScanner,
        close_within: float,
        turnstile: Turnstile,
    ) -> None:
        self.scanner = scanner
        self.bytes_in = len(rest)
        self.bytes_out = 0
        self.last_received = trio.current_time()
        self.writing = trio.StrictFIFOLock()  # whoever holds it knows that no frame is half written by a living task
        self.answering_close = False  # the library has the client's Close, and answers it if it is let
        self._stream = stream
        self._rest = rest
        self._close_within = close_within
        self._turnstile = turnstile
        self._released = False
        self._owed = b""

    # -- for the library -------------------------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes that the library may see. Raises `trio.BrokenResourceError` where a breach begins, and after
        a Close frame. Cancelled, no byte is lost but those of a client that has gone."""
        if self._released:
            raise trio.ClosedResourceError
        if self.scanner.over:
            raise trio.BrokenResourceError
        if self._rest:
            data, self._rest = self._rest, b""
        else:
            data = await self._receive(RECEIVE_BYTES if max_bytes is None else max_bytes)
            self.bytes_in += len(data)
            self.last_received = trio.current_time()
            if not data:
                return data
        served = self.scanner.feed(data)
        if not served:
            raise trio.BrokenResourceError
        if self.scanner.close_seen:
            await self._turnstile.pass_through()
        return data[:served]

    async def _receive(self, most: int) -> bytes:
        """Waits first and reads then: trio's own would read first, and almost always in vain. Four frames of the
        stack less, too, for as long as the connection is silent."""
        while True:
            await trio.lowlevel.wait_readable(self._stream.socket.fileno())
            try:
                data = os.read(self._stream.socket.fileno(), most)
            except BlockingIOError:
                continue
            except OSError as error:
                await self._turnstile.pass_through()
                raise trio.BrokenResourceError from error
            if not data:
                await self._turnstile.pass_through()
            return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """One event of the library: a Pong, or the echo of a Close."""
        if self._released:
            raise trio.ClosedResourceError
        if data[0] & 0x0F == CLOSE:
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

    def write_now(self, data: bytes) -> bytes | None:
        """Write whole frames as far as the kernel has room for them, without waiting. No checkpoint.

        None: all of it is out. Else what is to be passed to `write`: all of it, where nothing could be written, or
        nothing, where part of it is out: the rest is owed then, and goes out before whatever is written next. What
        has broken shows there.
        """
        if self._released or self._owed or self.scanner.close_seen or self.writing.locked():
            return data
        try:
            sent = os.write(self._stream.socket.fileno(), data)
        except OSError:  # no room, or broken
            return data
        self.bytes_out += sent
        if sent == len(data):
            return None
        self._owed = data[sent:]
        return b""

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
                        more = await send(remaining)
                    sent += more
                    self.bytes_out += more
        except OSError as error:
            raise trio.BrokenResourceError from error
        finally:
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
