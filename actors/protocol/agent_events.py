"""Constructors of what an agent's work on one step lets be seen: status, pieces, answer, tools."""

from collections.abc import Mapping
from typing import Any

import attrs

from actors.protocol.codes import ErrorType
from actors.protocol.event_types import AgentStatus, EventType, ToolStatus
from actors.protocol.events import Event, Stamp
from actors.protocol.wire_values import wire_value


@attrs.frozen(kw_only=True)
class Attempt:
    """One attempt at one step: who speaks, and where all that they say belongs.

    `step` is unique in the run, `attempt` counts from 1; `parent` is the step that started a child agent.
    """

    agent_name: str
    session_id: str
    run_id: str
    step: str
    attempt: int = 1
    parent: str | None = None


@attrs.frozen(kw_only=True)
class Usage:
    """Tokens of one answer; `estimated` where the provider did not count."""

    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False


def agent_status(
    stamp: Stamp,
    of: Attempt,
    status: AgentStatus,
    *,
    sentence: str,
    role: str | None = None,
    task: str | None = None,
    model: str | None = None,
    error_type: ErrorType | None = None,
    retry_after: float | None = None,
    progress: float | None = None,
) -> Event:
    """Where an agent stands; `sentence` is for a person, `retry_after` in seconds, `progress` only if it is counted."""
    metadata = {
        "status": status.value,
        "role": role,
        "task": task,
        "model": model,
        "error_type": None if error_type is None else error_type.value,
        "retry_after": retry_after,
        "progress": progress,
    }
    return _event(EventType.AGENT_STATUS, stamp, of, metadata, sentence)


def agent_progress(stamp: Stamp, of: Attempt, *, sentence: str, elapsed_ms: int, tokens: int | None = None) -> Event:
    """A sign that an agent is at work; ephemeral, and never counted as progress of anything."""
    return _event(EventType.AGENT_PROGRESS, stamp, of, {"elapsed_ms": elapsed_ms, "tokens": tokens}, sentence)


def agent_delta(stamp: Stamp, of: Attempt, *, message_id: str, offset: int, text: str) -> Event:
    """The next piece of an answer; `offset` is the number of code points before it. Ephemeral."""
    return _event(EventType.AGENT_DELTA, stamp, of, {"message_id": message_id, "offset": offset}, text)


def agent_response(
    stamp: Stamp,
    of: Attempt,
    *,
    message_id: str,
    text: str,
    model: str | None,
    duration_ms: int,
    variant: str | None = None,
    degraded: bool = False,
    partial: bool = False,
    usage: Usage | None = None,
    artifact: str | None = None,
) -> Event:
    """The whole answer, which is the truth. `model` is None only where none answered (a degraded answer)."""
    metadata = {
        "message_id": message_id,
        "model": model,
        "variant": variant,
        "degraded": degraded,
        "partial": partial,
        "usage": None if usage is None else attrs.asdict(usage),
        "duration_ms": duration_ms,
        "artifact": artifact,
    }
    return _event(EventType.AGENT_RESPONSE, stamp, of, metadata, text)


def tool_executing(
    stamp: Stamp,
    of: Attempt,
    *,
    tool_call_id: str,
    tool_name: str,
    tool_input: Mapping[str, Any],
    truncated: bool = False,
) -> Event:
    """A tool has begun; `tool_input` is already sanitised and cut, `truncated` says that it was cut."""
    metadata = {
        "tool_call_id": tool_call_id,
        "tool_name": tool_name,
        "tool_input": wire_value(tool_input),
        "truncated": truncated or None,
    }
    return _event(EventType.TOOL_EXECUTING, stamp, of, metadata)


def tool_completed(
    stamp: Stamp,
    of: Attempt,
    *,
    tool_call_id: str,
    tool_name: str,
    status: ToolStatus,
    duration_ms: int,
    tool_output: Any = None,
    error: str | None = None,
    truncated: bool = False,
) -> Event:
    """A tool has ended, whatever became of it; `tool_output` is already sanitised and cut, `error` a sentence."""
    metadata = {
        "tool_call_id": tool_call_id,
        "tool_name": tool_name,
        "status": status.value,
        "tool_output": wire_value(tool_output),
        "duration_ms": duration_ms,
        "error": error,
        "truncated": truncated or None,
    }
    return _event(EventType.TOOL_COMPLETED, stamp, of, metadata)


def _event(kind: EventType, stamp: Stamp, of: Attempt, metadata: dict[str, Any], content: str = "") -> Event:
    placed = {**metadata, "step": of.step, "attempt": of.attempt, "parent": of.parent}
    return Event(
        type=kind.value,
        id=stamp.id,
        timestamp=stamp.timestamp,
        agent_name=of.agent_name,
        content=content,
        metadata={name: value for name, value in placed.items() if value is not None},
        session_id=of.session_id,
        run_id=of.run_id,
    )
