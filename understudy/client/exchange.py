"""What goes back and forth on one connection, and the tasks that carry it.

Each of them ends the connection rather than raising:

    read     takes every frame; answers go to whoever asked, events into the inbox
    write    sends what stands in the outbox, one frame after the other
    beat     a heartbeat every interval, the first after a random part of it
    confirm  an ack at most once a second, cumulative
    listen   ends the connection after one interval and 10 s of silence

Nobody but `write` sends, so that a caller can be cancelled at any moment without half a frame on the wire. Nobody but
`read` receives, so that an application that is slow, or cancelled, loses nothing: what has arrived stays in the inbox.
The inbox is bounded in bytes; at the bound `read` stops, the window fills, and the daemon decides (4413). While a
command waits for its answer the bound is lifted, for the answer may stand behind the events.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import trio

from actors.protocol.codes import DRAINING, NORMAL, OVER_CAPACITY, PROTOCOL_ERROR, SEQ_MISSING, close
from understudy.client.envelope import (
    OPENING_FRAME_BYTES,
    Command,
    Event,
    MalformedFrame,
    Welcome,
    decode_frame,
    encode,
    new_id,
    read_welcome,
)
from understudy.client.errors import CommandTooLarge, ConnectionEnded
from understudy.client.socket import CLOSED_WITHOUT_CODE, Ended, Socket

if TYPE_CHECKING:
    from random import Random

#: All in seconds.
SILENCE_GRACE: Final = 10.0
ACK_INTERVAL: Final = 1.0
CLOSE_WITHIN: Final = 2.0
#: Bytes of unread events at which reading stops.
INBOX_BYTES: Final = 4 * 1024 * 1024
_OUTBOX_FRAMES: Final = 64


class Asker(Protocol):
    """Who waits for the answer to a command."""

    def settle(self, answer: Event | None) -> None:
        """The answer; None where the connection has ended without one."""


@attrs.define(eq=False)
class Question:
    """A command that waits for its answer, which stays None where the connection ends first."""

    answered: trio.Event = attrs.field(factory=trio.Event)
    answer: Event | None = None

    def settle(self, answer: Event | None) -> None:
        self.answer = answer
        self.answered.set()


@attrs.frozen
class End:
    """Why a connection is over."""

    code: int
    reason: str
    retry_after: float | None
    message: str | None

    def error(self) -> ConnectionEnded:
        """A new one each time: several tasks may raise it, and an exception keeps the frames that it passed."""
        row = close(self.code)
        asked = self.retry_after if self.code in (DRAINING, OVER_CAPACITY) else None
        return ConnectionEnded(
            self.code, self.reason, how=row.reconnect, resume=row.resume, retry_after=asked, message=self.message
        )


@attrs.define(eq=False)
class Exchange:
    """The state of one connection. Every method is for tasks of the same trio run."""

    _socket: Socket
    _rng: Random
    welcome: Welcome | None = None
    end: End | None = None
    processed: int = 0
    _handed_out: int = 0
    _acked: int = 0
    _expected: int = 0
    _inbox: deque[tuple[Event, int]] = attrs.field(factory=deque)
    _inbox_bytes: int = 0
    _held_up: bool = False
    _questions: dict[str, Asker] = attrs.field(factory=dict)
    _last_error: str | None = None
    _asked_to_wait: float | None = None
    _queued: int = 0
    _sent: int = 0
    _changed: trio.Event = attrs.field(factory=trio.Event)
    _to_confirm: trio.Event = attrs.field(factory=trio.Event)
    _tasks: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)
    _outbox: trio.MemorySendChannel[bytes] = attrs.field(init=False)
    _outgoing: trio.MemoryReceiveChannel[bytes] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._outbox, self._outgoing = trio.open_memory_channel[bytes](_OUTBOX_FRAMES)

    # What the application calls.

    def new_id(self) -> str:
        return new_id(self._rng)

    async def open(self, opening: Command) -> None:
        """Says hello and waits for welcome. Raises `ConnectionEnded` where a Close comes instead."""
        frame = encode(opening)
        if len(frame) > OPENING_FRAME_BYTES:
            raise CommandTooLarge(len(frame), OPENING_FRAME_BYTES)
        try:
            await self._socket.send(frame.decode())
            while self.welcome is None:
                event, _ = await self._receive()
                if event.type == "welcome":
                    self.welcome = read_welcome(event)
                else:
                    self._note(event)
        except Ended as ended:
            self._finish(ended.code, ended.reason)
        except MalformedFrame as malformed:
            await self._hang_up(PROTOCOL_ERROR, str(malformed))
        if self.welcome is None:
            assert self.end is not None
            raise self.end.error()
        start = self.welcome.start.seq
        self._expected = start + 1
        self._handed_out = self.processed = self._acked = start

    def mark_processed(self, seq: int | None = None) -> None:
        """What was taken last is processed, and so is all up to `seq` that has arrived; it will be acknowledged.

        An application may have had events from an earlier connection that this one has sent again.
        """
        arrived = 0 if seq is None else min(seq, self._expected - 1)
        self.processed = max(self.processed, self._handed_out, arrived)
        if self.processed > self._acked:
            self._to_confirm.set()

    async def next_event(self) -> Event:
        """The next event, known or not; the one before counts as processed. Cancelled, it has taken nothing."""
        self.mark_processed()
        await trio.lowlevel.checkpoint()
        while not self._inbox:
            if self.end is not None:
                raise self.end.error()
            await self._changed.wait()
        event, size = self._inbox.popleft()
        self._inbox_bytes -= size
        if self._held_up:
            self._wake()
        if event.seq is not None:
            self._handed_out = event.seq
        return event

    async def ask(self, command_id: str, frame: bytes, within: float) -> Event | None:
        """The answer to a command; None after `within` seconds, or where the connection ended (then `end` is set)."""
        if self.end is not None:
            return None
        if command_id in self._questions:
            raise ValueError(f"the command {command_id} is still waiting for its answer")
        question = Question()
        try:
            with trio.move_on_after(within):
                await self.submit(command_id, frame, question)
                await question.answered.wait()
        finally:
            self.forget(command_id)
        return question.answer

    async def submit(self, command_id: str, frame: bytes, asker: Asker) -> None:
        """Sends a command behind those submitted before; `asker` is told its answer, unless it is forgotten first.

        Waits while the outbox is full. Cancelled, the command has not left. On a connection that has ended, nobody is
        told anything.
        """
        self._questions[command_id] = asker
        self._wake()
        await self._queue(frame)

    def forget(self, command_id: str) -> None:
        """Nobody waits for this answer any more."""
        self._questions.pop(command_id, None)

    async def leave(self, *, processed: bool) -> None:
        """Closes with 1000, after a last ack where the event in hand is `processed`. Takes a few seconds at most."""
        if self.end is None:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_WITHIN):
                if processed:
                    self.mark_processed()
                if self.processed > self._acked:
                    await self._send_ack()
                while self._sent < self._queued and not self._over():
                    await self._changed.wait()
            await self._socket.close(NORMAL, "", within=CLOSE_WITHIN)
        self._finish(NORMAL, "left")

    # The tasks.

    async def serve(self) -> None:
        """Runs the tasks of the connection until it ends. Raises nothing."""
        try:
            with self._tasks:
                async with trio.open_nursery() as tasks:
                    for task in (self._read, self._write, self._beat, self._confirm, self._listen):
                        tasks.start_soon(task)
        finally:
            self._finish(CLOSED_WITHOUT_CODE, "cancelled")
            self._socket.release()

    async def _read(self) -> None:
        try:
            while True:
                event, size = await self._receive()
                if event.seq is not None:
                    if event.seq != self._expected:
                        await self._hang_up(SEQ_MISSING, f"expected seq {self._expected}, got {event.seq}")
                        return
                    self._expected += 1
                if event.type in ("reply", "error", "heartbeat") and "reply_to" in event.metadata:
                    self._answer(event)
                elif event.type not in ("welcome", "reply", "heartbeat"):
                    self._note(event)
                    self._inbox.append((event, size))
                    self._inbox_bytes += size
                    self._wake()
                    await self._wait_for_room()
        except Ended as ended:
            self._finish(ended.code, ended.reason)
        except MalformedFrame as malformed:
            await self._hang_up(PROTOCOL_ERROR, str(malformed))

    async def _write(self) -> None:
        with self._outgoing:
            async for frame in self._outgoing:
                try:
                    await self._socket.send(frame.decode())
                except Ended:
                    return  # the reader knows the code
                self._sent += 1
                self._wake()

    async def _beat(self) -> None:
        interval = self._welcomed().heartbeat_interval
        await trio.sleep(self._rng.uniform(0.0, interval))
        while True:
            await self._queue(encode(Command(id=self.new_id(), type="heartbeat")))
            await trio.sleep(interval)

    async def _confirm(self) -> None:
        while True:
            await self._to_confirm.wait()
            await self._send_ack()
            await trio.sleep(ACK_INTERVAL)

    async def _listen(self) -> None:
        patience = self._welcomed().heartbeat_interval + SILENCE_GRACE
        while True:
            now = trio.current_time()
            # While the inbox is full it is we who do not listen.
            silent_since = now if self._held_up else self._socket.heard_at
            if now >= silent_since + patience:
                self._finish(CLOSED_WITHOUT_CODE, f"nothing heard for {patience:g} s")
                return
            await trio.sleep_until(silent_since + patience)

    # What the tasks share.

    def _over(self) -> bool:
        return self.end is not None

    def _welcomed(self) -> Welcome:
        assert self.welcome is not None
        return self.welcome

    async def _receive(self) -> tuple[Event, int]:
        message = await self._socket.receive()
        if isinstance(message, bytes):
            raise MalformedFrame("a binary frame")
        return decode_frame(message), len(message)

    async def _wait_for_room(self) -> None:
        while self._inbox_bytes > INBOX_BYTES and not self._questions:
            self._held_up = True
            await self._changed.wait()
        if self._held_up:
            self._held_up = False
            self._socket.excuse_silence()

    def _answer(self, event: Event) -> None:
        """To whoever asked. What answers a command that was given up, a heartbeat or an ack goes nowhere."""
        asker = self._questions.pop(str(event.metadata["reply_to"]), None)
        if asker is not None:
            asker.settle(event)

    def _note(self, event: Event) -> None:
        """Keeps what will explain the close, if one follows."""
        if event.type == "error":
            fields = event.metadata.get("fields")
            named = [f"{name}: {why}" for name, why in fields.items()] if isinstance(fields, dict) else []
            self._last_error = " ".join([event.content, *named])
        if event.type in ("error", "draining"):
            retry_after: Any = event.metadata.get("retry_after")
            self._asked_to_wait = float(retry_after) if isinstance(retry_after, int | float) else None

    async def _send_ack(self) -> None:
        self._to_confirm = trio.Event()
        self._acked = self.processed
        await self._queue(encode(Command(id=self.new_id(), type="ack", metadata={"seq": self._acked})))

    async def _queue(self, frame: bytes) -> None:
        # Where the writer has gone the connection is ending, and whoever waits hears so from `_finish`.
        with suppress(trio.BrokenResourceError):
            await self._outbox.send(frame)
            self._queued += 1

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _hang_up(self, code: int, reason: str) -> None:
        await self._socket.close(code, reason[:100], within=CLOSE_WITHIN)
        self._finish(code, reason)

    def _finish(self, code: int, reason: str) -> None:
        """The first reason counts. Wakes everybody who waits for something of this connection."""
        if self.end is None:
            self.end = End(code, reason, self._asked_to_wait, self._last_error)
        self._tasks.cancel()
        self.ended.set()
        askers, self._questions = self._questions, {}
        for asker in askers.values():
            asker.settle(None)
        self._wake()
