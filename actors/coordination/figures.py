"""What each agent has done, and how it is seen. Pure.

Operators see all that an agent does. Of an agent that is everybody's, a user sees what it does for that user: how busy
others keep it is none of the user's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.protocol.channel_events import AgentMetrics, AgentState, AgentView

if TYPE_CHECKING:
    from actors.coordination.board import Place
    from actors.coordination.messages import Report

MOST_OWN: Final = 10_000
"""Pairs of an agent and a user whose figures are kept; beyond it those go that were the longest without work."""


@attrs.define(eq=False)
class Figures:
    """One agent's, since it came or the coordinator started.

    Attributes:
        milliseconds: that what it completed has taken, in all.
        failing: the last thing that it did came to nothing.
    """

    completed: int = 0
    failed: int = 0
    milliseconds: float = 0.0
    last_activity: str | None = None
    failing: bool = False

    def begun(self, timestamp: str) -> None:
        """It has been given something."""
        self.last_activity = timestamp
        self.failing = False

    def ended(self, report: Report, timestamp: str) -> None:
        """Something that it did came out."""
        self.last_activity = timestamp
        if report.outcome == "completed":
            self.completed += 1
            self.milliseconds += report.milliseconds
        else:
            self.failed += 1
            self.failing = True

    def metrics(self) -> AgentMetrics:
        ended = self.completed + self.failed
        return AgentMetrics(
            tasks_completed=self.completed,
            tasks_failed=self.failed,
            average_response_ms=round(self.milliseconds / self.completed, 1) if self.completed else None,
            success_rate=round(self.completed / ended, 4) if ended else None,
            last_activity=self.last_activity,
        )


class AllFigures:
    """Those of every agent, in all and for each user that it has worked for."""

    def __init__(self) -> None:
        self._whole: dict[str, Figures] = {}
        self._own: dict[tuple[str, str], Figures] = {}
        """By agent and user, who was the longest without work first."""

    def of(self, agent_id: str, user: str | None = None) -> Figures:
        """What this agent has done: for this user, or None: for all."""
        found = self._whole.get(agent_id) if user is None else self._own.get((agent_id, user))
        return found or Figures()

    def begun(self, agent_id: str, user: str, timestamp: str) -> None:
        """It has been given something by this user."""
        for figures in self._both(agent_id, user):
            figures.begun(timestamp)

    def ended(self, report: Report, timestamp: str) -> None:
        """Something that an agent did came out."""
        for figures in self._both(report.agent_id, report.user):
            figures.ended(report, timestamp)

    def forget(self, agent_id: str) -> None:
        """The agent is here no more."""
        self._whole.pop(agent_id, None)
        for pair in [pair for pair in self._own if pair[0] == agent_id]:
            del self._own[pair]

    def _both(self, agent_id: str, user: str) -> tuple[Figures, Figures]:
        own = self._own.pop((agent_id, user), None) or Figures()
        self._own[agent_id, user] = own
        if len(self._own) > MOST_OWN:
            del self._own[next(iter(self._own))]
        return self._whole.setdefault(agent_id, Figures()), own


def view(place: Place, name: str, role: str, figures: Figures, *, offline: bool, only: str | None = None) -> AgentView:
    """An agent as others see it; `only`: as one does who sees no more than its work for this user."""
    busy = sum(only is None or claim.user == only for claim in place.leases.values())
    if offline:
        state = AgentState.OFFLINE
    elif busy:
        state = AgentState.PROCESSING
    else:
        state = AgentState.ERROR if figures.failing else AgentState.IDLE
    return AgentView(
        agent_id=place.agent_id,
        name=name,
        role=role,
        status=state,
        capabilities=tuple(sorted(place.capabilities)),
        current_tasks=busy,
        max_concurrent_tasks=place.slots,
        load=round(busy / place.slots, 4),
        metrics=figures.metrics(),
    )
