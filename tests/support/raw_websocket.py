"""A WebSocket client with no manners: sends any bytes, and shows exactly what comes back."""

from __future__ import annotations

import base64
import socket
import struct

import attrs
import trio

KEY = base64.b64encode(bytes(range(16))).decode()
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MASK = bytes([0x11, 0x22, 0x33, 0x44])


@attrs.frozen
class Frame:
    """One frame of the server's."""

    opcode: int
    payload: bytes
    final: bool = True

    @property
    def code(self) -> int | None:
        """The code of a Close frame; None where it has none."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else None

    @property
    def reason(self) -> str:
        """The reason of a Close frame."""
        return self.payload[2:].decode()


def encode_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    final: bool = True,
    masked: bool = True,
    reserved: int = 0,
    declared: int | None = None,
) -> bytes:
    """A client's frame, right or wrong; `declared` is the length it claims to have."""
    size = len(payload) if declared is None else declared
    first = (0x80 if final else 0) | reserved | opcode
    mask_bit = 0x80 if masked else 0
    if size < 126:
        header = bytes([first, mask_bit | size])
    elif size < 65_536:
        header = struct.pack(">BBH", first, mask_bit | 126, size)
    else:
        header = struct.pack(">BBQ", first, mask_bit | 127, size)
    if not masked:
        return header + payload
    mask = (MASK * (len(payload) // 4 + 1))[: len(payload)]
    covered = int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")  # at once: some payloads have 10 MB
    return header + MASK + covered.to_bytes(len(payload), "big")


def close_payload(code: int, reason: str = "") -> bytes:
    """What a Close frame carries."""
    return code.to_bytes(2, "big") + reason.encode()


def upgrade_request(
    path: str = "/ws", *, without: tuple[str, ...] = (), also: tuple[tuple[str, str], ...] = (), method: str = "GET"
) -> bytes:
    """A good handshake, less some of its headers, plus others."""
    headers = [
        ("Host", "127.0.0.1:12000"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ]
    lines = [f"{name}: {value}" for name, value in headers if name not in without]
    lines += [f"{name}: {value}" for name, value in also]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


class RawWebSocket:
    """One TCP connection to a server on 127.0.0.1. Use `connect`, then `handshake` or `stream` itself."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.received = bytearray()

    @classmethod
    async def connect(cls, port: int) -> RawWebSocket:
        return cls(await trio.open_tcp_stream("127.0.0.1", port))

    async def handshake(self, request: bytes | None = None) -> bytes:
        """Send a handshake and return the head of the answer."""
        await self.stream.send_all(request or upgrade_request())
        return await self.read_head()

    async def read_head(self) -> bytes:
        while b"\r\n\r\n" not in self.received:
            await self._read_more()
        head, _, rest = bytes(self.received).partition(b"\r\n\r\n")
        self.received = bytearray(rest)
        return head

    async def send_frame(self, opcode: int, payload: bytes = b"", **kinks: int) -> None:
        await self.stream.send_all(encode_frame(opcode, payload, **kinks))

    async def read_frame(self) -> Frame:
        """The next frame. EOFError at the end of the connection."""
        while (frame := self._take_frame()) is None:
            await self._read_more()
        return frame

    async def read_close(self) -> Frame:
        """The Close frame, whatever comes before it passed over."""
        while (frame := await self.read_frame()).opcode != CLOSE:
            pass
        return frame

    async def read_to_end(self) -> bytes:
        """All that is left, until the server closes."""
        try:
            while True:
                await self._read_more()
        except EOFError:
            return bytes(self.received)

    def reset(self) -> None:
        """Break the connection with a RST."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()

    async def _read_more(self) -> None:
        data = await self.stream.receive_some(65_536)
        if not data:
            raise EOFError
        self.received += data

    def _take_frame(self) -> Frame | None:
        data = self.received
        if len(data) < 2:
            return None
        assert not data[1] & 0x80, "a server's frames are not masked"
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start or len(data) < start + size:
            return None
        frame = Frame(data[0] & 0x0F, bytes(data[start : start + size]), bool(data[0] & 0x80))
        del data[: start + size]
        return frame
