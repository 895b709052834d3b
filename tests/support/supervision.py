"""A stage for supervisors: players that fail on demand, and the one timeline of what they all did."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from types import FunctionType
from typing import TYPE_CHECKING, Any

import attrs
import trio

from runtime import Actor, ChildRestart, GaveUp, Node, Ref, Spec, Switched, TaskEnded
from supervisors import ChildSpec, DynamicSupervisor, Intensity, Restart, Strategy, Supervisor
from tests.support.actors import LONG, Bench, Boom, OpenHost, run, running, settle

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from runtime import Reason
    from runtime._cell import Cell

ALL, ONE, REST = Strategy.ONE_FOR_ALL, Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE
PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY
PLENTY = Intensity(1000, 5.0)
"""A limit that is no subject of the test."""


class Steady(random.Random):
    """Randomness that always gives the same portion, so that delays can be told in advance."""

    def __init__(self, portion: float = 0.0) -> None:
        super().__init__(0)
        self.portion = portion

    def random(self) -> float:
        return self.portion


@attrs.define(eq=False)
class Stage:
    """What players are to do, and what they did.

    Attributes:
        events: `a?` a begins to start, `a+` it has started, `a-` it has ended; of all players in one list.
        heard: (player, message).
        failing: how many of the next starts of a player fail.
        starting: seconds that a player's `started` takes.
        stopping: seconds that a player's `stopped` takes.
        reasons: why each incarnation ended, by player.
    """

    events: list[str] = attrs.field(factory=list)
    heard: list[tuple[str, Any]] = attrs.field(factory=list)
    failing: dict[str, int] = attrs.field(factory=dict)
    starting: dict[str, float] = attrs.field(factory=dict)
    stopping: dict[str, float] = attrs.field(factory=dict)
    reasons: dict[str, list[Reason]] = attrs.field(factory=dict)

    def spec(self, name: str, restart: Restart = Restart.PERMANENT, **more: Any) -> ChildSpec:
        return ChildSpec(name, lambda: Player(name, self), restart=restart, **more)

    def specs(self, names: Iterable[str]) -> list[ChildSpec]:
        return [self.spec(name) for name in names]

    def take(self) -> list[str]:
        """The events since the last look, without those of a start that only begins."""
        events = [event for event in self.events if not event.endswith("?")]
        self.events.clear()
        return events

    def heard_by(self, name: str) -> list[Any]:
        return [message for player, message in self.heard if player == name]


class Player(Actor):
    """Answers with its name. Runs functions, fails when a task of its does."""

    def __init__(self, name: str, stage: Stage) -> None:
        self.name = name
        self.stage = stage

    async def started(self) -> None:
        self.stage.events.append(f"{self.name}?")
        seconds = self.stage.starting.get(self.name, 0.0)
        if seconds:
            await trio.sleep(seconds)
        if self.stage.failing.get(self.name, 0):
            self.stage.failing[self.name] -= 1
            raise Boom("no start")
        self.stage.events.append(f"{self.name}+")

    async def receive(self, message: Any) -> object:
        if isinstance(message, FunctionType):
            return await run(message, self)
        if isinstance(message, TaskEnded) and message.error is not None:
            raise message.error
        self.stage.heard.append((self.name, message))
        return self.name

    async def stopped(self, reason: Reason) -> None:
        seconds = self.stage.stopping.get(self.name, 0.0)
        if seconds:
            await trio.sleep(seconds)
        self.stage.reasons.setdefault(self.name, []).append(reason)
        self.stage.events.append(f"{self.name}-")


class OpenSupervisor(Supervisor):
    """A supervisor that runs functions in its handler."""

    def __init__(
        self,
        children: Sequence[ChildSpec],
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity = PLENTY,
    ) -> None:
        self.specs = tuple(children)
        self.strategy = strategy
        self.intensity = intensity

    def children_of(self) -> Sequence[ChildSpec]:
        return self.specs

    async def receive(self, message: Any) -> object:
        if isinstance(message, FunctionType):
            return await run(message, self)
        return await super().receive(message)


class OpenDynamic(DynamicSupervisor):
    """The same for a dynamic one. Writes down what its hooks hear."""

    def __init__(self, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(self, name, value)
        self.ups: list[str] = []
        self.gone: list[tuple[str, bool]] = []

    async def receive(self, message: Any) -> object:
        if isinstance(message, FunctionType):
            return await run(message, self)
        return await super().receive(message)

    def child_up(self, name: str, ref: Ref[Any]) -> None:
        self.ups.append(name)

    def child_gone(self, name: str, ref: Ref[Any], reason: Reason, *, gave_up: bool) -> None:
        self.gone.append((name, gave_up))


@attrs.frozen(eq=False)
class Theatre:
    """A bench whose root has one child, the supervisor under test, at `/top`.

    Addresses that were asked for are held: a ref that nobody holds does not outlive its actor.
    """

    bench: Bench
    stage: Stage
    held: dict[str, Ref[Any]] = attrs.field(factory=dict)

    @property
    def top(self) -> Ref[Any]:
        return self.bench.system.ref("/top")

    def ref(self, name: str) -> Ref[Any]:
        return self.held.setdefault(name, self.bench.system.ref(f"/top/{name}"))

    def cell(self, name: str) -> Cell:
        cell: Cell = self.ref(name).target
        return cell

    async def do(self, function: Any) -> Any:
        """Run `function(supervisor)` in the supervisor's handler, and wait until all is quiet."""
        result = await self.top.ask(function, within=LONG)
        await settle()
        return result

    async def tell(self, name: str, message: Any) -> None:
        """Tell a player, and wait until all is quiet."""
        self.ref(name).tell(message)
        await settle()

    def node(self, path: str = "/top") -> Node:
        node = self.bench.system.tree().find(path)
        assert node is not None
        return node

    def states(self) -> dict[str, str]:
        """The state of each living child of the supervisor (a snapshot also shows who crashed a moment ago)."""
        children = self.node().children
        return {child.path.rsplit("/", 1)[1]: child.state for child in children if child.state != "ended"}

    def reports(self, kind: type) -> list[Any]:
        return [report for report in self.bench.reports if isinstance(report, kind)]

    @property
    def restarts(self) -> list[ChildRestart]:
        return self.reports(ChildRestart)

    @property
    def given_up(self) -> list[GaveUp]:
        return self.reports(GaveUp)

    @property
    def switched(self) -> list[tuple[str | None, str | None]]:
        """(before, after) of each switch."""
        return [(report.before, report.active) for report in self.reports(Switched)]


@asynccontextmanager
async def theatre(top: Spec, stage: Stage, *, portion: float = 0.0) -> AsyncGenerator[Theatre, None]:
    """Run `top` under a root that does nothing about its end."""
    async with running(OpenHost, rng=Steady(portion)) as bench:
        await bench.root.do(lambda root: root.start_child(top))
        await settle()
        yield Theatre(bench, stage)


def over(
    children: Sequence[ChildSpec], strategy: Strategy = Strategy.ONE_FOR_ONE, intensity: Intensity = PLENTY
) -> ChildSpec:
    """The spec of an open supervisor at `/top`."""
    return ChildSpec("top", lambda: OpenSupervisor(children, strategy, intensity), shutdown=float("inf"))


def boom(actor: Actor) -> None:
    """Crash."""
    raise Boom("asked for")


def leave(actor: Actor) -> None:
    """End normally."""
    actor.stop()


def sleep_away(actor: Actor) -> None:
    """Passivate."""
    actor.passivate()


def fail_in_task(actor: Actor) -> None:
    """Have a task fail."""

    async def task() -> None:
        raise Boom("in a task")

    actor.start(task)


def node(play: Theatre, name: str) -> Node:
    return play.node(f"/top/{name}")
