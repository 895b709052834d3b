"""A model that writes a few words, waits for the test, and writes the rest: over real HTTP, without a clock."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import attrs
import h11
import trio

from actors.models.simulated.connection import HttpConnection, HttpRequest
from actors.models.simulated.forms import DONE, Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BEGINNING = ("One ", "word ", "after ")
REST = ("the ", "other ", "until ", "the ", "end.")
WHOLE = "".join(BEGINNING + REST)


@attrs.define(eq=False)
class HeldModel:
    """One model on a port of its own.

    Attributes:
        open: answers that are under way; `asked`, `whole` and `left`: how many came, were written to the end, and were
            left by the client.
        pause: seconds between two pieces of what is not held.
        heard: the texts of every request, in order of arrival.
    """

    base_url: str = ""
    name: str = "lead-1"
    pause: float = 0.0
    open: int = 0
    asked: int = 0
    whole: int = 0
    left: int = 0
    heard: list[str] = attrs.field(factory=list)
    _gate: trio.Event = attrs.field(factory=trio.Event)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    def hold(self) -> None:
        """From now on answers stop after their first words."""
        if self._gate.is_set():
            self._gate = trio.Event()

    def release(self) -> None:
        """Let those that wait, and all later ones, be written to the end."""
        self._gate.set()

    async def until(self, **counts: int) -> None:
        """Wait until each of these counts is at least so high; `open` exactly so."""
        with trio.fail_after(20):
            while not all(
                getattr(self, name) == count if name == "open" else getattr(self, name) >= count
                for name, count in counts.items()
            ):
                await self._changed.park()

    def note(self, name: str, change: int = 1) -> None:
        setattr(self, name, getattr(self, name) + change)
        self._changed.unpark_all()

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = HttpConnection(stream)
        try:
            while (request := await connection.next_request()) is not None:
                self.heard.append(" ".join(m["content"] for m in json.loads(request.body)["messages"]))
                self.open += 1
                self.note("asked")
                stayed = False
                try:
                    stayed = await connection.while_client_stays(partial(self._write, connection, request))
                finally:
                    self.open -= 1
                    self.note("whole" if stayed else "left")
                if not connection.ready_for_next():
                    break
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass  # the client has gone
        finally:
            await trio.aclose_forcefully(stream)

    async def _write(self, connection: HttpConnection, request: HttpRequest) -> None:
        del request
        writer = Writer(f"chatcmpl-{self.asked}", self.name, 0)
        await connection.begin(200, [("content-type", "text/event-stream")])
        for piece in BEGINNING:
            await connection.send(writer.chunk({"role": "assistant", "content": piece}))
        await self._gate.wait()
        for piece in REST:
            await connection.send(writer.chunk({"content": piece}))
            await trio.sleep(self.pause)
        await connection.send(writer.chunk({}, "stop"))
        await connection.send(writer.usage(10, len(BEGINNING + REST)))
        await connection.send(DONE)
        await connection.end()


@asynccontextmanager
async def held_model(*, held: bool = True, name: str = "lead-1", pause: float = 0.0) -> AsyncIterator[HeldModel]:
    """A model for the block; `held`: from the beginning. `pause` as `HeldModel` has it."""
    model = HeldModel(name=name, pause=pause)
    if not held:
        model.release()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    model.base_url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1"
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, model.serve, listeners)
        yield model
        nursery.cancel_scope.cancel()
