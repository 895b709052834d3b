"""Follows the client's WebSocket frames from header to header, and judges each header before anyone buffers its
payload.

trio-websocket counts its limit in characters, stops reading when it is exceeded, and drops a connection with a broken
frame without saying why. The scanner sees the bytes first: it knows sizes in bytes as they are *declared*, so that a
frame of 10 MB is refused at its header, and it knows where a breach begins, so that the library is never shown one.
It does not look into payloads: UTF-8 and the content of a Close frame stay the library's business (RFC 6455, section
5).
"""

from __future__ import annotations

import attrs

from actors.gateway.frames import BINARY, CLOSE, FINAL, TEXT

_CONTINUATION = 0x0
_CONTROL = 0x8
_RESERVED = 0x70
_MASKED = 0x80
_HEADER_LIMIT_BYTES = 14
_KNOWN_OPCODES = frozenset({0x0, 0x1, 0x2, 0x8, 0x9, 0xA})


@attrs.frozen
class Breach:
    """Why the client's stream cannot be served on: the close code, and a sentence for its developer."""

    code: int
    reason: str


class FrameScanner:
    """One connection's inbound frames.

    `limit_bytes` is the most that one message may have, fragments together; it may be changed at any time.
    `breach` is the first breach of the rules, `close_seen` whether a Close frame has arrived whole. After either,
    frames are only followed, so that the end of the conversation is still recognised.
    """

    __slots__ = (
        "_final",
        "_header",
        "_in_message",
        "_message_bytes",
        "_opcode",
        "_payload",
        "breach",
        "close_seen",
        "limit_bytes",
    )

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.breach: Breach | None = None
        self.close_seen = False
        self._header = b""  # of a header that was cut by the end of a piece
        self._payload = 0  # bytes of the current frame's payload still to come
        self._opcode = 0
        self._final = False
        self._in_message = False
        self._message_bytes = 0

    @property
    def over(self) -> bool:
        """Whether nothing that follows is to be served."""
        return self.close_seen or self.breach is not None

    def feed(self, data: bytes) -> int:
        """Take the next bytes from the wire; returns how many of them, from the first, are to be served."""
        served = 0 if self.over else len(data)
        closed = self.close_seen
        position = 0
        while position < len(data) and not closed:
            if self._payload:
                step = min(self._payload, len(data) - position)
                position += step
                self._payload -= step
            else:
                start = position
                before = len(self._header)
                header = self._header + data[position : position + _HEADER_LIMIT_BYTES - before]
                size = _header_size(header)
                if len(header) < size:
                    self._header = header
                    break
                self._header = b""
                position += size - before
                if not self._begin_frame(header[:size]):
                    served = min(served, start)
            if not self._payload:
                closed = self._end_frame()
        return min(served, position) if closed else served

    def _begin_frame(self, header: bytes) -> bool:
        """Returns whether this frame may be served, if all before it were."""
        first, second = header[0], header[1]
        length = second & 0x7F
        if length == 126:
            length = int.from_bytes(header[2:4], "big")
        elif length == 127:
            length = int.from_bytes(header[2:10], "big")
        self._opcode = first & 0x0F
        self._final = bool(first & FINAL)
        self._payload = length
        if self.breach is None:
            self.breach = judge_header(
                first,
                second,
                length,
                in_message=self._in_message,
                message_bytes=self._message_bytes,
                limit_bytes=self.limit_bytes,
            )
        if self._opcode < _CONTROL:
            self._in_message = not self._final
            self._message_bytes += length
        return self.breach is None

    def _end_frame(self) -> bool:
        """Returns whether it was a Close."""
        if self._opcode == CLOSE:
            self.close_seen = True
        elif self._opcode < _CONTROL and self._final:
            self._message_bytes = 0
        return self.close_seen


def judge_header(
    first: int, second: int, length: int, *, in_message: bool, message_bytes: int, limit_bytes: int
) -> Breach | None:
    """What is wrong with a client's frame, by its header: its first two bytes and the length that it declares.

    `in_message`: a fragmented message is open, of which `message_bytes` have been declared so far.
    """
    opcode = first & 0x0F
    short = second & 0x7F
    if not second & _MASKED:
        return Breach(1002, "a client's frames must be masked")
    if first & _RESERVED:
        return Breach(1002, "reserved bit set, and no extension was agreed on")
    if opcode not in _KNOWN_OPCODES:
        return Breach(1002, f"reserved opcode {opcode:#x}")
    if (short == 126 and length < 126) or (short == 127 and not 65_536 <= length < 1 << 63):
        return Breach(1002, "payload length not in its shortest form")
    if opcode >= _CONTROL:
        if length > 125 or not first & FINAL:
            return Breach(1002, "control frames are whole and have at most 125 bytes")
        return None
    if opcode == BINARY:
        return Breach(1003, "text messages only")
    if (opcode == TEXT and in_message) or (opcode == _CONTINUATION and not in_message):
        return Breach(1002, "fragments out of order")
    if message_bytes + length > limit_bytes:
        return Breach(1009, f"a message may have {limit_bytes} bytes")
    return None


def _header_size(header: bytes) -> int:
    """The size of the frame header that begins so; 2 while that cannot be known."""
    if len(header) < 2:
        return 2
    length = header[1] & 0x7F
    extended = 2 if length == 126 else 8 if length == 127 else 0
    return 2 + extended + (4 if header[1] & _MASKED else 0)
