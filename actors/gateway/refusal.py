"""Says no over HTTP, in a way that the client can read, before any server library is involved."""

from __future__ import annotations

import math
from http import HTTPStatus

import attrs
import msgspec
import trio

from actors.gateway.lingering import linger


@attrs.frozen
class Refusal:
    """An HTTP answer instead of service.

    `code` and `message` become the JSON body (PROTOCOL.md, "HTTP"); `retry_after` is in seconds, rounded up on the
    wire; `headers` are added as they stand.
    """

    status: int
    code: str
    message: str
    retry_after: float | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def encode(self) -> bytes:
        """The whole response, head and body."""
        body = msgspec.json.encode({"code": self.code, "message": self.message})
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        if self.retry_after is not None:
            lines.append(f"Retry-After: {math.ceil(self.retry_after)}")
        return "\r\n".join([*lines, "", ""]).encode("ascii") + body


async def refuse(stream: trio.SocketStream, refusal: Refusal, *, linger_within: float = 2.0) -> None:
    """Send the refusal and close the connection, without cutting off a client that is still sending.

    Takes at most `linger_within` seconds, after which the connection is closed whatever the client does. Raises
    nothing: a client that has gone needs no answer. Cancelled, the connection is closed at once.
    """
    try:
        with trio.move_on_after(linger_within):
            await stream.send_all(refusal.encode())
            await linger(stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        await trio.aclose_forcefully(stream)
