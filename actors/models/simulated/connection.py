"""One HTTP connection of the simulated model: h11 on trio's socket, with the ways to break it.

Not a general server: requests are read whole, one after another, and answered one at a time.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import attrs
import h11
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

BODY_BYTES = 16 * 1024 * 1024
"""The largest request that is read."""

IDLE = 75.0
"""Seconds in which the next request must have come whole."""

_READ = 64 * 1024
_EARLY_BYTES = 64 * 1024  # of a next request, sent before the answer to this one has ended

Headers = list[tuple[str, str]]


class RequestTooLarge(Exception):
    """The body is longer than the limit."""


@attrs.frozen
class HttpRequest:
    method: str
    path: str
    body: bytes


class HttpConnection:
    """Reads requests from a stream and writes answers to it.

    Every method that writes raises trio.BrokenResourceError when the client has gone, and trio.ClosedResourceError
    after this side has closed.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)

    async def next_request(self) -> HttpRequest | None:
        """The next request, whole; None when the client has gone or stays silent for too long.

        Raises h11.RemoteProtocolError for what is not HTTP, and RequestTooLarge.
        """
        with trio.move_on_after(IDLE):
            head = await self._next_event()
            if not isinstance(head, h11.Request):
                return None
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            body = bytearray()
            while isinstance(event := await self._next_event(), h11.Data):
                body += event.data
                if len(body) > BODY_BYTES:
                    raise RequestTooLarge
            if not isinstance(event, h11.EndOfMessage):
                return None
            target = head.target.decode("ascii", "replace")
            return HttpRequest(head.method.decode("ascii"), target.partition("?")[0], bytes(body))
        return None

    def ready_for_next(self) -> bool:
        """Whether another request may follow on this connection; prepares for it."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        return False

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer."""
        await self.begin(status, [*headers, ("content-length", str(len(body)))])
        await self.send(body)
        await self.end()

    async def begin(self, status: int, headers: Headers) -> None:
        """The head of an answer; without a length among the headers, its body is sent in chunks."""
        head = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]
        await self._send(h11.Response(status_code=status, headers=head, reason=b""))

    async def send(self, data: bytes) -> None:
        """A piece of the body, at once."""
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        await self._send(h11.EndOfMessage())

    async def close(self) -> None:
        """Closes in the middle of whatever was sent."""
        await self._stream.aclose()

    def reset(self) -> None:
        """Makes the client see a connection reset: what was sent and not yet read may be lost to it."""
        self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.socket.close()

    async def while_client_stays(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Runs `work`, and cancels it when the client goes away. Says whether the client was there to the end.

        The nursery holds two tasks of this one connection: the answer, and the ear that hears the client leave while
        the answer waits for something else. It ends before this returns, cancelled or not.
        """
        stayed = True

        async def listen(scope: trio.CancelScope) -> None:
            nonlocal stayed
            await self._client_leaves()
            stayed = False
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, nursery.cancel_scope)
            try:
                await work()
            except trio.BrokenResourceError:
                stayed = False
            nursery.cancel_scope.cancel()
        return stayed

    async def _client_leaves(self) -> None:
        early = 0
        while early <= _EARLY_BYTES:
            try:
                data = await self._stream.receive_some(_READ)
            except trio.BrokenResourceError:
                return
            except trio.ClosedResourceError:  # this side has closed: that is `work`'s doing, and its end
                await trio.sleep_forever()
            if not data:
                return
            early += len(data)
            self._http.receive_data(data)

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            try:
                self._http.receive_data(await self._stream.receive_some(_READ))
            except trio.BrokenResourceError:
                return h11.ConnectionClosed()
        return event

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            await self._stream.send_all(data)


def json_headers(more: Sequence[tuple[str, str]] = ()) -> Headers:
    return [("content-type", "application/json"), *more]
