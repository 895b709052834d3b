"""Just enough of WebSocket for a client that must cost little. Pure."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
KEY: Final = base64.b64encode(bytes(range(16))).decode()
HEAD_END: Final = b"\r\n\r\n"


class Frame(NamedTuple):
    """One frame of a server's."""

    opcode: int
    payload: bytes


class Head(NamedTuple):
    """A server's answer to the handshake. `retry_after` in seconds, 0 where it says nothing."""

    status: int
    retry_after: float


def request(path: str, port: int) -> bytes:
    """The handshake."""
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
    )
    return "\r\n".join([*lines, "", ""]).encode()


def masked(opcode: int, payload: bytes = b"") -> bytes:
    """A client's frame. The mask is all zeros, which leaves the payload as it is: it costs the client nothing, and the
    server as much as any other."""
    size = len(payload)
    if size < 126:
        header = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        header = struct.pack(">BBH", 0x80 | opcode, 0xFE, size)
    else:
        header = struct.pack(">BBQ", 0x80 | opcode, 0xFF, size)
    return header + b"\0\0\0\0" + payload


def take_head(received: bytearray) -> Head | None:
    """Take the head of the answer out of what was received; None while it is not whole."""
    end = received.find(HEAD_END)
    if end < 0:
        return None
    first, *headers = bytes(received[:end]).decode("latin-1").split("\r\n")
    del received[: end + len(HEAD_END)]
    named = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in headers)}
    return Head(int(first.split()[1]), float(named.get("retry-after", 0)))


def take_frames(received: bytearray) -> Iterator[Frame]:
    """Take every whole frame out of what was received. Fragments come as they are: no server here makes any."""
    start, end = 0, len(received)
    while end - start >= 2:
        size, body = received[start + 1], start + 2
        if size == 126:
            body += 2
        elif size == 127:
            body += 8
        if body > end:
            break
        if size >= 126:
            size = int.from_bytes(received[start + 2 : body], "big")
        if body + size > end:
            break
        yield Frame(received[start] & 0x0F, bytes(received[body : body + size]))
        start = body + size
    del received[:start]
