"""Constructors of what goes to one connection: welcome, reply, error, heartbeat, gap, draining. All are ephemeral."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from actors.protocol.codes import ERRORS, ErrorCode
from actors.protocol.event_types import EventType, GapReason
from actors.protocol.events import Event, Stamp
from actors.protocol.timestamp import format_timestamp
from actors.protocol.wire_values import wire_value, without_nulls

VERSION: Final = 1


@attrs.frozen(kw_only=True)
class Limits:
    """`welcome.limits`: bytes of one inbound frame and of what may wait outbound, counts, and what the log holds."""

    frame_bytes: int
    outbound_bytes: int
    commands_per_minute: int
    in_flight: int
    connections: int
    sessions: int
    runs: int
    log_events: int
    log_seconds: int


def welcome(
    stamp: Stamp,
    *,
    reply_to: str,
    connection_id: str,
    client_id: str,
    user_id: str,
    role: str,
    tier: str,
    epoch: str,
    seq: int,
    resumed: bool,
    replayed: int,
    heartbeat_interval: float,
    limits: Limits,
    server_time: float,
    features: Mapping[str, Any] | None = None,
    subscribed: Sequence[str] = (),
    expires_at: float | None = None,
) -> Event:
    """The answer to `hello`. `seq` is the log's top, `heartbeat_interval` in seconds; `server_time` and `expires_at`
    are seconds since 1970."""
    metadata = {
        "reply_to": reply_to,
        "connection_id": connection_id,
        "client_id": client_id,
        "user_id": user_id,
        "role": role,
        "tier": tier,
        "expires_at": None if expires_at is None else format_timestamp(expires_at),
        "epoch": epoch,
        "seq": seq,
        "resumed": resumed,
        "replayed": replayed,
        "heartbeat_interval": heartbeat_interval,
        "limits": attrs.asdict(limits),
        "features": wire_value(features or {}),
        "subscribed": list(subscribed),
        "server_time": format_timestamp(server_time),
        "protocol": VERSION,
    }
    return _event(EventType.WELCOME, stamp, metadata)


def reply(stamp: Stamp, *, reply_to: str, metadata: Mapping[str, Any]) -> Event:
    """The answer to a command that was carried out; `metadata` as the table of commands says, nulls left out."""
    return _event(EventType.REPLY, stamp, {**wire_value(metadata), "reply_to": reply_to})


def error(
    stamp: Stamp,
    code: ErrorCode,
    *,
    content: str | None = None,
    reply_to: str | None = None,
    retry_after: float | None = None,
    fields: Mapping[str, str] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Event:
    """The answer to a command that was not carried out: nothing was done.

    `content` is what happened and what to do, by default the code's own sentence; `retry_after` in seconds. `details`
    is what a code brings with it besides: the `run_id` of already_running, the `revision` of a conflict.
    """
    traits = ERRORS[code]
    metadata = {
        **wire_value(details or {}),
        "reply_to": reply_to,
        "code": code.value,
        "retryable": traits.retryable,
        "retry_after": retry_after,
        "fields": dict(fields) if fields else None,
    }
    return _event(EventType.ERROR, stamp, metadata, traits.sentence if content is None else content)


def heartbeat(stamp: Stamp, *, reply_to: str, server_time: float) -> Event:
    """The answer to a `heartbeat`; `server_time` in seconds since 1970."""
    metadata = {"reply_to": reply_to, "server_time": format_timestamp(server_time)}
    return _event(EventType.HEARTBEAT, stamp, metadata)


def gap(
    stamp: Stamp, reason: GapReason, *, content: str, from_seq: int | None = None, to_seq: int | None = None
) -> Event:
    """Right after `welcome`: the position cannot be resumed and the client loads afresh. `content` says what was lost.

    ValueError where `from_seq` and `to_seq` are not both given with trimmed, or given with another reason.
    """
    if (from_seq is not None, to_seq is not None) != (reason is GapReason.TRIMMED,) * 2:
        raise ValueError("from_seq and to_seq belong to a gap that was trimmed, and only to it")
    metadata = {"reason": reason.value, "from_seq": from_seq, "to_seq": to_seq}
    return _event(EventType.GAP, stamp, metadata, content)


def draining(stamp: Stamp, *, retry_after: float) -> Event:
    """The daemon is about to go; `retry_after` in seconds, counted from the close with 1012."""
    return _event(EventType.DRAINING, stamp, {"retry_after": retry_after})


def _event(kind: EventType, stamp: Stamp, metadata: dict[str, Any], content: str = "") -> Event:
    return Event(
        type=kind.value, id=stamp.id, timestamp=stamp.timestamp, content=content, metadata=without_nulls(metadata)
    )
