"""A shop floor for pools: workers that write down what they begin and end, and a pool of them at `/pool`."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager, suppress
from types import FunctionType
from typing import TYPE_CHECKING, Any

import attrs
import trio

from runtime import Actor, ActorError, Mailbox, Overflow
from supervisors import ByKey, ChildSpec, Intensity, Resize, Routing, pool
from tests.support.actors import LONG, Bench, OpenHost, Probe, run, running, settle
from tests.support.supervision import Steady

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from runtime import Node, Ref, ReplyTo
    from runtime._cell import Cell

PLENTY = Intensity(1000, 5.0)
ONCE = Intensity(0, 5.0)
BY_KEY = ByKey(lambda message: getattr(message, "key", "key"))
LAZY = 1000.0
ROUND_ROBIN = Routing.ROUND_ROBIN


@attrs.frozen
class Job:
    """Something that takes `seconds`. Jobs of one key are to be done in the order of their numbers."""

    number: int
    seconds: float = 0.0
    key: Any = "key"


@attrs.frozen
class Later:
    """A job whose answer is deferred; `Answer` gives it."""

    number: int
    key: Any = "key"


@attrs.define(eq=False)
class Floor:
    """What happened, in order: (worker, number)."""

    began: list[tuple[str, int]] = attrs.field(factory=list)
    ended: list[tuple[str, int]] = attrs.field(factory=list)
    keys: dict[int, Any] = attrs.field(factory=dict)
    hands: dict[str, int] = attrs.field(factory=dict)
    overlaps: list[tuple[int, int]] = attrs.field(factory=list)
    deferred: list[ReplyTo] = attrs.field(factory=list)
    starts: list[str] = attrs.field(factory=list)
    stops: list[str] = attrs.field(factory=list)

    def begin(self, worker: str, number: int, key: Any) -> None:
        """Write it down, and what else of the same key is being done at the moment."""
        self.overlaps += [(other, number) for other in self.hands.values() if self.keys[other] == key]
        self.began.append((worker, number))
        self.keys[number] = key
        self.hands[worker] = number

    def order(self) -> dict[Any, list[int]]:
        """The numbers of the jobs begun, by key."""
        order: dict[Any, list[int]] = {}
        for _, number in self.began:
            order.setdefault(self.keys[number], []).append(number)
        return order

    def by(self, number: int) -> list[str]:
        """Who began that job."""
        return [worker for worker, job in self.began if job == number]


class Worker(Actor):
    """Does jobs, and answers with its name. Runs functions."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor

    @property
    def name(self) -> str:
        return self.ref.path.rsplit("/", 1)[1]

    async def started(self) -> None:
        self.floor.starts.append(self.name)

    async def receive(self, message: Any) -> object:
        if isinstance(message, FunctionType):
            return await run(message, self)
        if isinstance(message, Later):
            self.floor.began.append((self.name, message.number))
            self.floor.deferred.append(self.defer())
        if isinstance(message, Job):
            self.floor.begin(self.name, message.number, message.key)
            if message.seconds:
                await trio.sleep(message.seconds)
            self.floor.ended.append((self.name, message.number))
            del self.floor.hands[self.name]
        return self.name

    async def stopped(self, reason: Any) -> None:
        self.floor.hands.pop(self.name, None)
        self.floor.stops.append(self.name)


@attrs.frozen(eq=False)
class Shop:
    """A running pool."""

    bench: Bench
    floor: Floor
    ref: Ref[Any]

    def member(self, number: int) -> Ref[Any]:
        return self.bench.system.ref(f"{self.ref.path}/w-{number}")

    def cell(self, number: int) -> Cell:
        cell: Cell = self.member(number).target
        return cell

    def node(self, path: str = "") -> Node:
        node = self.bench.system.tree().find(path or self.ref.path)
        assert node is not None
        return node

    @property
    def members(self) -> dict[str, Any]:
        """What the pool says of its members."""
        members: dict[str, Any] = self.node().details["members"]
        return members

    @property
    def loads(self) -> list[int]:
        return [member["outstanding"] for member in self.members.values()]

    def tell(self, *jobs: Any) -> list[bool]:
        return [self.ref.tell(job) for job in jobs]

    async def resize(self, size: int) -> Any:
        before = await self.ref.ask(Resize(size), within=LONG)
        await settle()
        return before

    async def crash(self, number: int) -> None:
        """Have a member fail, whatever it is doing: its handler, if it sleeps, and what waits for it."""
        self.bench.system.fail(self.member(number).path, RuntimeError("asked for"))
        await settle()

    @property
    def lost(self) -> list[tuple[str, str]]:
        """The dead letters: (path, reason)."""
        return [(letter.path, letter.reason) for letter in self.bench.letters]


