"""The shape of `understudy.toml`: one class a table, one attribute a key, with what it allows.

What each key is for stands in default.toml, beside its default. Nothing has a default here but what may be left unset.
"""

from pathlib import Path
from typing import Annotated, Literal

import attrs

from understudy.configuration.engine_tables import EngineSettings
from understudy.configuration.kinds import CAPABILITY, FILLED, KEY, NAMED, ORIGIN, TITLE, URL, Range
from understudy.configuration.tool_tables import McpTable, ToolTable
from understudy.configuration.workflow_tables import ApprovalSettings, WorkflowTable

Count = Annotated[int, Range(1, 1_000_000_000)]
Seconds = Annotated[float, Range(0.01, 86_400, "seconds")]
Name = Annotated[str, NAMED]
Text = Annotated[str, FILLED]


@attrs.frozen
class ServerSettings:
    """`[server]`: the port, the data directory, the log, the end."""

    host: Text
    port: Annotated[int, Range(0, 65_535)]
    data: Path
    log_level: Literal["debug", "info", "warning", "error"]
    log_format: Literal["auto", "text", "json"]
    allowed_origins: tuple[Annotated[str, ORIGIN], ...]
    shutdown_deadline: Annotated[float, Range(0.1, 3_600, "seconds")]


@attrs.frozen
class ConnectionSettings:
    """`[connections]`: signs of life, sizes and limits of WebSocket connections."""

    heartbeat_interval: Seconds
    silent_intervals: Annotated[int, Range(1, 1_000)]
    hello_within: Seconds
    frame_bytes: Annotated[int, Range(1_024, 1_073_741_824, "bytes")]
    opening_frame_bytes: Annotated[int, Range(1_024, 1_073_741_824, "bytes")]
    outbound_bytes: Annotated[int, Range(1_024, 1_073_741_824, "bytes")]
    send_within: Seconds
    commands_per_minute: Count
    in_flight: Count
    total: Count
    per_user: Count
    per_address: Count
    admissions_per_second: Annotated[float, Range(0.1, 1_000_000)]
    admissions_at_once: Count
    come_back: Seconds
    goodbye_part: Annotated[float, Range(0, 0.9)]


@attrs.frozen
class LogSettings:
    """`[log]`: how much of each user's events is kept."""

    events: Count
    seconds: Annotated[float, Range(1, 3_153_600_000, "seconds")]


@attrs.frozen
class UserSettings:
    """`[users]`: the contexts of users."""

    idle_after: Seconds
    acknowledged_within: Seconds


@attrs.frozen
class RunSettings:
    """`[runs]`: what becomes of runs that are cut."""

    on_restart: Literal["resume", "fail"]
    attempts: Annotated[int, Range(1, 1_000)]
    interruptions: Annotated[int, Range(1, 1_000_000)]
    tool_rounds: Annotated[int, Range(1, 1_000)]
    tool_threads: Annotated[int, Range(1, 1_000)]
    artifact_bytes: Annotated[int, Range(1, 1_073_741_824, "bytes")]


@attrs.frozen
class TaskSettings:
    """`[tasks]`: how long and how often a task is tried, and for how long it is kept."""

    timeout: Seconds
    attempts: Annotated[int, Range(1, 1_000)]
    queue: Annotated[float, Range(0.01, 31_536_000, "seconds")]
    keep: Annotated[float, Range(1, 31_536_000, "seconds")]
    sweep: Seconds
    open_per_user: Count


@attrs.frozen
class WorkerSettings:
    """`[workers]`: agents at the end of a connection."""

    offline_after: Seconds


@attrs.frozen
class MonitoringSettings:
    """`[monitoring]`: what the daemon measures of itself."""

    metrics_interval: Annotated[float, Range(0.1, 3_600, "seconds")]


@attrs.frozen
class CallSettings:
    """`[calls]`: one answer asked of a model, with all its attempts."""

    attempts: Annotated[int, Range(1, 100)]
    first_token: Seconds
    idle: Seconds
    attempt: Seconds
    total: Seconds
    queue: Seconds
    context_tokens: Annotated[int, Range(1, 100_000_000, "tokens")]


@attrs.frozen
class FallbackSettings:
    """`[fallback]`: when an understudy takes over, and when the lead is tried again."""

    failures: Annotated[int, Range(1, 1_000)]
    open_first: Seconds
    open_cap: Seconds


@attrs.frozen
class ModelTable:
    """`[models.NAME]`, as written. What is unset is filled in by settings.py."""

    model: Text
    base_url: Annotated[str, URL] | None = None
    api_key: Annotated[str, KEY] | None = attrs.field(default=None, repr=False)
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    in_flight: Count | None = None
    api: Literal["chat", "responses"] | None = None


@attrs.frozen
class AgentTable:
    """`[agents.NAME]`."""

    role: Annotated[str, TITLE]
    prompt: Text
    models: tuple[Name, ...] = ("default",)
    temperature: Annotated[float, Range(0, 2)] | None = None
    max_tokens: Count | None = None
    degraded: Text | None = None
    tools: tuple[Name, ...] = ()
    capabilities: tuple[Annotated[str, CAPABILITY], ...] = ()
    max_concurrent_tasks: Annotated[int, Range(1, 100_000)] = 100
    approval: bool = False


@attrs.frozen
class Document:
    """The whole file."""

    server: ServerSettings
    connections: ConnectionSettings
    log: LogSettings
    users: UserSettings
    runs: RunSettings
    approvals: ApprovalSettings
    monitoring: MonitoringSettings
    calls: CallSettings
    fallback: FallbackSettings
    engines: EngineSettings
    tasks: TaskSettings
    workers: WorkerSettings
    models: dict[str, ModelTable]
    agents: dict[str, AgentTable]
    workflows: dict[str, WorkflowTable]
    tools: dict[str, ToolTable] = attrs.field(factory=dict)
    mcp: dict[str, McpTable] = attrs.field(factory=dict)
