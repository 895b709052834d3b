"""One WebSocket: whole text messages in, batches of them out, and an end that both sides know the reason of.

A `Socket` belongs to one connection and its nursery. The library's receiving task runs in there under a scope and a
`try` of ours, so that nothing that it raises reaches the nursery, let alone a neighbour. However the connection ends,
it ends once, as one `Ending`, and everybody who calls afterwards gets it as `Closed`:

- the library's task ends (the client closed, the network broke, a breach was found, the library failed), or
- `close` is called, which stops that task.

The same task then says our Close where it is due, reads on for the client's, and closes the TCP connection.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal, cast

import attrs
import trio
import trio_websocket
from wsproto.utilities import ProtocolError

from actors.gateway.frames import PING_FRAME, close_frame, text_frames
from actors.gateway.scanner import Breach, FrameScanner
from actors.gateway.wire import WireStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from actors.gateway.head import Head

FIRST_LIMIT_BYTES = 65_536
INBOX_BYTES = 262_144
_RECEIVE_BYTES = 16_384

Side = Literal["client", "server", "network"]


@attrs.frozen
class Ending:
    """Why a connection is over. `by` says who ended it: a breach of the rules is closed by the server, a connection
    that broke or went silent by the network."""

    code: int
    reason: str
    by: Side


class Closed(Exception):
    """The connection is over: `code` as in PROTOCOL.md, "Closing" (1006 where nobody gave one), `reason`, and `by`."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.code, ending.reason, ending.by)
        self.code = ending.code
        self.reason = ending.reason
        self.by: Side = ending.by


@attrs.frozen
class Statistics:
    """Of one connection, so far. Bytes are those on the TCP connection, the handshake left out on the way in;
    `last_received` is the time (of trio's clock, in seconds) at which anything arrived, a pong included."""

    bytes_in: int
    bytes_out: int
    messages_in: int
    messages_out: int
    last_received: float


def conclude(
    *, breach: Breach | None, answering_close: bool, library: trio_websocket.CloseReason | None, failed: bool
) -> Ending:
    """What ended a connection that we did not close, from what wire and library know.

    `answering_close`: the library answered a Close of the client's. Where it gives a code without having answered one,
    it found the fault itself: bad UTF-8, or a Close frame with a bad payload.
    """
    if breach is not None:
        return Ending(breach.code, breach.reason, "server")
    code = 1006 if library is None or library.code == 1005 else int(library.code)
    if library is not None and answering_close:
        return Ending(code, library.reason or "", "client")
    if failed:
        return Ending(1011, "internal error", "server")
    if code == 1006:
        return Ending(1006, "", "network")
    return Ending(code, "not UTF-8" if code == 1007 else "broken frame", "server")


