"""Messages on their way to a client, made by hand."""

from __future__ import annotations

from typing import Any

from actors.gateway.joining import Broken, Joining
from actors.gateway.outbound import Out, batch_of
from actors.protocol.events import Event, encode, with_seq
from actors.users.messages import Deliver

TIME = "2026-11-20T08:30:00.000Z"


def ephemeral(kind: str, content: str = "", *, run: str | None = "r", id: str = "e", **metadata: Any) -> Out:  # noqa: A002
    event = Event(type=kind, id=id, timestamp=TIME, content=content, run_id=run, metadata=metadata)
    return Out(encode(event), event=event)


def delta(message: str, offset: int, text: str, *, run: str = "r") -> Out:
    return ephemeral("agent_delta", text, run=run, message_id=message, offset=offset, step=message, attempt=1)


def durable(kind: str, seq: int, *, run: str = "r", **metadata: Any) -> Out:
    event = Event(type=kind, id=f"d{seq}", timestamp=TIME, run_id=run, metadata=metadata)
    return Out(with_seq(encode(event), seq), seq)


def delivery(owner: str, *outs: Out, incarnation: int = 0) -> Deliver:
    return Deliver(owner, batch_of(outs), incarnation)


def passed_on(joining: Joining, message: Deliver) -> list[Out] | Broken:
    """What is written of it at once."""
    passes = joining.deliver(message)
    if isinstance(passes, Broken):
        return passes
    return list(message.batch.outs) if passes else []
