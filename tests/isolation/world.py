"""The whole daemon in this process, with everybody at work at once and the provider that looks at what it is sent."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import attrs
import trio

import understudy.daemon
import understudy.tree
from actors.gateway.settings import GatewaySettings
from tests.isolation.marks import Marks
from tests.isolation.person import FILE, RUNS, Person
from tests.isolation.probes import PROBES, probe
from tests.isolation.provider import KEY, Provider
from tests.isolation.watched import Watched
from tests.support.daemon import House, http
from understudy.configuration import load
from understudy.daemon import open_daemon
from understudy.http.callers import Caller, in_development
from understudy.http.sources import Sources
from understudy.logs import open_log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

OPERATOR: Final = "root"
WITHIN: Final = 240.0
"""Seconds for anything that is waited for: everybody is at work at once, perhaps on a busy machine."""
SETTINGS: Final = """
[connections]
commands_per_minute = 100000
[models.default]
model = "lead"
base_url = "{url}"
api_key = "{key}"
[fallback]
open_first = 0.3
open_cap = 1.0
[workers]
offline_after = 0.5
[agents.writer]
role = "Writer"
prompt = "You are the Writer."
[agents.handy]
role = "Handyman"
prompt = "You are the Handyman."
max_concurrent_tasks = 2
tools = ["remember", "search_memory", "list_artifacts", "read_artifact", "write_artifact", "start_agent"]
[agents.filer]
role = "Filer"
prompt = "You are the Filer."
capabilities = ["file"]
max_concurrent_tasks = 2
tools = ["remember", "search_memory", "list_artifacts", "read_artifact", "write_artifact", "start_agent"]
[workflows.tooled]
title = "One after the other"
steps = [{{ name = "work", agent = "handy" }}, {{ name = "text", agent = "writer" }}]
[workflows.fanned]
title = "Two at a time, then one"
steps = [
    {{ name = "work", agent = "handy" }},
    {{ name = "left", agent = "writer", depends_on = ["work"] }},
    {{ name = "right", agent = "handy", depends_on = ["work"] }},
    {{ name = "end", agent = "writer", depends_on = ["left", "right"] }},
]
[workflows.asks]
title = "Asks"
approval_on_timeout = "approve"
approval_timeout = 0.5
steps = [{{ name = "work", agent = "writer", approval = true }}, {{ name = "text", agent = "writer" }}]
"""
SHARED: Final = (
    *("/storage", "/models/gate-default", "/engines/perfect_recall/engine", "/engines/coordinator", "/engines/tasks"),
    *("/users", "/runs"),
)
"""Actors that serve everybody."""
BETWEEN: Final = 1.7
"""Seconds between two crashes of these: a top-level child may restart three times in five."""
OWN_AGAIN: Final = 8.0
"""Seconds between two crashes of one user's context: it may restart ten times in sixty."""
READ_BY_OPERATORS: Final = (
    *("/health", "/ready", "/metrics", "/api/supervisors", "/api/websockets/stats", "/api/engines", "/api/rate-limits"),
    *("/api/workflows", "/openapi.json"),
)


