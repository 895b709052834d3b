"""A listener made of the gateway's parts, as bare as can be: what a test of them drives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import trio

from actors.gateway.admission import Policy
from actors.gateway.frames import PING_FRAME
from actors.gateway.head import Head
from actors.gateway.socket import Closed
from tests.support.raw_websocket import RawWebSocket
from tests.support.whole_frames import text_frames

Plain = Callable[[trio.SocketStream, Head, bytes], Awaitable[None]]


async def for_ever(act: Callable[..., Awaitable[object]], *arguments: object) -> None:
    """Until it raises."""
    while True:
        await act(*arguments)


class End:
    """The server's end of one WebSocket, with what was heard on it in order."""

    HEARD = 1000

    def __init__(self) -> None:
        self.heard, self._inbox = trio.open_memory_channel[str](self.HEARD)
        self._over = trio.Event()
        self.socket: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.socket, name)

    async def run(self, run: Callable[[], Awaitable[None]]) -> None:
        """The socket's task."""
        try:
            await run()
        finally:
            self.heard.close()

    async def receive(self) -> str:
        """The next message; Closed when there is none any more."""
        try:
            return await self._inbox.receive()
        except trio.EndOfChannel:
            raise Closed(self.socket.ending) from None

    async def send_batch(self, bodies: Sequence[bytes]) -> int:
        frames = text_frames(bodies)
        await self.socket.write(frames)
        return len(frames)

    async def ping(self) -> None:
        await self.socket.write(PING_FRAME)


@attrs.define
class Gateway:
    """What a test drives: `connect` gives both ends of one WebSocket."""

    accepted: trio.MemoryReceiveChannel[End]
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

    async def connect(self) -> tuple[RawWebSocket, End]:
        client = await self.dial()
        await client.handshake()
        return client, await self.accepted.receive()
