"""What each agent has done, and how it is seen by others. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from actors.protocol.channel_events import AgentMetrics, AgentState, AgentView

if TYPE_CHECKING:
    from actors.coordination.board import Place
    from actors.coordination.messages import Release


@attrs.define(eq=False)
class Figures:
    """One agent's, since the daemon started.

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

    def ended(self, release: Release, timestamp: str) -> None:
        """It has given something back."""
        self.last_activity = timestamp
        if release.outcome == "completed":
            self.completed += 1
            self.milliseconds += release.milliseconds
        elif release.outcome == "failed":
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


def view(place: Place, name: str, role: str, figures: Figures, *, offline: bool) -> AgentView:
    """An agent as others see it."""
    busy = len(place.leases)
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
        load=round(place.load, 4),
        metrics=figures.metrics(),
    )
