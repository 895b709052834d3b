"""Starlette on uvicorn, with the websockets library beneath, on asyncio's own loop."""

from __future__ import annotations

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bench.peers.pushing import BACKLOG, announce, listening, order


def main() -> None:
    clients: set[WebSocket] = set()

    async def serve(client: WebSocket) -> None:
        await client.accept()
        clients.add(client)
        try:
            while True:
                text = await client.receive_text()
                ordered = order(text)
                if ordered is None:
                    await client.send_text(text)
                    continue
                count, message = ordered
                for _ in range(count):
                    for each in tuple(clients):
                        await each.send_text(message)
        except WebSocketDisconnect:
            clients.discard(client)

    application = Starlette(routes=[WebSocketRoute("/", serve)])
    own = listening()
    announce(own)
    configuration = uvicorn.Config(
        application, log_level="warning", loop="asyncio", backlog=BACKLOG, ws_per_message_deflate=False
    )
    uvicorn.Server(configuration).run(sockets=[own])


if __name__ == "__main__":
    main()
