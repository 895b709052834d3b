"""One user at work: everything that a client can do, in an order that chance decides.

Everybody uses the same client ids, command ids, idempotency keys, names of files and words to search for: whatever the
daemon keeps without saying whose it is, meets another's here. What is told apart is the canary in all that is said.
"""

from __future__ import annotations

import itertools
import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import attrs
import trio

from tests.isolation import probes
from tests.isolation.watched import Watched
from tests.support.daemon import Response, http

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterator

    from tests.isolation.world import World
    from tests.support.grammar_tables import Frame

SHORTLY: Final = 0.02
DIG: Final = "dig"
FILE: Final = "file"
TOOLS: Final = ("remember", "search_memory", "write_artifact", "list_artifacts", "start_agent")
CHANNELS: Final = ("agent_status", "task_completion", "engine_status", "system_metrics", "system_alerts")
RUNS: Final = (
    ("tooled", "none"),
    ("fanned", "none"),
    ("tooled", "cancel"),
    ("fanned", "pause"),
    ("tooled", "crash of the run"),
    ("fanned", "crash of the step"),
    ("asks", "approve"),
    ("asks", "modify"),
    ("asks", "reject"),
)
"""What runs are of, and what becomes of them."""
REMEMBER: Final = {"action": "remember"}
RECALL: Final = {"query": "note on tea", "limit": 20}
SEARCH: Final = {"name": "find", "worker": "search", "mission": "note on tea"}
EXECUTIONS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("memory_query", REMEMBER),
    ("memory_query", RECALL),
    ("hybrid", {}),
    ("batch_operation", {"tasks": [SEARCH, {"name": "write", "depends_on": ["find"]}]}),
    ("brainstorming", {"candidates": 2}),
)
"""Types of work for the engines, each with its parameters, but for the words in them."""


