"""What becomes of users' events, by user and device, read where it is counted: nothing here is an estimate.

Like the census it reads the actors where they are, without a message and without a checkpoint, so that all figures are
of one moment and a daemon that is busy answers as fast as an idle one. Ten thousand connections take some 20 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.gateway.connection import Connection
from actors.users.context import UserContext

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.users.device import Device
    from runtime import System

USERS: Final = "users"
CONNECTIONS: Final = ("gateway", "connections")


@attrs.frozen
class Wire:
    """One open WebSocket of a user: durable events that were taken by its client's side, bytes that wait for it."""

    connection_id: str
    sent: int
    queued_bytes: int


NO_WIRE: Final = Wire("", 0, 0)


@attrs.frozen
class DeviceDelivery:
    """One connected client of a user.

    Attributes:
        client_id: what it calls itself.
        wire: its connection.
        came_in: the event after which it came in.
        acked: the last event that it has acknowledged; None if it never has.
        acknowledged: how many it has acknowledged since it came in.
        waiting: how many it has not.
    """

    client_id: str
    wire: Wire
    came_in: int
    acked: int | None
    acknowledged: int
    waiting: int


@attrs.frozen
class UserDelivery:
    """One active user; see `Continuity` for the counts."""

    user_id: str
    attempted: int
    committed: int
    sent: int
    acknowledged: int
    silent: int
    queued_bytes: int
    devices: tuple[DeviceDelivery, ...]


@attrs.frozen
class Delivery:
    """All active users at one moment, in order of their ids; `queued_bytes` is over all connections."""

    users: tuple[str, ...]
    shown: tuple[UserDelivery, ...]
    queued_bytes: int


def take_delivery(system: System, *, after: str = "", most: int, only: str | None = None) -> Delivery:
    """How the first `most` users behind `after` stand, or the user `only`."""
    contexts = {context.user: context for context in _actors(system, (USERS,), UserContext)}
    users = tuple(sorted(user for user in contexts if only is None or user == only))
    wires: dict[str, dict[str, Wire]] = {user: {} for user in [user for user in users if user > after][:most]}
    queued = 0
    for connection in _actors(system, CONNECTIONS, Connection):
        about = connection.inspect()
        queued += about["outbound_bytes"]
        if about["user"] in wires:
            path = connection.ref.path
            wire = Wire(path.rpartition("/")[2], about["events_sent"], about["outbound_bytes"])
            wires[about["user"]][path] = wire
    return Delivery(users, tuple(_user(contexts[user], its) for user, its in wires.items()), queued)


def _user(context: UserContext, wires: dict[str, Wire]) -> UserDelivery:
    counts = context.continuity
    devices = [device for device in context.devices.all() if device.connection is not None]
    return UserDelivery(
        context.user,
        counts.attempted,
        counts.committed,
        counts.sent,
        counts.acknowledged,
        counts.silent,
        sum(wire.queued_bytes for wire in wires.values()),
        tuple(_device(device, context.released, wires) for device in devices),
    )


def _device(device: Device, released: int, wires: dict[str, Wire]) -> DeviceDelivery:
    assert device.connection is not None
    return DeviceDelivery(
        device.client_id,
        wires.get(device.connection.path, NO_WIRE),
        device.came_in,
        device.acked if device.acked >= 0 else None,
        device.settled - device.came_in,
        max(0, released - device.settled),
    )


def _actors(system: System, place: tuple[str, ...], kind: type[Any]) -> Iterator[Any]:
    """The running actors of a kind beneath a supervisor."""
    cell: Any = system.root
    for name in place:
        cell = None if cell is None else cell.children.get(name)
    if cell is not None:
        for child in cell.children.values():
            if isinstance(child.actor, kind):
                yield child.actor
