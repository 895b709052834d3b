"""One connection to a daemon: `connect`.

Reconnecting is not done here: `ConnectionEnded` says whether and how, `Connection.position` from where, `wait_after`
when. `open_client` does it all.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import trio

from understudy.client.blocks import block
from understudy.client.envelope import (
    EVENT_TYPES,
    Comeback,
    Command,
    Event,
    Position,
    Reply,
    Welcome,
    encode,
    hello,
    new_id,
    websocket_address,
)
from understudy.client.errors import CommandRefused, CommandTooLarge, NoAnswer, Unreachable
from understudy.client.exchange import Exchange
from understudy.client.socket import Socket, dial

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
    from random import Random

    from understudy.client.envelope import Address


class Connection:
    """An open connection, made by `connect`. Iterate over it for events; give orders by `command`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._iterating = False

    @property
    def welcome(self) -> Welcome:
        """What the daemon said at the opening."""
        assert self._exchange.welcome is not None
        return self._exchange.welcome

    @property
    def position(self) -> Position:
        """How far this application has processed its log, for `resume`: an event, once the next one is asked for."""
        return Position(self.welcome.epoch, self._exchange.processed)

    def new_id(self) -> str:
        """A command id. Give it to `command` where the command may have to be repeated on the next connection."""
        return self._exchange.new_id()

    def __aiter__(self) -> Connection:
        return self

    async def __anext__(self) -> Event:
        """The next event, in the daemon's order; asking for it says that the one before is processed.

        Types that this client does not know are passed over. After the last event raises `ConnectionEnded`, however
        often it is asked. Cancelled, it has taken nothing. One task at a time: else `trio.BusyResourceError`.
        """
        if self._iterating:
            raise trio.BusyResourceError("another task is already waiting for the next event")
        self._iterating = True
        try:
            while True:
                event = await self._exchange.next_event()
                if event.type in EVENT_TYPES:
                    return event
        finally:
            self._iterating = False

    async def command(
        self,
        type: str,  # noqa: A002 - the envelope's own word
        *,
        content: str = "",
        metadata: Mapping[str, Any] | None = None,
        session_id: str | None = None,
        within: float = 10.0,
        command_id: str | None = None,
    ) -> Reply:
        """Sends a command and waits for its answer, at most `within` seconds.

        Raises `CommandRefused` (nothing was done), `CommandTooLarge` (nothing was sent), `NoAnswer` or
        `ConnectionEnded` (unknown whether it was done). Cancelled, the command may still be carried out, and its answer
        is dropped. A command with a durable effect is carried out once, however often it comes with the same
        `command_id`, on this connection or a later one; type, content and metadata have to be the same too.
        """
        command = Command(
            id=command_id or self.new_id(),
            type=type,
            content=content,
            session_id=session_id,
            metadata=dict(metadata or {}),
        )
        frame = encode(command)
        if len(frame) > self.welcome.limits.frame_bytes:
            raise CommandTooLarge(len(frame), self.welcome.limits.frame_bytes)
        answer = await self._exchange.ask(command.id, frame, within)
        if answer is None:
            if self._exchange.end is not None:
                raise self._exchange.end.error()
            raise NoAnswer(type, command.id, within)
        if answer.type == "error":
            code = answer.metadata.get("code", "internal")
            raise CommandRefused(str(code), answer.content, metadata=answer.metadata)
        return Reply(answer.content, answer.metadata)


@asynccontextmanager
async def connect(
    url: str,
    *,
    rng: Random,
    user_id: str | None = None,
    token: str | None = None,
    client_id: str | None = None,
    resume: Position | None = None,
    comeback: Comeback | None = None,
    subscribe: Sequence[str] = (),
    within: float = 10.0,
    dial: Callable[[Address], Awaitable[trio.abc.Stream]] = dial,
) -> AsyncGenerator[Connection, None]:
    """A connection to the daemon at `url`, open for the block.

    `url` is `ws://`, `http://` or bare `host:port`; the path is `/ws` unless given. `client_id` is what survives a
    reconnect; with `resume` the daemon sends what came after that position, or a `gap` event. `subscribe` names
    channels. `within` (seconds) bounds everything until `welcome`. Jitter and ids come from `rng`. `dial` opens the
    byte stream.

    Raises ValueError for an address that is none, `Unreachable` where no WebSocket came about, `ConnectionEnded` where
    the daemon closed before `welcome`. What the block raises comes out as it is, in no group. Leaving the block
    normally acknowledges the event in hand and closes with 1000; an exception closes without acknowledging. Either
    takes a few seconds at most, also when cancelled.
    """
    opening = hello(
        new_id(rng),
        user_id=user_id,
        token=token,
        client_id=client_id,
        resume=resume,
        comeback=comeback,
        version=version("understudy"),
        subscribe=subscribe,
    )
    async with open_exchange(websocket_address(url), opening, rng=rng, within=within, dial=dial) as exchange:
        yield Connection(exchange)


@asynccontextmanager
async def open_exchange(
    address: Address,
    opening: Command,
    *,
    rng: Random,
    within: float,
    dial: Callable[[Address], Awaitable[trio.abc.Stream]],
) -> AsyncGenerator[Exchange, None]:
    """What `connect` is made of: `opening` is the `hello`, the rest as there."""
    async with block() as nursery:
        socket = Socket(address, dial)
        exchange = Exchange(socket, rng)
        processed = False
        try:
            with trio.move_on_after(within):
                await nursery.start(socket.hold)
                await exchange.open(opening)
            if exchange.welcome is None:
                raise Unreachable(address.url, f"no answer within {within:g} s")
            nursery.start_soon(exchange.serve)
            yield exchange
            processed = True
        finally:
            if exchange.welcome is not None:
                await exchange.leave(processed=processed)