class Socket:
    """An accepted WebSocket. Made by `Socket.accept`.

    `receive` has one caller at a time; `send_batch`, `ping` and `close` may be called by any task.
    """

    def __init__(self, wire: WireStream, close_within: float) -> None:
        self._wire = wire
        self._close_within = close_within
        self._connection: trio_websocket.WebSocketConnection | None = None
        self._handshake = trio.CancelScope()
        self._reading = trio.CancelScope()
        self.parting = Ending(1006, "", "server")
        """What the client is told, if the kernel takes it at once, when the nursery is cancelled; 1006 says nothing."""
        self._ending: Ending | None = None
        self._deadline = trio.current_time()  # of the farewell; set when the end is known
        self._stopped = trio.Event()  # the library's task has ended
        self._finished = trio.Event()  # the TCP connection is closed
        self._failure: Exception | None = None
        self._closing = False  # `close` decided the end: what lies unread is dropped
        self._messages_in = 0
        self._messages_out = 0

    @classmethod
    async def accept(
        cls,
        stream: trio.SocketStream,
        head: Head,
        raw: bytes,
        *,
        subprotocol: str | None,
        handshake_within: float,
        nursery: trio.Nursery,
        close_within: float = 5.0,
    ) -> Socket:
        """Answer the handshake that `read_head` read and `judge` found good.

        `head` and `raw` as `read_head` returned them; `subprotocol` as `judge` chose it. `nursery` belongs to this
        connection alone and runs the library's task, from which nothing comes out; it may be cancelled at any time,
        which closes the TCP connection. `handshake_within` and `close_within` are in seconds.

        Raises `Closed` if the client went away or does not take the answer in time. Then, and when cancelled, the TCP
        connection is closed.
        """
        wire = WireStream(
            stream,
            handshake=_handshake_request(head, subprotocol),
            rest=raw[head.size_bytes :],
            scanner=FrameScanner(FIRST_LIMIT_BYTES),
            inbox_bytes=INBOX_BYTES,
            close_within=close_within,
        )
        socket = cls(wire, close_within)
        try:
            with socket._handshake as scope:
                scope.deadline = trio.current_time() + handshake_within
                request = await trio_websocket.wrap_server_stream(
                    cast("trio.Nursery", _Containment(nursery, socket._run)),
                    wire,
                    message_queue_size=sys.maxsize,  # the wire bounds it, in bytes
                    max_message_size=sys.maxsize,  # the scanner bounds it, in bytes
                    receive_buffer_size=_RECEIVE_BYTES,
                )
                socket._connection = await request.accept(subprotocol=subprotocol)
                return socket
        except (trio_websocket.ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError, ProtocolError):
            pass
        finally:
            if socket._connection is None:
                wire.destroy()
                socket._reading.cancel()
        raise Closed(Ending(1006, "no handshake", "network"))

    @property
    def ending(self) -> Ending | None:
        """Why it is over, once it is."""
        return self._ending

    @property
    def failure(self) -> Exception | None:
        """What the library's task raised, if it did, to be reported: the connection has then ended with 1011."""
        return self._failure

    def opened(self, frame_bytes: int) -> None:
        """After `welcome`: a message may now have `frame_bytes` bytes instead of 64 KiB."""
        self._wire.scanner.limit_bytes = frame_bytes

    def statistics(self) -> Statistics:
        """The counters as they stand."""
        wire = self._wire
        return Statistics(wire.bytes_in, wire.bytes_out, self._messages_in, self._messages_out, wire.last_received)

    async def receive(self) -> str:
        """The next whole text message.

        Raises `Closed` at the end, after the messages that came before it; at once when `close` was called. Pings are
        answered whether or not anybody waits here, until 256 KiB of messages lie unread: then reading pauses.
        Cancelled, no message is lost.
        """
        if self._closing:
            raise self._closed()
        assert self._connection is not None
        try:
            message = await self._connection.get_message()
        except trio_websocket.ConnectionClosed:
            await self._stopped.wait()
            raise self._closed() from None
        self._wire.taken()
        self._messages_in += 1
        return cast("str", message)  # binary messages are a breach

    async def send_batch(self, bodies: Sequence[bytes]) -> int:
        """Send each body, JSON encoded as UTF-8, as one text message; all of them in one system call, as far as the
        kernel has room. Returns the number of bytes written, frame headers included.

        Waits as long as the client does not read: the deadline is the caller's. Raises `Closed` when it is over or
        ends meanwhile; nothing is written after a Close. Cancelled, what had begun to go out goes out before the next
        frame, so `close` still gets its code across to a client that starts to read again.
        """
        return await self._write(text_frames(bodies), len(bodies))

    async def ping(self) -> None:
        """Send a ping. The pong is not waited for: `statistics().last_received` shows it. Raises `Closed`."""
        await self._write(PING_FRAME, 0)

    async def close(self, code: int, reason: str = "") -> None:
        """Close with this code and wait until the TCP connection is closed: when the client has answered, or after
        `close_within` seconds. What lies unread is dropped.

        A connection that is over already keeps its code; the call then only waits. Raises ValueError for a code that
        must not be sent. Cancelled, the connection goes on closing in its nursery, in the same time.
        """
        close_frame(code, reason)
        if self._ending is None and not self._wire.answering_close:
            self._closing = True
            self._end(Ending(code, reason, "server"))
            self._reading.cancel()  # in the middle of a pong, its rest is owed and goes out before the Close
        await self._finished.wait()

    async def _write(self, frames: bytes, messages: int) -> int:
        wire = self._wire
        try:
            async with wire.writing:
                self._check_open()
                await wire.write_locked(frames)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            if not wire.scanner.close_seen:  # else the library is about to learn the client's code: let it
                self._reading.cancel()
            await self._stopped.wait()
            raise self._closed() from None
        self._messages_out += messages
        return len(frames)

    def _check_open(self) -> None:
        if self._ending is not None:
            raise self._closed()
        if self._wire.answering_close:
            raise trio.ClosedResourceError

    def _closed(self) -> Closed:
        assert self._ending is not None
        return Closed(self._ending)

    def _end(self, ending: Ending) -> None:
        self._ending = ending
        self._deadline = trio.current_time() + self._close_within

    async def _run(self, read: Callable[[], Awaitable[None]]) -> None:
        """The library's receiving task, from its start to the end of the TCP connection."""
        try:
            try:
                with self._reading:
                    await read()
            except Exception as error:  # noqa: BLE001  a fault of the library ends this connection and nothing else
                self._failure = error
            if self._ending is None:
                self._end(self._conclude())
            self._stopped.set()
            self._handshake.cancel()
            if self._connection is not None:
                with trio.CancelScope(deadline=self._deadline):
                    await self._wire.finish(self._farewell())
        finally:
            parting: bytes | None = None
            if self._ending is None:  # the nursery was cancelled
                self._end(self.parting)
                upgraded = self._connection is not None and self.parting.code != 1006
                parting = close_frame(self.parting.code, self.parting.reason) if upgraded else None
            self._stopped.set()
            self._wire.destroy(parting)
            self._finished.set()

    def _conclude(self) -> Ending:
        return conclude(
            breach=self._wire.scanner.breach,
            answering_close=self._wire.answering_close,
            library=None if self._connection is None else self._connection.closed,
            failed=self._failure is not None,
        )

    def _farewell(self) -> bytes | None:
        ending = self._ending
        return close_frame(ending.code, ending.reason) if ending is not None and ending.by == "server" else None


class _Containment:
    """What the library takes for its nursery: starts its one task inside `run`."""

    def __init__(self, nursery: trio.Nursery, run: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]) -> None:
        self._nursery = nursery
        self._run = run

    def start_soon(self, read: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._run, read, name="websocket")


def _handshake_request(head: Head, subprotocol: str | None) -> bytes:
    """The client's handshake in the one form with which the library has no trouble: it decodes headers as ASCII and
    Host as IDNA without catching what that raises, and knows only the last of several `Connection` headers."""
    lines = [
        b"GET " + head.path.encode("ascii") + b" HTTP/1.1",
        b"Host: localhost",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + head.values(b"sec-websocket-key")[0].encode("ascii"),
    ]
    if subprotocol is not None:
        lines.append(b"Sec-WebSocket-Protocol: " + subprotocol.encode("ascii"))
    return b"\r\n".join([*lines, b"", b""])
