"""What a client that lags is spared: older ephemeral events for which a newer one can stand. Pure.

Between two messages that must come as they are (durable events, answers, the text so far of an answer in progress),
the pieces of each answer are joined, and of progress, typing, presence and channels the newest of each key stays. The
newer one takes the older one's place. Nothing passes a message that must come as it is: no piece overtakes its
`started` or falls behind its `agent_response`.

It costs time, so it is done only where there is a backlog; and an event comes here as it was before it was encoded, so
that nothing has to be decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.protocol.event_types import EventType
from actors.protocol.events import encode, join_deltas

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from actors.gateway.outbound import Out
    from actors.protocol.events import Event

SUBJECTS: Final = ("agent_id", "task_id", "alert_id", "engine", "name", "id")
"""What a channel's payload may be about: the newest of each subject stays. Without any, of the channel."""


def conflate(outs: Sequence[Out]) -> list[Out]:
    """`outs` without what newer ones can stand for."""
    found: list[Out] = []
    group: list[Out] = []
    for out in outs:
        if out.event is not None and key_of(out.event) is not None:
            group.append(out)
            continue
        if group:
            found += _conflated(group)
            group = []
        found.append(out)
    return found + _conflated(group) if group else found


def key_of(event: Event) -> Hashable:
    """Events of the same key may be merged, the newer into the older one's place; None: this one must come as it is."""
    metadata = event.metadata
    match event.type:
        case EventType.AGENT_DELTA:
            return event.type, event.run_id, metadata["message_id"]
        case EventType.AGENT_PROGRESS:
            return event.type, event.run_id, metadata.get("step"), metadata.get("attempt"), event.agent_name
        case EventType.TYPING | EventType.PRESENCE:
            return event.type, event.session_id, metadata.get("user_id")
        case EventType.CHANNEL:
            return event.type, metadata.get("channel"), _subject(metadata.get("payload"))
        case _:
            return None


def _subject(payload: Any) -> Hashable:
    if not isinstance(payload, dict):
        return None
    return next(((name, str(payload[name])) for name in SUBJECTS if name in payload), None)


def _conflated(group: list[Out]) -> list[Out]:
    """Of messages that may all be merged: one a key, or as few deltas as the pieces of an answer make."""
    by_key: dict[Hashable, list[Out]] = {}
    for out in group:
        assert out.event is not None
        by_key.setdefault(key_of(out.event), []).append(out)
    found: list[Out] = []
    for outs in by_key.values():
        if len(outs) == 1:
            found.append(outs[0])
        elif outs[0].event is not None and outs[0].event.type == EventType.AGENT_DELTA:
            found += _joined(outs)
        else:
            found.append(outs[-1])
    return found


def _joined(outs: list[Out]) -> list[Out]:
    joined = join_deltas([out.event for out in outs if out.event is not None])
    kept = {id(out.event): out for out in outs}  # what could not be joined is not encoded again
    return [kept.get(id(event)) or attrs.evolve(outs[0], frame=encode(event), event=event) for event in joined]
