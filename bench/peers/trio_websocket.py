"""trio-websocket by itself: its own server, a task for each connection."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio
import trio_websocket

from bench.peers.pushing import announce, attend, listening


async def main() -> None:
    clients: set[trio_websocket.WebSocketConnection] = set()

    async def serve(request: Any) -> None:
        client = await request.accept()
        kind = trio_websocket.WebSocketConnection
        with suppress(trio_websocket.ConnectionClosed):
            await attend(client, clients, kind.get_message, kind.send_message)

    own = listening()
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(own))
    announce(own)
    await trio_websocket.WebSocketServer(serve, [listener]).run()


if __name__ == "__main__":
    trio.run(main)
