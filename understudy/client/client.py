"""A client that stays: `open_client`. One object over any number of connections, and over HTTP where there are none."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from understudy.client.blocks import block
from understudy.client.credentials import Credentials
from understudy.client.cursor import Cursor
from understudy.client.driver import Driver, Route
from understudy.client.envelope import Command, Event, Reply, new_id, websocket_address
from understudy.client.errors import CommandRefused, NoAnswer, NotSent
from understudy.client.feed import Feed
from understudy.client.queue import CommandQueue
from understudy.client.sending import Sender
from understudy.client.socket import dial
from understudy.client.states import Closed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
    from random import Random

    import httpx2

    from understudy.client.envelope import Address, Position, Welcome
    from understudy.client.queue import Unanswered
    from understudy.client.states import State

#: What waits for an answer: at most so many bytes, for at most so many seconds.
QUEUE_BYTES: Final = 8 * 1024 * 1024
QUEUE_SECONDS: Final = 300.0


class Client:
    """A client, made by `open_client`. Iterate over it for events; give orders by `command` and `post`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def client_id(self) -> str:
        """What the daemon knows this client by, over all its connections."""
        return self._driver.client_id

    @property
    def state(self) -> State:
        """What it is doing: Connecting, Open, Polling, Waiting or Closed."""
        return self._driver.state

    @property
    def welcome(self) -> Welcome | None:
        """What the daemon said at the last WebSocket's opening; None before the first."""
        return self._driver.welcome

    @property
    def position(self) -> Position | None:
        """How far the application has processed its log; an event counts once the next one is asked for."""
        return self._driver.feed.cursor.processed

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that every connection subscribes to. What was allowed is in `welcome.subscribed`."""
        return tuple(self._driver.sender.channels)

    @property
    def unanswered(self) -> int:
        """How many commands have no answer yet, be they under way or waiting for a connection."""
        return len(self._driver.sender.queue)

    def new_id(self) -> str:
        """A command id, for one that is to be the same in another life of the application."""
        return new_id(self._driver.rng)

    def __aiter__(self) -> Client:
        return self

    async def __anext__(self) -> Event:
        """The next event, as the class of its type (`understudy.client.events`); asking says the last is processed.

        Durable events come in the log's order, each once, over any change of connection. Where some cannot be had any
        more a `Gap` comes in their place: load afresh what you show. Connections lost meanwhile raise nothing; when the
        client is over, the reason is raised (`ConnectionEnded`, `Unreachable`), however often it is asked. Cancelled,
        it has taken nothing. One task at a time: else `trio.BusyResourceError`.
        """
        return await self._driver.feed.next_event()

    async def command(
        self,
        type: str,  # noqa: A002 - the envelope's own word
        *,
        content: str = "",
        metadata: Mapping[str, Any] | None = None,
        session_id: str | None = None,
        within: float = 60.0,
        command_id: str | None = None,
    ) -> Reply:
        """Sends a command and waits for its answer, at most `within` seconds, through whatever becomes of connections.

        Without a connection it waits in the queue; where a connection ends before the answer, it is repeated on the
        next with the same id, and carried out once. Raises `CommandRefused`, `CommandTooLarge`, `NotSent` (nothing was
        done), `NoAnswer` (unknown whether it was done), or what ended the client. Cancelled, it is not repeated, but
        may still be carried out, and its answer is dropped.
        """
        waiting = self._give(type, content, metadata, session_id, command_id, posted=False)
        try:
            with trio.move_on_after(within):
                await waiting.done.wait()
        finally:
            self._driver.sender.give_up(waiting)
        outcome = waiting.outcome or waiting.refusal
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is None:
            raise (NoAnswer(type, waiting.command.id, within) if waiting.perhaps_done else _late(waiting))
        if outcome.type == "error":
            raise CommandRefused(
                str(outcome.metadata.get("code", "internal")), outcome.content, metadata=outcome.metadata
            )
        return Reply(outcome.content, outcome.metadata)

    def post(
        self,
        type: str,  # noqa: A002 - the envelope's own word
        *,
        content: str = "",
        metadata: Mapping[str, Any] | None = None,
        session_id: str | None = None,
        command_id: str | None = None,
    ) -> str:
        """Gives a command to be sent, now or when there is a connection, and its id. Nobody waits for the answer.

        What is refused comes as a `Trouble` event whose `reply_to` is that id, what cannot be sent in time as a
        `CommandDropped`. Raises `NotSent` where the queue is full, `CommandTooLarge`, or what ended the client.
        """
        return self._give(type, content, metadata, session_id, command_id, posted=True).command.id

    async def subscribe(self, channel: str, *, within: float = 60.0) -> None:
        """Hear a channel, on this and every later connection. Where there is no WebSocket, from the next one on.

        Raises as `command` does.
        """
        self._driver.sender.channels[channel] = None
        if self._driver.over_websocket:
            await self.command("subscribe", metadata={"channel": channel}, within=within)

    async def unsubscribe(self, channel: str, *, within: float = 60.0) -> None:
        """Hear a channel no more. Raises as `command` does."""
        self._driver.sender.channels.pop(channel, None)
        if self._driver.over_websocket:
            await self.command("unsubscribe", metadata={"channel": channel}, within=within)

    async def until(self, *kinds: type[State]) -> State:
        """Waits for a state of one of these kinds, however short it lasts, and gives it.

        Where the client ends before, raises the reason.
        """
        return await self._driver.until(kinds)

    def _give(
        self,
        kind: str,
        content: str,
        metadata: Mapping[str, Any] | None,
        session_id: str | None,
        command_id: str | None,
        *,
        posted: bool,
    ) -> Unanswered:
        if isinstance(self.state, Closed):
            raise self._driver.last_error()
        command = Command(
            id=command_id or self.new_id(),
            type=kind,
            content=content,
            session_id=session_id,
            metadata=dict(metadata or {}),
        )
        largest = None if self.welcome is None else self.welcome.limits.frame_bytes
        return self._driver.sender.queue.add(command, trio.current_time(), posted=posted, largest=largest)


def _late(waiting: Unanswered) -> NotSent:
    return NotSent(waiting.command.type, waiting.command.id, "age")


@asynccontextmanager
async def open_client(
    url: str,
    *,
    rng: Random,
    user_id: str | None = None,
    token: str | Callable[[], Awaitable[str]] | None = None,
    client_id: str | None = None,
    resume: Position | None = None,
    subscribe: Iterable[str] = (),
    queue_bytes: int = QUEUE_BYTES,
    queue_seconds: float = QUEUE_SECONDS,
    connect_within: float = 10.0,
    on_state: Callable[[State], None] = lambda _: None,
    dial: Callable[[Address], Awaitable[trio.abc.Stream]] = dial,
    http: httpx2.AsyncBaseTransport | None = None,
) -> AsyncGenerator[Client, None]:
    """A client of the daemon at `url`, kept in touch for the block. It does not wait for the first connection.

    It reconnects by the rules of PROTOCOL.md, "Closing"; after three WebSockets in a row that did not come about it
    polls over HTTP as well, until one does. `token` is one, or a function that gets one, asked again when it has
    expired. `client_id` and `resume` take up where an earlier client left off, a `client_id` alone behind the last
    event that was acknowledged in its name; by default it is a new one, from the log's top. `queue_bytes` and
    `queue_seconds` bound the commands without an answer. `connect_within` (seconds) bounds one try. `on_state` is
    called with every change of state, and must neither wait nor raise. Jitter and ids come from `rng`. `dial` opens the
    byte stream of a WebSocket, `http` carries the polling.

    Raises ValueError for an address that is none. What the block raises comes out as it is, in no group. Leaving the
    block normally acknowledges the event in hand, lets commands just given get out, and closes with 1000; what is still
    in the queue is not sent. An exception, or cancellation, closes without that. Either takes a few seconds at most,
    and leaves neither task nor socket.
    """
    address = websocket_address(url)
    feed = Feed(Cursor(resume, resume))
    sender = Sender(CommandQueue(queue_bytes, queue_seconds), feed, rng, dict.fromkeys(subscribe))
    driver = Driver(
        Route(address=address, within=connect_within, dial=dial, transport=http),
        Credentials(user_id, token),
        client_id or new_id(rng),
        rng,
        feed,
        sender,
        on_state,
    )
    try:
        async with block() as nursery:
            nursery.start_soon(driver.run, nursery)
            nursery.start_soon(sender.drop_aged)
            yield Client(driver)
            await driver.leave()
    finally:
        driver.close(None)
