"""A daemon with one user's log and nothing behind it, on a real socket: WebSocket and polling by PROTOCOL.md.

Its run is a list of frames that happen one after the other while somebody looks, over whichever transport. Faults are
planned by the test: how many frames each connection sends before it breaks, and how; whether upgrades are let through.
"""

from __future__ import annotations

import json
import struct
from contextlib import asynccontextmanager
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import attrs
import h11
import trio
import trio_websocket

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from tests.support.grammar_tables import Frame

WITHIN = 40.0
"""Seconds for anything that a test of the client waits for: only ever reached where something is broken."""
Break: TypeAlias = Literal["reset", "eof"] | int
"""How a connection ends: with RST, with the end of the stream, or with this close code."""


class Broken(Exception):
    """The plan says that this connection ends here."""


@attrs.define(eq=False)
class LogDaemon:
    """See the module. `frames` are a run, durable ones with `seq` from 1; `happened` says how many of them have."""

    frames: list[Frame]
    port: int = 0
    epoch: str = "e1"
    happened: int = 0
    first: int = 1
    started: bool = False
    plans: list[tuple[int, Break]] = attrs.field(factory=list)
    refuse_upgrades: int = 0
    refuse_polls: int = 0
    hang_upgrades: bool = False
    hellos: list[Frame] = attrs.field(factory=list)
    asked: list[dict[str, str]] = attrs.field(factory=list)
    headers: list[dict[str, str]] = attrs.field(factory=list)
    commands: list[Frame] = attrs.field(factory=list)
    posted: list[Frame] = attrs.field(factory=list)
    done: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    acked: int = 0
    open: int = 0
    upgrades: int = 0
    _tick: trio.Event = attrs.field(factory=trio.Event)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def log(self) -> list[Frame]:
        return [frame for frame in self.frames[: self.happened] if "seq" in frame]

    @property
    def top(self) -> int:
        return max((frame["seq"] for frame in self.log), default=self.first - 1)

    def wake(self) -> None:
        self._tick.set()
        self._tick = trio.Event()

    def carry_out(self, command: Frame) -> dict[str, Any]:
        """The reply's metadata; a command that is known is not carried out again."""
        self.commands.append(command)
        if command["type"] == "start_run":
            self.started = True
            self.wake()
        metadata = {"run_id": "r1", "session_id": "s1", "number": len(self.done)}
        return self.done.setdefault(command["id"], metadata)

    # --- WebSocket

    async def websocket(self, stream: trio.abc.Stream, raw: trio.SocketStream) -> None:
        budget, how = self.plans.pop(0) if self.plans else (None, 1006)
        async with trio.open_nursery() as library:
            request = await trio_websocket.wrap_server_stream(library, stream)  # type: ignore[arg-type]
            websocket = await request.accept(subprotocol="understudy.v1")
            speaker = _Speaker(self, websocket, budget)
            self.open += 1
            try:
                await speaker.talk()
            except* Broken:
                await _break(websocket, raw, how)
            except* (trio_websocket.ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                self.open -= 1
            library.cancel_scope.cancel()

    # --- HTTP

    async def answer(self, method: str, target: str, body: bytes) -> tuple[int, object]:
        url = urlsplit(target)
        if (method, url.path) == ("POST", "/api/commands"):
            command = json.loads(body)
            self.posted.append(command)
            return 200, reply_frame(command, self.carry_out(command))
        if (method, url.path) != ("GET", "/api/events"):
            return 404, {"code": "not_found", "message": "There is nothing here."}
        asked = dict(parse_qsl(url.query))
        self.asked.append(asked)
        if self.refuse_polls:
            return self.refuse_polls, {"code": "unavailable", "message": "Not now."}
        after = int(asked["after"]) if "after" in asked else None
        if after is None or asked.get("epoch") != self.epoch or not self.first - 1 <= after <= self.top:
            return 200, {"epoch": self.epoch, "seq": self.top, "resumed": False, "events": []}
        self.acked = max(self.acked, after)
        if after == self.top and self.started:
            self._let_happen()
        with trio.move_on_after(float(asked.get("wait", "0"))):
            while after == self.top:
                await self._tick.wait()
        events = [frame for frame in self.log if frame["seq"] > after][:500]
        return 200, {"epoch": self.epoch, "seq": self.top, "resumed": True, "events": events}

    def _let_happen(self) -> None:
        """Nobody pushes while everybody polls: the run goes on by one durable event."""
        while self.happened < len(self.frames):
            self.happened += 1
            if "seq" in self.frames[self.happened - 1]:
                return

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection."""
        try:
            head = h11.Connection(h11.SERVER)
            data = b""
            while not isinstance(event := head.next_event(), h11.Request):
                if event is not h11.NEED_DATA:
                    return
                piece = await stream.receive_some()
                if not piece:
                    return
                data += piece
                head.receive_data(piece)
            headers = {name.decode(): value.decode() for name, value in event.headers}
            if "upgrade" in headers:
                self.upgrades += 1
                if self.hang_upgrades:
                    await trio.sleep_forever()
                if not self.refuse_upgrades:
                    await self.websocket(Replaying(stream, data), stream)
                    return
                await _respond(stream, head, self.refuse_upgrades, {})
                return
            self.headers.append(headers)
            body = b""
            while not isinstance(part := head.next_event(), h11.EndOfMessage):
                if part is h11.NEED_DATA:
                    head.receive_data(await stream.receive_some())
                elif isinstance(part, h11.Data):
                    body += bytes(part.data)
            status, answer = await self.answer(event.method.decode(), event.target.decode(), body)
            await _respond(stream, head, status, answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass  # the client has left in the middle
        finally:
            await trio.aclose_forcefully(stream)


@attrs.define(eq=False)
class _Speaker:
    """One WebSocket: replay, then live; `budget` is how many frames it may send."""

    daemon: LogDaemon
    websocket: trio_websocket.WebSocketConnection
    budget: int | None
    sent: int = 0

    async def send(self, frame: Frame) -> None:
        if self.budget is not None and self.sent >= self.budget:
            raise Broken
        self.sent += 1
        await self.websocket.send_message(json.dumps(frame))

    async def talk(self) -> None:
        daemon = self.daemon
        hello = json.loads(await self.websocket.get_message())
        daemon.hellos.append(hello)
        resume = hello["metadata"].get("resume")
        fits = resume is not None and resume["epoch"] == daemon.epoch
        fits = fits and daemon.first - 1 <= resume["seq"] <= daemon.top
        at = resume["seq"] if fits else daemon.top
        here = daemon.happened
        replay = [frame for frame in daemon.log if frame["seq"] > at]
        fields = {"epoch": daemon.epoch, "seq": daemon.top, "resumed": fits, "replayed": len(replay)}
        limits = {"frame_bytes": 4096, "in_flight": 4}
        fields |= {"reply_to": hello["id"], "heartbeat_interval": 30, "protocol": 1, "limits": limits}
        await self.send(plain("welcome", **fields))
        if resume is not None and not fits:
            await self.send(plain("gap", reason="epoch"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            for frame in replay:
                await self.send(frame)
            for frame in self._so_far(here):
                await self.send(frame)
            while True:
                while daemon.started and here < len(daemon.frames):
                    frame = daemon.frames[here]
                    here += 1
                    daemon.happened = max(daemon.happened, here)
                    await self.send(frame)
                await daemon._tick.wait()

    def _so_far(self, here: int) -> Iterator[Frame]:
        """The text so far of an answer in progress, as one delta from the beginning."""
        text, last = "", None
        for frame in self.daemon.frames[:here]:
            if frame["type"] == "agent_delta":
                offset = frame["metadata"]["offset"]
                text, last = text[:offset] + frame["content"], frame
            elif frame["type"] == "agent_response":
                text, last = "", None
        if last is not None:
            yield (
                last
                | {"id": f"so-far-{len(self.daemon.hellos)}", "content": text}
                | {"metadata": last["metadata"] | {"offset": 0}}
            )

    async def _listen(self) -> None:
        while True:
            command = json.loads(await self.websocket.get_message())
            if command["type"] == "heartbeat":
                await self.send(plain("heartbeat", reply_to=command["id"]))
            elif command["type"] == "ack":
                assert command["metadata"]["seq"] <= self.daemon.top
                self.daemon.acked = max(self.daemon.acked, command["metadata"]["seq"])
            else:
                await self.send(reply_frame(command, self.daemon.carry_out(command)))


def plain(kind: str, **metadata: Any) -> Frame:
    return {"id": kind, "type": kind, "agent_name": "System", "content": "", "metadata": metadata}


def reply_frame(command: Frame, metadata: dict[str, Any]) -> Frame:
    return plain("reply", reply_to=command["id"], **metadata)


async def _break(websocket: trio_websocket.WebSocketConnection, raw: trio.SocketStream, how: Break) -> None:
    if how == "reset":
        raw.socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    elif how != "eof":
        with trio.move_on_after(WITHIN):
            await websocket.aclose(how, "planned")
    await trio.aclose_forcefully(raw)


async def _respond(stream: trio.SocketStream, head: h11.Connection, status: int, answer: object) -> None:
    body = json.dumps(answer).encode()
    headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
    reply = head.send(h11.Response(status_code=status, headers=headers)) or b""
    reply += (head.send(h11.Data(data=body)) or b"") + (head.send(h11.EndOfMessage()) or b"")
    await stream.send_all(reply)


@attrs.define(eq=False)
class Replaying(trio.abc.Stream):
    """A stream whose first bytes have been read already."""

    stream: trio.SocketStream
    first: bytes

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self.first:
            first, self.first = self.first, b""
            await trio.lowlevel.checkpoint()
            return first
        return await self.stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.stream.aclose()


@asynccontextmanager
async def log_daemon(frames: list[Frame], **how: Any) -> AsyncGenerator[LogDaemon, None]:
    """A running one on a free port."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    daemon = LogDaemon(frames, listener.socket.getsockname()[1], **how)
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, daemon.serve, [listener])
        yield daemon
        nursery.cancel_scope.cancel()
