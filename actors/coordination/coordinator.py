"""The coordinator: who is there, who has what, who waits. It decides nothing itself: `board` matches.

Agents come from the configuration, from operators over REST (kept in the state), and as workers at the end of a
connection (kept in the `Roster`, which outlives a crash of this actor). What is held is known from its holders: after a
crash they say it again, and for a moment nothing new is granted, so that no agent is given more than it may have.

A worker whose connection has ended is given nothing new; `offline_after` seconds later it counts as offline, and what
it had is revoked. One that lets a deadline pass, and of which nothing at all has been heard meanwhile, is offline at
once, until something is.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs

from actors.coordination.agents import DefinedAgents
from actors.coordination.board import Board, Place
from actors.coordination.figures import AllFigures, view
from actors.coordination.leases import Leases
from actors.coordination.messages import (
    Acquire,
    AgentsKnown,
    DefineAgent,
    Granted,
    Heard,
    Here,
    Hold,
    ListAgents,
    Offer,
    RegisterWorker,
    Release,
    RemoveAgent,
    Report,
    UnregisterWorker,
)
from actors.coordination.workers import Workers
from actors.operations.channels import Channels
from actors.protocol.channel_events import Channel
from actors.users.messages import Later
from runtime import Actor, Ended, Replied, Restarted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from actors.agents.definitions import AgentDefinition
    from actors.coordination.board import Claim, Grant
    from actors.coordination.counts import CoordinationCounts
    from actors.coordination.roster import Roster
    from actors.protocol.channel_events import AgentView
    from actors.protocol.stamps import Stamps
    from runtime import Ref


@attrs.frozen
class CoordinatorServices:
    """Whom the coordinator talks to, and what it is given.

    Attributes:
        journal: where agents that were defined at run time are kept.
        context: the address of a user's context.
        stamps: where ids and times come from.
        agents: the configured ones.
        chains: of models, that agents defined at run time may have.
        roster: the workers.
        counts: what is measured.
        offline_after: seconds.
    """

    journal: Ref[Any]
    context: Callable[[str], Ref[Any]]
    stamps: Stamps
    agents: Mapping[str, AgentDefinition]
    chains: Collection[tuple[str, ...]]
    roster: Roster
    counts: CoordinationCounts
    offline_after: float


class Coordinator(Actor):
    """See the module."""

    def __init__(self, services: CoordinatorServices) -> None:
        self.services = services
        self.board = Board()
        self.leases = Leases(self)
        self._workers = Workers(self)
        self._defined = DefinedAgents(self)
        self._figures = AllFigures()

    async def started(self) -> None:
        self._channels = Channels(self.system, self.services.stamps)
        self.services.counts.board = self.board
        self.services.counts.agents = self._count_agents
        if self.services.roster.began:
            self.leases.settle()
        self.services.roster.began = True
        for definition in self.services.agents.values():
            self.put(definition)
        self._workers.take_up()
        self._defined.load()

    async def receive(self, message: Any) -> object:
        match message:
            case Acquire():
                self.leases.acquire(message)
            case Release():
                self._release(message)
            case Report(agent_id):
                if self.board.place(agent_id) is not None:
                    self._figures.ended(message, self._timestamp())
            case Hold():
                self._hold(message)
            case Offer(lease_id, event):
                lease = self.leases.get(lease_id)
                if lease is not None:
                    lease.offer = event
                    self._workers.offer(lease_id)
            case RegisterWorker():
                return self._workers.register(message)
            case UnregisterWorker(worker, agent_id):
                return self._workers.unregister(worker, agent_id)
            case Here(worker, connection):
                self._workers.here(worker, connection)
            case Heard(worker):
                self._workers.heard(worker)
            case DefineAgent(definition):
                self._defined.define(definition)
            case RemoveAgent(agent_id):
                return self._remove(agent_id)
            case AgentsKnown():
                self._defined.when_known(lambda reply: reply.answer(True))
            case ListAgents(user, operator):
                return self._list(user, operator=operator)
            case Replied():
                message.tag(message)
            case Later(call):
                call()
            case Ended(ref) | Restarted(ref):
                self.leases.ended(ref)
                self._workers.left(ref)
        return None

    def inspect(self) -> dict[str, Any]:
        return {"agents": self._count_agents(), "waiting": self.services.counts.waiting(), "leases": len(self.leases)}

    # --- slots

    def _release(self, message: Release) -> None:
        agent_id = self.board.agent_of(message.lease_id)
        lease = self.leases.release(message)
        self.over(message.lease_id, known=message.said)
        if agent_id is not None and message.overdue is not None:
            self._workers.overdue(agent_id, message.overdue)
        self.leases.free(message.lease_id)
        if agent_id is not None and lease is not None:
            self.publish(agent_id, lease.claim.user)

    def over(self, lease_id: str, *, known: bool = False) -> None:
        """For `Leases` too: nobody has this any more. A worker that was told of it hears so, if it is not `known`."""
        self._workers.over(lease_id, known=known)

    def _hold(self, message: Hold) -> None:
        lease = self.leases.hold(message)
        if lease is not None and message.offer is not None and lease.offer is None:
            lease.offer = message.offer
            self._workers.offer(message.claim.lease_id)

    # --- agents

    def put(self, definition: AgentDefinition) -> None:
        """Have an agent of this daemon here."""
        slots, capabilities = definition.max_concurrent_tasks, frozenset(definition.capabilities)
        self.leases.give(self.board.put(Place(definition.name, slots, capabilities)))

    def _remove(self, agent_id: str) -> object:
        if self.services.roster.by_agent(agent_id) is None:
            self._defined.remove(agent_id)
            return None
        seen = self.see(agent_id)
        self._workers.remove(agent_id)
        return seen

    def forget(self, agent_id: str) -> list[Claim]:
        """An agent is here no more; what it had."""
        self._figures.forget(agent_id)
        return self.board.remove(agent_id)

    def granted(self, lease_id: str, agent_id: str) -> Granted:
        """What a holder is told of its slot."""
        registration = self.services.roster.registration(agent_id)
        if registration is not None:
            return Granted(lease_id, agent_id, registration.role, worker=registration.worker)
        definition = self._defined.get(agent_id)
        assert definition is not None
        return Granted(lease_id, agent_id, definition.role, definition)

    # --- how they are seen

    def begun(self, grant: Grant) -> None:
        """An agent has been given something."""
        self._figures.begun(grant.agent_id, grant.claim.user, self._timestamp())

    def _timestamp(self) -> str:
        return self.services.stamps.stamp().timestamp

    def see(self, agent_id: str, user: str | None = None) -> AgentView | None:
        """The agent as it is now, if it is here: as this user may see it, or None: as operators do."""
        place = self.board.place(agent_id)
        if place is None:
            return None
        attendance = self.services.roster.by_agent(agent_id)
        if attendance is not None:
            registration = attendance.agents[agent_id]
            name, role, offline = registration.name, registration.role, attendance.is_offline(agent_id)
        else:
            definition = self._defined.get(agent_id)
            assert definition is not None
            name, role, offline = definition.name, definition.role, False
        only = user if place.owner is None else None  # all that one does who is one user's is that user's
        return view(place, name, role, self._figures.of(agent_id, only), offline=offline, only=only)

    def publish(self, agent_id: str, owner: str) -> None:
        """Tell `owner`, and operators, how the agent stands: of one that is everybody's, `owner` hears of its work for
        `owner`."""
        if self._channels.listened(Channel.AGENT_STATUS, owner):
            self._channels.agent_status(owner, self.see(agent_id, owner), whole=self.see(agent_id))

    def _list(self, user: str, *, operator: bool) -> tuple[AgentView, ...]:
        may_see = [place for place in self.board.places() if operator or place.owner in {None, user}]
        only = None if operator else user
        return tuple(seen for place in may_see if (seen := self.see(place.agent_id, only)) is not None)

    def _count_agents(self) -> dict[str, int]:
        seen = [self.see(place.agent_id) for place in self.board.places()]
        return dict(Counter(each.status.value for each in seen if each is not None))
