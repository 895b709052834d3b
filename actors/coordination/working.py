"""How a task is done in this daemon: by an agent, as a child of the task, or by an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors.agents.step import AgentServices, AgentStep
from actors.coordination.record import Outcome, TaskRecord
from actors.engines.messages import Cancel, Execute
from actors.protocol.catalogue import CATALOGUE, USUAL
from actors.protocol.task_events import TaskStatus
from actors.workflows.messages import Answered, GaveNoAnswer, Situation
from runtime import Spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.agents.definitions import AgentDefinition
    from runtime import Actor, Ref, Replied

STEP: Final = "task"
"""What an agent takes a task for: the one step of a run."""
GRACE: Final = 5.0
"""Seconds beyond an execution's own deadline: then its engine does not answer at all."""


def local_work(task: Ref[Any], record: TaskRecord, definition: AgentDefinition, services: AgentServices) -> Spec:
    """The actor that does the open attempt."""
    situation = Situation(
        run=task,
        run_id=record.task_id,
        user=record.user,
        step=STEP,
        attempt=record.attempt,
        mission="",
        brief=brief_of(record),
        priority=record.priority,
    )
    return agent_at_work(child_name(record), situation, definition, services)


def agent_at_work(name: str, situation: Situation, definition: AgentDefinition, services: AgentServices) -> Spec:
    """An agent's actor. It is told of nothing earlier: a task has one step."""
    return Spec(name, lambda: AgentStep(situation, definition, (), services))


def child_name(record: TaskRecord) -> str:
    """What the actor of the last attempt is called."""
    return f"attempt-{record.attempt}"


def brief_of(record: TaskRecord) -> str:
    """What an agent reads of a task."""
    if not record.parameters:
        return record.description
    parameters = msgspec.json.format(msgspec.json.encode(record.parameters), indent=2).decode()
    return f"{record.description}\n\nParameters:\n{parameters}"


def outcome_of(message: Answered | GaveNoAnswer) -> Outcome:
    """What an agent's last word means."""
    if isinstance(message, Answered):
        result = {
            "text": message.text,
            "model": message.model,
            "degraded": message.degraded or None,
            "partial": message.partial or None,
        }
        return Outcome(TaskStatus.COMPLETED, {name: value for name, value in result.items() if value is not None})
    entry = CATALOGUE[message.failure or USUAL[message.error_type]]
    return Outcome(TaskStatus.FAILED, error=entry.sentence, retry=entry.retryable)


class EngineWork:
    """One attempt at an engine.

    Args:
        actor: the task.
        engine: its address.
        record: of the task, with the attempt open.
        deadline: of the attempt (trio's clock).
        done: called with what comes of each `ask`.
    """

    def __init__(
        self, actor: Actor, engine: Ref[Any], record: TaskRecord, deadline: float, done: Callable[[Replied], None]
    ) -> None:
        self._actor = actor
        self._engine = engine
        self._record = record
        self._deadline = deadline
        self._done = done
        self._asked = False

    def ask(self) -> None:
        """Have it done."""
        record = self._record
        execute = Execute(
            record.task_type,
            record.description,
            record.user,
            self._deadline,
            record.parameters,
            key=record.task_id,
            progress=self._actor.ref,
            priority=record.priority,
        )
        within = max(0.0, self._deadline - self._actor.now()) + GRACE
        self._asked = True
        self._actor.request(self._engine, execute, within, tag=self._answered)

    def _answered(self, replied: Replied) -> None:
        self._asked = False
        self._done(replied)

    def cancel(self) -> None:
        """Nobody wants it any more. Of what is over nothing is said: the next attempt goes by the same key."""
        if self._asked:
            self._engine.tell(Cancel(self._record.user, self._record.task_id))
