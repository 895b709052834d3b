"""Engines in virtual time: a strategy that does what a script says, and a journal without threads."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import structlog
import trio
from trio.testing import wait_all_tasks_blocked

from actors.engines.asking import Reply
from actors.engines.counts import EngineCounts
from actors.engines.engine import Part
from actors.engines.fallback import EnginePlan, engine_spec
from actors.engines.messages import EngineResult, Execute
from actors.engines.strategy import Misfit, Outcome, Unavailable
from actors.operations.channels import Topic
from actors.protocol.catalogue import Failure
from actors.protocol.channel_events import Channel
from actors.protocol.stamps import Stamps
from actors.protocol.task_events import Priority
from actors.storage.database import Database
from actors.storage.journal import Append, StorageTrouble
from runtime import Actor, Refused, Report, System, open_system
from supervisors import ChildSpec, Intensity, Policy, supervise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from actors.engines.asking import Question
    from actors.engines.strategy import Desk
    from runtime import Ref

START = 1_790_000_000.0
POLICY = Policy(failures=3, open_first=5.0, open_cap=5.0, probe_within=60.0)


def stamps() -> Stamps:
    """Ids by a seed, and the wall clock by trio's."""
    return Stamps(random.Random(11), lambda: START + trio.current_time())


class Scripted:
    """A strategy: `say` of the parameters is what it does. Remembers who began, in order."""

    def __init__(self, name: str, began: list[tuple[str, str]], closed: list[str]) -> None:
        self.name = name
        self.began = began
        self.closed = closed

    def problems(self, execute: Execute) -> dict[str, str]:
        return {"parameters.say": "Not that."} if execute.parameters.get("say") == "wrong" else {}

    async def close(self) -> None:
        self.closed.append(self.name)

    async def run(self, execute: Execute, desk: Desk) -> Outcome:
        self.began.append((self.name, execute.user))
        desk.so_far["begun"] = True
        desk.told(1, 2)
        match str(execute.parameters.get("say", "answer")).split():
            case ["wait", seconds]:
                await trio.sleep(float(seconds))
            case ["defect"]:
                raise RuntimeError("planned")
            case ["defect", "of", name] if name == self.name:
                raise RuntimeError("planned")
            case ["misfit"]:
                raise Misfit({"here": "No."})
            case ["unavailable"]:
                raise Unavailable("planned")
            case ["fail"]:
                return Outcome({}, failure=Failure.UNREACHABLE)
        return Outcome({"by": self.name})


class Ear(Actor):
    """Hears one topic, and whatever else it is told."""

    def __init__(self, heard: list[Any]) -> None:
        self.heard = heard

    async def started(self) -> None:
        self.subscribe(Topic(Channel.ENGINE_STATUS, None))

    async def receive(self, message: Any) -> object:
        self.heard.append(message)
        return None


@attrs.define(eq=False)
class EngineSite:
    """One engine at /engine, with what a test holds on to."""

    system: System
    counts: EngineCounts
    reports: list[Report]
    began: list[tuple[str, str]]
    closed: list[str]
    heard: list[Any]

    @property
    def engine(self) -> Ref[Any]:
        return self.system.ref("/engine")

    async def execute(
        self, say: str = "answer", *, user: str = "ada", within: float = 60.0, key: str = "", **more: Any
    ) -> EngineResult:
        now = trio.current_time()
        ask = Execute("memory_query", "", user, now + within, {"say": say}, key, **more)
        result: EngineResult = await self.engine.ask(ask, within + 1.0)
        return result

    async def refused(self, say: str = "answer", **more: Any) -> Any:
        try:
            result = await self.execute(say, **more)
        except Refused as refused:
            return refused.reason
        raise AssertionError(result)

    @property
    def states(self) -> list[str]:
        """Of the engine, as told on the channel, repeats left out."""
        told = [message.event.metadata["payload"]["state"] for message in self.heard if hasattr(message, "event")]
        return [state for place, state in enumerate(told) if place == 0 or told[place - 1] != state]


