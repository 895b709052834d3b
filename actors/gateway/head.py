"""Reads the head of one HTTP request from a fresh connection, before anyone decides whose request it is.

h11 parses it, so that what we judge is what a strict server sees; nothing after the head is interpreted. A head that
is malformed, too large or too slow is a `BadHead`, which carries the answer that the client gets.
"""

from __future__ import annotations

import os

import attrs
import h11
import trio

from actors.gateway.refusal import Refusal

HEAD_LIMIT_BYTES = 16_384


class BadHead(Exception):
    """The client sent no head that could be served; `refusal` says so in HTTP."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class ClientGone(Exception):
    """The client left before its head was complete: there is nobody to answer."""


@attrs.frozen
class Head:
    """A parsed request head.

    Header names are lower case, values stripped, both as sent otherwise. `size_bytes` is the length of the head on
    the wire: what was read beyond it belongs to the body, or to whatever protocol comes next.
    """

    method: str
    target: str
    http_version: str
    headers: tuple[tuple[bytes, bytes], ...]
    size_bytes: int
    _values: dict[bytes, list[str]] = attrs.field(init=False, repr=False, eq=False)

    @_values.default
    def _decoded(self) -> dict[bytes, list[str]]:
        values: dict[bytes, list[str]] = {}
        for name, value in self.headers:
            values.setdefault(name, []).append(value.decode("latin-1"))
        return values

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def values(self, name: bytes) -> list[str]:
        """Every value of a header, in the order sent; header values are Latin-1, so this never fails."""
        return self._values.get(name, [])

    def tokens(self, name: bytes) -> list[str]:
        """The comma-separated tokens of all values of a header, empty ones left out."""
        pieces = (piece.strip() for value in self.values(name) for piece in value.split(","))
        return [piece for piece in pieces if piece]

    def encode(self, *, without: frozenset[bytes] = frozenset(), also: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
        """The head as bytes again, without the named headers and with others added.

        Safe to hand to another parser: what stands here has passed h11, which lets no line break into a value.
        """
        lines = [f"{self.method} {self.target} HTTP/{self.http_version}".encode("latin-1")]
        kept = [header for header in self.headers if header[0] not in without]
        lines.extend(name + b": " + value for name, value in (*kept, *also))
        return b"\r\n".join([*lines, b"", b""])


async def read_head(
    stream: trio.abc.ReceiveStream, *, limit_bytes: int = HEAD_LIMIT_BYTES, within: float
) -> tuple[Head, bytes]:
    """Read until the head is complete.

    Returns the head and *all* bytes read so far: the head's `size_bytes`, then what came after it.

    Raises `BadHead` (400 malformed, 431 larger than `limit_bytes`, 408 not complete `within` so many seconds, counted
    from the call and not from the last byte, so that one byte a second does not keep a task for ever), `ClientGone`
    when the connection ended first. Cancelled, it has consumed bytes that nobody else will see: the stream is only
    good for closing. No checkpoint where the head is there already.
    """
    reader = _HeadReader(limit_bytes)
    try:
        head = reader.take(_waiting(stream, limit_bytes))
        if head is None:
            with trio.fail_after(within):
                while head is None:
                    data = await stream.receive_some(limit_bytes)
                    if not data:
                        raise ClientGone("the client closed before its request was complete")
                    head = reader.take(data)
    except trio.TooSlowError:
        raise BadHead(Refusal(408, "bad_request", "The request took too long to arrive.")) from None
    except h11.RemoteProtocolError as error:
        raise BadHead(_malformed(too_large=error.error_status_hint == 431)) from None
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise ClientGone("the connection broke before the request was complete") from None
    if head.size_bytes > limit_bytes:  # h11 looks at the size only of what is incomplete; one that is whole passes it
        raise BadHead(_malformed(too_large=True))
    return head, bytes(reader.raw)


class _HeadReader:
    """Takes the bytes of one request until its head is complete. `raw` is all that it was given."""

    def __init__(self, limit_bytes: int) -> None:
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=limit_bytes)
        self.raw = bytearray()

    def take(self, data: bytes | bytearray) -> Head | None:
        """The head, once it is complete. Raises `h11.RemoteProtocolError`."""
        if not data:
            return None
        self.raw += data
        self._parser.receive_data(bytes(data))
        event = self._parser.next_event()
        if not isinstance(event, h11.Request):
            return None
        return Head(
            method=event.method.decode("ascii"),
            target=event.target.decode("ascii"),
            http_version=event.http_version.decode("ascii"),
            headers=tuple((bytes(name), bytes(value)) for name, value in event.headers),
            size_bytes=len(self.raw) - len(self._parser.trailing_data[0]),
        )


def _waiting(stream: trio.abc.ReceiveStream, most: int) -> bytes:
    """What the kernel has for us already. Where thousands come at once that is the whole head, nearly always: then
    neither a deadline is needed nor a turn of the loop."""
    if not isinstance(stream, trio.SocketStream):
        return b""
    try:
        return os.read(stream.socket.fileno(), most)
    except OSError:  # nothing yet, or broken, which shows in a moment
        return b""


def _malformed(*, too_large: bool) -> Refusal:
    if too_large:
        return Refusal(431, "bad_request", "The request's headers are too large.")
    return Refusal(400, "bad_request", "This is not a valid HTTP request.")
