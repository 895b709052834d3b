"""One request as a user lives through it: what was seen, and when. Through the project's own client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import trio

if TYPE_CHECKING:
    from understudy.client import Connection, Event

BRIEF: Final = "Say what you have to say."
ENDS: Final = {"completed", "failed", "cancelled"}
WITHIN: Final = 120.0


@attrs.define
class Asked:
    """A run of one step or more, seen from its client. Times are seconds of trio's clock; of agents the first's.

    Attributes:
        sent: the command was handed to the socket.
        running: `run_status` running has come, and `started`, `thinking` of an agent, and its first `delta`.
        ended: the last `run_status` has come, and says `status`.
        models: what the answers call their models.
        troubles: what the user saw of trouble: an answer that is none, or half of one, or an error in its place.
        seen: a line for each durable event.
    """

    sent: float
    running: float = 0.0
    started: float = 0.0
    thinking: float = 0.0
    delta: float = 0.0
    ended: float = 0.0
    status: str = ""
    models: list[str] = attrs.field(factory=list)
    troubles: list[str] = attrs.field(factory=list)
    seen: list[str] = attrs.field(factory=list)

    @property
    def first_token(self) -> float:
        """Seconds from the agent's start to its first piece."""
        return self.delta - self.started


async def ask(connection: Connection, workflow: str) -> Asked:
    """Start a run and watch it to its end.

    Raises trio.TooSlowError where it does not end in two minutes.
    """
    asked = Asked(trio.current_time())
    with trio.fail_after(WITHIN):
        await connection.command("start_run", content=BRIEF, metadata={"workflow": workflow}, within=WITHIN)
        async for event in connection:
            take(asked, event, trio.current_time())
            if asked.status:
                return asked
    raise AssertionError("a connection ends by an exception")


def take(asked: Asked, event: Event, now: float) -> None:
    """What an event says of the request."""
    status = event.metadata.get("status")
    match event.type, status:
        case "run_status", "running":
            asked.running = asked.running or now
        case "run_status", _ if status in ENDS:
            asked.status, asked.ended = str(status), now
        case "agent_status", "started":
            asked.started = asked.started or now
        case "agent_status", "thinking":
            asked.thinking = asked.thinking or now
        case "agent_status", "error":
            asked.troubles.append("error")
        case "agent_delta", _:
            asked.delta = asked.delta or now
        case "agent_response", _:
            asked.models.append(str(event.metadata.get("model")))
            asked.troubles += [kind for kind in ("degraded", "partial") if event.metadata.get(kind)]
    if event.seq is not None:
        what = event.metadata.get("model") if event.type == "agent_response" else status
        asked.seen.append(f"{event.timestamp} {event.type} {what}: {event.content[:70]!r}")
