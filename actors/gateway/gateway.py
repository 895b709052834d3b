"""The gateway: a listener that accepts, and one actor for each socket that it accepted.

The listening sockets are opened by the program, before anything else starts, and outlive every crash in here: a client
that connects while the listener restarts waits in the kernel's queue.
"""

from __future__ import annotations

import errno
import math
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors.gateway.connection import Connection
from actors.gateway.entrance import Entrance, EntranceLimits
from actors.gateway.handover import Handover
from actors.gateway.messages import Accepted, Drain
from runtime import Actor, ActorError, Mailbox, TaskEnded
from supervisors import ChildSpec, DynamicSupervisor, Intensity, Restart, Strategy, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.gateway.settings import GatewayServices, GatewaySettings
    from runtime import Reason, Ref, ReplyTo

NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
BREATHE: Final = 0.1
"""Seconds without accepting after the system had no more file handles or memory."""
HANDOVER_WITHIN: Final = 30.0
CONNECTIONS_MAILBOX: Final = Mailbox(4096)
CONNECTION_MAILBOX: Final = Mailbox(2048)
CONNECTION_SHUTDOWN: Final = 2.0
SPARE: Final = 64
LEAVE_A_SECOND: Final = 500
"""So many connections are closed in a second when the daemon drains, where its time is long enough."""
TELL_EVERY: Final = 0.01
"""Seconds between two batches of connections that are told that the daemon drains."""
TELL_AT_ONCE: Final = 64
"""Connections in such a batch: some 5 ms of goodbyes. More, where half of the time to leave would be too short."""


@attrs.frozen
class _TellMore:
    """Timer: tell the next ones that the daemon drains."""


def told_by(connections: int, elapsed: float, over: float) -> int:
    """How many have to have been told `elapsed` seconds after the first, so that all have in half of `over`. Pure.

    By the clock and not by turns: a loop that has much to do takes fewer turns, and whoever was not told when the tree
    stops would be closed with 1011.
    """
    return connections if 2 * elapsed >= over else math.ceil(connections * 2 * elapsed / over)


class Listener(Actor):
    """Accepts on the program's listening sockets and hands each stream to `connections`."""

    def __init__(self, listeners: Sequence[trio.SocketListener], connections: Ref[Any], handover: Handover) -> None:
        self._listeners = listeners
        self._connections = connections
        self._handover = handover

    async def started(self) -> None:
        for listener in self._listeners:
            self.start(self._accept, listener, name="accept")

    async def receive(self, message: Any) -> object:
        if isinstance(message, TaskEnded) and message.error is not None:
            raise message.error
        return None

    async def _accept(self, listener: trio.SocketListener) -> None:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                await trio.sleep(BREATHE)
                continue
            await self._hand_over(stream)

    async def _hand_over(self, stream: trio.SocketStream) -> None:
        """Give a stream to `connections`. It is closed if nobody takes it: the client comes back."""
        self._handover.offer(stream)
        handed = False
        try:
            await self._connections.send(Accepted(stream), HANDOVER_WITHIN)
            handed = True
        except ActorError:  # they are being restarted, and this actor with them
            pass
        finally:
            if not handed and self._handover.take(stream):
                await trio.aclose_forcefully(stream)


