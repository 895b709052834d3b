"""What the daemon says: one event, its bytes, and how neighbouring pieces of an answer are joined.

A durable event is encoded once, without `seq`; the bytes lie in every log that it belongs to, and each log's own number
is put in front of them on sending (`with_seq`).
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final

import attrs
import msgspec

from actors.protocol.event_types import DURABLE, EventType
from actors.protocol.timestamp import format_timestamp
from actors.protocol.wire_values import without_surrogates

SYSTEM_NAME: Final = "System"
LONGEST_JOINED: Final = 100_000
"""Code points of one joined delta: even with each escaped, far below the 4 MiB of an outbound frame."""


@attrs.frozen
class Stamp:
    """What makes an event this event: its id, unique for ever, and when it was made."""

    id: str
    timestamp: str


def new_id(random: Random, wall: float) -> str:
    """A fresh id: 32 hexadecimal digits, a UUID of version 7, so that ids made later sort later and the log's index
    grows at its end. `wall` is in seconds since 1970; `random` must be seeded from the system, except in tests."""
    milliseconds = round(wall * 1000) & (1 << 48) - 1
    version_and_random = 0x7000 | random.getrandbits(12)
    variant_and_random = (1 << 63) | random.getrandbits(62)
    return f"{(milliseconds << 80) | (version_and_random << 64) | variant_and_random:032x}"


def new_stamp(random: Random, wall: float) -> Stamp:
    """The stamp of an event made at `wall`, in seconds since 1970."""
    return Stamp(new_id(random, wall), format_timestamp(wall))


def _is_durable(event: "Event") -> bool:
    return event.type in DURABLE


@attrs.frozen(kw_only=True)
class Event:
    """One event before it is encoded. `metadata` holds no None: what is absent is left out."""

    type: str
    id: str
    timestamp: str
    agent_name: str = SYSTEM_NAME
    content: str = ""
    metadata: Mapping[str, Any] = attrs.field(factory=dict)
    session_id: str | None = None
    run_id: str | None = None
    durable: bool = attrs.field(default=attrs.Factory(_is_durable, takes_self=True))


def encode(event: Event) -> bytes:
    """The event as JSON, without `seq`. A durable one carries `requires_ack`; what is absent is left out.

    A lone surrogate, which UTF-8 cannot carry and a model's broken piece may hold, goes out as U+FFFD.
    """
    fields: dict[str, Any] = {"id": event.id, "type": event.type, "timestamp": event.timestamp}
    if event.session_id is not None:
        fields["session_id"] = event.session_id
    if event.run_id is not None:
        fields["run_id"] = event.run_id
    fields["agent_name"] = event.agent_name
    fields["content"] = event.content
    fields["metadata"] = event.metadata
    if event.durable:
        fields["requires_ack"] = True
    try:
        return msgspec.json.encode(fields)
    except UnicodeEncodeError:
        return msgspec.json.encode(without_surrogates(fields))


def with_seq(body: bytes, seq: int) -> bytes:
    """The stored bytes of a durable event with its position in one log put in front; nothing is encoded again."""
    return b'{"seq":%d,' % seq + body[1:]


def caused_by(event: Event, command_id: str) -> Event:
    """`event` as the first one that the command of this id causes."""
    return attrs.evolve(event, metadata={**event.metadata, "cause": command_id})


def join_deltas(events: Sequence[Event], *, longest: int = LONGEST_JOINED) -> list[Event]:
    """`events` in order, neighbouring deltas of one message joined: whoever applies the result, from whatever text,
    ends with the same text as by applying each.

    A joined delta has the id and timestamp of its last piece and at most `longest` code points, unless a single piece
    was longer. Deltas with anything between them are no neighbours: nothing is overtaken.
    """
    joined: list[Event] = []
    for event in events:
        together = _joined(joined[-1], event, longest) if joined else None
        if together is None:
            joined.append(event)
        else:
            joined[-1] = together
    return joined


def _joined(earlier: Event, later: Event, longest: int) -> Event | None:
    """The two as one delta, or None where that cannot be."""
    if earlier.type != EventType.AGENT_DELTA or later.type != EventType.AGENT_DELTA:
        return None
    if earlier.run_id != later.run_id or earlier.metadata["message_id"] != later.metadata["message_id"]:
        return None
    start = earlier.metadata["offset"]
    kept = later.metadata["offset"] - start
    if kept < 0:  # the later one replaces all of the earlier
        return later
    if kept > len(earlier.content):  # a piece is missing between them, and a client passes the later one over
        return None
    text = earlier.content[:kept] + later.content
    if len(text) > longest:
        return None
    return attrs.evolve(later, content=text, metadata={**later.metadata, "offset": start})
