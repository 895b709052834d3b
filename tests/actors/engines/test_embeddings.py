"""Vectors of meaning go through the gate of their provider: its lease, its limits, its ledger, its figures."""

from __future__ import annotations

import json
import random
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import httpx2
import pytest
import trio

from actors.engines.embeddings import PATIENCE, WITHIN, Embeddings
from actors.engines.ranking import pack
from actors.engines.recall import Vector
from actors.models.client import build_client
from actors.models.endpoint import Endpoint
from actors.models.lease import GateStatus, ReadStatus
from actors.models.leaseholder import Leaseholder
from actors.models.plan import ModelsPlan
from actors.models.supervisor import Models
from runtime import Actor, ReplyTo, TaskEnded, open_system
from supervisors import ChildSpec, Policy, supervise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

VECTOR = {"embedding": [0.5, 1.0], "index": 0, "object": "embedding"}
GOOD = {"data": [VECTOR], "model": "e", "object": "list", "usage": {"prompt_tokens": 7, "total_tokens": 7}}
MADE = Vector("embedding-1", pack([0.5, 1.0]))


@attrs.define(eq=False)
class Provider:
    """Answers with these, one after the other; then well. None: never."""

    answers: list[tuple[int, Any]] = attrs.field(factory=list)
    asked: list[dict[str, Any]] = attrs.field(factory=list)
    headers: dict[str, str] = attrs.field(factory=dict)
    open: int = 0

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(json.loads(request.content))
        status, body = self.answers.pop(0) if self.answers else (200, GOOD)
        self.open += 1
        try:
            if body is None:
                await trio.sleep_forever()
        finally:
            self.open -= 1
        return httpx2.Response(status, json=body, headers=self.headers)


class Memory(Actor):
    """Holds leases, as an engine does: makes the vector of each text that it is asked, in a task."""

    def __init__(self, plan: ModelsPlan) -> None:
        self._plan = plan
        self._asked: dict[Any, ReplyTo] = {}

    async def started(self) -> None:
        self.leases = Leaseholder(self)
        chain = self.system.ref(self._plan.chain_path(("embed",)))
        self.embeddings = Embeddings(chain, "embed", self.leases, random.Random(1))

    async def receive(self, message: Any) -> object:
        match message:
            case str():
                self._asked[self.start(self.embeddings, message, "ada")] = self.defer()
            case TaskEnded(task):
                assert message.error is None, message.trace
                self._asked.pop(task).answer(message.value)
            case _:
                self.leases.heard(message)
        return None


@attrs.define(eq=False)
class Site:
    """What a test holds on to."""

    system: Any
    plan: ModelsPlan

    async def vector(self, text: str = "tea") -> Vector | None:
        found: Vector | None = await self.system.ref("/memory").ask(text, 60)
        return found

    async def status(self) -> GateStatus:
        status: GateStatus = await self.system.ref(self.plan.gate_path("embed")).ask(ReadStatus(), 5)
        return status


@asynccontextmanager
async def site(provider: Provider, monkeypatch: pytest.MonkeyPatch, **limits: Any) -> AsyncIterator[Site]:
    def client(endpoint: Endpoint) -> Any:
        made = build_client(endpoint, transport=httpx2.MockTransport(provider))
        made._platform = "Linux"  # it would look that up in a thread, and the clock is a mock
        return made

    monkeypatch.setattr("actors.models.supervisor.build_client", client)
    monkeypatch.setattr("actors.models.supervisor.warm_up", trio.lowlevel.checkpoint)  # which does the same
    endpoint = Endpoint("embed", "http://provider.test/v1", "sk-key", "embedding-1", **limits)
    plan = ModelsPlan((endpoint,), (("embed",),), Policy(open_first=10, open_cap=10, probe_within=60))
    children = [
        ChildSpec("models", partial(Models, plan), shutdown=float("inf")),
        ChildSpec("memory", partial(Memory, plan)),
    ]
    async with open_system(supervise("root", children), rng=random.Random(3)) as system:
        await trio.sleep(1)
        yield Site(system, plan)