class Connections(DynamicSupervisor):
    """One `Connection` for each accepted stream. None is ever restarted: a socket has one life.

    Args:
        settings: limits and times of each.
        services: whom they talk to.
        limits: of who is let in.
        handover: the streams that come from the listener.
        spare: how many there may be besides, to serve HTTP and to say no in words.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        services: Callable[[], GatewayServices],
        limits: EntranceLimits,
        handover: Handover,
        *,
        spare: int = SPARE,
    ) -> None:
        self._settings = settings
        self._services = services
        self._limits = limits
        self._handover = handover
        self._spare = spare
        self._to_leave: set[str] = set()
        self._to_tell: deque[str] = deque()
        self._told = 0
        self._told_from = self._leave_over = self._come_back = 0.0
        self._drained: list[ReplyTo] = []
        self._number = 0
        self._unmade: dict[str, trio.SocketStream] = {}
        """Child → its stream, while its connection was asked for and is not made; perhaps it cannot be."""

    async def started(self) -> None:
        await super().started()
        self._entrance = Entrance(self._limits, self.system.rng, self.now())

    async def receive(self, message: Any) -> object:
        match message:
            case Accepted(stream):
                self._begin(stream)
            case Drain():
                self._drain(message)
            case _TellMore():
                self._tell_more()
            case _:
                return await super().receive(message)
        return None

    def inspect(self) -> dict[str, Any]:
        return {"websockets": self._entrance.inside, "draining": self._entrance.leaving}

    def child_gone(self, name: str, ref: Ref[Any], reason: Reason, *, gave_up: bool) -> None:
        del ref, reason, gave_up
        stream = self._unmade.pop(name, None)
        if stream is not None:
            stream.socket.close()
        self._to_leave.discard(name)
        self._tell_drained()

    def _drain(self, drain: Drain) -> None:
        """Have all told: thousands at once would hold up the loop for half a second."""
        self._drained.append(self.defer())
        if not self._entrance.leaving:
            self._entrance.leaving = True
            names = list(self.children)
            self._told_from, self._come_back = self.now(), drain.retry_after
            self._leave_over = min(drain.over, len(names) / LEAVE_A_SECOND)
            self._to_leave.update(names)
            self._to_tell.extend(names)
            self._tell_more()
        self._tell_drained()

    def _tell_more(self) -> None:
        """Tell the next ones. Whoever is told later leaves by the same time."""
        elapsed = self.now() - self._told_from
        drain = Drain(self._come_back, max(0.0, self._leave_over - elapsed))
        due = told_by(self._told + len(self._to_tell), elapsed, self._leave_over) - self._told
        for _ in range(min(max(TELL_AT_ONCE, due), len(self._to_tell))):
            name = self._to_tell.popleft()
            self._told += 1
            connection = self.child(name)
            if connection is None or not connection.tell(drain):
                self._to_leave.discard(name)
        if self._to_tell:
            self.timer("tell", TELL_EVERY, _TellMore())
        self._tell_drained()

    def _tell_drained(self) -> None:
        if not self._to_leave:
            for reply in self._drained:
                reply.answer(True)
            self._drained.clear()

    def _begin(self, stream: trio.SocketStream) -> None:
        if not self._handover.take(stream):
            return
        if len(self._cell.children) >= self._limits.total + self._spare:  # not even somebody to say no
            stream.socket.close()
            return
        self._number += 1
        name = f"c{self._number}"
        self._unmade[name] = stream
        spec = ChildSpec(
            name,
            partial(self._connection, name, stream),
            mailbox=CONNECTION_MAILBOX,
            shutdown=CONNECTION_SHUTDOWN,
            restart=Restart.TEMPORARY,
        )
        self.start_child(spec)

    def _connection(self, name: str, stream: trio.SocketStream) -> Connection:
        connection = Connection(stream, self._settings, self._services(), self._entrance)
        del self._unmade[name]
        return connection


class Gateway(Supervisor):
    """Supervises the connections and the listener, and closes the streams that get stuck between the two.

    A listener that crashes leaves the connections alone; without connections there is nobody to hand a stream to, so
    their crash restarts the listener too.

    Args:
        listeners: where to accept.
        make: makes the connections' supervisor.
        connections: its address.
    """

    strategy = Strategy.REST_FOR_ONE
    intensity = Intensity(5, 10.0)

    def __init__(
        self,
        listeners: Sequence[trio.SocketListener],
        make: Callable[[Handover], Connections],
        connections: Callable[[], Ref[Any]],
    ) -> None:
        self._listeners = listeners
        self._make = make
        self._connections = connections
        self._handover = Handover()

    def children_of(self) -> Sequence[ChildSpec]:
        handover = self._handover
        return (
            ChildSpec("connections", lambda: self._make(handover), mailbox=CONNECTIONS_MAILBOX, shutdown=float("inf")),
            ChildSpec("listener", lambda: Listener(self._listeners, self._connections(), handover)),
        )

    async def stopped(self, reason: Reason) -> None:
        await super().stopped(reason)
        self._handover.close()


def gateway_spec(
    settings: GatewaySettings,
    services: Callable[[], GatewayServices],
    listeners: Sequence[trio.SocketListener],
    *,
    limits: EntranceLimits,
    connections: Callable[[], Ref[Any]],
    spare: int = SPARE,
) -> ChildSpec:
    """The gateway's part of the tree.

    Above the limits an upgrade is refused in words, by `spare` actors at once; above those, without.
    """
    return ChildSpec(
        "gateway",
        lambda: Gateway(
            listeners,
            lambda handover: Connections(settings, services, limits, handover, spare=spare),
            connections,
        ),
        shutdown=float("inf"),
    )
