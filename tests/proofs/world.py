"""The real thing that the model is compared with: one supervisor, one fallback, and what a program does to them."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from runtime import Actor, ActorError, ChildRestart, Ended, GaveUp, Mailbox, Ref, Replied
from runtime._passive import PassiveTarget
from runtime.testing import ActorTestKit, assert_conserved, settle
from supervisors import Backoff, ChildSpec, Intensity, Policy, Restart, Strategy, Supervisor, fallback
from tests.proofs.model import CAPACITY, LONG, SHORT, SLOW, WORK, Chain, Model, Offer

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES: Final = ("a", "b", "c", "d")
SPEAKERS: Final = ("lead", "understudy")
LIMIT: Final = Intensity(4, 5.0)
OPEN_FIRST: Final = 3.825
"""Seconds; with the jitter that `Flat` gives, three quarters of 5.1."""
TICK: Final = 0.0011
"""Seconds by which a deadline may be late: a tick of the wheel, and what floats make of it."""


class Boom(Exception):
    """What actors fail with."""


class Flat(random.Random):
    """Randomness without surprise: no jitter."""

    def random(self) -> float:
        return 0.0


@attrs.frozen
class Do:
    """A message: its number, and what it makes the receiver do."""

    number: int
    kind: str


@attrs.define(eq=False)
class World:
    """What actors write down, and how their starts are to go.

    Attributes:
        heard: the numbers of the messages that each child has begun to handle.
        starts: how the next starts of each child are to go.
        living: who is between the begin of `started` and the end of `stopped`.
        tasks: whose tasks run.
        wrong: what must not happen and did.
        outcomes: how each ask, request and send came out, by number.
        due: when it has to have come out, by number.
    """

    heard: dict[str, list[int]] = attrs.field(factory=lambda: {name: [] for name in NAMES})
    starts: dict[str, list[str]] = attrs.field(factory=lambda: {name: [] for name in NAMES})
    living: dict[str, Actor] = attrs.field(factory=dict)
    tasks: dict[str, int] = attrs.field(factory=dict)
    wrong: list[str] = attrs.field(factory=list)
    outcomes: dict[int, list[str]] = attrs.field(factory=dict)
    due: dict[int, float] = attrs.field(factory=dict)

    def came_out(self, number: int, outcome: str) -> None:
        self.outcomes.setdefault(number, []).append(outcome)
        late = trio.current_time() - self.due[number]
        if late > TICK:
            self.wrong.append(f"number {number} came out {late:g} s after its deadline")


class Worker(Actor):
    """A child that does what messages say, and looks whether it is alone."""

    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self.world = world
        self.busy = False

    async def started(self) -> None:
        world = self.world
        if self.name in world.living:
            world.wrong.append(f"a second incarnation of {self.name}")
        world.living[self.name] = self
        how = world.starts[self.name].pop(0) if world.starts[self.name] else ""
        if not self.register(f"the name of {self.name}"):
            world.wrong.append(f"the name of {self.name} is not free")
        if how == "slow":
            await trio.sleep(SLOW)
        if how == "fail":
            raise Boom("no start")
        if self.name != "a":
            self.start(self.stay)

    async def stay(self) -> None:
        self.world.tasks[self.name] = self.world.tasks.get(self.name, 0) + 1
        try:
            await trio.sleep_forever()
        finally:
            self.world.tasks[self.name] -= 1

    async def receive(self, message: Any) -> object:
        if not isinstance(message, Do):
            return None
        if self.busy:
            self.world.wrong.append(f"{self.name} handles two messages at once")
        self.busy = True
        self.world.heard[self.name].append(message.number)
        match message.kind:
            case "work":
                await trio.sleep(WORK[NAMES.index(self.name)])
            case "boom":
                raise Boom("asked for")
            case "leave":
                self.stop()
            case "idle":
                self.passivate()
        self.busy = False
        return "answer"

    async def stopped(self, reason: object) -> None:
        del reason
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        if self.world.tasks.get(self.name, 0):
            self.world.wrong.append(f"a task of {self.name} outlives it")
        self.world.living.pop(self.name, None)


class Top(Supervisor):
    """The supervisor under test. Runs functions in its handler."""

    def __init__(self, specs: Sequence[ChildSpec], strategy: Strategy) -> None:
        self.specs = specs
        self.strategy = strategy
        self.intensity = LIMIT

    def children_of(self) -> Sequence[ChildSpec]:
        return self.specs

    async def receive(self, message: Any) -> object:
        if isinstance(message, FunctionType):
            return message(self)
        return await super().receive(message)


class Onlooker(Actor):
    """Requests for others, and looks whether names are free when it hears of an end."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def receive(self, message: Any) -> object:
        if isinstance(message, FunctionType):
            return message(self)
        if isinstance(message, Ended):
            name = message.ref.path.rsplit("/", 1)[1]
            holder = self.system.registry.lookup(f"the name of {name}")
            if holder is not None and holder.target is self.system.dead:  # not one who has come since
                self.world.wrong.append(f"{name} has ended and its name is not free")
        if isinstance(message, Replied):
            self.world.came_out(message.tag, type(message.error).__name__ if message.error else message.value)
        return None


