"""What the bare WebSocket servers have in common: they echo a text, but for `push COUNT SIZE`, an order to send COUNT
messages of SIZE bytes to everybody. Each is a program that prints `port NUMBER` when it listens.

Nothing but the standard library.
"""

from __future__ import annotations

import socket

BACKLOG = 4096


def order(text: str) -> tuple[int, str] | None:
    """How many messages are to be sent to everybody, and which; None if the text is to be echoed."""
    if not text.startswith("push "):
        return None
    _, count, size = text.split()
    return int(count), "x" * int(size)


def listening() -> socket.socket:
    """A socket on a free port."""
    own = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    own.setblocking(False)
    return own


def announce(own: socket.socket) -> None:
    """Say that it listens there."""
    print("port", own.getsockname()[1], flush=True)
