"""Commands that have no answer yet: those that wait for a connection, and those that were sent and may be repeated.

Bounded in bytes and in age, and never silent. A command that would go beyond the bytes is refused to its caller, for
dropping an older one would break what a later one builds on. One that grows too old is handed back, to be told of. The
order is that in which they were given; on a new connection all of them go again in it, with the same ids, and the
daemon carries out each once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import attrs
import trio

from understudy.client.envelope import encode
from understudy.client.errors import CommandTooLarge, NotSent

if TYPE_CHECKING:
    from understudy.client.envelope import Command, Event


@attrs.define(eq=False)
class Unanswered:
    """A command without an answer. `posted`: nobody waits for it, so its end is told as an event.

    `departures` counts how often it has gone out without having come to nothing; `under_way` says that it has on this
    connection. `refusal` is the answer that sent it back to wait.
    """

    command: Command
    frame: bytes
    given_at: float
    posted: bool
    departures: int = 0
    under_way: bool = False
    refusal: Event | None = None
    outcome: Event | Exception | None = None
    done: trio.Event = attrs.field(factory=trio.Event)

    @property
    def perhaps_done(self) -> bool:
        """Whether the daemon may have it."""
        return self.departures > 0

    def end(self, outcome: Event | Exception) -> None:
        self.outcome = outcome
        self.done.set()


@attrs.define(eq=False)
class CommandQueue:
    """See the module. `most_bytes` counts encoded commands, `longest` is seconds."""

    most_bytes: int
    longest: float
    bytes: int = 0
    under_way: int = 0
    _all: dict[str, Unanswered] = attrs.field(factory=dict)
    _to_send: deque[Unanswered] = attrs.field(factory=deque)
    _changed: trio.Event = attrs.field(factory=trio.Event)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def unsent(self) -> bool:
        """Whether something waits to be sent on this connection."""
        return any(waiting.command.id in self._all for waiting in self._to_send)

    def add(self, command: Command, now: float, *, posted: bool, largest: int | None = None) -> Unanswered:
        """Take one in. `largest` is how many bytes the daemon takes, where that is known.

        Raises `CommandTooLarge`, `NotSent` where it does not fit any more, ValueError where this id has no answer yet.
        """
        if command.id in self._all:
            raise ValueError(f"the command {command.id} is still waiting for its answer")
        frame = encode(command)
        if largest is not None and len(frame) > largest:
            raise CommandTooLarge(len(frame), largest)
        if self.bytes + len(frame) > self.most_bytes:
            raise NotSent(command.type, command.id, "full")
        waiting = Unanswered(command, frame, now, posted)
        self._all[command.id] = waiting
        self.bytes += len(frame)
        self._to_send.append(waiting)
        self.wake()
        return waiting

    def get(self, command_id: str) -> Unanswered | None:
        return self._all.get(command_id)

    def remove(self, waiting: Unanswered) -> bool:
        """Wait for its answer no more. False if nobody did."""
        if self._all.get(waiting.command.id) is not waiting:
            return False
        del self._all[waiting.command.id]
        self.bytes -= len(waiting.frame)
        self.under_way -= waiting.under_way
        self.wake()
        return True

    def restart(self) -> None:
        """There is a new connection: on it, everything is to be sent."""
        self.under_way = 0
        self._to_send = deque(self._all.values())
        for waiting in self._to_send:
            waiting.under_way = False
        self.wake()

    def send_next(self) -> Unanswered | None:
        """The next one to be sent, which now is under way."""
        while self._to_send:
            waiting = self._to_send.popleft()
            if self._all.get(waiting.command.id) is waiting:
                waiting.under_way = True
                waiting.departures += 1
                self.under_way += 1
                return waiting
        return None

    def put_back(self, waiting: Unanswered, refusal: Event | None = None) -> None:
        """It is to be sent again, before the others. With a `refusal` nothing was done by this departure."""
        if self._all.get(waiting.command.id) is waiting and waiting.under_way:
            waiting.under_way = False
            self.under_way -= 1
            if refusal is not None:
                waiting.departures -= 1
                waiting.refusal = refusal
            self._to_send.appendleft(waiting)
            self.wake()

    def drop_aged(self, now: float) -> list[Unanswered]:
        """Take out those that have been without an answer for too long."""
        aged = []
        for waiting in self._all.values():
            if waiting.given_at + self.longest > now:
                break
            aged.append(waiting)
        for waiting in aged:
            self.remove(waiting)
        return aged

    def drop_all(self) -> list[Unanswered]:
        every = list(self._all.values())
        for waiting in every:
            self.remove(waiting)
        return every

    @property
    def next_aged(self) -> float:
        """When `drop_aged` will have something to give, if nothing changes. Trio's time."""
        return next((waiting.given_at + self.longest for waiting in self._all.values()), float("inf"))

    async def changed(self) -> None:
        """Wait until something is different. To be awaited right after looking."""
        await self._changed.wait()

    def wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