async def test_a_vector_costs_a_lease_and_its_tokens(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider(headers={"x-ratelimit-limit-requests": "30"})
    async with site(provider, monkeypatch) as here:
        assert await here.vector("x" * 9000) == MADE
        assert (provider.asked[0]["model"], len(provider.asked[0]["input"])) == ("embedding-1", 8000)
        status = await here.status()
        assert (status.traffic.granted, status.failures) == (1, 0)
        assert (status.limiter.in_flight, status.limiter.requests, status.limiter.tokens) == (0, 1, 7)
        assert status.limiter.requests_limit == 30, "what the provider says of its limits is learnt"
        assert await here.vector("a surrogate: \ud800") == MADE


async def test_the_limits_of_the_endpoint_hold_and_nobody_stands_in_line_for_long(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider()
    async with site(provider, monkeypatch, requests_per_minute=2) as here:
        assert [await here.vector(), await here.vector()] == [MADE, MADE]
        began = trio.current_time()
        assert await here.vector() is None
        assert trio.current_time() - began <= PATIENCE + 0.1
        assert len(provider.asked) == 2
        await trio.sleep(60)
        assert await here.vector() == MADE


@pytest.mark.parametrize(
    "answer", [(500, {}), (200, {"data": []}), (200, {"something": "else"}), (200, {"data": [{"embedding": "x"}]})]
)
async def test_after_three_failures_in_a_row_the_provider_is_left_alone_until_a_probe_comes_back(
    answer: tuple[int, Any], autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider([answer] * 3)
    async with site(provider, monkeypatch) as here:
        assert [await here.vector() for _ in range(3)] == [None] * 3
        assert len(provider.asked) == 3, "and none is tried again"
        began = trio.current_time()
        assert await here.vector() is None
        assert trio.current_time() == began, "it costs nothing"
        assert len(provider.asked) == 3
        assert (await here.status()).state == "open"
        await trio.sleep(11)
        assert await here.vector() == MADE
        assert (await here.status()).state == "closed"


async def test_one_that_does_not_answer_has_failed_and_its_request_is_closed(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider([(200, None)])
    async with site(provider, monkeypatch) as here:
        began = trio.current_time()
        assert await here.vector() is None
        assert trio.current_time() - began <= WITHIN + 0.1
        status = await here.status()
        assert (provider.open, status.failures, status.limiter.in_flight) == (0, 1, 0)
        assert status.last_failure is not None
        assert status.last_failure.kind == "timeout"


async def test_nor_for_a_provider_that_asks_to_be_left_alone_for_longer(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though there would be time for it in the request's own deadline."""
    provider = Provider([(429, {})], headers={"retry-after": "4"})
    async with site(provider, monkeypatch) as here:
        assert await here.vector() is None
        began = trio.current_time()
        assert await here.vector() is None
        assert trio.current_time() - began <= PATIENCE + 0.1
        assert len(provider.asked) == 1


async def test_a_gate_that_restarts_is_told_of_the_request_under_way(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider([(200, None)])
    async with site(provider, monkeypatch) as here, trio.open_nursery() as nursery:
        nursery.start_soon(here.vector)
        await trio.sleep(1)
        here.system.fail("/models/gate-embed", RuntimeError("injected"))
        await trio.sleep(2)
        assert (await here.status()).limiter.in_flight == provider.open == 1
        await trio.sleep(5)
        assert (await here.status()).limiter.in_flight == provider.open == 0


async def test_a_wrong_key_opens_at_once_and_a_retry_after_parks(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider([(401, {"error": {"message": "sk-key is wrong"}})])
    async with site(provider, monkeypatch) as here:
        assert await here.vector() is None
        status = await here.status()
        assert status.state == "open"
        assert "sk-key" not in str(status.last_failure)
        await trio.sleep(11)
        provider.answers, provider.headers = [(200, GOOD), (429, {})], {"retry-after": "20"}
        assert await here.vector() == MADE
        assert await here.vector() is None
        status = await here.status()
        assert (status.state, status.failures, status.traffic.throttled) == ("closed", 0, 1)
        provider.headers = {}
        assert await here.vector() is None
        assert len(provider.asked) == 3
        await trio.sleep(20)
        assert await here.vector() == MADE


async def test_an_engine_that_ends_in_the_middle_gives_its_lease_back(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider([(200, None)])
    async with site(provider, monkeypatch) as here, trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(Exception, match="memory"):
                await here.vector()

        nursery.start_soon(ask)
        await trio.sleep(1)
        assert (await here.status()).limiter.in_flight == provider.open == 1
        here.system.fail("/memory", RuntimeError("injected"))
        await trio.sleep(1)
        status = await here.status()
        assert (status.limiter.in_flight, status.failures, provider.open) == (0, 0, 0)
        nursery.cancel_scope.cancel()


async def test_what_was_retired_meanwhile_is_not_asked(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider()
    async with site(provider, monkeypatch) as here:
        here.system.ref("/models").target.actor.resources["embed"].retired = True
        assert await here.vector() is None
        assert provider.asked == []
        assert (await here.status()).limiter.requests == 0
