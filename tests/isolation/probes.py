"""One user tries to get at what is another's, by every id that they could have come to know. None of it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.isolation.person import Person
    from tests.isolation.world import World

NOT_THERE: Final = frozenset({"not_found"})
NOT_NOW: Final = frozenset({"unavailable", "rate_limited"})
"""What a daemon may say at any time; it says nothing of what was asked for."""


async def probe(world: World, name: str, thief: Person, owner: Person) -> None:
    """One attempt of this kind, if the owner has anything of the kind."""
    if await PROBES[name](world, thief, owner):
        world.count(f"probe of {name}")


async def _commands(world: World, thief: Person, owner: Person) -> bool:
    if not owner.runs:
        return False
    kind = world.rng.choice(("get_run", "cancel_run", "pause_run", "resume_run"))
    await _say(world, thief, kind, run_id=world.rng.choice(owner.runs))
    return True


async def decide(world: World, thief: Person, approval_id: str) -> None:
    """The thief decides what another was asked, while that waits for an answer."""
    await _say(world, thief, "decide", approval_id=approval_id, decision="reject")
    world.count("probe of an approval that waits")


async def _decide(world: World, thief: Person, owner: Person) -> bool:
    if not owner.laptop.asked:
        return False
    await _say(world, thief, "decide", approval_id=owner.laptop.asked[-1], decision="approve")
    return True


async def _session(world: World, thief: Person, owner: Person) -> bool:
    session_id = next((frame["session_id"] for frame in owner.laptop.log[:50] if "session_id" in frame), None)
    if session_id is None:
        return False
    await _say(world, thief, "start_run", thief.words(), session_id=session_id, workflow="tooled")
    return True


async def _update(world: World, thief: Person, owner: Person) -> bool:
    if not owner.tasks:
        return False
    more = {"attempt": 1, "status": "completed", "result": thief.words()}
    # Whose worker serves everybody, in every other round, may have been given this task, and knows that there is one.
    given = frozenset({"conflict"}) if thief is world.people[0] else frozenset()
    await _say(world, thief, "task_update", besides=given, task_id=world.rng.choice(owner.tasks), **more)
    return True


async def _worker(world: World, thief: Person, owner: Person) -> bool:
    if not owner.agent_id:
        return False
    await _say(world, thief, "unregister_agent", agent_id=owner.agent_id)
    if not owner.worker.serves_all:
        body = {"description": thief.words()}
        await _get(world, thief, f"/api/agents/{owner.agent_id}/tasks", method="POST", body=body)
    return True


async def _rest(world: World, thief: Person, owner: Person) -> bool:
    paths = [f"/api/runs/{run_id}" for run_id in owner.runs[-2:]]
    paths += [
        f"{path}{more}" for path in paths for more in ("/artifacts", "/artifacts/notes.txt", "/artifacts/work.md")
    ]
    paths += [f"/api/tasks/{task_id}" for task_id in owner.tasks[-2:]]
    if not paths:
        return False
    path = world.rng.choice(paths)
    method = world.rng.choice(("GET", "DELETE")) if "tasks" in path else "GET"
    await _get(world, thief, path, method=method)
    return True


async def _memory(world: World, thief: Person, owner: Person) -> bool:
    if not owner.memories:
        return False
    actions: tuple[dict[str, Any], ...] = ({"action": "rate", "success": False}, {"action": "forget"})
    for action in actions:
        body = {"task_type": "memory_query", "parameters": {**action, "memory_ids": owner.memories[-3:]}}
        answer = await thief.get("/api/engines/execute", method="POST", body=body)
        if answer.status == 200 and answer.json["result"].get("memories") != 0:
            world.marks.blame(f"{thief.user} has changed memories of {owner.user}: {answer.body!r}")
    return True


async def _log(world: World, thief: Person, owner: Person) -> bool:
    """The other's position, over HTTP and in `hello`."""
    epoch = owner.laptop.welcomed["epoch"]
    answer = await thief.get(f"/api/events?client_id=laptop&epoch={epoch}&after=0")
    if answer.status == 200 and (answer.json["resumed"] or answer.json["events"]):
        world.marks.blame(f"{thief.user} reads on in the log of {owner.user}")
    late = await world.connect(thief.user, f"late-{thief.next_id()}", resume={"epoch": epoch, "seq": 0})
    if late.welcomed["resumed"]:
        world.marks.blame(f"{thief.user} resumes in the log of {owner.user}")
    late.comes_back = False
    late.lose()
    return True


async def _say(
    world: World, thief: Person, kind: str, content: str = "", *, besides: frozenset[str] = frozenset(), **metadata: Any
) -> None:
    answer = await thief.say(kind, content, **metadata)
    code = answer["metadata"].get("code")
    if answer["type"] != "error" or code not in NOT_THERE | NOT_NOW | besides:
        world.marks.blame(f"{thief.user}'s {kind} of another's was answered {answer}")


async def _get(world: World, thief: Person, path: str, **more: Any) -> None:
    answer = await thief.get(path, **more)
    if answer.status < 400 or answer.json["code"] not in NOT_THERE | NOT_NOW:
        world.marks.blame(f"{thief.user}'s {path} of another's was answered {answer}")


PROBES: Final[dict[str, Callable[[World, Person, Person], Awaitable[bool]]]] = {
    "commands": _commands,
    "approvals": _decide,
    "sessions": _session,
    "tasks of a worker": _update,
    "workers": _worker,
    "resources": _rest,
    "memories": _memory,
    "positions": _log,
}
