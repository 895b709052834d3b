"""Child agents, carried out: begun, stopped, and what they come to told to whoever waits. A part of the run's actor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.protocol.event_types import AgentStatus
from actors.workflows.children import living, new_child
from actors.workflows.messages import ChildAnswered
from runtime import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors.agents.definitions import AgentDefinition
    from actors.workflows.messages import StartChildAgent
    from actors.workflows.record import StepRecord
    from actors.workflows.run import Run
    from runtime import ReplyTo


class ChildAgents:
    """Made by a run for itself.

    Args:
        run: whose.
        agents: the agents that there are, by name.
        begin: opens the next attempt at a step.
        stop: stops the agent of a step; its attempt is closed as it is told.
    """

    def __init__(
        self,
        run: Run,
        agents: Mapping[str, AgentDefinition],
        begin: Callable[[StepRecord], None],
        stop: Callable[[str, AgentStatus], None],
    ) -> None:
        self._run = run
        self._agents = agents
        self._begin = begin
        self._stop = stop
        self._waiting: dict[str, ReplyTo] = {}
        """Who waits for the answer of each child."""

    def start(self, order: StartChildAgent) -> object:
        """Begin a child; its end answers the message in hand."""
        run = self._run
        child = new_child(run.record, order, {name: agent.role for name, agent in self._agents.items()})
        if isinstance(child, str):
            return Refused(child)
        self._waiting[child.name] = run.defer()
        self._begin(run.log.child(child))
        return None

    def stop_of(self, step: str, call: str | None = None) -> None:
        """Nobody waits for the children of this step any more, or for those of this call of it."""
        for child in living(self._run.record, step, call):
            self._waiting.pop(child.name, None)
            if child.open:
                self._stop(child.name, AgentStatus.CANCELLED)

    def attempt_over(self, child: StepRecord) -> None:
        """An attempt of a child has ended: begin the next, or say what it came to."""
        if not child.ended:
            if child.name in self._waiting:
                self._begin(child)
            return
        reply = self._waiting.pop(child.name, None)
        if reply is not None:
            reply.answer(ChildAnswered(None if child.degraded else child.text, child.sentence))
