"""A system with a Models supervisor and callers, for tests of gates, chains and calls."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors.models.call import complete
from actors.models.chat import ChatMessage
from actors.models.endpoint import Endpoint
from actors.models.gate import Gate
from actors.models.lease import GateStatus, ReadStatus
from actors.models.leaseholder import Leaseholder
from actors.models.model_call import CallLimits, CallResult, ModelCall, Pause
from actors.models.plan import ModelsPlan
from actors.models.supervisor import Models
from runtime import Actor, Report, System, TaskEnded, open_system
from supervisors import ChildSpec, Intensity, Policy, supervise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from actors.models.failure import FailureFacts
    from actors.models.resources import EndpointResources
    from actors.models.simulated.simulation import Simulation
    from runtime import Ref, ReplyTo

QUICK = CallLimits(first_token=5, idle=5, attempt=20, total=30)
ONCE = attrs.evolve(QUICK, attempts=1)
NEVER = Policy(open_first=300, open_cap=300, probe_within=300)


class Heard:
    """An observer that remembers. `first_text` and `waiting` are events of the kind."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.pieces: list[str] = []
        self.first_text = trio.Event()
        self.waiting = trio.Event()

    def text(self, piece: str) -> None:
        if not self.pieces:
            self.events.append(("text",))
        self.pieces.append(piece)
        self.first_text.set()

    def caught_up(self) -> None:
        """Each piece was taken as it came."""

    def model(self, name: str) -> None:
        self.events.append(("model", name))

    def retrying(self, facts: FailureFacts, delay: float) -> None:
        self.events.append(("retrying", facts.kind, delay))
        self.waiting.set()

    def fell_over(self, from_target: str, to: str | None, facts: FailureFacts | None) -> None:
        self.events.append(("fell_over", from_target, to, facts and facts.kind))

    @property
    def moves(self) -> list[tuple[Any, ...]]:
        return [event for event in self.events if event[0] == "fell_over"]


@attrs.frozen
class Begin:
    models: tuple[str, ...]
    observer: Heard
    limits: CallLimits
    parameters: dict[str, Any] = attrs.field(factory=dict)
    pause: Pause | None = None


@attrs.frozen
class CancelCall:
    """Cancels every call that the caller has begun."""


@attrs.frozen
class Crash:
    """Makes whoever handles it fail."""


class Caller(Actor):
    """An agent as far as models are concerned: makes each call in a task, and answers with its `TaskEnded`."""

    def __init__(self, plan: ModelsPlan) -> None:
        self.plan = plan
        self.asked: dict[Any, ReplyTo] = {}

    async def started(self) -> None:
        self.holder = Leaseholder(self)

    async def receive(self, message: Any) -> object:
        match message:
            case Begin():
                task = self.start(self.call, message)
                self.asked[task] = self.defer()
            case CancelCall():
                for task in self.asked:
                    task.cancel("the test says so")
            case TaskEnded():
                self.asked.pop(message.task).answer(message)
            case Crash():
                raise ZeroDivisionError("the test says so")
            case _:
                self.holder.heard(message)
        return None

    async def call(self, begin: Begin) -> CallResult:
        messages = (ChatMessage("system", "You are the Analyst."), ChatMessage("user", "Build a lending library."))
        return await complete(
            self.system.ref(self.plan.chain_path(begin.models)),
            self.holder,
            ModelCall(begin.models, messages, "u1", "r1", begin.parameters),
            limits=begin.limits,
            observer=begin.observer,
            rng=random.Random(7),
            pause=begin.pause,
        )


class FragileGate(Gate):
    """Fails when told to."""

    async def receive(self, message: Any) -> object:
        if isinstance(message, Crash):
            raise ZeroDivisionError("the test says so")
        return await super().receive(message)


class FragileModels(Models):
    """Fails when told to."""

    async def receive(self, message: Any) -> object:
        if isinstance(message, Crash):
            raise ZeroDivisionError("the test says so")
        return await super().receive(message)


class Ready(Actor):
    def __init__(self, event: trio.Event) -> None:
        self.event = event

    async def started(self) -> None:
        self.event.set()


@attrs.define
class ModelsSystem:
    """What a test holds on to."""

    system: System
    plan: ModelsPlan
    reports: list[Report]

    @property
    def models(self) -> Any:
        return self.system.ref("/models").target.actor

    @property
    def caller(self) -> Ref[Any]:
        return self.system.ref("/caller")

    def resources(self, name: str) -> EndpointResources:
        found: EndpointResources = self.models.resources[name]
        return found

    def gate(self, name: str) -> Ref[Any]:
        return self.system.ref(self.plan.gate_path(name))

    async def status(self, name: str) -> GateStatus:
        status: GateStatus = await self.gate(name).ask(ReadStatus(), within=5)
        return status

    async def ended(
        self,
        *models: str,
        observer: Heard | None = None,
        limits: CallLimits = QUICK,
        pause: Pause | None = None,
        **more: Any,
    ) -> Any:
        """Makes a call, and gives how its task ended."""
        return await self.caller.ask(Begin(models, observer or Heard(), limits, more, pause), within=60)

    async def call(
        self,
        *models: str,
        observer: Heard | None = None,
        limits: CallLimits = QUICK,
        pause: Pause | None = None,
    ) -> CallResult:
        ended = await self.ended(*models, observer=observer, limits=limits, pause=pause)
        assert ended.error is None, ended.trace
        assert not ended.cancelled
        result: CallResult = ended.value
        return result


@asynccontextmanager
async def models_system(
    plan: ModelsPlan, simulation: Simulation | None = None, *, models: Callable[[], Actor] | None = None
) -> AsyncIterator[ModelsSystem]:
    """A root with the Models supervisor at /models and a `Caller` at /caller, all of it started."""
    ready = trio.Event()
    reports: list[Report] = []
    root = supervise(
        "root",
        [
            ChildSpec("models", models or partial(Models, plan, simulation), shutdown=float("inf")),
            ChildSpec("caller", partial(Caller, plan)),
            ChildSpec("ready", partial(Ready, ready)),
        ],
        intensity=Intensity(10, 5),
    )
    async with open_system(root, report=reports.append, rng=random.Random(3)) as system:
        with trio.fail_after(20):
            await ready.wait()
        yield ModelsSystem(system, plan, reports)


def plan(url: str, *chains: tuple[str, ...], policy: Policy = NEVER, **limits: Any) -> ModelsPlan:
    chains = chains or (("lead", "understudy"),)
    names = dict.fromkeys(name for chain in chains for name in chain)
    endpoints = tuple(Endpoint(name, url, "sk-test-key", name, **limits) for name in names)
    return ModelsPlan(endpoints, chains, policy)


def fails(name: str = "lead", fault: str = "status", **parameters: Any) -> dict[str, Any]:
    if fault == "status":
        parameters.setdefault("status", 500)
    return {name: {"fault": fault, **parameters}}


async def settled(site: ModelsSystem, name: str) -> Any:
    """The status of a gate once no lease of it is held: a settlement is told, not asked."""
    with trio.fail_after(40):
        while (status := await site.status(name)).limiter.in_flight:
            await trio.sleep(0.001)
    return status
