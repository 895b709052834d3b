"""Commands on their way: out of the queue over whatever carries them, and their answers back to who waits.

At most as many are under way as the daemon takes at once (`limits.in_flight`). One that is `rate_limited` goes again
after the time that the daemon named, and the others wait behind it: going on would end in 4429.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import trio

from understudy.client.envelope import DEFAULT_FRAME_BYTES, Event
from understudy.client.errors import CommandTooLarge, NoAnswer, NotSent, Unreachable
from understudy.client.events import CommandDropped, typed
from understudy.client.reconnect import wait_after

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from understudy.client.exchange import Exchange
    from understudy.client.feed import Feed
    from understudy.client.polling import Poller
    from understudy.client.queue import CommandQueue, Unanswered

#: Under way at once, where the daemon names no limit.
IN_FLIGHT: Final = 16


@attrs.define(eq=False)
class Sender:
    """See the module. `channels` are those subscribed to, in the order in which they were."""

    queue: CommandQueue
    feed: Feed
    rng: Random
    channels: dict[str, None]
    _exchange: Exchange | None = None
    _held_until: float = 0.0

    async def over(self, exchange: Exchange) -> None:
        """Sends what waits, again from the first, over a connection. Raises nothing; runs until it is cancelled."""
        assert exchange.welcome is not None
        limits = exchange.welcome.limits
        most = limits.in_flight or IN_FLIGHT
        self._exchange = exchange
        self._held_until = 0.0
        self.queue.restart()
        while True:
            waiting = await self._next(most, limits.frame_bytes)
            await exchange.submit(waiting.command.id, waiting.frame, _Asker(self, waiting))

    async def by_http(self, poller: Poller) -> None:
        """As `over`, with one request a command. One at a time: the order is the application's."""
        self._exchange = None
        self._held_until = 0.0
        self.queue.restart()
        tries = 0
        while True:
            waiting = await self._next(1, DEFAULT_FRAME_BYTES)
            try:
                answer = await poller.send(waiting)
            except Unreachable as trouble:
                self.queue.put_back(waiting)
                await trio.sleep(wait_after(trouble, tries, 0.0, self.rng))
                tries += 1
            else:
                tries = 0
                self.settle(waiting, answer)

    async def _next(self, most: int, largest: int) -> Unanswered:
        """The next command that may go."""
        while True:
            if trio.current_time() < self._held_until:
                await trio.sleep_until(self._held_until)
            waiting = self.queue.send_next() if self.queue.under_way < most else None
            if waiting is None:
                await self.queue.changed()
            elif len(waiting.frame) > largest:
                waiting.departures -= 1
                self._drop(waiting, "too_large", CommandTooLarge(len(waiting.frame), largest))
            else:
                return waiting

    def settle(self, waiting: Unanswered, answer: Event) -> None:
        """The daemon has answered."""
        retry_after = answer.metadata.get("retry_after")
        if answer.metadata.get("code") == "rate_limited" and isinstance(retry_after, int | float):
            self._held_until = trio.current_time() + retry_after
            self.queue.put_back(waiting, answer)
        elif self.queue.remove(waiting):
            self._note_channel(waiting, answer)
            waiting.end(answer)
            if waiting.posted and answer.type == "error":
                self.feed.notify(typed(answer))

    def give_up(self, waiting: Unanswered) -> None:
        """Its caller waits no longer: it is not repeated, and a late answer goes nowhere."""
        if self.queue.remove(waiting) and self._exchange is not None:
            self._exchange.forget(waiting.command.id)

    async def drop_aged(self) -> None:
        """Drops what the queue has kept for as long as it may. Raises nothing; runs until it is cancelled."""
        while True:
            for waiting in self.queue.drop_aged(trio.current_time()):
                command = waiting.command
                if waiting.perhaps_done:
                    self._drop(waiting, "age", NoAnswer(command.type, command.id, self.queue.longest))
                else:
                    self._drop(waiting, "age", NotSent(command.type, command.id, "age"))
            with trio.move_on_at(self.queue.next_aged):
                await self.queue.changed()

    def close(self, error: Callable[[], Exception]) -> None:
        """Nothing will be sent any more."""
        for waiting in self.queue.drop_all():
            self._drop(waiting, "closed", error())

    def _drop(self, waiting: Unanswered, reason: str, error: Exception) -> None:
        self.give_up(waiting)
        waiting.end(error)
        if waiting.posted:
            command = waiting.command
            self.feed.notify(
                CommandDropped(
                    command_id=command.id,
                    command_type=command.type,
                    reason=reason,
                    perhaps_done=waiting.perhaps_done,
                    content=str(error),
                )
            )

    def _note_channel(self, waiting: Unanswered, answer: Event) -> None:
        """Keeps what the next connection has to ask for."""
        channel = waiting.command.metadata.get("channel")
        if not isinstance(channel, str):
            return
        if waiting.command.type == "unsubscribe" or (waiting.command.type == "subscribe" and answer.type == "error"):
            self.channels.pop(channel, None)
        elif waiting.command.type == "subscribe":
            self.channels[channel] = None


@attrs.frozen(eq=False)
class _Asker:
    """Where the answer on one connection goes. None is no answer: the next connection repeats the command."""

    sender: Sender
    waiting: Unanswered

    def settle(self, answer: Event | None) -> None:
        if answer is not None:
            self.sender.settle(self.waiting, answer)
