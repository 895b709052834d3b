"""Real tasks and a real coordinator on real contexts, in virtual time; agents do what a script says, workers what a
test says."""

from __future__ import annotations

import itertools
import json
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from actors.agents.definitions import AgentDefinition
from actors.coordination import working
from actors.coordination.coordinator import Coordinator, CoordinatorServices
from actors.coordination.counts import CoordinationCounts
from actors.coordination.messages import CancelTask, ListAgents
from actors.coordination.record import OPEN_TASKS, TASKS, TaskLimits, TaskRecord, decode_task, task_key
from actors.coordination.roster import Roster
from actors.coordination.task_services import TaskServices
from actors.coordination.tasks import Tasks
from actors.models.model_call import CallLimits
from actors.protocol.stamps import Stamps
from actors.protocol.task_events import TASK_ENDS
from actors.tools.toolbox import ToolBox
from actors.users.keys import actor_name
from actors.users.messages import Handle, Locate
from actors.users.task_commands import Coordination
from runtime import Mailbox, Refused
from supervisors import ChildSpec
from tests.support.grammar import check
from tests.support.runs_system import Player, Script, ScriptedServices
from tests.support.users_system import OFTEN, START, Follower, UsersSystem, command, settle, users_system, virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from actors.artifacts.store import Artifacts
    from actors.protocol.channel_events import AgentView
    from runtime import Ref, System
    from tests.support.memory_journal import Plan

AGENTS = {
    "clerk": AgentDefinition("clerk", "Clerk", "You file.", capabilities=("file",), max_concurrent_tasks=2),
    "poet": AgentDefinition("poet", "Poet", "You write.", capabilities=("write",), max_concurrent_tasks=1),
}
FILE = {"required_capabilities": ["file"]}
WRITE = {"required_capabilities": ["write"]}
DIG = {"required_capabilities": ["dig"]}
LIMITS = TaskLimits(timeout=60.0, attempts=3, queue=600.0, interruptions=5)
OFFLINE_AFTER = 30.0


@attrs.define(eq=False)
class Digger:
    """A remote worker: a connection, and what its client says on it."""

    here: TasksSystem
    follower: Follower
    user: str

    async def say(
        self, kind: str, content: str = "", *, command_id: str | None = None, role: str = "user", **metadata: Any
    ) -> Any:
        """A command on its connection: the answer, or what it was refused with."""
        self.heartbeat()
        return await self.here.say(
            self.user, kind, content, command_id=command_id, role=role, follower=self.follower, **metadata
        )

    async def register(self, *capabilities: str, name: str = "Digger", **more: Any) -> str:
        answer = await self.say("register_agent", name=name, capabilities=list(capabilities or ("dig",)), **more)
        return str(answer["agent_id"])

    async def update(self, task_id: str, attempt: int, status: str, content: str = "", **more: Any) -> Any:
        return await self.say("task_update", content, task_id=task_id, attempt=attempt, status=status, **more)

    def offers(self) -> list[tuple[str, int]]:
        """What it was told to do, in order."""
        return [(task_id, attempt) for kind, task_id, attempt in self.heard() if kind == "task_assigned"]

    def withdrawn(self) -> list[tuple[str, int]]:
        """What it was told to leave, in order."""
        return [(task_id, attempt) for kind, task_id, attempt in self.heard() if kind == "task_withdrawn"]

    def heard(self) -> list[tuple[str, str, int]]:
        """All of both."""
        found = [f for f in self.follower.frames if f["type"] in {"task_assigned", "task_withdrawn"}]
        return [(each["type"], each["metadata"]["task_id"], each["metadata"]["attempt"]) for each in found]

    def heartbeat(self) -> None:
        """Something comes from it, and says nothing of its work."""
        self.follower.heard_at = trio.current_time()

    def drop(self) -> None:
        """Its connection ends, as after a lost socket."""
        root: Any = self.here.base.system.root
        root.actor.stop_child(self.follower.ref.path.rpartition("/")[2])

    async def back(self) -> Digger:
        """The same client on a new connection."""
        return await self.here.digger(self.user, client=self.follower.client_id)


