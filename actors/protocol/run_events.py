"""Constructors of what belongs to a run, a session or a user: run_status, message, system. All are durable."""

from collections.abc import Mapping, Sequence
from typing import Any

from actors.protocol.event_types import EventType, NoticeLevel, RunStatus
from actors.protocol.events import SYSTEM_NAME, Event, Stamp
from actors.protocol.timestamp import format_timestamp
from actors.protocol.wire_values import wire_value


def run_status(
    stamp: Stamp,
    status: RunStatus,
    *,
    session_id: str,
    run_id: str,
    workflow: str,
    steps: Sequence[str],
    done: int,
    content: str = "",
    conflicts: Mapping[str, Sequence[str]] | None = None,
) -> Event:
    """Where a run stands. `done` is how many of `steps` have ended; `progress` is computed from it and nothing else.

    `conflicts` are names of files that several steps have written, with these steps.

    ValueError where `done` is below 0 or above the number of steps.
    """
    if not 0 <= done <= len(steps):
        raise ValueError(f"{done} of {len(steps)} steps cannot have ended")
    metadata: dict[str, Any] = {
        "status": status.value,
        "workflow": workflow,
        "steps": list(steps),
        "done": done,
        "progress": 100 * done // len(steps) if steps else 0,
    }
    if conflicts:
        metadata["conflicts"] = {name: list(writers) for name, writers in conflicts.items()}
    return Event(
        type=EventType.RUN_STATUS.value,
        id=stamp.id,
        timestamp=stamp.timestamp,
        content=content,
        metadata=metadata,
        session_id=session_id,
        run_id=run_id,
    )


def message(
    stamp: Stamp,
    *,
    session_id: str,
    message_id: str,
    author: str,
    text: str,
    agent_name: str = SYSTEM_NAME,
    run_id: str | None = None,
) -> Event:
    """What a person (`author` is the user_id) or an agent (its name) said in a session."""
    return Event(
        type=EventType.MESSAGE.value,
        id=stamp.id,
        timestamp=stamp.timestamp,
        agent_name=agent_name,
        content=text,
        metadata={"message_id": message_id, "author": author},
        session_id=session_id,
        run_id=run_id,
    )


def system(
    stamp: Stamp,
    event: str,
    level: NoticeLevel,
    *,
    notice: str,
    expires_at: float | None = None,
    details: Mapping[str, Any] | None = None,
) -> Event:
    """A notice; `event` is its kind (`notice`, `features_changed`), `expires_at` in seconds since 1970."""
    metadata = {**wire_value(details or {}), "event": event, "level": level.value}
    if expires_at is not None:
        metadata["expires_at"] = format_timestamp(expires_at)
    return Event(type=EventType.SYSTEM.value, id=stamp.id, timestamp=stamp.timestamp, content=notice, metadata=metadata)
