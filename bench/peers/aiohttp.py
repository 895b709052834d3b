"""aiohttp: its own server, on asyncio."""

from __future__ import annotations

from aiohttp import WSMsgType, web

from bench.peers.pushing import announce, listening, order


def main() -> None:
    clients: set[web.WebSocketResponse] = set()

    async def serve(request: web.Request) -> web.WebSocketResponse:
        client = web.WebSocketResponse(compress=False)
        await client.prepare(request)
        clients.add(client)
        async for message in client:
            if message.type is not WSMsgType.TEXT:
                continue
            ordered = order(message.data)
            if ordered is None:
                await client.send_str(message.data)
                continue
            count, text = ordered
            for _ in range(count):
                for each in tuple(clients):
                    await each.send_str(text)
        clients.discard(client)
        return client

    application = web.Application()
    application.router.add_get("/", serve)
    own = listening()
    announce(own)
    web.run_app(application, sock=own, print=None, access_log=None)


if __name__ == "__main__":
    main()
