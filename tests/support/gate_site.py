"""One gate with two holders, for tests under a mock clock: no client, no socket."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import structlog
import trio
from trio.testing import wait_all_tasks_blocked

from actors.models.endpoint import Endpoint
from actors.models.failure import AnswerBroken, classify
from actors.models.gate import Gate
from actors.models.lease import Acquire, GateStatus, Lease, ReadStatus, Settle
from actors.models.leaseholder import Leaseholder
from actors.models.resources import EndpointResources
from actors.models.retry_budget import RetryBudget
from runtime import Actor, Refused, open_system
from supervisors import ChildSpec, Ledger, Outcome, Policy, Restart, Ticket, supervise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runtime import Ref, System

DOWN = classify(AnswerBroken("server_error", "500"), wall_time=0)


@attrs.frozen
class Crash:
    """Makes whoever handles it fail."""


class Fragile(Gate):
    async def receive(self, message: Any) -> object:
        if isinstance(message, Crash):
            raise ZeroDivisionError("the test says so")
        return await super().receive(message)


class Holder(Actor):
    async def started(self) -> None:
        self.holder = Leaseholder(self)

    async def receive(self, message: Any) -> object:
        if isinstance(message, Crash):
            raise ZeroDivisionError("the test says so")
        if isinstance(message, Lease):
            self.holder.take(message)
        elif isinstance(message, Settle):
            self.holder.settle(message)
        return self.holder.heard(message)


class Site:
    """A gate at /gate, holders at /h1 and /h2, and whoever asks on their behalf."""

    def __init__(self, system: System, resources: EndpointResources) -> None:
        self.system = system
        self.resources = resources
        self.ledger = resources.ledger
        self.gate = system.ref("/gate")
        self.h1, self.h2 = system.ref("/h1"), system.ref("/h2")

    def acquire(self, holder: Ref[Any] | None = None, *, tokens: int = 0, **more: Any) -> Acquire:
        more.setdefault("deadline", trio.current_time() + 300)
        if "ticket" not in more:
            more["ticket"] = self.ledger.admit(trio.current_time())
            assert more["ticket"] is not None
        user = more.pop("user", "u1")
        return Acquire(holder or self.h1, ("m",), tokens, 0, user, "r1", **more)

    async def lease(self, holder: Ref[Any] | None = None, *, within: float = 300, **more: Any) -> Lease:
        lease: Lease = await self.gate.ask(self.acquire(holder, **more), within=within)
        return lease

    async def refused(self, *args: Any, **more: Any) -> Any:
        with pytest.raises(Refused) as caught:
            await self.lease(*args, **more)
        return caught.value.reason

    async def status(self) -> GateStatus:
        status: GateStatus = await self.gate.ask(ReadStatus(), within=1)
        return status

    async def in_flight(self) -> int:
        return (await self.status()).limiter.in_flight

    def settle(self, lease: Lease, outcome: Outcome | None = Outcome.SUCCESS, **more: Any) -> None:
        assert self.gate.tell(Settle(lease, outcome, **more))


@asynccontextmanager
async def opened(waiting: int = 100, **limits: Any) -> AsyncIterator[Site]:
    rng = random.Random(5)
    endpoint = Endpoint("m", "https://models.test/v1", None, "model-m", **limits)
    ledger = Ledger("m", Policy(probe_within=30), rng)
    resources = EndpointResources(endpoint, None, ledger, RetryBudget())  # type: ignore[arg-type]
    children = [
        ChildSpec("gate", partial(Fragile, resources, lambda models: None, waiting, structlog.get_logger())),
        ChildSpec("h1", Holder),
        ChildSpec("h2", Holder, restart=Restart.TEMPORARY),
    ]
    async with open_system(supervise("root", children), rng=rng) as system:
        await wait_all_tasks_blocked()
        yield Site(system, resources)


def opening(site: Site) -> None:
    for _ in range(3):
        site.ledger.fail(trio.current_time())
    assert site.ledger.account.state == "open"


def probe(site: Site) -> Ticket:
    return Ticket("m", site.ledger.account.epoch, "probe")
