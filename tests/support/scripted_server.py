"""A daemon that plays a script, over a real socket or a stream in memory: what a client is tested against.

A script is an async function that is given a `Peer` for each connection, in the order in which they come:

    async def script(peer: Peer) -> None:
        await peer.welcome()
        command = await peer.command("start_run")
        await peer.reply(command, run_id="r1")

    async with serving(script) as server:
        ... connect(server.url, ...)

A script that returns leaves its connection open until the client closes it. Failures of a script, asserts included,
come out of the `serving` block.
"""

from __future__ import annotations

import json
import random
import struct
from contextlib import asynccontextmanager
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, Any

import attrs
import trio
import trio.testing
import trio_websocket

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from typing import TypeAlias

    Script: TypeAlias = "Callable[[Peer], Awaitable[None]]"


@attrs.define(eq=False)
class Peer:
    """The daemon's side of one connection."""

    websocket: trio_websocket.WebSocketConnection
    stream: trio.abc.Stream
    number: int
    heard: list[dict[str, Any]] = attrs.field(factory=list)
    hello: dict[str, Any] | None = None
    seq: int = 0

    async def receive(self) -> dict[str, Any]:
        """The next frame of the client, whatever it is."""
        frame: dict[str, Any] = json.loads(await self.websocket.get_message())
        self.heard.append(frame)
        return frame

    async def command(self, kind: str) -> dict[str, Any]:
        """The next command of this type; acks and heartbeats in between are noted in `heard`."""
        while True:
            frame = await self.receive()
            if frame["type"] == kind:
                return frame
            assert frame["type"] in ("ack", "heartbeat"), frame

    async def closed(self) -> int:
        """Reads on until the client's Close, and gives its code (1006 where none came)."""
        try:
            while True:
                await self.receive()
        except trio_websocket.ConnectionClosed as closed:
            return closed.reason.code if closed.reason else 1006

    async def send(
        self, kind: str, content: str = "", *, envelope: dict[str, Any] | None = None, **metadata: Any
    ) -> None:
        """An event without `seq`. `envelope` holds further fields of the envelope itself."""
        frame = {
            "id": f"{self.number}-{len(self.heard)}-{kind}",
            "type": kind,
            "timestamp": "2026-11-20T08:30:00.000Z",
            "agent_name": "System",
            "content": content,
            "metadata": metadata,
        }
        await self.websocket.send_message(json.dumps(frame | (envelope or {})))

    async def durable(
        self, kind: str, content: str = "", *, run_id: str = "r1", agent: str = "System", **metadata: Any
    ) -> None:
        """A durable event of a run, with the next `seq`."""
        self.seq += 1
        envelope = {"seq": self.seq, "run_id": run_id, "agent_name": agent, "requires_ack": True}
        await self.send(kind, content, envelope=envelope, **metadata)

    async def ephemeral(
        self, kind: str, content: str = "", *, run_id: str = "r1", agent: str = "System", **metadata: Any
    ) -> None:
        await self.send(kind, content, envelope={"run_id": run_id, "agent_name": agent}, **metadata)

    async def welcome(
        self, *, epoch: str = "e1", seq: int = 0, replayed: int = 0, interval: float = 30.0, **metadata: Any
    ) -> dict[str, Any]:
        """Reads `hello`, answers and gives it. The next durable event is the first replayed, or the one after `seq`."""
        self.hello = await self.receive()
        assert self.hello["type"] == "hello"
        self.seq = seq - replayed
        fields = {"reply_to": self.hello["id"], "connection_id": f"c{self.number}", "client_id": "cl", "user_id": "dev"}
        fields |= {"epoch": epoch, "seq": seq, "replayed": replayed, "resumed": "resume" in self.hello["metadata"]}
        fields |= {"heartbeat_interval": interval, "limits": {"frame_bytes": 2 * 2**20}, "protocol": 1}
        await self.send("welcome", **(fields | metadata))
        return self.hello

    async def reply(self, command: dict[str, Any], content: str = "", **metadata: Any) -> None:
        await self.send("reply", content, reply_to=command["id"], **metadata)

    async def refuse(self, command: dict[str, Any], code: str, content: str, **metadata: Any) -> None:
        await self.send("error", content, reply_to=command["id"], code=code, **metadata)

    async def close(self, code: int, reason: str = "") -> None:
        await self.websocket.aclose(code, reason)

    def reset(self) -> None:
        """Breaks the TCP connection with RST, as a crash of the machine between would."""
        assert isinstance(self.stream, trio.SocketStream)
        self.stream.socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()


@attrs.define(eq=False)
class Server:
    """A scripted server on 127.0.0.1. `peers` are the connections so far."""

    port: int
    peers: list[Peer] = attrs.field(factory=list)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"


async def play(stream: trio.abc.Stream, script: Script, peers: list[Peer]) -> None:
    """One connection: the handshake, the script, then reading on until the client has closed."""
    try:
        async with trio.open_nursery() as library:
            request = await trio_websocket.wrap_server_stream(library, stream)  # type: ignore[arg-type]
            websocket = await request.accept(subprotocol="understudy.v1")
            peer = Peer(websocket, stream, len(peers) + 1)
            peers.append(peer)
            try:
                await script(peer)
                await peer.closed()
            except* trio_websocket.ConnectionClosed:
                pass  # the client left in the middle of the script, perhaps in a nursery of the script's own
            library.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


@asynccontextmanager
async def serving(*scripts: Script) -> AsyncGenerator[Server, None]:
    """A server whose nth connection is played by the nth script; there must be no more connections than scripts."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = Server(listener.socket.getsockname()[1])
    waiting = list(scripts)

    async def accept(stream: trio.SocketStream) -> None:
        await play(stream, waiting.pop(0), server.peers)

    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, accept, [listener])
        yield server
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def in_memory(script: Script) -> AsyncGenerator[Callable[[object], Awaitable[trio.abc.Stream]], None]:
    """A `dial` for one connection to `script` without a socket, so that a MockClock may run."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def dial(_: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return theirs

    async with trio.open_nursery() as nursery:
        nursery.start_soon(play, ours, script, [])
        yield dial
        nursery.cancel_scope.cancel()


def rng() -> random.Random:
    return random.Random(7)


async def idle(peer: Peer) -> None:
    await peer.welcome()
