"""Starlette on uvicorn, with the websockets library beneath, on asyncio's own loop."""

from __future__ import annotations

from contextlib import suppress

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bench.peers.pushing import BACKLOG, announce, attend, listening


def main() -> None:
    clients: set[WebSocket] = set()

    async def serve(client: WebSocket) -> None:
        await client.accept()
        with suppress(WebSocketDisconnect):
            await attend(client, clients, WebSocket.receive_text, WebSocket.send_text)

    application = Starlette(routes=[WebSocketRoute("/", serve)])
    own = listening()
    announce(own)
    configuration = uvicorn.Config(
        application, log_level="warning", loop="asyncio", backlog=BACKLOG, ws_per_message_deflate=False
    )
    uvicorn.Server(configuration).run(sockets=[own])


if __name__ == "__main__":
    main()
