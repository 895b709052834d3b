"""A provider that costs next to nothing: it streams chat completions at a fixed pace and stamps each piece.

`python -m bench.agents.provider` prints `port NUMBER` when it listens. What it says is decided by the name of the
model: `COUNTxRATE` is COUNT pieces, RATE a second, the first at once; COUNT 0 is without an end. Each piece is `@` and
the microseconds of the machine's monotonic clock at which it was handed to the socket, so that whoever gets it knows
how long it was under way. `GET /counts` answers what has been sent so far, and what is open: see `Counts`.

Callbacks of asyncio and no task for a stream: it must be quick enough for the fastest relay beside the clients.
"""

from __future__ import annotations

import asyncio
import json
import socket
from time import monotonic_ns
from typing import Final

from bench.peers.pushing import announce, listening

HEAD_END: Final = b"\r\n\r\n"
STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)
DOCUMENT_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
NOT_FOUND: Final = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
BEFORE: Final = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":0,"model":"provider","choices":['
VERDICT: Final = b"VERDICT: approve"
"""What a validator is told to begin with, and so what it begins with."""
PIECE: Final = BEFORE + b'{"index":0,"delta":{"content":"%b@%d "},"finish_reason":null}]}\n\n'
FINISH: Final = BEFORE + b'{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE: Final = BEFORE + b'],"usage":{"prompt_tokens":100,"completion_tokens":%d,"total_tokens":%d}}\n\n'
DONE: Final = b"data: [DONE]\n\n"


class Counts:
    """What the provider has done.

    Attributes:
        pieces: handed to sockets.
        open: streams that go on.
        last_closed: when one of them was last closed by the other side; microseconds.
    """

    def __init__(self) -> None:
        self.pieces = 0
        self.open = 0
        self.last_closed = 0


class Stream(asyncio.Protocol):
    """One connection: a request, its answer, and the next."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._received = bytearray()
        self._count = self._sent = 0
        self._every = self._began = 0.0
        self._prefix = b""
        self._streaming = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        # The loop does so only for sockets that were made with the protocol's number. Without it a piece would wait for
        # the answer to the one before, which the system gives after up to 40 ms where the other side reads in gulps.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        if self._streaming:
            self._over()
            self._counts.last_closed = now()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(HEAD_END)
        if end < 0 or self._streaming:
            return
        head = bytes(self._received[:end]).decode("latin-1").lower()
        size = int(head.partition("content-length:")[2].split("\r\n")[0] or 0)
        start = end + len(HEAD_END)
        if len(self._received) < start + size:
            return
        body = bytes(self._received[start : start + size])
        del self._received[: start + size]
        self._answer(head, body)

    def _answer(self, head: str, body: bytes) -> None:
        if head.startswith("post /v1/chat/completions"):
            count, _, rate = json.loads(body)["model"].partition("x")
            self._count, self._every, self._sent = int(count), 1 / float(rate), 0
            self._prefix = VERDICT + rb"\n" if VERDICT in body else b""
            self._streaming = True
            self._counts.open += 1
            self._write(STREAM_HEAD)
            self._began = self._loop.time()
            self._piece()
        elif head.startswith("get /counts"):
            document = json.dumps(vars(self._counts)).encode()
            self._write(DOCUMENT_HEAD % len(document) + document)
        else:
            self._write(NOT_FOUND)

    def _piece(self) -> None:
        if self._transport is None:
            return
        if self._sent == self._count and self._count:
            tail = b"".join(map(chunked, (FINISH, USAGE % (self._count, 100 + self._count), DONE)))
            self._over()
            self._write(tail + b"0\r\n\r\n")
            return
        self._sent += 1
        self._counts.pieces += 1
        self._loop.call_at(self._began + self._sent * self._every, self._piece)
        self._write(chunked(PIECE % (self._prefix, now())))
        self._prefix = b""

    def _over(self) -> None:
        self._streaming = False
        self._counts.open -= 1

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def now() -> int:
    """Microseconds of a clock that all processes of a machine share."""
    return monotonic_ns() // 1000


def chunked(data: bytes) -> bytes:
    """One chunk of HTTP/1.1."""
    return b"%x\r\n%b\r\n" % (len(data), data)


async def main() -> None:
    counts = Counts()
    own = listening()
    server = await asyncio.get_running_loop().create_server(lambda: Stream(counts), sock=own)
    announce(own)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