class Speaker(Actor):
    """A target of the fallback."""

    async def receive(self, message: Any) -> object:
        if message == "boom":
            raise Boom("asked for")
        return self.ref.path.rsplit("/", 1)[1]


@attrs.define(eq=False)
class Stage:
    """The model and the real thing, side by side."""

    kit: ActorTestKit
    nursery: trio.Nursery
    world: World
    model: Model
    chain: Chain
    specs: dict[str, ChildSpec]
    began: float
    refs: dict[str, Ref[Any]] = attrs.field(factory=dict)
    top: Any = None
    speaker: Any = None
    onlooker: Any = None
    offered: int = 0
    offers: list[Offer] = attrs.field(factory=list)

    @classmethod
    async def open(
        cls, kit: ActorTestKit, nursery: trio.Nursery, strategy: Strategy, restarts: Sequence[Restart]
    ) -> Stage:
        world = World()
        specs = {
            name: ChildSpec(
                name,
                lambda name=name: Worker(name, world),  # type: ignore[misc]
                mailbox=Mailbox(CAPACITY),
                restart=restart,
                backoff=Backoff(base=0.0),
            )
            for name, restart in zip(NAMES, restarts, strict=True)
        }
        types = {name: spec.restart.value for name, spec in specs.items()}
        model = Model(strategy.value, types, LIMIT.limit, LIMIT.period)
        chain = Chain(SPEAKERS, OPEN_FIRST)
        stage = cls(kit, nursery, world, model, chain, specs, trio.current_time())
        stage.onlooker = await kit.spawn(ChildSpec("onlooker", lambda: Onlooker(world)))
        stage.top = await kit.spawn(ChildSpec("top", lambda: Top(tuple(specs.values()), strategy)))
        targets = [ChildSpec(name, Speaker) for name in SPEAKERS]
        policy = Policy(open_first=OPEN_FIRST / 0.75, open_cap=10_000.0)
        stage.speaker = await kit.spawn(fallback("speaker", targets, policy=policy, intensity=Intensity(1000, 5.0)))
        stage.refs = {name: kit.system.ref(f"/top/{name}") for name in NAMES}
        await settle()
        for ref in stage.refs.values():
            await stage.onlooker.ask(lambda onlooker, ref=ref: onlooker.watch(ref), within=1.0)
        return stage

    # --- the steps of a program

    async def play(self, step: tuple[Any, ...]) -> None:
        """Carry a step out on both sides, if it makes sense now, and compare."""
        what, *more = step
        await getattr(self, what)(*more)
        await settle()
        await self.compare()

    async def offer(self, how: str, name: str, kind: str, within: float) -> None:
        quiet = self.model.calm and self.model.children[name].phase == "running"
        if kind in {"boom", "leave", "idle"} and not quiet:
            kind = "note"
        self.offered += 1
        self.world.due[self.offered] = trio.current_time() + within
        offer = Offer(self.offered, kind, how, self.model.now + within)
        message = Do(self.offered, kind)
        ref = self.refs[name]
        if how == "tell":
            self.world.came_out(offer.number, "taken" if ref.tell(message) else "refused")
        elif how == "request":
            self.onlooker.tell(lambda onlooker: onlooker.request(ref, message, within, tag=offer.number))
        else:
            self.nursery.start_soon(self.wait, getattr(ref, how), message, within)
        self.model.offer(name, offer)
        self.offers.append(offer)

    async def flood(self, how: str, name: str, within: float) -> None:
        """More than the mailbox takes."""
        for _ in range(CAPACITY + 2):
            await self.offer(how, name, "work", within)
            await settle()

    async def wait(self, way: Any, message: Do, within: float) -> None:
        """Ask, or send, and write down how it came out."""
        try:
            value = await way(message, within=within)
        except ActorError as error:
            self.world.came_out(message.number, type(error).__name__)
        else:
            self.world.came_out(message.number, "taken" if value is None else value)

    async def stop(self, name: str) -> None:
        if self.model.calm and self.model.children[name].phase in {"running", "passive"}:
            await self.top.ask(lambda top: top.stop_child(name), within=1.0)
            self.model.stop(name)

    async def kill(self, name: str) -> None:
        if self.model.calm and self.model.children[name].phase == "running":
            self.refs[name].target.kill("by the program")
            self.model.kill(name)

    async def spawn(self, name: str) -> None:
        if self.model.calm and self.model.children[name].phase == "gone":
            await self.top.ask(lambda top: top.start_child(self.specs[name]), within=1.0)
            self.model.spawn(name)
            await settle()
            with suppress(ActorError):
                await self.onlooker.ask(lambda onlooker: onlooker.watch(self.refs[name]), within=1.0)

    async def suspend(self, name: str) -> None:
        if self.model.children[name].phase == "running" and not self.model.children[name].told:
            self.kit.system.suspend(f"/top/{name}")
            self.model.suspend(name, suspended=True)

    async def resume(self, name: str) -> None:
        if self.model.children[name].phase == "running" and not self.model.children[name].told:
            self.kit.system.resume(f"/top/{name}")
            self.model.suspend(name, suspended=False)

    async def script(self, name: str, how: str) -> None:
        """How the next start of that child that has no script yet is to go."""
        self.world.starts[name].append(how)
        self.model.children[name].starts.append(how)

    async def advance(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self.model.advance(seconds)

    async def checkpoint(self) -> None:
        """For storms. Here everybody rests between two steps anyway."""

    async def say(self, what: str) -> None:
        try:
            said = await self.speaker.ask(what, within=0.2)
        except ActorError as error:
            said = type(error).__name__
        expected = self.chain.say(self.model.now, fails=what == "boom")
        assert said == expected, f"the fallback gave {said}, the model {expected}"

    def summary(self) -> Counter[str]:
        """Everything that has happened, by the model, and how each message came out."""
        counts = self.model.happened + self.chain.happened
        counts.update(f"{offer.how} comes out as {offer.outcome}" for offer in self.offers)
        return counts

    # --- comparing

    async def compare(self) -> None:
        """Both sides say the same, and what must never happen has not."""
        assert self.world.wrong == [], "; ".join(self.world.wrong)
        assert_conserved(self.kit.system)
        assert abs(trio.current_time() - self.began - self.model.now) < 1e-6
        for name, child in self.model.children.items():
            assert self.world.heard[name] == child.heard, f"{name} has heard something else"
            assert self.state_of(name) == expected_state(child), f"{name} is in another state"
            cell = self.refs[name].target.watchable()
            if cell is not None:
                assert cell.incarnation == child.incarnation, f"{name} was restarted more or less often"
                assert cell.depth == len(child.inbox), f"in the mailbox of {name} is more or less"
        for offer in self.offers:
            self.compare_outcome(offer)
        restarts = [
            report for report in self.kit.reports if isinstance(report, ChildRestart) and "/top/" in report.path
        ]
        assert len(restarts) == self.model.restarts
        assert any(isinstance(report, GaveUp) for report in self.kit.reports) == self.model.over

    def compare_outcome(self, offer: Offer) -> None:
        came_out = self.world.outcomes.get(offer.number, [])
        if offer.outcome is None:
            assert came_out == [], f"{offer} has an outcome already: {came_out}"
        elif offer.how == "tell":
            assert came_out == ["taken" if offer.outcome == "taken" else "refused"], f"{offer}: {came_out}"
        else:
            assert came_out == [offer.outcome], f"{offer}: {came_out}"

    def state_of(self, name: str) -> str:
        target = self.refs[name].target
        if isinstance(target, PassiveTarget):
            return "gone" if self.model.over else "passive"  # whoever writes to it finds it dead
        cell = target.watchable()
        return "gone" if cell is None else cell.state


def expected_state(child: Any) -> str:
    """What a snapshot shows of a child in that phase of the model."""
    if child.phase == "running" and child.suspended and child.hand is None:
        return "suspended"
    return "stopping" if child.phase == "down" else str(child.phase)


LONG_ENOUGH: Final = 2 * LONG
DEADLINES: Final = (SHORT, LONG)
