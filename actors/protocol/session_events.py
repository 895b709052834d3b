"""Constructors of what belongs to a session. Durable."""

from collections.abc import Mapping
from typing import Any

from actors.protocol.event_types import EventType
from actors.protocol.events import Event, Stamp
from actors.protocol.wire_values import wire_value


def session_updated(
    stamp: Stamp, *, session_id: str, revision: int, changed: Mapping[str, Any], sentence: str = ""
) -> Event:
    """Something about a session is different: `changed` are the fields and their new values."""
    return Event(
        type=EventType.SESSION_UPDATED.value,
        id=stamp.id,
        timestamp=stamp.timestamp,
        content=sentence,
        metadata={**wire_value(changed), "revision": revision},
        session_id=session_id,
    )