class Chaos:
    """Random jobs for a pool that is resized, and whose members fail and are killed, at random."""

    def __init__(self, s: Shop, seed: int) -> None:
        self.s = s
        self.random = random.Random(seed)
        self.accepted: dict[str, list[int]] = {}
        self.number = 0

    def job(self, key: str) -> Job:
        self.number += 1
        return Job(self.number, self.random.choice((0.0, 0.0, 0.02, 0.2)), key)

    def tell(self) -> None:
        job = self.job(f"k{self.random.randrange(8)}")
        if self.s.ref.tell(job):
            self.accepted.setdefault(job.key, []).append(job.number)

    async def ask(self) -> None:
        job = self.job(f"k{self.random.randrange(8)}")
        with trio.move_on_after(self.random.random()), suppress(ActorError):
            await self.s.ref.ask(job, within=self.random.random())

    async def send(self, key: str) -> None:
        """The only one who uses that key: sends one after the other, for ever."""
        while True:
            job = self.job(key)
            try:
                await self.s.ref.send(job, within=1 + self.random.random())
                self.accepted.setdefault(key, []).append(job.number)
            except ActorError:
                await trio.sleep(0.1)
            await trio.sleep(self.random.choice((0.0, 0.01)))

    def disturb(self) -> None:
        path = f"/pool/{self.random.choice(list(self.s.members))}"
        match self.random.randrange(10):
            case 0 | 1:
                self.s.ref.tell(Resize(self.random.randint(1, 5)))
            case 2:
                self.s.bench.system.fail(path, RuntimeError("at random"))
            case 3:
                cell = self.s.bench.system.ref(path).target.watchable()
                if cell is not None and cell.running:
                    cell.kill("at random")

    async def run(self, steps: int = 300) -> None:
        """Until nothing is under way any more."""
        async with trio.open_nursery() as nursery:
            for key in "abc":
                nursery.start_soon(self.send, key)
            for _ in range(steps):
                match self.random.randrange(4):
                    case 0:
                        nursery.start_soon(self.ask)
                    case 1:
                        self.disturb()
                    case _:
                        self.tell()
                await trio.sleep(self.random.choice((0.0, 0.0, 0.01, 0.1)))
            nursery.cancel_scope.cancel()
        await trio.sleep(LONG)


def workers(floor: Floor, **more: Any) -> ChildSpec:
    more.setdefault("budget", PLENTY)
    return ChildSpec("w", lambda: Worker(floor), **more)


@asynccontextmanager
async def shop(
    size: int = 3,
    *,
    worker: dict[str, Any] | None = None,
    portion: float = 0.0,
    spec: ChildSpec | None = None,
    **more: Any,
) -> AsyncGenerator[Shop, None]:
    """A pool at `/pool` under a root that does nothing about its end. `worker` is for the workers' spec."""
    floor = Floor()
    async with running(OpenHost, rng=Steady(portion)) as bench:
        spec = spec or pool("pool", workers(floor, **(worker or {})), size, **more)
        ref = await bench.root.do(lambda root: root.start_child(spec))
        await settle()
        yield Shop(bench, floor, ref)


def small(capacity: int = 1, overflow: Overflow = Overflow.WAIT) -> dict[str, Any]:
    return {"mailbox": Mailbox(capacity, overflow)}


async def fill(s: Shop, members: int, capacity: int = 1, seconds: float = LAZY) -> None:
    """Give every member something to do and a full mailbox."""
    for number in range(members):
        assert s.ref.tell(Job(1000 + number, seconds))
    await settle()
    for number in range(members * capacity):
        assert s.ref.tell(Job(2000 + number))


class Sends:
    """Sends under way, and how they came out."""

    def __init__(self, s: Shop, nursery: trio.Nursery) -> None:
        self.s = s
        self.nursery = nursery
        self.out: list[tuple[int, str]] = []

    async def begin(self, number: int, within: float = LONG, key: Any = "key") -> None:
        async def send() -> None:
            result = "cancelled"
            try:
                await self.s.ref.send(Job(number, key=key), within)
                result = "sent"
            except Exception as error:
                result = type(error).__name__
            finally:
                self.out.append((number, result))

        self.nursery.start_soon(send)
        await settle()


def pass_on(message: Any) -> Callable[[Probe], None]:
    """For a probe: what it is asked with this, it forwards to the pool, and there `message` is run."""

    def forward(actor: Any) -> Any:
        if isinstance(actor, Worker):
            return message(actor)
        return actor.forward(actor.system.ref("/pool"))

    return forward


async def outcome(s: Shop, message: Any, into: list[Any], within: float = LONG) -> None:
    try:
        into.append(await s.ref.ask(message, within=within))
    except Exception as error:
        into.append(error)


async def hang(s: Shop, number: int, *jobs: Any) -> None:
    """Have a member wait in a handler for a second, and then fail; `jobs` wait for it meanwhile."""

    async def fail(worker: Worker) -> None:
        await trio.sleep(1)
        raise RuntimeError("asked for")

    s.member(number).tell(fail)
    await settle()
    for job in jobs:
        assert s.member(number).tell(job)


async def sending(s: Shop, number: int, into: list[Any], key: Any = "key", within: float = LONG) -> None:
    try:
        await s.ref.send(Job(number, key=key), within)
        into.append("sent")
    except Exception as error:
        into.append(type(error))
