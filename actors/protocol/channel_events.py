"""What a channel tells: the channels, and what each has for a payload. All of it is ephemeral.

The fields are those that the HTTP surface has for the same things. What is not known is None here, and absent on the
wire; nothing is made up.
"""

from enum import StrEnum
from typing import Any, Final

import attrs

from actors.protocol.event_types import EventType
from actors.protocol.events import Event, Stamp
from actors.protocol.wire_values import wire_value


class Channel(StrEnum):
    """Every channel that there is."""

    AGENT_STATUS = "agent_status"
    TASK_COMPLETION = "task_completion"
    ENGINE_STATUS = "engine_status"
    SYSTEM_METRICS = "system_metrics"
    SYSTEM_ALERTS = "system_alerts"


class AgentState(StrEnum):
    """Every value of an agent's `status`."""

    IDLE = "idle"
    PROCESSING = "processing"
    ERROR = "error"
    OFFLINE = "offline"


@attrs.frozen(kw_only=True)
class AgentMetrics:
    """What an agent has done. `success_rate` is a part of 1; it and the average are None until there is one."""

    tasks_completed: int = 0
    tasks_failed: int = 0
    average_response_ms: float | None = None
    success_rate: float | None = None
    last_activity: str | None = None


@attrs.frozen(kw_only=True)
class AgentView:
    """An agent. `load` is `current_tasks` of `max_concurrent_tasks`, a part of 1."""

    agent_id: str
    name: str
    role: str
    status: AgentState
    capabilities: tuple[str, ...] = ()
    current_tasks: int = 0
    max_concurrent_tasks: int = 1
    load: float = 0.0
    metrics: AgentMetrics = AgentMetrics()


@attrs.frozen(kw_only=True)
class TaskView:
    """A task. Times are timestamps of the protocol."""

    task_id: str
    task_type: str
    description: str
    status: str
    priority: str
    parameters: dict[str, Any] = attrs.field(factory=dict)
    required_capabilities: tuple[str, ...] = ()
    agent: str | None = None
    created_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    attempts: int = 0
    result: Any = None
    error: str | None = None


@attrs.frozen(kw_only=True)
class EngineView:
    """An engine: how it is and how busy, and nothing of any user.

    Attributes:
        state: running; degraded while something simpler stands in for it; offline.
        load: `executing` of `limit`, a part of 1, or above it while something stands in.
        queued: wait now, of `queue_limit` that may.
        completed, failed, diverted: since the daemon started.
        average_ms: of those completed, from arrival to end; None until there is one.
    """

    engine: str
    state: str
    load: float
    executing: int = 0
    queued: int = 0
    limit: int = 0
    queue_limit: int = 0
    completed: int = 0
    failed: int = 0
    diverted: int = 0
    average_ms: float | None = None


@attrs.frozen(kw_only=True)
class MetricsView:
    """What the daemon has measured of itself over the last `seconds`, and how many there are now.

    `loop_lag_ms`: the longest time by which the event loop was late in it. `restarts` and `isolation_violations` are
    counted since the daemon's start.
    """

    measured_at: str
    seconds: float
    connections: int
    users: int
    runs: int
    events_committed_per_second: float
    events_sent_per_second: float
    loop_lag_ms: float
    restarts: int
    isolation_violations: int


@attrs.frozen(kw_only=True)
class AlertView:
    """An alert, raised or resolved. Times are timestamps of the protocol."""

    alert_id: str
    name: str
    severity: str
    message: str
    raised_at: str
    value: float | None = None
    threshold: float | None = None
    resolved_at: str | None = None


Payload = AgentView | TaskView | EngineView | MetricsView | AlertView

PAYLOADS: Final[dict[Channel, type[Payload]]] = {
    Channel.AGENT_STATUS: AgentView,
    Channel.TASK_COMPLETION: TaskView,
    Channel.ENGINE_STATUS: EngineView,
    Channel.SYSTEM_METRICS: MetricsView,
    Channel.SYSTEM_ALERTS: AlertView,
}


def channel_event(stamp: Stamp, channel: Channel, payload: Payload) -> Event:
    """What a channel tells. TypeError for a payload that is not this channel's."""
    if not isinstance(payload, PAYLOADS[channel]):
        raise TypeError(f"{type(payload).__name__} is no payload of {channel}")
    metadata = {"channel": channel.value, "payload": wire_value(attrs.asdict(payload))}
    return Event(type=EventType.CHANNEL.value, id=stamp.id, timestamp=stamp.timestamp, metadata=metadata)
