"""A TCP proxy that forwards whole WebSocket frames and, by plan, cuts the connection at a boundary between two of them.

It stands between a client and a daemon. What it cuts is gone for both at that moment: each side sees the end of the
stream (FIN) or a reset (RST), whichever the plan says for it. Plain HTTP passes through.
"""

from __future__ import annotations

import struct
from contextlib import asynccontextmanager, suppress
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, Final, Literal

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

Side = Literal["server", "client"]
"""Whose frames are counted."""

LINGER_WITHIN: Final = 2.0
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


@attrs.frozen
class Cut:
    """Where a connection is cut: behind the `after`-th frame of this side, 0 being right behind the handshake.

    `torn`: half of the next frame goes through as well. `reset_server`, `reset_client`: that side sees RST, else FIN.
    """

    side: Side
    after: int
    torn: bool = False
    reset_server: bool = False
    reset_client: bool = False


@attrs.define
class Passed:
    """One connection: the frames that went through of each side, and whether its cut was reached."""

    frames: dict[Side, int] = attrs.field(factory=lambda: {"server": 0, "client": 0})
    cut: bool = False


class CutNow(Exception):
    """The plan says that the connection ends here."""


class Frames:
    """Finds the frames in the bytes of one direction. Pure."""

    def __init__(self) -> None:
        self._rest = b""
        self._upgraded = False

    def feed(self, data: bytes) -> list[bytes]:
        """What is whole by now: the HTTP head is the first piece, each frame one more."""
        self._rest += data
        whole: list[bytes] = []
        if not self._upgraded:
            head, separator, rest = self._rest.partition(b"\r\n\r\n")
            if not separator:
                return whole
            self._upgraded, self._rest = True, rest
            whole.append(head + separator)
        while (size := frame_size(self._rest)) is not None and len(self._rest) >= size:
            whole.append(self._rest[:size])
            self._rest = self._rest[size:]
        return whole


def frame_size(data: bytes) -> int | None:
    """How long the frame is that begins here, header and mask included; None where its header is not whole."""
    if len(data) < 2:
        return None
    masked, length = data[1] & 0x80, data[1] & 0x7F
    header = 2 + {126: 2, 127: 8}.get(length, 0)
    if len(data) < header:
        return None
    if length >= 126:
        length = int.from_bytes(data[2:header], "big")
    return header + (4 if masked else 0) + length


@attrs.define(eq=False)
class CuttingProxy:
    """See the module. `plan` gives the cut of each new WebSocket, None for one that is let live."""

    target: int
    plan: Callable[[], Cut | None]
    port: int = 0
    connections: list[Passed] = attrs.field(factory=list)

    async def serve(self, client: trio.SocketStream) -> None:
        """One connection."""
        try:
            server = await trio.open_tcp_stream("127.0.0.1", self.target)
        except OSError:
            await trio.aclose_forcefully(client)
            return
        async with client, server:
            with suppress(*_GONE):
                head = await _read_head(client)
                upgrade = b"upgrade: websocket" in head.lower()
                await server.send_all(head)
                await self._join(client, server, self.plan() if upgrade else None, upgrade=upgrade)

    async def _join(
        self, client: trio.SocketStream, server: trio.SocketStream, cut: Cut | None, *, upgrade: bool
    ) -> None:
        passed = Passed()
        if upgrade:
            self.connections.append(passed)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pump, client, server, "client", cut, passed, upgrade, False)
                nursery.start_soon(_pump, server, client, "server", cut, passed, upgrade, True)
        except* CutNow:
            assert cut is not None
            passed.cut = True
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_end, server, cut.reset_server)
                    nursery.start_soon(_end, client, cut.reset_client)


async def _read_head(client: trio.SocketStream) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        piece = await client.receive_some()
        if not piece:
            raise trio.BrokenResourceError
        head += piece
    return head


async def _pump(
    source: trio.SocketStream,
    sink: trio.SocketStream,
    side: Side,
    cut: Cut | None,
    passed: Passed,
    upgrade: bool,
    with_head: bool,
) -> None:
    """Forward one direction, frame by frame, to the end of the stream or the cut."""
    frames = Frames()
    if not with_head:
        frames.feed(b"\r\n\r\n")  # it went through before
    counted = cut is not None and cut.side == side
    try:
        if counted and not with_head:
            _look(cut, passed)
        async for data in source:
            if not upgrade:
                await sink.send_all(data)
                continue
            for piece in frames.feed(bytes(data)):
                head, with_head = with_head, False
                if counted and cut is not None and passed.frames[side] >= cut.after and not head:
                    await sink.send_all(piece[: len(piece) // 2])  # torn
                    raise CutNow
                await sink.send_all(piece)
                if not head:
                    passed.frames[side] += 1
                if counted:
                    _look(cut, passed)
        await sink.send_eof()
    except _GONE:
        await trio.aclose_forcefully(source)  # so the other direction learns of it
        await trio.aclose_forcefully(sink)


def _look(cut: Cut | None, passed: Passed) -> None:
    """Whether it is to be cut here. A torn one waits for the frame that is to be torn."""
    if cut is not None and passed.frames[cut.side] >= cut.after and not cut.torn:
        raise CutNow


async def _end(stream: trio.SocketStream, reset: bool) -> None:
    """End one side: at once with RST, or with FIN, reading on for a moment so that the kernel sends no RST."""
    with trio.move_on_after(LINGER_WITHIN), suppress(*_GONE):
        if reset:
            stream.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        else:
            await stream.send_eof()
            async for _ in stream:
                pass
    await trio.aclose_forcefully(stream)


@asynccontextmanager
async def cutting_proxy(target: int, plan: Callable[[], Cut | None]) -> AsyncIterator[CuttingProxy]:
    """A proxy on a free port before the daemon at `target`."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    proxy = CuttingProxy(target, plan, listener.socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy.serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()
