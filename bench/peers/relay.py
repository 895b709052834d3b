"""The least that a relay on trio can be: one streamed request to a provider for each WebSocket, each piece passed on.

`python -m bench.peers.relay PROVIDER_PORT` prints `port NUMBER` when it listens. `relay MODEL` on a WebSocket has it
ask for an answer of that model, and send the text of each chunk as a message. No user, no log, no limit, no retry, no
second reader: what is above its figures is what those cost.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import httpx2
import trio
import trio_websocket

from bench.peers.pushing import announce, listening


async def pass_on(http: httpx2.AsyncClient, url: str, model: str, client: trio_websocket.WebSocketConnection) -> None:
    """One answer, piece by piece."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Say what you have to say."}]}
    async with http.stream("POST", url, json=body) as response:
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            choices = json.loads(line[6:])["choices"]
            text = choices[0]["delta"].get("content") if choices else None
            if text:
                await client.send_message(text)


async def main(provider: int) -> None:
    url = f"http://127.0.0.1:{provider}/v1/chat/completions"
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(limits=limits, timeout=None, trust_env=False) as http:

        async def serve(request: Any) -> None:
            client = await request.accept()
            try:
                while True:
                    order, _, model = (await client.get_message()).partition(" ")
                    if order == "relay":
                        await pass_on(http, url, model, client)
                    else:
                        await client.send_message(order)
            except trio_websocket.ConnectionClosed:
                return

        own = listening()
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(own))
        announce(own)
        await trio_websocket.WebSocketServer(serve, [listener]).run()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
