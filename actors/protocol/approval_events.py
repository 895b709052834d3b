"""Constructors of what is asked of, and decided by, people. Durable."""

from typing import Any

from actors.protocol.agent_events import Attempt
from actors.protocol.event_types import EventType
from actors.protocol.events import Event, Stamp
from actors.protocol.timestamp import format_timestamp


def approval_request(
    stamp: Stamp,
    of: Attempt,
    *,
    approval_id: str,
    question: str,
    message_id: str,
    answer: str,
    digest: str,
    expires_at: float | None,
    on_timeout: str,
) -> Event:
    """An answer is held until somebody decides about it.

    `digest` is the SHA-256 of `answer`, in hex. `expires_at` in seconds since 1970; None where it waits for ever, and
    then nothing is said of a timeout.
    """
    metadata: dict[str, Any] = {
        "approval_id": approval_id,
        "message_id": message_id,
        "answer": answer,
        "digest": digest,
    }
    if expires_at is not None:
        metadata |= {"expires_at": format_timestamp(expires_at), "on_timeout": on_timeout}
    return _event(EventType.APPROVAL_REQUEST, stamp, of, metadata, question)


def approval_result(
    stamp: Stamp, of: Attempt, *, approval_id: str, decision: str, by: str, sentence: str, feedback: str = ""
) -> Event:
    """Somebody has decided; `by` is their user_id, or `timeout`."""
    metadata: dict[str, Any] = {"approval_id": approval_id, "decision": decision, "by": by}
    if feedback:
        metadata["feedback"] = feedback
    return _event(EventType.APPROVAL_RESULT, stamp, of, metadata, sentence)


def _event(kind: EventType, stamp: Stamp, of: Attempt, metadata: dict[str, Any], content: str) -> Event:
    return Event(
        type=kind.value,
        id=stamp.id,
        timestamp=stamp.timestamp,
        agent_name=of.agent_name,
        content=content,
        metadata={**metadata, "step": of.step, "attempt": of.attempt},
        session_id=of.session_id,
        run_id=of.run_id,
    )
