"""python-socketio on uvicorn: a message to everybody goes through its room for all."""

from __future__ import annotations

import socketio
import uvicorn

from bench.peers.pushing import BACKLOG, announce, listening, order


def main() -> None:
    server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])

    async def say(client: str, text: str) -> None:
        ordered = order(text)
        if ordered is None:
            await server.emit("said", text, to=client)
            return
        count, message = ordered
        for _ in range(count):
            await server.emit("said", message)

    server.on("say", say)
    own = listening()
    announce(own)
    configuration = uvicorn.Config(
        socketio.ASGIApp(server), log_level="warning", loop="asyncio", backlog=BACKLOG, ws_per_message_deflate=False
    )
    uvicorn.Server(configuration).run(sockets=[own])


if __name__ == "__main__":
    main()
