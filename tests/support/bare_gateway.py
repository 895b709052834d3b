"""A listener made of the gateway's parts, as bare as can be: what a test of them drives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

from actors.gateway.admission import Policy
from actors.gateway.head import Head
from actors.gateway.socket import Closed, Socket
from tests.support.raw_websocket import RawWebSocket

Plain = Callable[[trio.SocketStream, Head, bytes], Awaitable[None]]


async def for_ever(act: Callable[..., Awaitable[object]], *arguments: object) -> None:
    """Until it raises."""
    while True:
        await act(*arguments)


@attrs.define
class Gateway:
    """What a test drives: `connect` gives both ends of one WebSocket."""

    accepted: trio.MemoryReceiveChannel[Socket]
    refused: trio.MemoryReceiveChannel[Closed]
    port: int = 0
    close_within: float = 5.0
    handshake_within: float = 5.0
    head_within: float = 5.0
    policy: Policy = attrs.field(factory=Policy)
    plain: Plain | None = None
    clients: list[RawWebSocket] = attrs.field(factory=list)
    connections: list[trio.Nursery] = attrs.field(factory=list)

    async def dial(self) -> RawWebSocket:
        client = await RawWebSocket.connect(self.port)
        self.clients.append(client)
        return client

    async def connect(self) -> tuple[RawWebSocket, Socket]:
        client = await self.dial()
        await client.handshake()
        return client, await self.accepted.receive()
