"""One WebSocket: whole text messages in, frames out, and an end that both sides know the reason of.

A `Socket` belongs to one connection. The library's receiving task runs in a task of that connection under a scope and a
`try` of ours, so that nothing that it raises gets any further, let alone to a neighbour. However the connection ends,
it ends once, as one `Ending`, and everybody who calls afterwards gets it as `Closed`:

- the library's task ends (the client closed, the network broke, a breach was found, the library failed), or
- `close` is called, which stops that task.

The same task then says our Close where it is due, reads on for the client's, and closes the TCP connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import attrs
import trio
import trio_websocket

from actors.gateway.frames import close_frame
from actors.gateway.handshake import accepting
from actors.gateway.library import Receiver
from actors.gateway.scanner import Breach, FrameScanner
from actors.gateway.turnstile import Turnstile
from actors.gateway.wire import WireStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actors.gateway.head import Head

FIRST_LIMIT_BYTES: Final = 65_536

Side = Literal["client", "server", "network"]


@attrs.frozen
class Ending:
    """Why a connection is over. `by` says who ended it: a breach of the rules is closed by the server, a connection
    that broke or went silent by the network."""

    code: int
    reason: str
    by: Side


class Closed(Exception):
    """The connection is over: `code` as in PROTOCOL.md, "Closing" (1006 where nobody gave one), `reason`, and `by`."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.code, ending.reason, ending.by)
        self.code = ending.code
        self.reason = ending.reason
        self.by: Side = ending.by


@attrs.frozen
class Statistics:
    """Of one connection, so far. Bytes are those on the TCP connection, the handshake left out on the way in;
    `last_received` is the time (of trio's clock, in seconds) at which anything arrived, a pong included."""

    bytes_in: int
    bytes_out: int
    messages_in: int
    last_received: float


def conclude(
    *, breach: Breach | None, answering_close: bool, library: trio_websocket.CloseReason | None, failed: bool
) -> Ending:
    """What ended a connection that we did not close, from what wire and library know.

    `answering_close`: the library answered a Close of the client's. Where it gives a code without having answered one,
    it found the fault itself: bad UTF-8, or a Close frame with a bad payload.
    """
    if breach is not None:
        return Ending(breach.code, breach.reason, "server")
    code = 1006 if library is None or library.code == 1005 else int(library.code)
    if library is not None and answering_close:
        return Ending(code, library.reason or "", "client")
    if failed:
        return Ending(1011, "internal error", "server")
    if code == 1006:
        return Ending(1006, "", "network")
    return Ending(code, "not UTF-8" if code == 1007 else "broken frame", "server")


