"""The agents at work for one user, as the user's events tell of them. Pure.

An agent here is the one that does a step of a run, over all attempts at it. It is known from the first event that tells
of it to the end of its run; a context that has only just woken knows of what came since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.protocol.channel_events import AgentMetrics, AgentState, AgentView
from actors.protocol.event_types import RUN_ENDS, AgentStatus, EventType

if TYPE_CHECKING:
    from actors.protocol.events import Event

_RESTS: Final = {
    AgentStatus.COMPLETED: AgentState.IDLE,
    AgentStatus.CANCELLED: AgentState.IDLE,
    AgentStatus.ERROR: AgentState.ERROR,
}
"""What an agent is after the end of an attempt; before it, it is processing."""


@attrs.define
class _AtWork:
    """One agent, by what it has done so far."""

    completed: int = 0
    failed: int = 0
    response_ms: float = 0.0
    responses: int = 0

    def metrics(self, last_activity: str) -> AgentMetrics:
        ended = self.completed + self.failed
        return AgentMetrics(
            tasks_completed=self.completed,
            tasks_failed=self.failed,
            average_response_ms=round(self.response_ms / self.responses, 1) if self.responses else None,
            success_rate=round(self.completed / ended, 4) if ended else None,
            last_activity=last_activity,
        )


class AgentsAtWork:
    """See the module."""

    def __init__(self) -> None:
        self._agents: dict[str, dict[str, _AtWork]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._agents.values()))

    def see(self, event: Event) -> AgentView | None:
        """An event of the user was committed: how the agent stands that it tells of, if it tells of one."""
        run_id = event.run_id
        if run_id is None:
            return None
        if event.type == EventType.RUN_STATUS:
            if event.metadata["status"] in RUN_ENDS:
                self._agents.pop(run_id, None)
        elif event.type == EventType.AGENT_RESPONSE:
            agent = self._agent(run_id, event.metadata["step"])
            agent.response_ms += event.metadata["duration_ms"]
            agent.responses += 1
        elif event.type == EventType.AGENT_STATUS:
            return self._stands(run_id, event)
        return None

    def _agent(self, run_id: str, step: str) -> _AtWork:
        return self._agents.setdefault(run_id, {}).setdefault(step, _AtWork())

    def _stands(self, run_id: str, event: Event) -> AgentView:
        step, status = event.metadata["step"], AgentStatus(event.metadata["status"])
        agent = self._agent(run_id, step)
        agent.completed += status is AgentStatus.COMPLETED
        agent.failed += status is AgentStatus.ERROR
        state = _RESTS.get(status, AgentState.PROCESSING)
        busy = int(state is AgentState.PROCESSING)
        return AgentView(
            agent_id=f"{run_id}.{step}",
            name=event.agent_name,
            role=event.metadata.get("role", event.agent_name),
            status=state,
            current_tasks=busy,
            load=float(busy),
            metrics=agent.metrics(event.timestamp),
        )
