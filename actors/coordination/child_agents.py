"""Agents that the agent of a task has started, at any remove. A part of the task's actor.

As in a run, each lives as long as the call of a tool that started it, works in the slot of the task, and is begun again
where it crashes. Nothing of them is kept: what cuts off the task's actor cuts off the attempt too, and the next attempt
starts others if it wants them. A task has no events of its agents; who is at work stands in its `task_status`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.coordination.working import STEP, agent_at_work, brief_of
from actors.protocol.catalogue import CATALOGUE, USUAL, Failure
from actors.workflows.children import refusal
from actors.workflows.messages import Answered, ChildAnswered, GaveNoAnswer, Situation
from runtime import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.agents.step import AgentServices
    from actors.coordination.record import TaskRecord
    from actors.workflows.messages import StartChildAgent
    from runtime import Host, ReplyTo

STOP_WITHIN: Final = 5.0
NOT_ANY_MORE: Final = "This work has ended."


@attrs.define(eq=False)
class _Child:
    """One that works. `actor`: the name of the actor of its present attempt."""

    order: StartChildAgent
    record: TaskRecord
    depth: int
    reply: ReplyTo
    attempt: int = 0
    actor: str = ""


class ChildAgents:
    """Made by a task for itself.

    Args:
        task: whose.
        agents: what agents are given.
        attempts: that may crash, of each.
        say: what people are told of how far the task is.
    """

    def __init__(self, task: Host, agents: AgentServices, attempts: int, say: Callable[[str], None]) -> None:
        self._task = task
        self._agents = agents
        self._attempts = attempts
        self._say = say
        self._living: dict[str, _Child] = {}
        """By the names of their steps."""
        self._begun: dict[str, int] = {}
        """How many each step has started, those that have ended included."""

    def start(self, order: StartChildAgent, record: TaskRecord) -> object:
        """Begin a child; its end answers the message in hand. `record`: of the task, whose attempt is open."""
        parent = self._living.get(order.step)
        if order.attempt != (record.attempt if order.step == STEP else parent.attempt if parent else None):
            return Refused(NOT_ANY_MORE)
        depth = 0 if parent is None else parent.depth
        why = refusal(order.agent, depth, sum(self._begun.values()), self._agents.agents)
        if why is not None:
            return Refused(why)
        number = self._begun[order.step] = self._begun.get(order.step, 0) + 1
        name = f"{order.step}.{number}"
        self._living[name] = child = _Child(order, record, depth + 1, self._task.defer())
        self._begin(name, child)
        return None

    def answered(self, message: Answered | GaveNoAnswer) -> bool:
        """What an agent says last. Whether it was a child's."""
        if message.step == STEP:
            return False
        child = self._living.get(message.step)
        if child is not None and child.attempt == message.attempt:
            if isinstance(message, Answered):
                text = None if message.degraded else message.text
                said = "has finished." if text is not None else "could not reach a model."
                self._end(message.step, text, f"{self._role(child)} {said}")
            else:
                self._end(message.step, None, CATALOGUE[message.failure or USUAL[message.error_type]].sentence)
        return True

    def gone(self, actor: str) -> bool:
        """An actor has ended. Whether it was that of a child that has not answered."""
        name = next((name for name, child in self._living.items() if child.actor == actor), None)
        if name is None:
            return False
        child = self._living[name]
        self.stop_of(name)
        if child.attempt < self._attempts:
            self._begin(name, child)
        else:
            self._end(name, None, CATALOGUE[Failure.AGENT_CRASHED].sentence)
        return True

    def stop_of(self, step: str, call: str | None = None) -> None:
        """Nobody waits for the children of this step any more, or for those of this call of it."""
        for name, child in list(self._living.items()):
            if child.order.step == step and call in {None, child.order.tool_call_id}:
                del self._living[name]
                self._task.stop_child(child.actor, why="nobody waits for it any more", within=STOP_WITHIN)
                self.stop_of(name)

    def _begin(self, name: str, child: _Child) -> None:
        """The next attempt."""
        child.attempt += 1
        child.actor = f"attempt-{child.record.attempt}.{name}-{child.attempt}"
        situation = Situation(
            run=self._task.ref,
            run_id=child.record.task_id,
            user=child.record.user,
            step=name,
            attempt=child.attempt,
            mission=child.order.mission,
            brief=brief_of(child.record),
            priority=child.record.priority,
        )
        definition = self._agents.agents[child.order.agent]
        self._task.start_child(agent_at_work(child.actor, situation, definition, self._agents))
        self._say(f"{definition.role} has started.")

    def _end(self, name: str, text: str | None, sentence: str) -> None:
        self.stop_of(name)
        child = self._living.pop(name)
        self._say(sentence)
        child.reply.answer(ChildAnswered(text, sentence))

    def _role(self, child: _Child) -> str:
        return self._agents.agents[child.order.agent].role