class Socket:
    """An accepted WebSocket. Made by `Socket.accept`. `write` and `close` may be called by any task."""

    __slots__ = (
        "_close_within",
        "_deadline",
        "_ending",
        "_failure",
        "_finished",
        "_hear",
        "_messages_in",
        "_reading",
        "_receiver",
        "_stopped",
        "_wire",
        "parting",
    )

    def __init__(self, wire: WireStream, hear: Callable[[str], Awaitable[None]], close_within: float) -> None:
        self._wire = wire
        self._hear = hear
        self._receiver: Receiver | None = Receiver(wire, self._heard)
        self._close_within = close_within
        self._reading = trio.CancelScope()
        self.parting = Ending(1006, "", "server")
        """What the client is told, if the kernel takes it at once, when the task is cancelled; 1006 says nothing."""
        self._ending: Ending | None = None
        self._deadline = trio.current_time()  # of the farewell; set when the end is known
        self._stopped = Occurrence()  # the library's task has ended
        self._finished = Occurrence()  # the TCP connection is closed
        self._failure: Exception | None = None
        self._messages_in = 0

    @classmethod
    async def accept(
        cls,
        stream: trio.SocketStream,
        head: Head,
        raw: bytes,
        *,
        subprotocol: str | None,
        hear: Callable[[str], Awaitable[None]],
        handshake_within: float,
        close_within: float = 5.0,
        turnstile: Turnstile | None = None,
    ) -> Socket:
        """Answer the handshake that `read_head` read and `judge` found good.

        `head` and `raw` as `read_head` returned them; `subprotocol` as `judge` chose it. `hear` is awaited with each
        whole text message, one at a time; while it waits nothing is read, pings neither, and what it raises ends the
        connection with 1011. `handshake_within` and `close_within` are in seconds.
        `turnstile` is what many connections share; one of its own if None.

        Nothing is heard before `serve` is called, which has to be, soon. No checkpoint where the kernel takes the
        answer at once, as it nearly always does.

        Raises `Closed` if the client went away or does not take the answer in time. Then, and when cancelled, the TCP
        connection is closed.
        """
        wire = WireStream(
            stream,
            rest=raw[head.size_bytes :],
            scanner=FrameScanner(FIRST_LIMIT_BYTES),
            close_within=close_within,
            turnstile=Turnstile() if turnstile is None else turnstile,
        )
        rest = wire.write_now(accepting(head, subprotocol))
        if rest is not None:
            await _write_within(wire, rest, handshake_within)
        return cls(wire, hear, close_within)

    @property
    def ending(self) -> Ending | None:
        """Why it is over, once it is."""
        return self._ending

    @property
    def failure(self) -> Exception | None:
        """What the library's task raised, if it did, to be reported: the connection has then ended with 1011."""
        return self._failure

    def opened(self, frame_bytes: int) -> None:
        """After `welcome`: a message may now have `frame_bytes` bytes instead of 64 KiB."""
        self._wire.scanner.limit_bytes = frame_bytes

    def statistics(self) -> Statistics:
        """The counters as they stand."""
        wire = self._wire
        return Statistics(wire.bytes_in, wire.bytes_out, self._messages_in, wire.last_received)

    @property
    def bytes_out(self) -> int:
        """Bytes that the kernel has taken."""
        return self._wire.bytes_out

    def write_now(self, frames: bytes) -> bytes | None:
        """Write whole frames as far as the kernel has room for them. No checkpoint; raises nothing.

        None: all of it is out. Else what `write` has to be given for the rest: perhaps nothing, where it is owed.
        """
        return frames if self._ending is not None else self._wire.write_now(frames)

    async def write(self, frames: bytes) -> None:
        """Write whole frames, in one system call as far as the kernel has room, after what is owed.

        Waits as long as the client does not read: the deadline is the caller's. Raises `Closed` when it is over or
        ends meanwhile; nothing is written after a Close. Cancelled, what had begun to go out goes out before the next
        frame, so `close` still gets its code across to a client that starts to read again.
        """
        wire = self._wire
        try:
            async with wire.writing:
                self._check_open()
                await wire.write_locked(frames)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            if not wire.scanner.close_seen:  # else the library is about to learn the client's code: let it
                self._reading.cancel()
            await self._stopped.wait()
            raise self._closed() from None

    async def close(self, code: int, reason: str = "") -> None:
        """Close with this code and wait until the TCP connection is closed: when the client has answered, or after
        `close_within` seconds. What lies unread is dropped.

        A connection that is over already keeps its code; the call then only waits. Raises ValueError for a code that
        must not be sent. Cancelled, the connection goes on closing in its task, in the same time.
        """
        close_frame(code, reason)
        if self._ending is None and not self._wire.answering_close:
            self._end(Ending(code, reason, "server"))
            self._reading.cancel()  # in the middle of a pong, its rest is owed and goes out before the Close
        await self._finished.wait()

    async def _heard(self, text: str) -> None:
        """From the library."""
        self._messages_in += 1
        await self._hear(text)

    def _check_open(self) -> None:
        if self._ending is not None:
            raise self._closed()
        if self._wire.scanner.close_seen:
            raise trio.ClosedResourceError

    def _closed(self) -> Closed:
        assert self._ending is not None
        return Closed(self._ending)

    def _end(self, ending: Ending) -> None:
        self._ending = ending
        self._deadline = trio.current_time() + self._close_within

    async def serve(self) -> None:
        """Hear the client, from now to the end of the TCP connection: the one task of the connection.

        Nothing is raised but what cancelled it, which may happen at any time and closes the TCP connection.
        """
        try:
            try:
                with self._reading:
                    assert self._receiver is not None
                    await self._receiver.run()
            except Exception as error:  # noqa: BLE001  a fault of the library ends this connection and nothing else
                self._failure = error.with_traceback(None)  # else it would hold our frame, and with it us
            if self._ending is None:
                self._end(self._conclude())
            self._stopped.happen()
            with trio.CancelScope(deadline=self._deadline):
                await self._wire.finish(self._farewell())
        finally:
            parting: bytes | None = None
            if self._ending is None:  # the task was cancelled
                self._end(self.parting)
                parting = close_frame(self.parting.code, self.parting.reason) if self.parting.code != 1006 else None
            self._receiver = None  # it knows us: no cycle is left for the collector
            self._stopped.happen()
            self._wire.destroy(parting)
            self._finished.happen()

    def _conclude(self) -> Ending:
        return conclude(
            breach=self._wire.scanner.breach,
            answering_close=self._wire.answering_close,
            library=None if self._receiver is None else self._receiver.closed,
            failed=self._failure is not None,
        )

    def _farewell(self) -> bytes | None:
        ending = self._ending
        return close_frame(ending.code, ending.reason) if ending is not None and ending.by == "server" else None


async def _write_within(wire: WireStream, answer: bytes, seconds: float) -> None:
    """Write the answer to a handshake. Raises `Closed`, and destroys the wire, where that cannot be done in time."""
    accepted = False
    try:
        with trio.move_on_after(seconds):
            await wire.write(answer)
            accepted = True
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        if not accepted:
            wire.destroy()
    if not accepted:
        raise Closed(Ending(1006, "no handshake", "network"))


class Occurrence:
    """Something that happens once. A `trio.Event` that costs nothing as long as nobody waits for it."""

    __slots__ = ("_event", "_happened")

    def __init__(self) -> None:
        self._happened = False
        self._event: trio.Event | None = None

    def happen(self) -> None:
        self._happened = True
        if self._event is not None:
            self._event.set()

    async def wait(self) -> None:
        """Always a checkpoint."""
        if self._happened:
            await trio.lowlevel.checkpoint()
            return
        if self._event is None:
            self._event = trio.Event()
        await self._event.wait()