@attrs.define(eq=False)
class TasksSystem:
    """What a test holds on to."""

    base: UsersSystem
    script: Script
    roster: Roster
    counts: CoordinationCounts
    users: set[str] = attrs.field(factory=set)
    numbers: Iterator[int] = attrs.field(factory=itertools.count)

    @property
    def plan(self) -> Plan:
        return self.base.plan

    @property
    def coordinator(self) -> Ref[Any]:
        return self.base.system.ref("/coordinator")

    @property
    def tasks(self) -> Ref[Any]:
        return self.base.system.ref("/tasks")

    async def say(
        self,
        user: str,
        kind: str,
        content: str = "",
        *,
        command_id: str | None = None,
        role: str = "user",
        follower: Follower | None = None,
        **metadata: Any,
    ) -> Any:
        self.users.add(user)
        fields = {
            "id": command_id or f"{kind}-{next(self.numbers)}",
            "type": kind,
            "content": content,
            "metadata": metadata,
        }
        context = await self.base.users.ask(Locate(user), 60)
        client, hello_at = ("", 0.0) if follower is None else (follower.client_id, follower.hello_at)
        return await context.ask(Handle(command(fields), client, hello_at, role), 120)

    async def submit(self, content: str = "Dig a hole", *, user: str = "ada", **more: Any) -> str:
        """A task; for who digs, unless something else is said."""
        wanted = {**DIG, **more}
        answer = await self.say(user, "submit_task", content, **wanted)
        return str(answer["task_id"])

    async def under_way(self, content: str = "Dig a hole", *, user: str = "ada", **more: Any) -> str:
        """A task that somebody has begun."""
        task_id = await self.submit(content, user=user, **more)
        await self.until_status(task_id, "running", user=user)
        return task_id

    async def cancel(self, task_id: str, user: str = "ada") -> Any:
        return await self.tasks.ask(CancelTask(user, task_id), 60)

    async def digger(self, user: str = "ada", *, client: str | None = None) -> Digger:
        follower = await self.base.follow(user=user, client=client)
        await settle()
        return Digger(self, follower, user)

    async def agents(self, user: str = "ada", *, operator: bool = False) -> dict[str, AgentView]:
        found = await self.coordinator.ask(ListAgents(user, operator), 10)
        return {agent.agent_id: agent for agent in found}

    def record(self, task_id: str, user: str = "ada") -> TaskRecord:
        return decode_task(self.plan.storage.state[TASKS, task_key(user, task_id)])

    def stored(self, task_id: str, user: str = "ada") -> bool:
        return (TASKS, task_key(user, task_id)) in self.plan.storage.state

    async def until_status(
        self, task_id: str, status: str, attempt: int | None = None, *, user: str = "ada"
    ) -> TaskRecord:
        with trio.fail_after(7200):
            while True:
                record = self.record(task_id, user)
                if record.status == status and attempt in {None, record.attempt}:
                    return record
                await trio.sleep(0.05)

    async def ended(self, task_id: str, *, user: str = "ada") -> TaskRecord:
        """Wait for the task's end."""
        with trio.fail_after(7200):
            while self.record(task_id, user).status not in TASK_ENDS:
                await trio.sleep(0.05)
        await trio.sleep(1)
        assert (OPEN_TASKS, task_key(user, task_id)) not in self.plan.storage.state
        assert not self.alive(f"/tasks/{task_id}")
        return self.record(task_id, user)

    def alive(self, path: str) -> bool:
        node = self.base.system.tree().find(path)
        return node is not None and node.state != "ended"

    def log(self, user: str = "ada") -> list[dict[str, Any]]:
        events = self.plan.storage.log_of(user).events
        return [{"seq": seq, **json.loads(events[seq].body)} for seq in sorted(events)]

    def story(self, task_id: str, user: str = "ada") -> list[str]:
        """How a task stood, by its owner's log: `queued`, `running 1`, `completed 1`."""
        own = [f["metadata"] for f in self.log(user) if f["metadata"].get("task_id") == task_id]
        return [" ".join(str(found[name]) for name in ("status", "attempt") if name in found) for found in own]

    def verify(self, *, over: bool = True) -> None:
        for user in self.users:
            assert check(self.log(user), connection=False, ends_midrun=not over) == [], user

    def crash(self, path: str) -> None:
        self.base.crash(path)


@asynccontextmanager
async def tasks_system(
    monkeypatch: pytest.MonkeyPatch,
    *,
    plays: dict[tuple[str, int], list[str]] | None = None,
    plan: Plan | None = None,
    limits: TaskLimits = LIMITS,
    engine: Any = lambda _: None,
    most_open: int = 100,
    keep: float = 86_400.0,
    artifacts: Artifacts | None = None,
) -> AsyncIterator[TasksSystem]:
    """A coordinator at /coordinator with a clerk and a poet, tasks at /tasks, and all that `users_system` has."""
    monkeypatch.setattr(working, "AgentStep", Player)
    script, counts, roster = Script(plays or {}), CoordinationCounts(), Roster()
    holder: list[System] = []
    stamps = Stamps(random.Random(5), lambda: START + trio.current_time())

    def coordination(system: System) -> Coordination:
        return Coordination(system.ref("/coordinator"), system.ref("/tasks"), counts, most_open)

    async with users_system(plan=plan, holder=holder, coordination=coordination) as base:
        ref = base.system.ref
        agents = ScriptedServices(
            AGENTS,
            lambda _: ref("/"),
            CallLimits(),
            4000,
            random.Random(1),
            box=ToolBox(artifacts=artifacts),
            script=script,
        )
        coordinator = CoordinatorServices(
            journal=ref("/storage"),
            context=lambda user: ref(f"/users/{actor_name(user)}"),
            stamps=stamps,
            agents=AGENTS,
            chains=(("default",),),
            roster=roster,
            counts=counts,
            offline_after=OFFLINE_AFTER,
        )
        tasks = TaskServices(
            users=ref("/users"),
            journal=ref("/storage"),
            coordinator=ref("/coordinator"),
            stamps=stamps,
            agents=agents,
            engine=engine,
            counts=counts,
            limits=limits,
        )
        root: Any = base.system.root
        specs = [
            ChildSpec("coordinator", lambda: Coordinator(coordinator), mailbox=Mailbox(65_536), budget=OFTEN),
            ChildSpec("tasks", lambda: Tasks(tasks, keep), mailbox=Mailbox(8192), budget=OFTEN),
        ]
        for spec in specs:
            root.actor.start_child(spec)
        await settle()
        yield TasksSystem(base, script, roster, counts)


def run(test: Callable[[TasksSystem], Awaitable[None]], monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    """A test in virtual time; what it has left in the logs is checked. Options as `tasks_system` has them."""

    async def main() -> None:
        async with tasks_system(monkeypatch, **options) as here:
            await test(here)
            here.verify()

    virtual(main)


def refused(code: str) -> Any:
    """For `with`: the block is refused with an error of this code."""
    return pytest.raises(Refused, match=code)
