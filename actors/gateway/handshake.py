"""The answer to a WebSocket handshake that was found good (RFC 6455, section 4.2.2)."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from actors.gateway.head import Head

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What the protocol appends to the client's key."""


def accepting(head: Head, subprotocol: str | None) -> bytes:
    """The 101, for a head that `judge` lets become a WebSocket with this sub-protocol. No extension is agreed on."""
    (key,) = head.values(b"sec-websocket-key")
    proof = base64.b64encode(hashlib.sha1(key.encode("ascii") + GUID, usedforsecurity=False).digest())
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + proof,
    ]
    if subprotocol is not None:
        lines.append(b"Sec-WebSocket-Protocol: " + subprotocol.encode("ascii"))
    return b"\r\n".join([*lines, b"", b""])
