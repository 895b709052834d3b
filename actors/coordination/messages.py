"""What is said to and by the coordinator and the tasks."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import attrs

from actors.agents.definitions import AgentDefinition
from actors.coordination.board import Claim
from actors.coordination.roster import Worker
from actors.protocol.events import Event
from actors.storage.interface import KeepReply
from runtime import Ref

Outcome: TypeAlias = Literal["completed", "failed"]

# --- slots


@attrs.frozen
class Acquire:
    """To the coordinator, by request: a slot for this claim. Answered with `Granted` when there is one, however late.

    Asked again with the same `lease_id`, after a deadline or a crash, it has kept its place, or what it was given.
    Nobody but the holder gives it back; where the holder ends or restarts, the coordinator takes it.
    """

    claim: Claim
    holder: Ref[Any]


@attrs.frozen
class Granted:
    """The slot of an agent.

    Attributes:
        agent_id: whose.
        role: its title, for people.
        definition: of an agent of this daemon; None: it is a worker elsewhere.
        worker: who is at the other end; None where there is nobody.
    """

    lease_id: str
    agent_id: str
    role: str
    definition: AgentDefinition | None = None
    worker: Worker | None = None


@attrs.frozen
class Release:
    """To the coordinator: the slot, or the place in the queue, is not wanted any more.

    `overdue`: of a worker that has let a deadline pass, when the attempt began (trio's clock). `said`: a worker has
    said itself how it went.
    """

    lease_id: str
    overdue: float | None = None
    said: bool = False


@attrs.frozen
class Report:
    """To the coordinator: what an agent did came out so. It is for the agent's figures, and for nothing else.

    It is told when that is known. The slot is given back by itself, when the agent has stopped; where its holder ends
    before, nobody gives it back, and what was done has been counted all the same.

    Attributes:
        user: for whom it was done.
        milliseconds: that it took.
    """

    agent_id: str
    user: str
    outcome: Outcome
    milliseconds: float = 0.0


@attrs.frozen
class Hold:
    """To the coordinator: this is held. It may have restarted, and know nothing of it.

    `offer`: what the worker is to be told, as in `Offer`.
    """

    claim: Claim
    holder: Ref[Any]
    granted: Granted
    offer: Event | None = None


@attrs.frozen
class Offer:
    """To the coordinator, from the holder of a worker's slot: have the worker told. Told again where it comes back."""

    lease_id: str
    event: Event


@attrs.frozen
class Revoked:
    """To a holder: the slot is gone with its agent. It has been given back already."""

    lease_id: str


# --- agents


@attrs.frozen
class RegisterWorker:
    """A worker at the end of this connection. Answered with its agent_id, or refused with `CommandError`.

    Attributes:
        connection: the connection's actor.
        slots: how much it does at a time.
        shared: it serves everybody.
    """

    worker: Worker
    connection: Ref[Any]
    name: str
    role: str
    capabilities: frozenset[str]
    slots: int
    shared: bool = False


@attrs.frozen
class UnregisterWorker:
    """A worker takes its leave; what it had goes to others at once. Answered, or refused, as `RegisterWorker`."""

    worker: Worker
    agent_id: str


@attrs.frozen
class Here:
    """From a context: this client has a connection."""

    worker: Worker
    connection: Ref[Any]


@attrs.frozen
class Heard:
    """From a context: this client has said something of its work."""

    worker: Worker


@attrs.frozen
class DefineAgent:
    """An operator defines an agent of the daemon. Answered with its `AgentView` when that is on the disk."""

    definition: AgentDefinition


@attrs.frozen
class RemoveAgent:
    """An operator removes an agent that was defined at run time, or a worker. Answered with the `AgentView` that it
    had, or refused with `CommandError`. What an agent of the daemon has under way, it finishes."""

    agent_id: str


@attrs.frozen
class AgentsKnown:
    """Answered True as soon as it is known which agents operators have defined; refused where that takes too long."""


@attrs.frozen
class ListAgents:
    """Answered with the `AgentView`s that this user may see: `operator`s see all, and all of it."""

    user: str
    operator: bool = False


# --- tasks


@attrs.frozen
class CancelTask:
    """To the tasks' supervisor: nobody wants it any more. Answered True when that is on the disk, or when it had ended
    before; refused with `CommandError`."""

    user: str
    task_id: str


@attrs.frozen
class UpdateTask:
    """From a worker. Answered with the task's status when it is on the disk, or refused with `CommandError`.

    Attributes:
        worker: on whose connection it came.
        retry: of a failure: another attempt may fare better.
        keep: the reply to the command, its status still to be filled in.
        cause: the command's id.
    """

    worker: Worker
    task_id: str
    attempt: int
    status: Literal["running", "completed", "failed"]
    sentence: str = ""
    result: Any = None
    error: str = ""
    retry: bool = False
    keep: KeepReply | None = None
    cause: str | None = None
