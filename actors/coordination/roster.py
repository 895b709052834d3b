"""Workers that have come over a WebSocket: who they are, what they can do, and when they were last there.

It is kept outside the coordinator, whose crash loses none of them: a worker registers once a connection, and would not
know that it has to again.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.protocol.events import Event
    from runtime import Ref

MOST_OF_A_CLIENT: Final = 100
"""Agents that one client may register."""


@attrs.frozen
class Worker:
    """One end of a connection: a client of a user. It is what survives a reconnect."""

    user: str
    client_id: str


@attrs.frozen
class Registration:
    """An agent as its worker has registered it.

    `owner`: whom it serves alone; None: everybody.
    """

    agent_id: str
    worker: Worker
    name: str
    role: str
    capabilities: frozenset[str]
    slots: int
    owner: str | None


@attrs.frozen
class Told:
    """What a worker was told that it has, for which agent of it, and on which connection."""

    agent_id: str
    connection: Ref[Any]
    offer: Event


@attrs.define(eq=False)
class Attendance:
    """A worker, here or gone.

    Attributes:
        connection: on which it is here; None while it is gone.
        changed: when it came or went (trio's clock).
        agents: that it has registered, by id.
        silent: ids of those that have let a deadline pass, with the time at which the attempt had begun: offline until
            it is known that anything has come from the worker since.
        offline: it has been gone for too long.
    """

    worker: Worker
    connection: Ref[Any] | None
    changed: float
    agents: dict[str, Registration] = attrs.field(factory=dict)
    silent: dict[str, float] = attrs.field(factory=dict)
    offline: bool = False

    def present(self, agent_id: str) -> bool:
        """Whether this agent may be given something now."""
        return self.connection is not None and agent_id not in self.silent

    def is_offline(self, agent_id: str) -> bool:
        """Whether this agent is taken to be gone, and what it had to be lost."""
        return self.offline or agent_id in self.silent


class Roster:
    """The workers of one daemon.

    `began`: whether there was a coordinator before. `told`: what workers were told that they have, by lease.
    """

    def __init__(self) -> None:
        self._workers: dict[Worker, Attendance] = {}
        self._by_agent: dict[str, Attendance] = {}
        self._by_connection: dict[Ref[Any], Attendance] = {}
        self.began = False
        self.told: dict[str, Told] = {}

    def __iter__(self) -> Iterator[Attendance]:
        return iter(list(self._workers.values()))

    def get(self, worker: Worker) -> Attendance | None:
        return self._workers.get(worker)

    def by_connection(self, connection: Ref[Any]) -> Attendance | None:
        return self._by_connection.get(connection)

    def by_agent(self, agent_id: str) -> Attendance | None:
        return self._by_agent.get(agent_id)

    def registration(self, agent_id: str) -> Registration | None:
        attendance = self._by_agent.get(agent_id)
        return None if attendance is None else attendance.agents[agent_id]

    def enter(self, worker: Worker, connection: Ref[Any], now: float) -> Attendance:
        """It is here on this connection."""
        attendance = self._workers.setdefault(worker, Attendance(worker, None, now))
        self.leave(attendance, now)
        attendance.connection = connection
        self._by_connection[connection] = attendance
        attendance.offline = False
        attendance.silent.clear()
        return attendance

    def leave(self, attendance: Attendance, now: float) -> None:
        """It has no connection any more."""
        if attendance.connection is not None:
            del self._by_connection[attendance.connection]
        attendance.connection, attendance.changed = None, now

    def add(self, attendance: Attendance, registration: Registration) -> None:
        """One more agent of it, or the same as it is now."""
        attendance.agents[registration.agent_id] = registration
        self._by_agent[registration.agent_id] = attendance

    def remove(self, attendance: Attendance, agent_id: str) -> None:
        """An agent of it that is not here any more; with the last the worker is forgotten."""
        del attendance.agents[agent_id], self._by_agent[agent_id]
        self.told = {lease_id: told for lease_id, told in self.told.items() if told.agent_id != agent_id}
        attendance.silent.pop(agent_id, None)
        if not attendance.agents:
            del self._workers[attendance.worker]
            self.leave(attendance, attendance.changed)


def agent_id_of(worker: Worker, name: str) -> str:
    """The same for the same worker and name, whenever it registers; nobody else's has the same."""
    parts = "".join(f"{len(part)}:{part}" for part in (worker.user, worker.client_id, name))
    digest = hashlib.sha256(parts.encode()).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:40]
    return f"{readable or 'worker'}-{digest[:16]}"
