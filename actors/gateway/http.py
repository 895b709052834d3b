"""Hands one plain HTTP request to Hypercorn, on a connection whose head has already been read.

One request a connection: an upgrade behind a kept-alive request would otherwise land in Hypercorn, unseen by `judge`.
For the same reason the head is written anew without `Upgrade`, or a polite offer of h2c would switch the connection
to HTTP/2.

Hypercorn's server closes its socket at once, shields its writes from cancellation, and has no deadline for a request's
body that never comes. The stream beneath it is therefore ours, and `serve_http` lets nothing out but cancellation.
"""

from __future__ import annotations

import contextlib
import math
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from actors.gateway.lingering import linger

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercorn.typing import ASGIFramework

    from actors.gateway.head import Head

_HOP_HEADERS = frozenset({b"connection", b"upgrade", b"http2-settings", b"keep-alive", b"proxy-connection"})
_CLOSE = ((b"connection", b"close"),)


class _Failures:
    """What Hypercorn takes for its logger: the only thing worth hearing is what the application raised."""

    def __init__(self, _config: Config, report: Callable[[BaseException], None]) -> None:
        self._report = report

    async def exception(self, _message: str, *_args: object) -> None:
        error = sys.exception()
        if error is not None:
            self._report(error)

    async def _pass_over(self, *_args: object) -> None:
        """Nothing to do: access is logged by the application, Hypercorn's own chatter by nobody."""

    access = critical = error = warning = info = debug = log = _pass_over


def http_config(report: Callable[[BaseException], None]) -> Config:
    """Hypercorn's configuration for `serve_http`; one a daemon.

    `report` hears of every exception that the application lets out (the client gets a 500 where nothing was sent yet).
    Hypercorn's own logger would set handlers on loggers that all daemons of a process share.
    """
    config = Config()
    config.keep_alive_max_requests = 1
    config.include_server_header = False
    config.logger_class = cast("Any", partial(_Failures, report=report))
    return config


async def serve_http(
    app: ASGIFramework,
    stream: trio.SocketStream,
    head: Head,
    raw: bytes,
    config: Config,
    *,
    stalled_within: float = 30.0,
    linger_within: float = 2.0,
) -> Exception | None:
    """Serve the one request whose head was read, and close the connection.

    `head` and `raw` as `read_head` returned them. `stalled_within` (seconds) is how long a client may send nothing of
    a body that it has announced, or take nothing of the answer; `linger_within` how long, after the answer, it may go
    on sending.

    Returns what went wrong inside the server, if something did, to be reported: usually a client that left in the
    middle of an answer in a way that Hypercorn does not foresee. What the application raises goes to `http_config`'s
    `report`. Waits for the application even where the client has gone. Cancelled, the connection is closed at once
    and the application is cancelled.
    """
    replay = ReplayStream(stream, head, raw, stalled_within=stalled_within)
    server = TCPServer(ASGIWrapper(app), config, WorkerContext(None), ConnectionState({}), cast("Any", replay))
    served = trio.Event()
    try:
        # A nursery for one task of this one connection: Hypercorn shields its writes, so on cancellation somebody has
        # to take the socket away from under a write that a stalled client blocks.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_close_when_cancelled, stream, served)
            failure = await _contain(server)
            served.set()
        with trio.move_on_after(linger_within), contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await linger(stream)
    finally:
        await trio.aclose_forcefully(stream)
    return failure


async def _close_when_cancelled(stream: trio.SocketStream, served: trio.Event) -> None:
    try:
        await served.wait()
    except trio.Cancelled:
        await trio.aclose_forcefully(stream)
        raise


async def _contain(server: TCPServer) -> Exception | None:
    try:
        await server.run()
    except Exception as error:  # noqa: BLE001  whatever the library raises ends this connection and nothing else
        return error
    except BaseExceptionGroup as group:  # it was cancelled, and failed on the way out: only the first is the caller's
        rest = group.split(Exception)[1]
        assert rest is not None
        raise rest from None
    return None


class ReplayStream:
    """What Hypercorn takes for a trio.SocketStream: gives the head again, then the connection's bytes.

    It keeps the deadlines for a client that stalls, and leaves the closing to `serve_http`: `aclose` only ends the
    reading.
    """

    def __init__(self, stream: trio.SocketStream, head: Head, raw: bytes, *, stalled_within: float) -> None:
        self.socket = stream.socket  # Hypercorn asks it for the two addresses
        self._stream = stream
        self._stalled_within = stalled_within
        self._awaited = _body_bytes(head)
        self._replay = head.encode(without=_HOP_HEADERS, also=_CLOSE) + self._belonging(raw[head.size_bytes :])
        self._receiving: trio.CancelScope | None = None
        self._released = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes of the request.

        Raises `trio.ClosedResourceError` after `aclose`, or when an announced body stalls.
        """
        if self._replay:
            replay, self._replay = self._replay, b""
            return replay
        if self._released:
            raise trio.ClosedResourceError
        with trio.CancelScope() as self._receiving:
            if self._awaited > 0:
                self._receiving.deadline = trio.current_time() + self._stalled_within
            while data := await self._stream.receive_some(max_bytes):
                if ours := self._belonging(data):
                    return ours
            return b""
        raise trio.ClosedResourceError

    def _belonging(self, data: bytes) -> bytes:
        """What of this belongs to the request: another one behind it would be an error to h11, and cost the answer."""
        if math.isinf(self._awaited):
            return data
        ours = data[: int(self._awaited)]
        self._awaited -= len(ours)
        return ours

    async def send_all(self, data: bytes) -> None:
        """Write a piece of the answer; `trio.BrokenResourceError` when the client takes nothing for too long."""
        if math.isinf(self._awaited) and not data.startswith(b"HTTP/1.1 100"):
            self._awaited = 0  # where a chunked body ends is not known here; an answer says that it has
        with memoryview(data) as view:
            for start in range(0, len(view), _SLICE_BYTES):
                if self._released:
                    raise trio.ClosedResourceError
                with trio.move_on_after(self._stalled_within) as scope, view[start : start + _SLICE_BYTES] as piece:
                    await self._stream.send_all(piece)
                if scope.cancelled_caught:
                    self._release()
                    raise trio.BrokenResourceError("the client does not take the answer")

    async def send_eof(self) -> None:
        """Done by `linger`."""

    async def aclose(self) -> None:
        """Hypercorn is done: whoever reads gets `trio.ClosedResourceError`."""
        self._release()

    def _release(self) -> None:
        self._released = True
        if self._receiving is not None:
            self._receiving.cancel()


_SLICE_BYTES = 65_536


def _body_bytes(head: Head) -> float:
    """How much of a body is announced; infinite where it comes in chunks."""
    if head.values(b"transfer-encoding"):
        return math.inf
    return sum(int(length) for length in head.values(b"content-length"))
