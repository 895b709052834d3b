"""What keeps a client in touch with its daemon: one connection after the other, and the other way where none comes.

    run    tries a WebSocket, attends to it until its end, waits as `Course` says, tries again
    poll   from the third failure in a row until a WebSocket comes about: events and commands over HTTP

Both may be at it at once, for `run` goes on trying while `poll` polls. Whichever is ready takes the feed and the
commands over; what the other had not finished is repeated by the positions and ids.
"""

from __future__ import annotations

import ssl
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import attrs
import httpx2
import trio

from actors.protocol.codes import NORMAL, Reconnect
from understudy.client.connection import open_exchange
from understudy.client.envelope import Address, Comeback, Welcome, hello, new_id
from understudy.client.errors import CommandTooLarge, ConnectionEnded, Unreachable
from understudy.client.feed import Feed, WebSocketSource
from understudy.client.polling import HELD_OPEN, LONGEST_WAIT, Poller
from understudy.client.reconnect import Course, wait_after
from understudy.client.socket import CLOSED_WITHOUT_CODE
from understudy.client.states import Closed, Connecting, Open, Polling, State, Waiting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from understudy.client.credentials import Credentials
    from understudy.client.exchange import Exchange
    from understudy.client.sending import Sender

#: Seconds that commands given just before leaving have to get out.
FLUSH_WITHIN: Final = 2.0


@attrs.frozen(kw_only=True)
class Route:
    """How to get to the daemon. `within` (seconds) bounds one try; `transport` is for polling, None for the network."""

    address: Address
    within: float
    dial: Callable[[Address], Awaitable[trio.abc.Stream]]
    transport: httpx2.AsyncBaseTransport | None


