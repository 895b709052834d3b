"""Tasks on the wire: how they stand, how urgent they are, and the constructors of their events."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from actors.protocol.event_types import EventType
from actors.protocol.events import Event, Stamp
from actors.protocol.timestamp import format_timestamp
from actors.protocol.wire_values import wire_value


class TaskStatus(StrEnum):
    """Every value of `task_status.metadata.status`. A task that was cancelled has failed."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


TASK_ENDS: Final = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED})
"""Exactly one of these is the last event of a task."""

ATTEMPT_OVER: Final = (
    "This attempt is over: the task has ended, or is with somebody else. Nothing more is expected of you."
)


class Priority(StrEnum):
    """How urgent a task is, the most urgent first: the order of the members is that of being served."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"

    @property
    def rank(self) -> int:
        """0 of the most urgent."""
        return _RANKS[self]


_RANKS: Final[dict[Priority, int]] = {priority: rank for rank, priority in enumerate(Priority)}


def task_status(
    stamp: Stamp,
    status: TaskStatus,
    *,
    task_id: str,
    sentence: str,
    agent: str | None = None,
    attempt: int | None = None,
    result: Any = None,
    error: str | None = None,
) -> Event:
    """Where a task stands. `agent` has the attempt, if there is one; `result` and `error` come with the end."""
    metadata = {
        "task_id": task_id,
        "status": status.value,
        "agent": agent,
        "attempt": attempt,
        "result": wire_value(result),
        "error": error,
    }
    return Event(
        type=EventType.TASK_STATUS.value,
        id=stamp.id,
        timestamp=stamp.timestamp,
        content=sentence,
        metadata={name: value for name, value in metadata.items() if value is not None},
    )


def task_assigned(
    stamp: Stamp,
    *,
    task_id: str,
    attempt: int,
    task_type: str,
    description: str,
    parameters: Mapping[str, Any],
    deadline: float,
) -> Event:
    """To a worker: do this until `deadline`, in seconds since 1970. Ephemeral."""
    metadata = {
        "task_id": task_id,
        "attempt": attempt,
        "task_type": task_type,
        "parameters": wire_value(parameters),
        "deadline": format_timestamp(deadline),
    }
    return Event(
        type=EventType.TASK_ASSIGNED.value,
        id=stamp.id,
        timestamp=stamp.timestamp,
        content=description,
        metadata=metadata,
    )


def task_withdrawn(stamp: Stamp, *, task_id: str, attempt: int) -> Event:
    """To a worker: this attempt, of which it was told, is over without its word. Ephemeral."""
    return Event(
        type=EventType.TASK_WITHDRAWN.value,
        id=stamp.id,
        timestamp=stamp.timestamp,
        content=ATTEMPT_OVER,
        metadata={"task_id": task_id, "attempt": attempt},
    )
