"""Calls over real sockets while gates, holders and the Models supervisor crash."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio

from actors.models.gate import Gate
from actors.models.lease import Acquire
from runtime import HandlerFailed, Refused
from tests.support.models_system import (
    Crash,
    FragileGate,
    FragileModels,
    Heard,
    fails,
    models_system,
    plan,
    settled,
)


@pytest.fixture
async def provider(simulated: Any) -> Any:
    """A provider that does not call itself simulated, with any model, and its base URL."""
    return await simulated(model_name="test-model")


async def test_a_gate_that_crashes_in_mid_stream_ends_no_stream_and_counts_it_again(
    provider: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("actors.models.supervisor.Gate", FragileGate)
    simulation, url = provider
    simulation.tell(fails(fault="stall", after_tokens=8, seconds=0.5))
    async with models_system(plan(url)) as site:
        heard = Heard()
        results: list[Any] = []

        async def call() -> None:
            results.append(await site.call("lead", "understudy", observer=heard))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await heard.first_text.wait()
            site.gate("lead").tell(Crash())
            while site.gate("lead").target.incarnation == 0 or (await site.status("lead")).limiter.in_flight == 0:
                await trio.sleep(0.001)
            assert simulation.counts("lead").open == 1, "the stream goes on"
            assert (await site.status("lead")).limiter.in_flight == 1
        [result] = results
        assert (result.target, result.partial) == ("lead", False)
        status = await settled(site, "lead")
        assert (status.failures, status.limiter.in_flight, status.limiter.requests) == (0, 0, 1)
        assert site.resources("lead").ledger.account.failures == 0
        site.gate("lead").tell(Crash())
        assert (await site.call("lead", "understudy")).degraded is False, "a call during a restart is not lost"


async def test_a_holder_that_crashes_in_mid_stream_frees_its_lease(provider: Any):
    simulation, url = provider
    simulation.tell(fails(fault="stall", after_tokens=8, seconds=None))
    async with models_system(plan(url)) as site, trio.open_nursery() as nursery:
        heard = Heard()

        async def call() -> None:
            with pytest.raises(HandlerFailed):
                await site.ended("lead", "understudy", observer=heard)

        nursery.start_soon(call)
        await heard.first_text.wait()
        site.caller.tell(Crash())
        await simulation.wait_for("lead", lambda counts: counts.closed_by_client == 1)
        status = await settled(site, "lead")
        assert (status.limiter.in_flight, status.failures) == (0, 0)


@pytest.mark.parametrize("tokens", [0, 8])
async def test_a_stream_outlives_the_supervisor_of_its_endpoint(provider: Any, tokens: int):
    simulation, url = provider
    simulation.tell(fails(fault="stall", after_tokens=tokens, seconds=0.3, requests=1))
    chosen = plan(url, ("lead",))
    async with models_system(chosen, models=partial(FragileModels, chosen)) as site:
        results: list[Any] = []
        client = await site.resources("lead").client()

        async def call() -> None:
            results.append(await site.call("lead"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await simulation.wait_for("lead", lambda counts: counts.open == 1)
            site.system.ref("/models").tell(Crash())
            while site.system.ref("/models").target.incarnation == 0:
                await trio.sleep(0.001)
            assert not client.is_closed()
        [result] = results
        assert (result.partial, result.degraded, len(result.attempts)) == (False, False, 1)
        assert client.is_closed(), "by its last user"
        assert (await site.call("lead")).target == "lead"
    assert simulation.counts("lead").total == 2


async def test_a_lease_whose_client_has_been_closed_meanwhile_is_not_used(provider: Any):
    _, url = provider
    chosen = plan(url, ("lead",))
    retired: list[Any] = []

    class Retiring(Gate):
        async def receive(self, message: Any) -> object:
            if isinstance(message, Acquire) and not retired:
                retired.append(self._resources)
                site.system.ref("/models").tell(Crash())
                await self._resources.retire()
            return await super().receive(message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actors.models.supervisor.Gate", Retiring)
        async with models_system(chosen, models=partial(FragileModels, chosen)) as site:
            result = await site.call("lead")
            assert (result.target, len(result.attempts)) == ("lead", 1)
            assert site.resources("lead") is not retired[0]


@pytest.mark.parametrize("outage", ["models", "gate"])
async def test_a_call_waits_for_what_is_being_restarted(provider: Any, outage: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("actors.models.supervisor.Gate", FragileGate)
    _, url = provider

    chosen = plan(url, ("lead",))
    async with models_system(chosen, models=partial(FragileModels, chosen)) as site:
        if outage == "models":
            site.system.ref("/models").tell(Crash())
        else:
            for _ in range(2):  # the second restart of a row waits
                site.gate("lead").tell(Crash())
            while site.gate("lead").target.state != "waiting":
                await trio.sleep(0)
        result = await site.call("lead")
        assert result.target == "lead"


async def test_a_chain_whose_gate_only_crashes_is_degraded(provider: Any, monkeypatch: pytest.MonkeyPatch):
    class Hopeless(Gate):
        async def receive(self, message: Any) -> object:
            if isinstance(message, Acquire):
                raise ZeroDivisionError("the test says so")
            return await super().receive(message)

    monkeypatch.setattr("actors.models.acquisition.UNREACHED", 3)
    monkeypatch.setattr("actors.models.supervisor.Gate", Hopeless)
    simulation, url = provider
    async with models_system(plan(url, ("lead",))) as site:
        result = await site.call("lead")
        assert (result.degraded, result.attempts, result.facts) == (True, (), None)
    assert simulation.counts("lead").total == 0


@pytest.mark.parametrize("where", ["chain", "gate"])
async def test_a_refusal_that_nobody_knows_is_raised(provider: Any, where: str, monkeypatch: pytest.MonkeyPatch):
    simulation, url = provider
    simulation.tell(fails())

    class Strange(Gate):
        async def receive(self, message: Any) -> object:
            if isinstance(message, Acquire) and (where == "chain" or self._limiter.status(self.now()).requests):
                return Refused("strange")
            return await super().receive(message)

    monkeypatch.setattr("actors.models.supervisor.Gate", Strange)
    async with models_system(plan(url)) as site:
        ended = await site.ended("lead", "understudy")
        assert isinstance(ended.error, Refused)
        assert (await settled(site, "lead")).limiter.in_flight == 0
