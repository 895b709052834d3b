"""The table "Server → client" as data: every event type, whether it is durable, and the values its fields may have."""

from enum import StrEnum
from typing import Final


class EventType(StrEnum):
    """Every type that the daemon sends."""

    WELCOME = "welcome"
    REPLY = "reply"
    HEARTBEAT = "heartbeat"
    ERROR = "error"
    SYSTEM = "system"
    RUN_STATUS = "run_status"
    AGENT_STATUS = "agent_status"
    AGENT_PROGRESS = "agent_progress"
    AGENT_DELTA = "agent_delta"
    AGENT_RESPONSE = "agent_response"
    TOOL_EXECUTING = "tool_executing"
    TOOL_COMPLETED = "tool_completed"
    APPROVAL_REQUEST = "approval_request"
    APPROVAL_RESULT = "approval_result"
    MESSAGE = "message"
    SESSION_UPDATED = "session_updated"
    TASK_STATUS = "task_status"
    TASK_ASSIGNED = "task_assigned"
    TASK_WITHDRAWN = "task_withdrawn"
    TYPING = "typing"
    PRESENCE = "presence"
    CHANNEL = "channel"
    GAP = "gap"
    DRAINING = "draining"


DURABLE: Final = frozenset(
    {
        EventType.SYSTEM,
        EventType.RUN_STATUS,
        EventType.AGENT_STATUS,
        EventType.AGENT_RESPONSE,
        EventType.TOOL_EXECUTING,
        EventType.TOOL_COMPLETED,
        EventType.APPROVAL_REQUEST,
        EventType.APPROVAL_RESULT,
        EventType.MESSAGE,
        EventType.SESSION_UPDATED,
        EventType.TASK_STATUS,
    }
)
"""In the log, with `seq`, replayed on resume (D). Every other type is ephemeral (E)."""

ONE_CONNECTION: Final = frozenset(
    {
        EventType.WELCOME,
        EventType.REPLY,
        EventType.ERROR,
        EventType.HEARTBEAT,
        EventType.GAP,
        EventType.DRAINING,
    }
)
"""Sent to one connection, never to every device of a user."""


class AgentStatus(StrEnum):
    """Every value of `agent_status.metadata.status`."""

    STARTED = "started"
    THINKING = "thinking"
    RETRYING = "retrying"
    EXECUTING_TOOL = "executing_tool"
    WAITING_FOR_APPROVAL = "waiting_for_approval"
    PAUSED = "paused"
    FALLBACK = "fallback"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    ERROR = "error"


AGENT_ENDS: Final = frozenset({AgentStatus.COMPLETED, AgentStatus.CANCELLED, AgentStatus.ERROR})
"""Exactly one of these follows every `started`."""


class RunStatus(StrEnum):
    """Every value of `run_status.metadata.status`."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING_FOR_APPROVAL = "waiting_for_approval"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


RUN_ENDS: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
"""Exactly one of these is the last event of a run."""


class ToolStatus(StrEnum):
    """Every value of `tool_completed.metadata.status`."""

    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"


class GapReason(StrEnum):
    """Why a position could not be resumed."""

    EPOCH = "epoch"
    TRIMMED = "trimmed"
    AHEAD = "ahead"


class NoticeLevel(StrEnum):
    """How loud a `system` event is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