@attrs.define(eq=False)
class _Watch:
    """Somebody waits for a state of these kinds."""

    kinds: tuple[type[State], ...]
    state: State | None = None
    seen: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class Driver:
    """See the module. `on_state` is told every change of `state` and must not raise."""

    route: Route
    credentials: Credentials
    client_id: str
    rng: Random
    feed: Feed
    sender: Sender
    on_state: Callable[[State], None]
    state: State = attrs.field(factory=Connecting)
    welcome: Welcome | None = None
    _watches: list[_Watch] = attrs.field(factory=list)
    _trying: State = attrs.field(factory=Connecting)
    _course: Course = attrs.field(factory=Course)
    _tries: int = 0
    _lost_at: float | None = None
    _last_code: int = CLOSED_WITHOUT_CODE
    _refused: Unreachable | None = None
    _open: Open | None = None
    _poller: Poller | None = None
    _polling: trio.CancelScope | None = None
    _leaving: trio.Event = attrs.field(factory=trio.Event)
    _ended: trio.Event = attrs.field(factory=trio.Event)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    # --- the life of a client

    async def run(self, nursery: trio.Nursery) -> None:
        """Keeps in touch until it is left or there is no way any more. `nursery` is for `poll`. Raises nothing."""
        try:
            with self._scope:
                while not self._leaving.is_set():
                    seconds = await self._once()
                    if self._course.polls and self._polling is None and seconds is not None:
                        self._polling = trio.CancelScope()
                        nursery.start_soon(self._poll, self._polling)
                    with trio.move_on_after(seconds or 0.0):
                        await self._leaving.wait()
        except Exception as error:  # noqa: BLE001 - of the application's own token source, or a defect: it is raised where the application reads
            self.close(error)
        finally:
            self._ended.set()

    async def leave(self) -> None:
        """Says goodbye in good order: what was processed is acknowledged. Takes a few seconds at most."""
        self.feed.processed()
        self._leaving.set()
        if self._open is not None:
            await self._ended.wait()
        elif self._poller is not None:
            await self._poller.acknowledge()

    def close(self, error: Exception | None) -> None:
        """It is over, for good; the first reason counts."""
        if isinstance(self.state, Closed):
            return
        self.state = Closed(error)
        self.feed.finish(self.last_error)
        self.sender.close(self.last_error)
        self._stop_polling()
        self._scope.cancel()
        self._show()

    @property
    def over_websocket(self) -> bool:
        return self._open is not None

    def last_error(self) -> Exception:
        """What is raised now that it is over."""
        error = self.state.reason if isinstance(self.state, Closed) else None
        if isinstance(error, ConnectionEnded | Unreachable):
            return error.anew()
        return error or ConnectionEnded(NORMAL, "the client was left", how=Reconnect.NEVER, resume=True)

    # --- over a WebSocket

    async def _once(self) -> float | None:
        """One connection, from the first try to its end; how long to wait then, None where it was the last."""
        self._tries += 1
        self._tell(Connecting())
        opened_at: float | None = None
        try:
            opening = hello(
                new_id(self.rng),
                user_id=self.credentials.user_id,
                token=await self.credentials.token(),
                client_id=self.client_id,
                resume=self.feed.cursor.processed,
                comeback=self._comeback(),
                version=version("understudy"),
                subscribe=list(self.sender.channels),
            )
            route = self.route
            async with open_exchange(
                route.address, opening, rng=self.rng, within=route.within, dial=route.dial
            ) as exchange:
                opened_at = trio.current_time()
                await self._attend(exchange)
                if exchange.end is not None:
                    raise exchange.end.error()
        except (Unreachable, ConnectionEnded) as trouble:
            self._open = None
            return self._lost(trouble, None if opened_at is None else trio.current_time() - opened_at)
        except CommandTooLarge as hello_too_large:
            self.close(hello_too_large)
        self._open = None
        return None

    def _comeback(self) -> Comeback | None:
        if self._lost_at is None:
            return None
        down = trio.current_time() - self._lost_at
        return Comeback(attempts=self._tries, down_ms=round(down * 1000), last_code=self._last_code)

    async def _attend(self, exchange: Exchange) -> None:
        """An open connection, until it ends or the client is left."""
        assert exchange.welcome is not None
        self._stop_polling()
        self._tries, self._refused = 0, None
        self.welcome = exchange.welcome
        self.feed.cursor.adopt(exchange.welcome.start)
        self.feed.switch(WebSocketSource(exchange))
        self._open = Open(exchange.welcome)
        self._tell(self._open)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self.sender.over, exchange)
            tasks.start_soon(_cancel_when, exchange.ended, tasks.cancel_scope)
            await self._leaving.wait()
            with trio.move_on_after(FLUSH_WITHIN):
                while self.sender.queue.unsent:
                    await self.sender.queue.changed()
            tasks.cancel_scope.cancel()

    def _lost(self, trouble: Unreachable | ConnectionEnded, held: float | None) -> float | None:
        """What comes after a connection that ended, or did not come about."""
        if held is not None:
            self._lost_at = trio.current_time()
        if isinstance(trouble, ConnectionEnded):
            self._last_code = trouble.code
            if trouble.how is Reconnect.WITH_NEW_TOKEN:
                self.credentials.expire()
        else:
            self._refused = trouble
        self._course, seconds = self._course.after(trouble, held, self.rng, renewable=self.credentials.renewable)
        if seconds is None:
            self.close(trouble)
        else:
            self._tell(Waiting(seconds, trouble))
        return seconds

    # --- over HTTP

    async def _poll(self, scope: trio.CancelScope) -> None:
        with scope:
            # Without TLS there is nothing to verify, and loading the authorities would stop the loop for 100 ms.
            tls = self.route.address.tls
            verify = ssl.create_default_context() if tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            async with httpx2.AsyncClient(transport=self.route.transport, trust_env=False, verify=verify) as http:
                poller = Poller(
                    self.route.address,
                    self.client_id,
                    http,
                    headers=self._headers,
                    position=lambda: self.feed.cursor.processed,
                    began=self.feed.cursor.adopt,
                    unauthorized=self.credentials.expire,
                )
                async with trio.open_nursery() as tasks:
                    await self._ask(poller, tasks)

    async def _ask(self, poller: Poller, tasks: trio.Nursery) -> None:
        """Questions without end. From the first answer on, events and commands go this way."""
        tries, wait, in_charge = 0, 0.0, False
        while True:
            asked_at = trio.current_time()
            try:
                brought = await poller.ask(wait)
            except Unreachable as trouble:
                self._poller = None
                if self._hopeless(trouble):
                    self.close(trouble)
                    return
                self._tell()
                wait = 0.0
                await trio.sleep(wait_after(trouble, tries, 0.0, self.rng))
                tries += 1
                continue
            tries, self._poller = 0, poller
            if not in_charge:
                in_charge = True
                self.feed.switch(poller)
                tasks.start_soon(self.sender.by_http, poller)
            self._tell()
            if wait and not brought and trio.current_time() < asked_at + HELD_OPEN:
                await trio.sleep(self.rng.uniform(0.0, HELD_OPEN))
            wait = LONGEST_WAIT
            await poller.wanted()

    async def _headers(self) -> dict[bytes, bytes]:
        """Who asks. What the application's own token source raises ends the client here as it does in `run`."""
        try:
            return await self.credentials.headers()
        except Exception as error:
            self.close(error)
            raise Unreachable(self.route.address.url, "there is no token") from error

    def _hopeless(self, trouble: Unreachable) -> bool:
        """Whether neither way will ever be open: the token is refused, or both ways are."""
        if trouble.status == 401:
            return not self.credentials.renewable
        return not trouble.reconnect and self._refused is not None and not self._refused.reconnect

    def _stop_polling(self) -> None:
        self._poller = None
        if self._polling is not None:
            self._polling.cancel()
            self._polling = None

    # --- what it is doing

    def _tell(self, trying: State | None = None) -> None:
        """`trying` is what goes on with the WebSocket; while polling works, that is what the client does."""
        self._trying = trying or self._trying
        now = self._open or (self._trying if self._poller is None else Polling())
        if now != self.state and not isinstance(self.state, Closed):
            self.state = now
            self._show()

    def _show(self) -> None:
        for watch in self._watches:
            if watch.state is None and isinstance(self.state, (*watch.kinds, Closed)):
                watch.state = self.state
                watch.seen.set()
        self.on_state(self.state)

    async def until(self, kinds: tuple[type[State], ...]) -> State:
        """A state of one of these kinds, however short it lasts. Where the client ends before, raises the reason."""
        watch = _Watch(kinds)
        self._watches.append(watch)
        try:
            if isinstance(self.state, (*kinds, Closed)):
                watch.state = self.state
                await trio.lowlevel.checkpoint()
            else:
                await watch.seen.wait()
        finally:
            self._watches.remove(watch)
        assert watch.state is not None
        if not isinstance(watch.state, kinds):
            raise self.last_error()
        return watch.state


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
