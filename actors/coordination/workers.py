"""Remote workers as the coordinator sees them come and go. What is known of them stands in the `Roster`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.coordination.board import Place
from actors.coordination.roster import MOST_OF_A_CLIENT, Registration, Told, agent_id_of
from actors.protocol.codes import ErrorCode
from actors.protocol.task_events import task_withdrawn
from actors.users.messages import CommandError, LastHeard, Later, ToClient
from runtime import Refused

if TYPE_CHECKING:
    from actors.coordination.coordinator import Coordinator
    from actors.coordination.messages import RegisterWorker
    from actors.coordination.roster import Attendance, Worker
    from actors.protocol.events import Event
    from runtime import Ref, Replied

FORGET_AFTER: Final = 3600.0
"""Seconds for which a worker that is offline is still shown."""
TELL_AGAIN: Final = 0.2
LISTEN_WITHIN: Final = 5.0
LISTEN_EVERY: Final = 1.0
"""Seconds between two looks whether one that is silent is there again."""


class Workers:
    """See the module."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._board = coordinator.board
        self._leases = coordinator.leases
        self._roster = coordinator.services.roster

    def take_up(self) -> None:
        """The coordinator has begun: have those here that were there before."""
        for attendance in self._roster:
            for registration in attendance.agents.values():
                self._put(attendance, registration)
            if attendance.connection is not None:
                self._coordinator.watch(attendance.connection)
                for agent_id in attendance.silent:
                    self._listen(attendance, agent_id)
            elif attendance.offline:
                self._forget_later(attendance)
            else:
                self._expect_back(attendance)

    # --- what workers say

    def register(self, message: RegisterWorker) -> object:
        """Have an agent of the worker's here; its id."""
        worker = message.worker
        agent_id = agent_id_of(worker, message.name)
        known = self._roster.get(worker)
        if known is not None and agent_id not in known.agents and len(known.agents) >= MOST_OF_A_CLIENT:
            return Refused(CommandError(ErrorCode.LIMIT_REACHED))
        owner = None if message.shared else worker.user
        registration = Registration(
            agent_id, worker, message.name, message.role, message.capabilities, message.slots, owner
        )
        attendance = self._enter(worker, message.connection)
        self._roster.add(attendance, registration)
        self._put(attendance, registration)
        self._present(attendance)
        self._offer_again(attendance)
        return agent_id

    def unregister(self, worker: Worker, agent_id: str) -> object:
        """Have it here no more: its id again."""
        attendance = self._roster.get(worker)
        if attendance is None or agent_id not in attendance.agents:
            return Refused(CommandError(ErrorCode.NOT_FOUND))
        self.remove(agent_id)
        return agent_id

    def remove(self, agent_id: str) -> None:
        """It goes, and what it had goes to others."""
        attendance = self._roster.by_agent(agent_id)
        assert attendance is not None
        connection = attendance.connection
        self._leases.revoke(self._coordinator.forget(agent_id))
        self._roster.remove(attendance, agent_id)
        if not attendance.agents:
            self._coordinator.cancel_timer(("away", attendance.worker))
            if connection is not None:
                self._coordinator.unwatch(connection)

    def here(self, worker: Worker, connection: Ref[Any]) -> None:
        """A client has a connection. Most are no workers."""
        if self._roster.get(worker) is not None:
            attendance = self._enter(worker, connection)
            self._present(attendance)
            self._offer_again(attendance, surely=True)

    def heard(self, worker: Worker) -> None:
        """A worker has said something of its work: it is silent no more."""
        attendance = self._roster.get(worker)
        if attendance is not None and attendance.silent:
            attendance.silent.clear()
            self._present(attendance)

    # --- coming and going

    def _put(self, attendance: Attendance, registration: Registration) -> None:
        agent_id = registration.agent_id
        place = Place(agent_id, registration.slots, registration.capabilities, registration.owner, remote=True)
        place.present = attendance.present(agent_id)
        self._leases.give(self._board.put(place))

    def _enter(self, worker: Worker, connection: Ref[Any]) -> Attendance:
        known = self._roster.get(worker)
        before = None if known is None else known.connection
        if before is not connection:
            if before is not None:
                self._coordinator.unwatch(before)
            self._coordinator.watch(connection)
        self._coordinator.cancel_timer(("away", worker))
        return self._roster.enter(worker, connection, self._coordinator.now())

    def _present(self, attendance: Attendance) -> None:
        for agent_id in attendance.agents:
            self._leases.give(self._board.present(agent_id, present=attendance.present(agent_id)))
            self._coordinator.publish(agent_id, attendance.worker.user)

    def left(self, connection: Ref[Any]) -> None:
        """A connection has ended. If it was a worker's, that is given nothing new until it is back."""
        attendance = self._roster.by_connection(connection)
        if attendance is not None:
            self._roster.leave(attendance, self._coordinator.now())
            self._present(attendance)
            self._expect_back(attendance)

    def _expect_back(self, attendance: Attendance) -> None:
        left = attendance.changed + self._coordinator.services.offline_after - self._coordinator.now()
        self._coordinator.timer(("away", attendance.worker), left, Later(lambda: self._offline(attendance)))

    def _offline(self, attendance: Attendance) -> None:
        """It has been gone for too long."""
        attendance.offline = True
        for agent_id in attendance.agents:
            self._lose(attendance, agent_id)
        self._forget_later(attendance)

    def overdue(self, agent_id: str, began: float) -> None:
        """It has let a deadline pass: is it there at all? Whatever has come from it, a heartbeat too, says so.

        Until that is known it is given nothing.
        """
        attendance = self._roster.by_agent(agent_id)
        if attendance is not None and attendance.connection is not None:
            attendance.silent[agent_id] = began
            self._board.present(agent_id, present=False)
            self._listen(attendance, agent_id)

    def _listen(self, attendance: Attendance, agent_id: str, *, lost: bool = False) -> None:
        """Ask its connection, and again until something has come; `lost`: it was found silent, and has nothing left."""
        connection = attendance.connection
        if connection is None or agent_id not in attendance.silent:
            return

        def told(replied: Replied) -> None:
            since = attendance.silent.get(agent_id)
            if attendance.connection is not connection or since is None:
                return  # it has come anew, spoken or left
            heard = None if replied.error is not None else replied.value > since
            if heard:
                del attendance.silent[agent_id]
                self._present(attendance)
                return
            if heard is not None and not lost:
                self._lose(attendance, agent_id)
            again = Later(lambda: self._listen(attendance, agent_id, lost=lost or heard is not None))
            self._coordinator.timer(("listen", agent_id), LISTEN_EVERY, again)

        self._coordinator.request(connection, LastHeard(), LISTEN_WITHIN, tag=told)

    def _lose(self, attendance: Attendance, agent_id: str) -> None:
        self._board.present(agent_id, present=False)
        self._leases.revoke(self._board.revoke(agent_id))
        self._coordinator.publish(agent_id, attendance.worker.user)

    def _forget_later(self, attendance: Attendance) -> None:
        self._coordinator.timer(("away", attendance.worker), FORGET_AFTER, Later(lambda: self._forget(attendance)))

    def _forget(self, attendance: Attendance) -> None:
        for agent_id in list(attendance.agents):
            self.remove(agent_id)

    # --- offers

    def _offer_again(self, attendance: Attendance, *, surely: bool = False) -> None:
        """The worker may not have had what is open, or have lost it with its connection.

        `surely`: or with its context, which has a connection attached anew.
        """
        for agent_id in attendance.agents:
            place = self._board.place(agent_id)
            assert place is not None
            for lease_id in place.leases:
                if surely:
                    self._roster.told.pop(lease_id, None)
                self.offer(lease_id)

    def offer(self, lease_id: str) -> None:
        """Tell the worker what it has been given, if that is known: once on a connection.

        Where there is no connection, nothing is lost: it is told when there is one.
        """
        lease, agent_id = self._leases.get(lease_id), self._board.agent_of(lease_id)
        attendance = None if agent_id is None else self._roster.by_agent(agent_id)
        if lease is None or lease.offer is None or agent_id is None or attendance is None:
            return
        connection, told = attendance.connection, self._roster.told.get(lease_id)
        if connection is None or (told is not None and told.connection is connection):
            return
        stamp = self._coordinator.services.stamps.stamp()  # told again, it is another event
        if self._tell(attendance.worker, attrs.evolve(lease.offer, id=stamp.id, timestamp=stamp.timestamp)):
            self._roster.told[lease_id] = Told(agent_id, connection, lease.offer)
        else:
            self._coordinator.timer(("offer", lease_id), TELL_AGAIN, Later(lambda: self.offer(lease_id)))

    def over(self, lease_id: str, *, known: bool = False) -> None:
        """Nobody has this any more. A worker that was told of it is told so, unless it has said so itself.

        One that is away is not: when it is back it is told what it has, and this is not among it.
        """
        told = self._roster.told.pop(lease_id, None)
        attendance = None if told is None else self._roster.by_agent(told.agent_id)
        if told is None or attendance is None or attendance.connection is not told.connection or known:
            return
        of = told.offer.metadata
        stamp = self._coordinator.services.stamps.stamp()
        self._tell(attendance.worker, task_withdrawn(stamp, task_id=of["task_id"], attempt=of["attempt"]))

    def _tell(self, worker: Worker, event: Event) -> bool:
        return self._coordinator.services.context(worker.user).tell(ToClient(worker.client_id, event))
