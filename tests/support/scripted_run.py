"""A run as a daemon plays it: the events of agents, in order, for a `Peer` of the scripted server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.scripted_server import Peer

PLAN = ["analysis", "architecture", "development", "testing", "deployment"]
ROLES = ["Analyst", "Architect", "Developer", "Tester", "Deployer"]


def answer(role: str) -> str:
    return f"The {role} has thought about it.\nAnd this is the last line of the {role}."


async def run_status(peer: Peer, status: str, done: int) -> None:
    await peer.durable(
        "run_status", status=status, workflow="delivery", steps=PLAN, done=done, progress=100 * done / len(PLAN)
    )


async def status(peer: Peer, number: int, value: str, content: str = "", *, attempt: int = 1, **more: Any) -> None:
    where = {"step": PLAN[number], "attempt": attempt, "role": ROLES[number].lower()}
    await peer.durable("agent_status", content, agent=ROLES[number], status=value, **where, **more)


async def delta(peer: Peer, number: int, piece: str, offset: int, *, attempt: int = 1) -> None:
    where = {"step": PLAN[number], "attempt": attempt, "message_id": f"m{number}.{attempt}"}
    await peer.ephemeral("agent_delta", piece, agent=ROLES[number], offset=offset, **where)


async def response(peer: Peer, number: int, text: str | None = None, *, attempt: int = 1, **more: Any) -> None:
    where = {"step": PLAN[number], "attempt": attempt, "message_id": f"m{number}.{attempt}"}
    fields = {"model": "gpt", "duration_ms": 1500, "usage": {"completion_tokens": 12}} | where | more
    await peer.durable("agent_response", answer(ROLES[number]) if text is None else text, agent=ROLES[number], **fields)


async def whole_step(peer: Peer, number: int, **more: Any) -> None:
    """An agent from started to completed, its answer cut into pieces of seven code points."""
    text = answer(ROLES[number])
    await status(peer, number, "started", f"{ROLES[number]} begins.")
    await status(peer, number, "thinking")
    for offset in range(0, len(text), 7):
        await delta(peer, number, text[offset : offset + 7], offset)
    await response(peer, number, **more)
    await status(peer, number, "completed", "Done.")


async def accept_run(peer: Peer, run_id: str = "r1") -> dict[str, Any]:
    """Answers `start_run`, and gives it."""
    command = await peer.command("start_run")
    await peer.reply(command, run_id=run_id, session_id="s1")
    await run_status(peer, "running", 0)
    return command


async def whole_run(peer: Peer, **more: Any) -> None:
    await peer.welcome()
    await accept_run(peer)
    for number in range(len(PLAN)):
        await whole_step(peer, number, **more)
        await run_status(peer, "running", number + 1)
    await run_status(peer, "completed", len(PLAN))
