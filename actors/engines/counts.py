"""What was measured of one engine. Plain attributes: whoever does the thing counts it; nothing is estimated.

It lies with the daemon's counters and outlives the engine's actors.
"""

from __future__ import annotations

import attrs

from actors.protocol.channel_events import EngineView


@attrs.define(eq=False)
class Load:
    """What one actor of an engine has now: executions under way, and waiting."""

    executing: int = 0
    queued: int = 0


@attrs.define(eq=False)
class EngineCounts:
    """One engine.

    Attributes:
        name, limit, queue: as configured: executions at once, and how many may wait.
        state: running; degraded while something stands in for it; offline.
        loads: by actor: the engine's own and its understudy's.
        completed, failed: executions that ended so, whoever did them; cancelled ones are neither.
        cancelled: nobody wanted them any more.
        diverted: of all that began, those that the understudy took.
        refused: for want of room.
        milliseconds: of all completed, from arrival to end.
    """

    name: str
    limit: int = 0
    queue: int = 0
    state: str = "offline"
    loads: dict[str, Load] = attrs.field(factory=dict)
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    diverted: int = 0
    refused: int = 0
    milliseconds: float = 0.0

    @property
    def executing(self) -> int:
        return sum(load.executing for load in self.loads.values())

    @property
    def queued(self) -> int:
        return sum(load.queued for load in self.loads.values())

    def view(self) -> EngineView:
        """As people and channels see it."""
        return EngineView(
            engine=self.name,
            state=self.state,
            load=round(self.executing / self.limit, 4) if self.limit else 0.0,
            executing=self.executing,
            queued=self.queued,
            limit=self.limit,
            queue_limit=self.queue,
            completed=self.completed,
            failed=self.failed,
            diverted=self.diverted,
            average_ms=round(self.milliseconds / self.completed, 1) if self.completed else None,
        )