@attrs.define(eq=False)
class World:
    """Everything that the people share. `operators`: in this round all of them are."""

    data: Path
    marks: Marks
    provider: Provider
    rng: random.Random
    nursery: trio.Nursery
    happened: Counter[str] = attrs.field(factory=Counter)
    people: list[Person] = attrs.field(factory=list)
    operators: bool = False
    port: int = 0
    round: int = 0
    _house: House | None = None
    _crashed: dict[str, float] = attrs.field(factory=dict)
    _lines: int = 0
    """Of the log, that were looked at."""

    @property
    def house(self) -> House:
        assert self._house is not None
        return self._house

    def count(self, what: str) -> None:
        """This has happened."""
        self.happened[what] += 1

    # --- the daemon

    @asynccontextmanager
    async def running(self, *, operators: bool) -> AsyncIterator[None]:
        """A daemon on the same data for the block, whose users are operators or not."""
        for person in self.people:  # what the daemon before has sent was for the roles before
            for device in person.devices:
                await device.until(lambda device=device: device.connections[-1].code is not None)
        self.operators, self.round = operators, self.round + 1
        for number, person in enumerate(self.people):
            person.worker.serves_all = operators and number == 0
            for device in person.devices:
                device.hears_all = operators
        role = "operator" if operators else "user"
        file = self.data / "understudy.toml"
        file.write_text(SETTINGS.format(url=self.provider.base_url, key=KEY))
        flags: dict[str, object] = {"port": 0, "data": self.data / "data", "shutdown_deadline": 1.0}
        settings = load(file=file, environ={}, flags=flags).settings
        out = StringIO()
        with (
            patch.object(understudy.tree, "GatewaySettings", partial(GatewaySettings, role=role)),
            patch.object(understudy.daemon, "Sources", partial(Sources, identify=partial(_identify, role))),
        ):
            seed = random.Random(self.rng.getrandbits(64))
            async with open_daemon(settings, open_log(out, style="json"), rng=seed) as daemon:
                self._house, self._lines = House(daemon, out), 0
                await self.house.settled()
                self.port = self.house.port
                for person in self.people:
                    for device in person.devices:
                        device.port = self.port
                yield
                self.look_at_the_house()

    def look_at_the_house(self) -> None:
        """At what operators read of it, and at what it counts itself."""
        violations = self.house.daemon.counters.isolation_violations
        if violations:
            self.marks.blame(f"the daemon has counted {violations} violations of isolation")
        for line in self.house.log[self._lines :]:
            self._lines += 1
            self._public(str(line), "the log")

    def _public(self, text: str, where: str) -> None:
        self.marks.look_for_any(text, where)
        if KEY in text:
            self.marks.blame(f"{where} holds the provider's key")

    def crash(self, path: str) -> None:
        """Have an actor crash, if it runs, and did not crash a moment ago: budgets are not to be used up."""
        now = trio.current_time()
        if now >= self._crashed.get(path, -OWN_AGAIN) + OWN_AGAIN:
            self._crashed[path] = now
            happened = self.house.system.fail(path, RuntimeError("injected"))
            self.happened[f"crash of {path if path in SHARED else path.split('/')[1]}"] += happened

    # --- devices

    async def connect(self, user: str, client_id: str, *, resume: dict[str, Any] | None = None) -> Watched:
        """A device of this user, welcomed."""
        device = Watched(self.port, user, client_id, resume, within=WITHIN, marks=self.marks, hears_all=self.operators)
        with trio.fail_after(device.within):
            await self.nursery.start(device.live)
        return device

    async def settle(self, user: str, canary: str) -> Person:
        """Somebody with three devices, of which one is a worker."""
        laptop, phone, worker = [await self.connect(user, name) for name in ("laptop", "phone", "worker")]
        person = Person(self, user, random.Random(self.rng.getrandbits(64)), canary, laptop, phone, worker)
        self.people.append(person)
        self.nursery.start_soon(person.work)
        return person

    # --- everybody at work

    async def work(self, shared: Sequence[str], pause: float, part: slice) -> None:
        """Everybody does this part of everything, all at once; meanwhile these actors crash, and an operator looks on.

        In the end everybody has a run and a task under way.
        """
        for person in self.people:
            await person.listen()
        async with trio.open_nursery() as watching:
            watching.start_soon(self._look_again_and_again)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._crash_shared, shared)
                for person in self.people:
                    others = [other for other in self.people if other is not person]
                    steals = [partial(probe, self, name, person, person.rng.choice(others)) for name in PROBES]
                    runs = [partial(person.run, *each) for each in RUNS[part]]
                    nursery.start_soon(self._one_by_one, person, [*person.acts()[part], *steals], pause)
                    nursery.start_soon(self._one_by_one, person, runs, pause)
            watching.cancel_scope.cancel()
        for name in PROBES:  # of some there was nothing yet that could have been taken
            for thief, owner in zip(self.people, self.people[1:], strict=False):
                if not self.happened[f"probe of {name}"]:
                    await probe(self, name, thief, owner)
        await self._look_as_operator()
        for person in self.people:
            await person.done()
            await person.task(FILE)
            await person.start("fanned")

    async def _one_by_one(self, person: Person, acts: list[Callable[[], Awaitable[None]]], pause: float) -> None:
        for act in person.rng.sample(acts, len(acts)):
            await act()
            await trio.sleep(person.rng.uniform(0, pause))

    async def _crash_shared(self, shared: Sequence[str]) -> None:
        for path in shared:
            await trio.sleep(BETWEEN)
            self.crash(path)

    async def _look_again_and_again(self) -> None:
        while True:
            await trio.sleep(BETWEEN)
            await self._look_as_operator()

    async def _look_as_operator(self) -> None:
        """Look at all that an operator may see."""
        for path in READ_BY_OPERATORS:
            answer = await http(self.port, path, headers={"X-User-Id": OPERATOR})
            self._public(answer.body.decode(), path)
            self.look_at_the_house()
        self.count("operator's look at everything")


def _identify(role: str, headers: Mapping[str, str]) -> Caller:
    """The caller of a request, in this role; but for the operator."""
    caller = in_development(headers)
    return (
        caller if caller.user_id == OPERATOR else Caller(caller.user_id, "operator" if role == "operator" else "user")
    )
