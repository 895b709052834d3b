"""What the bare WebSocket servers have in common: they echo a text, but for `push COUNT SIZE`, an order to send COUNT
messages of SIZE bytes to everybody. Each is a program that prints `port NUMBER` when it listens.

Nothing but the standard library.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BACKLOG = 4096
Client = TypeVar("Client")


def order(text: str) -> tuple[int, str] | None:
    """How many messages are to be sent to everybody, and which; None if the text is to be echoed."""
    if not text.startswith("push "):
        return None
    _, count, size = text.split()
    return int(count), "x" * int(size)


async def attend(
    client: Client,
    clients: set[Client],
    receive: Callable[[Client], Awaitable[Any]],
    send: Callable[[Client, str], Awaitable[object]],
) -> NoReturn:
    """Serve one of the `clients`, on whatever loop, by methods of its class. Ends with what these raise."""
    clients.add(client)
    try:
        while True:
            text = await receive(client)
            ordered = order(text)
            if ordered is None:
                await send(client, text)
                continue
            count, message = ordered
            for _ in range(count):
                for each in tuple(clients):
                    await send(each, message)
    finally:
        clients.discard(client)


def listening() -> socket.socket:
    """A socket on a free port."""
    own = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    own.setblocking(False)
    return own


def announce(own: socket.socket) -> None:
    """Say that it listens there."""
    print("port", own.getsockname()[1], flush=True)
