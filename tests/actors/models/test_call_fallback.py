"""Calls to chains over real sockets: three failures, the understudy, the way back, and who may stand in."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import pytest
import trio

from actors.models.endpoint import Endpoint
from actors.models.gate import Gate
from actors.models.lease import Acquire
from actors.models.plan import ModelsPlan
from supervisors import Policy
from tests.support.models_system import (
    NEVER,
    ONCE,
    CancelCall,
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


async def test_nine_failing_requests_open_the_lead_and_the_understudy_answers(provider: Any):
    simulation, url = provider
    simulation.tell(fails(requests=9))
    async with models_system(plan(url)) as site:
        for number in range(1, 4):
            heard = Heard()
            result = await site.call("lead", "understudy", observer=heard)
            assert (result.target, result.degraded) == ("understudy", False)
            assert [attempt.kind for attempt in result.attempts] == ["server_error"] * 3 + [None]
            kinds = [event[:2] for event in heard.events[:3]]
            assert kinds == [("retrying", "server_error")] * 2 + [("fell_over", "lead")]
            assert heard.moves == [("fell_over", "lead", "understudy", "server_error")]
            assert simulation.counts("lead").total == 3 * number
            assert (await settled(site, "lead")).failures == number
        assert (await site.status("lead")).state == "open"
        heard = Heard()
        result = await site.call("lead", "understudy", observer=heard)
        assert [attempt.target for attempt in result.attempts] == ["understudy"]
        assert heard.moves == [("fell_over", "lead", "understudy", None)]
        assert simulation.counts("lead").total == 9, "the fourth call leaves the lead alone"
        assert simulation.counts("understudy").ok == 4


async def test_after_the_open_time_one_probe_of_one_attempt_brings_the_lead_back(provider: Any):
    simulation, url = provider
    policy = Policy(open_first=0.05, open_cap=0.1, probe_within=60)
    async with models_system(plan(url, policy=policy)) as site:
        ledger = site.resources("lead").ledger
        simulation.tell(fails())
        for _ in range(3):
            await site.call("lead", "understudy", limits=ONCE)
        assert (await settled(site, "lead")).state == "open"
        assert simulation.counts("lead").total == 3
        await trio.sleep_until(ledger.account.until)
        result = await site.call("lead", "understudy")
        assert simulation.counts("lead").total == 4, "a probe is one request, however many attempts a call has"
        assert (result.target, [attempt.target for attempt in result.attempts]) == (
            "understudy",
            ["lead", "understudy"],
        )
        assert ledger.account.opened == 2
        simulation.tell({})
        await trio.sleep_until(ledger.account.until)
        result = await site.call("lead", "understudy")
        assert result.target == "lead"
        status = await settled(site, "lead")
        assert (status.state, status.failures) == ("closed", 0)


async def test_while_a_probe_is_out_the_others_go_to_the_understudy(provider: Any):
    simulation, url = provider
    policy = Policy(open_first=0.05, probe_within=60)
    async with models_system(plan(url, policy=policy)) as site, trio.open_nursery() as nursery:
        ledger = site.resources("lead").ledger
        for _ in range(3):
            ledger.fail(trio.current_time())
        await trio.sleep_until(ledger.account.until)
        simulation.tell(fails(fault="stall", after_tokens=2, seconds=None))
        heard = Heard()
        nursery.start_soon(partial(site.ended, "lead", "understudy", observer=heard))
        await heard.first_text.wait()
        for _ in range(3):
            assert (await site.call("lead", "understudy")).target == "understudy"
        assert simulation.counts("lead").total == 1
        # Cancelled, it is neither: the next call is the probe.
        site.caller.tell(CancelCall())
        await simulation.wait_for("lead", lambda counts: counts.closed_by_client == 1)
        assert (await settled(site, "lead")).state == "open"
        simulation.tell({})
        assert (await site.call("lead", "understudy")).target == "lead"
        assert (await settled(site, "lead")).state == "closed"


async def test_one_count_for_chains_of_different_order(provider: Any):
    simulation, url = provider
    simulation.tell(fails("a") | fails("b"))
    async with models_system(plan(url, ("a", "c"), ("b", "a", "d"))) as site:
        await site.call("a", "c", limits=ONCE)
        await site.call("b", "a", "d", limits=ONCE)
        result = await site.call("b", "a", "d", limits=ONCE)
        assert [attempt.target for attempt in result.attempts] == ["b", "a", "d"]
        assert ((await settled(site, "a")).state, (await settled(site, "b")).state) == ("open", "closed")
        result = await site.call("a", "c")
        assert [attempt.target for attempt in result.attempts] == ["c"]
        await site.call("b", "a", "d", limits=ONCE)
        result = await site.call("b", "a", "d")
        assert [attempt.target for attempt in result.attempts] == ["d"]


async def test_a_wrong_key_opens_at_once(provider: Any):
    simulation, url = provider
    simulation.tell(fails(status=401))
    async with models_system(plan(url)) as site:
        result = await site.call("lead", "understudy")
        assert [attempt.kind for attempt in result.attempts] == ["configuration", None]
        status = await settled(site, "lead")
        assert (status.state, status.last_failure.error_type) == ("open", "configuration")
        await site.call("lead", "understudy")
        assert simulation.counts("lead").total == 1


async def test_an_empty_account_opens_at_once_too(provider: Any):
    simulation, url = provider
    simulation.tell(fails(fault="insufficient_quota"))
    async with models_system(plan(url)) as site:
        assert (await site.call("lead", "understudy")).target == "understudy"
        assert (await settled(site, "lead")).state == "open"


async def test_a_retry_after_beyond_the_deadline_falls_over_now(provider: Any):
    simulation, url = provider
    simulation.tell(fails(status=429, retry_after=100))
    async with models_system(plan(url)) as site:
        result = await site.call("lead", "understudy")
        assert [(attempt.target, attempt.kind) for attempt in result.attempts] == [
            ("lead", "rate_limit"),
            ("understudy", None),
        ]
        status = await settled(site, "lead")
        assert (status.state, status.failures) == ("closed", 0)
        assert status.limiter.parked_for > 90
        simulation.tell({})
        assert (await site.call("lead", "understudy")).target == "understudy"
        assert simulation.counts("lead").total == 1


async def test_when_all_are_open_it_is_degraded_at_once_and_nobody_is_asked(provider: Any):
    simulation, url = provider
    async with models_system(plan(url)) as site:
        for name in ("lead", "understudy"):
            for _ in range(3):
                site.resources(name).ledger.fail(trio.current_time())
        heard = Heard()
        result = await site.call("lead", "understudy", observer=heard)
        assert (result.degraded, result.text, result.target, result.model) == (True, None, None, None)
        assert (result.attempts, result.facts) == ((), None)
        assert 200 < result.retry_after <= 300
        assert heard.events == [("fell_over", "lead", None, None)]
    assert simulation.counts("lead").total == simulation.counts("understudy").total == 0


async def test_a_chain_that_fails_to_its_end_is_degraded(provider: Any):
    simulation, url = provider
    simulation.tell(fails("lead", "refuse") | fails("understudy", status=503))
    async with models_system(plan(url)) as site:
        heard = Heard()
        result = await site.call("lead", "understudy", observer=heard, limits=ONCE)
        assert result.degraded
        assert [attempt.kind for attempt in result.attempts] == ["unreachable", "server_error"]
        assert result.facts.kind == "server_error"
        assert heard.moves == [
            ("fell_over", "lead", "understudy", "unreachable"),
            ("fell_over", "understudy", None, "server_error"),
        ]
        assert (await settled(site, "understudy")).failures == 1


async def test_a_full_line_sends_the_call_to_the_understudy(provider: Any):
    simulation, url = provider
    simulation.tell(fails(fault="stall", after_tokens=0, seconds=None))
    small = attrs.evolve(plan(url, in_flight=1), waiting=1)
    async with models_system(small) as site, trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(site.ended, "lead", "understudy")
        await simulation.wait_for("lead", lambda counts: counts.open == 1)
        while (await site.status("lead")).waiting < 1:
            await trio.sleep(0.001)
        heard = Heard()
        result = await site.call("lead", "understudy", observer=heard)
        assert result.target == "understudy"
        assert heard.moves == [("fell_over", "lead", "understudy", "rate_limit")]
        site.caller.tell(CancelCall())
        assert (await settled(site, "lead")).failures == 0


async def test_a_retry_whose_endpoint_has_been_opened_meanwhile_goes_on_with_the_chain(provider: Any):
    simulation, url = provider
    simulation.tell(fails())

    class Opening(Heard):
        def retrying(self, facts: Any, delay: float) -> None:
            super().retrying(facts, delay)
            for _ in range(3):
                site.resources("lead").ledger.fail(trio.current_time())

    async with models_system(plan(url)) as site:
        result = await site.call("lead", "understudy", observer=Opening())
        assert [attempt.target for attempt in result.attempts] == ["lead", "understudy"]
    assert simulation.counts("lead").total == 1


async def test_a_retry_that_finds_a_full_line_goes_on_behind_it(provider: Any, monkeypatch: pytest.MonkeyPatch):
    simulation, url = provider
    simulation.tell(fails())

    class Full(Gate):
        async def receive(self, message: Any) -> object:
            if isinstance(message, Acquire) and self._limiter.status(self.now()).requests:
                self._limit = 0
                self._limiter.park(self.now() + 60)
            return await super().receive(message)

    monkeypatch.setattr("actors.models.supervisor.Gate", Full)
    async with models_system(plan(url)) as site:
        heard = Heard()
        result = await site.call("lead", "understudy", observer=heard)
        assert [attempt.target for attempt in result.attempts] == ["lead", "understudy"]
        assert heard.moves == [("fell_over", "lead", "understudy", "rate_limit")]


async def test_a_simulated_understudy_never_speaks_for_a_real_lead(provider: Any, simulated: Any):
    simulation, url = provider
    fake, fake_url = await simulated()
    endpoints = (
        Endpoint("lead", url, "k", "lead"),
        Endpoint("fake", fake_url, "k", "fake"),
        Endpoint("third", url, "k", "third"),
    )
    chains = (("lead", "fake", "third"), ("lead", "fake"), ("fake", "third"))
    simulation.tell(fails())
    async with models_system(ModelsPlan(endpoints, chains, NEVER)) as site:
        heard = Heard()
        result = await site.call("lead", "fake", "third", observer=heard, limits=ONCE)
        assert result.target == "third"
        assert [attempt.kind for attempt in result.attempts] == ["server_error", "simulated", None]
        assert heard.events[-2:] == [("model", "test-model"), ("text",)]
        assert result.text == "".join(heard.pieces)
        status = await settled(site, "fake")
        assert (status.simulated, status.failures, status.state) == (True, 0, "closed")
        await fake.wait_for("fake", lambda counts: counts.open == 0)
        # From now on it is known, and not even asked.
        result = await site.call("lead", "fake", limits=ONCE)
        assert result.degraded
        assert [attempt.target for attempt in result.attempts] == ["lead"]
        assert fake.counts("fake").total == 1
        assert (await settled(site, "fake")).limiter.requests == 1
        # As a lead it may speak, and says what it is.
        result = await site.call("fake", "third")
        assert (result.target, result.model) == ("fake", "simulated")


async def test_a_simulated_understudy_may_speak_for_another_name_of_the_same_simulated_model(simulated: Any):
    simulation, url = await simulated()
    simulation.tell(fails())
    async with models_system(plan(url)) as site:
        result = await site.call("lead", "understudy", limits=ONCE)
        assert (result.target, result.model) == ("understudy", "simulated")
