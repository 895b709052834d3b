"""trio-websocket by itself: its own server, a task for each connection."""

from __future__ import annotations

from typing import Any

import trio
import trio_websocket

from bench.peers.pushing import announce, listening, order


async def main() -> None:
    clients: set[trio_websocket.WebSocketConnection] = set()

    async def serve(request: Any) -> None:
        client = await request.accept()
        clients.add(client)
        try:
            while True:
                text = await client.get_message()
                ordered = order(text)
                if ordered is None:
                    await client.send_message(text)
                    continue
                count, message = ordered
                for _ in range(count):
                    for each in tuple(clients):
                        await each.send_message(message)
        except trio_websocket.ConnectionClosed:
            clients.discard(client)

    own = listening()
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(own))
    announce(own)
    await trio_websocket.WebSocketServer(serve, [listener]).run()


if __name__ == "__main__":
    trio.run(main)