@attrs.define(eq=False)
class Person:
    """See the module. `runs`, `tasks`, `memories`: the ids of what is theirs."""

    world: World
    user: str
    rng: random.Random
    canary: str
    laptop: Watched
    phone: Watched
    worker: Watched
    runs: list[str] = attrs.field(factory=list)
    tasks: list[str] = attrs.field(factory=list)
    memories: list[str] = attrs.field(factory=list)
    agent_id: str = ""
    polled: dict[str, Any] = attrs.field(factory=dict)
    """Where the poller is: `epoch` and `after`."""
    _numbers: Iterator[int] = attrs.field(factory=lambda: itertools.count(1))
    _registered: int = 0
    _offers: int = 0

    @property
    def devices(self) -> tuple[Watched, ...]:
        return self.laptop, self.phone, self.worker

    # --- what is said

    def words(self) -> str:
        """Something to say: common words, so that searches find everybody's, and the canary."""
        return f"a note on tea number {self.rng.randrange(100)} by {self.canary}"

    def tool_lines(self) -> str:
        """Lines that have the model call tools."""
        arguments: dict[str, dict[str, Any]] = {
            "remember": {"content": self.words(), "tags": ["tea"]},
            "search_memory": {"query": "note on tea", "limit": 20},
            "write_artifact": {"name": "notes.txt", "content": self.words()},
            "list_artifacts": {},
            "start_agent": {"agent": "writer", "mission": self.words()},
        }
        chosen = self.rng.sample(TOOLS, self.rng.randrange(1, 4))
        lines = [f"call-tool: {name} {json.dumps(arguments[name])}" for name in chosen]
        reading = 'call-tool: read_artifact {"name": "notes.txt"}'
        return "\n".join(["", *lines, *([reading] if "write_artifact" in chosen else [])])

    def next_id(self) -> str:
        return f"command-{next(self._numbers)}"

    async def say(self, kind: str, content: str = "", **metadata: Any) -> Frame:
        """A command on the laptop, and its answer."""
        return await self.laptop.ask(kind, content, id=self.next_id(), **metadata)

    async def insist(self, kind: str, content: str = "", **metadata: Any) -> Frame:
        """A command, said again as long as its answer is that it cannot be carried out at this moment."""
        while True:
            answer = await self.say(kind, content, **metadata)
            if answer["type"] != "error" or not answer["metadata"]["retryable"]:
                return answer
            await trio.sleep(SHORTLY)

    async def get(
        self, path: str, *, method: str = "GET", body: object = None, key: str = "", look: bool = True
    ) -> Response:
        """A request in this user's name, with this idempotency key; all of the answer is looked at."""
        headers = {"X-User-Id": self.user}
        if method == "POST":
            headers["Idempotency-Key"] = key or self.next_id()
        answer = await http(self.world.port, path, method=method, body=body, headers=headers)
        if look:
            self.world.marks.look(self.user, answer.body.decode("utf-8", "replace"), f"{method} {path}")
        return answer

    # --- runs, one after the other

    async def start(self, workflow: str) -> str | None:
        """Start a run; its id. None where one is under way."""
        brief = f"The brief of {self.canary}: a shop that sells tea.{self.tool_lines()}"
        while True:
            answer = await self.say("start_run", brief, workflow=workflow)
            run_id = answer["metadata"].get("run_id")
            if run_id is not None:
                break
            if not answer["metadata"]["retryable"]:
                self.world.marks.blame(f"{self.user}'s run was refused: {answer}")
            await trio.sleep(SHORTLY)  # a daemon that has only just started may say that it cannot yet
        self.world.marks.claim(self.user, run_id, "the run")
        if run_id in self.runs:
            return None
        self.runs.append(run_id)
        self.world.count(f"run {workflow}")
        return str(run_id)

    async def run(self, workflow: str, fate: str) -> None:
        """Start one, do something to it, and see it end."""
        await self.laptop.until(lambda: set(self.runs) <= self.laptop.run_ends.keys())
        run_id = await self.start(workflow)
        assert run_id is not None
        await trio.sleep(self.rng.uniform(0, 0.05))
        await self._meddle(run_id, fate)
        await self.laptop.until(lambda: run_id in self.laptop.run_ends)
        self.world.count(f"run that was {self.laptop.run_ends[run_id]}")

    async def _meddle(self, run_id: str, fate: str) -> None:
        laptop, path = self.laptop, f"/runs/{run_id}"
        match fate:
            case "cancel":
                await self.say("cancel_run", run_id=run_id)
            case "pause":
                await self.insist("pause_run", run_id=run_id)
                await self.say("get_run", run_id=run_id)
                await self.insist("resume_run", run_id=run_id)
            case "crash of the run":
                self.world.crash(path)
            case "crash of the step":
                await laptop.wait_for(type="agent_status", run_id=run_id)
                steps = [each for each in self.world.house.paths() if each.startswith(f"{path}/")]
                if steps:
                    self.world.crash(self.rng.choice(steps))
            case "approve" | "modify" | "reject":
                await laptop.until(lambda: run_id in laptop.run_ends or self._asked(run_id))
                for approval_id in self._asked(run_id)[-1:]:
                    others = [other for other in self.world.people if other is not self]
                    await probes.decide(self.world, self.rng.choice(others), approval_id)
                    await self.insist("decide", self.words(), approval_id=approval_id, decision=fate)
        self.world.count(f"fate {fate}")

    def _asked(self, run_id: str) -> list[str]:
        return [each for each in self.laptop.asked if each.startswith(run_id)]

    # --- tasks and engines

    async def task(self, capability: str) -> None:
        """Submit one, to an agent of the daemon or to a worker."""
        content = self.words() + (self.tool_lines() if capability == FILE else "")
        await self._submit(capability, content, required_capabilities=[capability])

    async def engine_task(self, task_type: str, parameters: dict[str, Any]) -> None:
        """Submit one that an engine does."""
        await self._submit(task_type, self.words(), task_type=task_type, parameters=self._worded(parameters))

    async def _submit(self, what: str, content: str, **more: Any) -> None:
        answer = await self.say("submit_task", content, **more)
        if answer["type"] == "reply":
            task_id = answer["metadata"]["task_id"]
            self.world.marks.claim(self.user, task_id, "the task")
            self.tasks.append(task_id)
            self.world.count(f"task for {what}")

    def _worded(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters, with this user's words where there have to be some."""
        if parameters is REMEMBER:
            return {**parameters, "content": self.words()}
        tasks = [{"mission": self.words(), **task} for task in parameters.get("tasks", ())]
        return {**parameters, "tasks": tasks} if tasks else parameters

    async def execute(self, task_type: str, parameters: dict[str, Any]) -> None:
        """The same over HTTP, waited for."""
        body = {"task_type": task_type, "description": self.words(), "parameters": self._worded(parameters)}
        key = f"{task_type}-{parameters.get('action')}-{self.world.round}"
        answer = await self.get("/api/engines/execute", method="POST", body=body, key=key)
        if answer.status != 200:
            return
        self.world.count(f"execution of {task_type}")
        result = answer.json["result"]
        if "memory_id" in result:
            self.world.marks.claim(self.user, result["memory_id"], "the memory")
            self.memories.append(result["memory_id"])
        elif result.get("memories"):
            self.world.count("memories found")

    # --- a worker of this user's own

    async def work(self) -> None:
        """Do what the worker is told to do; never ends."""
        while True:
            await self.worker.sometime(lambda: self._new_connection or len(self.worker.offers) > self._offers)
            if self._new_connection:
                await self._register()
                continue
            offer = self.worker.offers[self._offers]
            self._offers += 1
            result = {"dug": offer["task_id"], "by": self.worker.client_id}
            metadata = {"task_id": offer["task_id"], "attempt": offer["attempt"], "status": "completed"}
            answer = await self.worker.ask("task_update", id=self.next_id(), result=result, **metadata)
            if answer["type"] == "reply":
                own = offer["task_id"] in self.tasks
                self.world.count("task done by one's own worker" if own else "task done by another's worker")

    @property
    def _new_connection(self) -> bool:
        connections = self.worker.connections
        there = bool(connections) and any(frame["type"] == "welcome" for frame in connections[-1].frames)
        return there and len(connections) != self._registered

    async def _register(self) -> None:
        at = len(self.worker.connections)
        shared = self.worker.serves_all
        if self.world.operators and not shared:  # then one serves everybody
            self._registered = at
            return
        name = "Digger of everybody" if shared else f"Digger of {self.canary}"
        answer = await self.worker.ask(
            "register_agent", id=self.next_id(), name=name, capabilities=[DIG], shared=shared
        )
        if answer["type"] == "reply":
            self.agent_id = answer["metadata"]["agent_id"]
            self._registered = at
            self.world.count("worker of everybody" if shared else "worker of one's own")

    # --- reading and settings

    async def mode(self) -> None:
        """Say how the session is, as everybody does, to the letter."""
        answer = await self.laptop.ask("set_mode", id=f"mode-{self.world.round}", mode="autopilot")
        if answer["type"] == "reply":
            session_id = answer["metadata"]["session_id"]
            self.world.marks.claim(self.user, session_id.removeprefix("default-"), "the session")
            self.world.count("mode set")

    async def read(self) -> None:
        """Whatever there is to be read of one's own."""
        paths = ["/api/runs", "/api/tasks", "/api/tasks?active=true", "/api/agents"]
        paths += [f"/api/runs/{run_id}" for run_id in self.runs[-2:]]
        paths += [f"/api/tasks/{task_id}" for task_id in self.tasks[-2:]]
        for path in paths:  # but operators see everybody's agents
            await self.get(path, look=not (self.world.operators and path == "/api/agents"))
        await self.say("list_runs")
        await self.say("get_run", run_id=self.runs[-1] if self.runs else "none")
        self.world.count("reading")

    async def files(self) -> None:
        """The files of the last run, each downloaded."""
        if not self.runs:
            return
        base = f"/api/runs/{self.rng.choice(self.runs[-3:])}/artifacts"
        answer = await self.get(base)
        for file in answer.json if answer.status == 200 else ():
            await self.get(f"{base}/{file['name']}?step={quote(file['step'])}")
            self.world.count("download")

    async def poll(self) -> None:
        """Go on reading the log over HTTP, or begin it anew."""
        client_id = self.rng.choice(("poller", "laptop", ""))
        where = dict(self.polled)
        if where and self.rng.random() < 0.3:
            where["after"] = 0
        query = "&".join(f"{name}={value}" for name, value in {"client_id": client_id, **where}.items() if value != "")
        answer = await self.get(f"/api/events?{query}")
        if answer.status == 200:
            found = answer.json
            self.world.marks.claim(self.user, found["epoch"], "the log")
            after = found["events"][-1]["seq"] if found["events"] else found["seq"]
            self.polled = {"epoch": found["epoch"], "after": after}
            self.world.count("events polled" if found["events"] else "poll")

    async def command(self) -> None:
        """Commands without a WebSocket."""
        for kind, metadata in (("list_runs", {}), ("get_run", {"run_id": self.runs[-1] if self.runs else "none"})):
            body = {"id": self.next_id(), "type": kind, "metadata": metadata}
            await self.get("/api/commands", method="POST", body=body)
            self.world.count("command over HTTP")

    # --- connections

    async def listen(self) -> None:
        """Subscribe to all channels, and leave one of them again."""
        for channel in CHANNELS:
            answer = await self.say("subscribe", channel=channel)
            self.world.count(f"subscribe {'granted' if answer['type'] == 'reply' else 'refused'}")
        await self.say("unsubscribe", channel="engine_status")

    async def lose(self) -> None:
        """The phone loses its connection, and comes back and resumes."""
        at = len(self.phone.connections)
        if self.phone.lose():
            await self.phone.until(lambda: len(self.phone.connections) > at)
            self.world.count("connection lost")

    async def take_over(self) -> None:
        """Another device comes with the phone's client_id, from the position that it has or with none."""
        old = self.phone
        resume = old.resume if self.rng.random() < 0.5 else None
        new = await self.world.connect(self.user, "phone", resume=resume)
        while not (old.ended or new.ended):  # the old one may be on its way back, and then it is the newer one
            await trio.sleep(SHORTLY)
        self.phone = old if new.ended else new
        self.world.count("takeover")

    async def replay(self) -> None:
        """A device that resumes from the beginning of the log."""
        epoch = self.laptop.welcomed["epoch"]
        late = await self.world.connect(self.user, f"late-{self.next_id()}", resume={"epoch": epoch, "seq": 0})
        if late.welcomed["resumed"]:
            top = late.welcomed["seq"]
            await late.until(lambda: len(late.log) >= top or late.codes)
            self.world.count("replay")
        late.comes_back = False
        late.lose()

    async def crash_connection(self) -> None:
        """The phone's connection fails within the daemon."""
        self.world.crash(f"/gateway/connections/{self.phone.welcomed['connection_id']}")

    async def crash_context(self) -> None:
        """This user's context fails."""
        self.world.crash(f"/users/{self.user}")

    def acts(self) -> list[Callable[[], Awaitable[None]]]:
        """Everything that can be done besides runs, once each; what both halves of it are to have, twice."""
        engines = [partial(act, *each) for each in EXECUTIONS for act in (self.engine_task, self.execute)]
        more = (self.read, self.files, self.files, self.poll, self.poll, self.command, self.mode)
        connections = (self.lose, self.take_over, self.replay, self.crash_connection, self.crash_context)
        tasks = [partial(self.task, capability) for capability in (FILE, FILE, DIG, DIG)]
        return [*engines, *tasks, *more, *connections]

    # --- the end

    async def done(self) -> None:
        """Wait for the end of all that this user has begun."""
        await self.laptop.until(lambda: set(self.runs) <= self.laptop.run_ends.keys())
        await self.laptop.until(lambda: set(self.tasks) <= self.laptop.task_ends.keys())

    async def finish(self) -> None:
        """Give up what is still open, and wait for its end."""
        for run_id in set(self.runs) - self.laptop.run_ends.keys():
            await self.say("cancel_run", run_id=run_id)
        for task_id in set(self.tasks) - self.laptop.task_ends.keys():
            await self.get(f"/api/tasks/{task_id}", method="DELETE")
        await self.done()
        for name, count in self.laptop.tools.items():
            self.world.happened[f"tool {name}"] += count