@asynccontextmanager
async def engine_site(limit: int = 2, queue: int = 3) -> AsyncIterator[EngineSite]:
    """An engine "lead" with an understudy "plain", both scripted."""
    reports: list[Report] = []
    began: list[tuple[str, str]] = []
    closed: list[str] = []
    heard: list[Any] = []
    counts = EngineCounts("engine")
    plan = EnginePlan(
        Part("engine", None, limit, queue, lambda _: Scripted("engine", began, closed)),
        Part("plain", "engine", limit, queue, lambda _: Scripted("plain", began, closed)),
        POLICY,
    )
    root = supervise(
        "root",
        [
            ChildSpec("ear", lambda: Ear(heard)),
            engine_spec(plan, counts, stamps(), structlog.get_logger()),
        ],
        intensity=Intensity(10, 5),
    )
    async with open_system(root, report=reports.append, rng=random.Random(3)) as system:
        await wait_all_tasks_blocked()
        yield EngineSite(system, counts, reports, began, closed, heard)


class DirectJournal(Actor):
    """Answers as the journal does, on a real database, without a thread; refuses while `trouble` says so."""

    def __init__(self, database: Database, trouble: Callable[[], bool] = lambda: False) -> None:
        self.database = database
        self.trouble = trouble

    async def receive(self, message: Any) -> object:
        if self.trouble():
            return Refused(StorageTrouble("unavailable", "planned"))
        if isinstance(message, Append):
            return tuple(self.database.append(message.records))
        return message.run(self.database)


def open_database(path: Path) -> Database:
    return Database(path / "understudy.db", random=random.Random(5), wall_clock=lambda: START)


@asynccontextmanager
async def journal_site(path: Path, trouble: Callable[[], bool] = lambda: False) -> AsyncIterator[tuple[System, Any]]:
    """A system with a journal at /storage, and the database behind it."""
    database = open_database(path)
    root = supervise("root", [ChildSpec("storage", lambda: DirectJournal(database, trouble))])
    async with open_system(root, rng=random.Random(3)) as system:
        await wait_all_tasks_blocked()
        yield system, database
    database.close()


class Author:
    """A model that says what a function makes of each question; remembers the questions."""

    def __init__(self, say: Callable[[Question], Reply | str], takes: float = 0.0) -> None:
        self.say = say
        self.takes = takes
        self.asked: list[Question] = []
        self.open = 0
        self.most_open = 0

    async def __call__(self, question: Question) -> Reply:
        self.asked.append(question)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await trio.sleep(self.takes)
        finally:
            self.open -= 1
        said = self.say(question)
        return Reply(said, "model-1") if isinstance(said, str) else said

    def roles(self) -> list[str]:
        return [question.agent.role for question in self.asked]


class Bench(Actor):
    """An actor whose tasks a strategy may start: runs what it is asked in a task, and answers with how it ended."""

    def __init__(self) -> None:
        self.asked: dict[Any, Any] = {}

    async def receive(self, message: Any) -> object:
        if callable(message):
            self.asked[self.start(message, self.start)] = self.defer()
        elif getattr(message, "task", None) in self.asked:
            self.asked.pop(message.task).answer(message)
        return None

    def inspect(self) -> dict[str, Any]:
        return {"tasks": len(self.asked)}


@asynccontextmanager
async def bench() -> AsyncIterator[Callable[..., Any]]:
    """Gives `do(function)`: `function(start)` in a task of an actor; its value, or its error raised."""
    root = supervise("root", [ChildSpec("bench", Bench)])
    async with open_system(root, rng=random.Random(3)) as system:
        await wait_all_tasks_blocked()

        async def do(function: Any, within: float = 10_000.0) -> Any:
            ended = await system.ref("/bench").ask(function, within)
            if ended.error is not None:
                raise ended.error
            return ended.value

        yield do


def execute(description: str = "The whole", user: str = "ada", within: float = 600.0, **parameters: Any) -> Execute:
    """A request, for a strategy."""
    deadline = trio.current_time() + within
    return Execute("concurrent_analysis", description, user, deadline, parameters, priority=Priority.HIGH)


def texts(values: Sequence[dict[str, Any]]) -> list[str]:
    return [value["content"] for value in values]
