"""The gateway: a listener that accepts, and one actor for each socket that it accepted.

The listening sockets are opened by the program, before anything else starts, and outlive every crash in here: a client
that connects while the listener restarts waits in the kernel's queue.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

import trio

from actors.gateway.connection import Connection, GatewayServices, GatewaySettings
from actors.gateway.messages import FULL, LEAVING, Accepted, Drain
from runtime import Actor, ActorError, Mailbox, TaskEnded
from supervisors import ChildSpec, DynamicSupervisor, Intensity, Restart, Strategy, supervise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.gateway.refusal import Refusal
    from runtime import Reason, Ref, ReplyTo

NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
BREATHE: Final = 0.1
"""Seconds without accepting after the system had no more file handles or memory."""
HANDOVER_WITHIN: Final = 30.0
CONNECTION_MAILBOX: Final = Mailbox(2048)
CONNECTION_SHUTDOWN: Final = 2.0
SPARE: Final = 64


class Listener(Actor):
    """Accepts on the program's listening sockets and hands each stream to `connections`."""

    def __init__(self, listeners: Sequence[trio.SocketListener], connections: Ref[Any]) -> None:
        self._listeners = listeners
        self._connections = connections

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
        handed = False
        try:
            await self._connections.send(Accepted(stream), HANDOVER_WITHIN)
            handed = True
        except ActorError:  # they are being restarted, and this actor with them
            pass
        finally:
            if not handed:
                await trio.aclose_forcefully(stream)


class Connections(DynamicSupervisor):
    """One `Connection` for each accepted stream. None is ever restarted: a socket has one life."""

    def __init__(
        self, settings: GatewaySettings, services: Callable[[], GatewayServices], *, most: int, spare: int = SPARE
    ) -> None:
        self._settings = settings
        self._services = services
        self._most = most
        self._spare = spare
        self._draining = False
        self._drained: list[ReplyTo] = []
        self._number = 0

    async def receive(self, message: Any) -> object:
        match message:
            case Accepted(stream):
                self._begin(stream)
            case Drain():
                self._draining = True
                self._drained.append(self.defer())
                for connection in self.children.values():
                    connection.tell(message)
                self._tell_drained()
            case _:
                return await super().receive(message)
        return None

    def child_gone(self, name: str, ref: Ref[Any], reason: Reason, *, gave_up: bool) -> None:
        del name, ref, reason, gave_up
        self._tell_drained()

    def _tell_drained(self) -> None:
        if not self._cell.children:
            for reply in self._drained:
                reply.answer(True)
            self._drained.clear()

    def _begin(self, stream: trio.SocketStream) -> None:
        here = len(self._cell.children)
        if here >= self._most + self._spare:  # not even somebody to say no
            stream.socket.close()
            return
        turn_away = self._refusal(here)
        settings, services = self._settings, self._services()
        self._number += 1
        spec = ChildSpec(
            f"c{self._number}",
            lambda: Connection(stream, settings, services, turn_away=turn_away),
            mailbox=CONNECTION_MAILBOX,
            shutdown=CONNECTION_SHUTDOWN,
            restart=Restart.TEMPORARY,
        )
        self.start_child(spec)

    def _refusal(self, here: int) -> Refusal | None:
        if self._draining:
            return LEAVING
        return FULL if here >= self._most else None


def gateway_spec(
    settings: GatewaySettings,
    services: Callable[[], GatewayServices],
    listeners: Sequence[trio.SocketListener],
    *,
    most: int,
    connections: Callable[[], Ref[Any]],
    spare: int = SPARE,
) -> ChildSpec:
    """The gateway's part of the tree. A listener that crashes leaves the connections alone; without `connections`
    there is nobody to hand a stream to, so their crash restarts the listener too.

    Above `most` connections an upgrade is refused in words, by `spare` actors at once; above those, without.
    """
    return supervise(
        "gateway",
        [
            ChildSpec(
                "connections",
                lambda: Connections(settings, services, most=most, spare=spare),
                mailbox=Mailbox(4096),
                shutdown=float("inf"),
            ),
            ChildSpec("listener", lambda: Listener(listeners, connections())),
        ],
        strategy=Strategy.REST_FOR_ONE,
        intensity=Intensity(5, 10.0),
    )
