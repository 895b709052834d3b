"""One WebSocket as a client holds it: trio-websocket, with what it lacks.

- Its reader task may raise (a ping that arrives after our own Close does, python-trio/trio-websocket#184). It therefore
  runs in a nursery of its own, whose errors end this socket and nothing else.
- An end of the TCP stream in the middle of the handshake leaves `wrap_client_stream` waiting for ever. The stream
  beneath is ours and tells of its end.
- It has no notion of silence. The stream notes when bytes last came, pings and halves of frames included.
- After the daemon's Close it does not close the TCP stream on this side. `hold` does.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final

import attrs
import trio
import trio_websocket
from trio_websocket import ConnectionClosed, ConnectionRejected

from understudy.client.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from understudy.client.envelope import Address

#: The daemon's outbound limit. The library counts characters, of which there are never more than bytes.
LARGEST_MESSAGE: Final = 4 * 1024 * 1024
SUBPROTOCOL: Final = "understudy.v1"
CLOSED_WITHOUT_CODE: Final = 1006
_RECEIVE_BYTES: Final = 64 * 1024


async def dial(address: Address) -> trio.abc.Stream:
    """A TCP stream to `address`, with TLS where it says so. Raises OSError."""
    if not address.tls:
        return await trio.open_tcp_stream(address.host, address.port)
    return await trio.open_ssl_over_tcp_stream(
        address.host, address.port, https_compatible=True, ssl_context=ssl.create_default_context()
    )


class Ended(Exception):
    """The socket delivers nothing more. `code` is 1006 where no Close came."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


@attrs.define(eq=False)
class ListeningStream(trio.abc.Stream):
    """The stream beneath the WebSocket: knows when it last heard something, and whether it is over."""

    _stream: trio.abc.Stream
    heard_at: float = attrs.field(factory=trio.current_time)
    over: trio.Event = attrs.field(factory=trio.Event)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.over.set()
            raise
        self.heard_at = trio.current_time()
        if not data:
            self.over.set()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.over.set()
            raise

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        self.over.set()
        await self._stream.aclose()


@attrs.define(eq=False)
class Socket:
    """A WebSocket to `address`. `hold` runs it; the rest is for tasks of the same client, once `hold` has started."""

    address: Address
    _dial: Callable[[Address], Awaitable[trio.abc.Stream]] = dial
    _stream: ListeningStream | None = None
    _websocket: trio_websocket.WebSocketConnection | None = None
    _released: trio.Event = attrs.field(factory=trio.Event)
    _closing: trio.CancelScope | None = None

    @property
    def heard_at(self) -> float:
        """Trio's time at which bytes last came in."""
        assert self._stream is not None
        return self._stream.heard_at

    def excuse_silence(self) -> None:
        """Count silence from now: it was we who did not read."""
        assert self._stream is not None
        self._stream.heard_at = trio.current_time()

    async def hold(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Opens the WebSocket, reports `started`, keeps it until `release` or its own end, then drops the stream.

        Raises `Unreachable` before `started`, nothing after it. Cancelled, it drops the stream.
        """
        try:
            self._stream = ListeningStream(await self._dial(self.address))
        except OSError as error:
            raise Unreachable(self.address.url, explain(error)) from error
        refused: list[ConnectionRejected] = []
        opened = False
        try:
            async with trio.open_nursery() as library:
                if await self._upgrade(library, self._stream):
                    opened = True
                    task_status.started()
                    await self._released.wait()
                library.cancel_scope.cancel()
        except* ConnectionRejected as group:
            refused.extend(error for error in group.exceptions if isinstance(error, ConnectionRejected))
        except* Exception:  # noqa: BLE001, S110 - whatever the library's reader raises ends this one connection and is seen as code 1006
            pass
        finally:
            if self._closing is not None:
                self._closing.cancel()
            await trio.aclose_forcefully(self._stream)
        if not opened:
            raise refusal(self.address.url, refused[0] if refused else None)

    async def _upgrade(self, library: trio.Nursery, stream: ListeningStream) -> bool:
        """Whether the WebSocket is open; False where the stream ended first."""
        with trio.CancelScope() as opening:
            library.start_soon(_cancel_when, stream.over, opening)
            self._websocket = await trio_websocket.wrap_client_stream(
                library,
                stream,  # type: ignore[arg-type]  # any stream does: the library asks for its class only to print addresses
                self.address.authority,
                self.address.resource,
                subprotocols=[SUBPROTOCOL],
                max_message_size=LARGEST_MESSAGE,
                receive_buffer_size=_RECEIVE_BYTES,
            )
        return self._websocket is not None

    async def receive(self) -> str | bytes:
        """The next message. Raises `Ended`. Cancelled, it has taken nothing."""
        assert self._websocket is not None
        try:
            return await self._websocket.get_message()
        except ConnectionClosed as closed:
            reason = closed.reason
            raise Ended(
                reason.code if reason else CLOSED_WITHOUT_CODE, (reason.reason if reason else None) or ""
            ) from None

    async def send(self, message: str) -> None:
        """Raises `Ended`. Not to be cancelled but with the whole connection: half a frame may have left."""
        assert self._websocket is not None
        try:
            await self._websocket.send_message(message)
        except ConnectionClosed as closed:
            raise Ended(closed.reason.code if closed.reason else CLOSED_WITHOUT_CODE, "") from None

    async def close(self, code: int, reason: str, *, within: float) -> None:
        """Sends Close and waits for the daemon's, at most `within` seconds, cancelled or not.

        Raises nothing. Only the first call counts.
        """
        assert self._websocket is not None
        if self._closing is not None:
            return
        # The library waits for the peer's Close even where its reader has died: then `hold` cancels this scope.
        self._closing = trio.CancelScope(shield=True, deadline=trio.current_time() + within)
        with self._closing:
            await self._websocket.aclose(code, reason)

    def release(self) -> None:
        """Let `hold` end and drop the stream."""
        self._released.set()


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def explain(error: OSError) -> str:
    """Why no TCP connection came about, for a person."""
    if isinstance(error, socket.gaierror):
        return "this host name is not known"
    if isinstance(error, ssl.SSLError):
        return "no TLS connection could be made"
    return "nothing answers there"


def refusal(url: str, rejected: ConnectionRejected | None) -> Unreachable:
    """What a person is told of an upgrade that did not come about."""
    if rejected is None:
        return Unreachable(url, "what listens there hung up in the WebSocket handshake, or is no Understudy daemon")
    retry_after = next((value for name, value in rejected.headers if name.lower() == b"retry-after"), None)
    seconds = float(retry_after) if retry_after is not None and retry_after.isdigit() else None
    why = {
        403: "refused (403): this origin or host is not allowed",
        404: "there is no Understudy WebSocket at this path (404)",
        429: "refused for now (429): too many connections",
        503: "the daemon is starting, draining or full (503)",
    }.get(rejected.status_code, f"refused with HTTP status {rejected.status_code}")
    return Unreachable(url, why, status=rejected.status_code, retry_after=seconds)
