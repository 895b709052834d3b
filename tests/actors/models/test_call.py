"""A call over real sockets: its answers, its errors, its deadlines and its end."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import pytest
import trio

from actors.models import gate
from actors.models.model_call import CallFailed, CallLimits
from tests.support.models_system import (
    QUICK,
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


async def test_an_answer_with_all_that_is_told_of_it(provider: Any):
    simulation, url = provider
    heard = Heard()
    async with models_system(plan(url)) as site:
        result = await site.call("lead", "understudy", observer=heard)
        assert result.text == "".join(heard.pieces)
        assert (result.degraded, result.partial, result.truncated, result.facts) == (False, False, False, None)
        assert (result.target, result.model) == ("lead", "test-model")
        assert not result.usage.estimated
        assert heard.events == [("model", "test-model"), ("text",)]
        [attempt] = result.attempts
        assert (attempt.target, attempt.model, attempt.kind) == ("lead", "lead", None)
        assert 0 < attempt.duration_ms <= result.duration * 1000
        status = await settled(site, "lead")
        assert status.limiter.tokens == result.usage.total
        assert status.limiter.requests == 1
    assert simulation.counts("understudy").total == 0


async def test_a_retry_after_is_obeyed_and_keeps_others_away_without_a_count(provider: Any):
    simulation, url = provider
    simulation.tell(fails(status=429, retry_after=0.4, requests=1))
    async with models_system(plan(url)) as site:
        results: list[Any] = []
        heard = Heard()

        async def call() -> None:
            results.append(await site.call("lead", "understudy", observer=heard))

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await heard.waiting.wait()
            other = await site.call("lead", "understudy")
            if trio.current_time() < began + 0.4:  # else the machine was too slow to see it
                assert other.target == "understudy"
        [result] = results
        assert trio.current_time() - began >= 0.4
        found = [(attempt.target, attempt.kind) for attempt in result.attempts]
        assert found == [("lead", "rate_limit"), ("lead", None)]
        [(_, _, delay)] = [event for event in heard.events if event[0] == "retrying"]
        assert 0.4 <= delay <= 0.44
        status = await settled(site, "lead")
        assert (status.state, status.failures) == ("closed", 0)


async def test_a_chain_that_is_only_parked_is_waited_for_where_there_is_time(provider: Any):
    simulation, url = provider
    async with models_system(plan(url, ("lead",))) as site:
        site.resources("lead").ledger.park(trio.current_time() + 0.2)
        heard = Heard()
        result = await site.call("lead", observer=heard)
        assert result.target == "lead"
        [(kind, why, delay), *_] = heard.events
        assert (kind, why) == ("retrying", "rate_limit")
        assert delay <= 0.22
        site.resources("lead").ledger.park(trio.current_time() + 100)
        result = await site.call("lead")
        assert result.degraded
        assert result.facts.error_type == "rate_limit"
        assert result.retry_after == pytest.approx(100, abs=1)
    assert simulation.counts("lead").total == 1


@pytest.mark.parametrize("fault", ["cut", "reset", "truncate", "malformed", "error_event"])
async def test_after_the_first_text_it_is_a_partial_answer_and_a_failure(provider: Any, fault: str):
    simulation, url = provider
    simulation.tell(fails(fault=fault, after_tokens=8))
    async with models_system(plan(url)) as site:
        heard = Heard()
        result = await site.call("lead", "understudy", observer=heard)
        assert heard.pieces
        assert (result.text, result.partial, result.degraded) == ("".join(heard.pieces), True, False)
        assert (result.target, result.truncated, result.model) == ("lead", False, "test-model")
        assert result.facts.after_first_delta
        assert result.usage.estimated
        assert heard.moves == []
        status = await settled(site, "lead")
        assert (status.failures, status.limiter.tokens) == (1, result.usage.total)
    assert simulation.counts("understudy").total == 0


async def test_an_answer_cut_by_its_length_is_partial_and_no_failure(provider: Any):
    simulation, url = provider
    simulation.tell(fails(fault="length"))
    async with models_system(plan(url)) as site:
        result = await site.call("lead", "understudy")
        assert (result.partial, result.truncated, result.facts) == (True, True, None)
        assert (await settled(site, "lead")).failures == 0


@pytest.mark.parametrize(
    ("fault", "error_type", "words"),
    [
        ({"status": 400, "code": "content_filter"}, "content_policy", "declined"),
        ({"status": 422}, "internal", "could not work with this request"),
    ],
)
async def test_what_no_model_can_answer_ends_the_call_and_counts_nothing(
    provider: Any, fault: Any, error_type: str, words: str
):
    simulation, url = provider
    simulation.tell(fails(**fault))
    async with models_system(plan(url)) as site:
        ended = await site.ended("lead", "understudy")
        assert isinstance(ended.error, CallFailed)
        assert ended.error.error_type == error_type
        assert words in ended.error.sentence
        assert len(ended.error.attempts) == 1
        status = await settled(site, "lead")
        assert (status.state, status.failures) == ("closed", 0)
    assert simulation.counts("understudy").total == 0


async def test_silence_before_the_first_text_is_a_failure(provider: Any):
    simulation, url = provider
    simulation.tell(fails(fault="slow_first_token"))
    async with models_system(plan(url)) as site:
        limits = attrs.evolve(QUICK, attempts=1, first_token=0.1)
        result = await site.call("lead", "understudy", limits=limits)
        assert [attempt.kind for attempt in result.attempts] == ["timeout", None]
        status = await settled(site, "lead")
        assert status.failures == 1
        assert status.limiter.tokens > 0, "it has read the prompt"


async def test_what_the_deadline_of_the_call_cuts_is_no_failure_of_the_endpoint(provider: Any):
    simulation, url = provider
    simulation.tell(fails(fault="slow_first_token"))
    async with models_system(plan(url)) as site:
        result = await site.call("lead", "understudy", limits=attrs.evolve(QUICK, total=0.2))
        assert result.degraded
        assert result.facts.error_type == "timeout"
        assert [attempt.target for attempt in result.attempts] == ["lead"]
        assert (await settled(site, "lead")).failures == 0
    assert simulation.counts("understudy").total == 0


async def test_waiting_for_a_lease_draws_on_the_same_deadline(provider: Any):
    simulation, url = provider
    simulation.tell(fails(fault="stall", after_tokens=0, seconds=None))
    async with models_system(plan(url, ("lead",), in_flight=1)) as site, trio.open_nursery() as nursery:
        nursery.start_soon(site.ended, "lead")
        await simulation.wait_for("lead", lambda counts: counts.open == 1)
        result = await site.call("lead", limits=attrs.evolve(QUICK, total=0.1))
        assert (result.degraded, result.attempts, result.facts.kind) == (True, (), "timeout")
        site.caller.tell(CancelCall())
        assert (await settled(site, "lead")).waiting == 0
    assert simulation.counts("lead").total == 1


async def test_a_cancelled_call_closes_its_stream_and_settles(provider: Any):
    simulation, url = provider
    simulation.tell(fails(fault="stall", after_tokens=8, seconds=None))
    async with models_system(plan(url)) as site:
        heard = Heard()
        ended: list[Any] = []

        async def call() -> None:
            ended.append(await site.ended("lead", "understudy", observer=heard))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await heard.first_text.wait()
            assert (await site.status("lead")).limiter.in_flight == 1
            site.caller.tell(CancelCall())
        assert ended[0].cancelled
        await simulation.wait_for("lead", lambda counts: counts.closed_by_client == 1)
        status = await settled(site, "lead")
        assert (status.state, status.failures) == ("closed", 0)
        assert status.limiter.tokens < 200, "what it had cost by then, not what was reserved"


async def test_an_observer_that_fails_costs_no_lease(provider: Any):
    _, url = provider

    class Broken(Heard):
        def text(self, piece: str) -> None:
            raise ZeroDivisionError("the observer")

    async with models_system(plan(url)) as site:
        ended = await site.ended("lead", "understudy", observer=Broken())
        assert isinstance(ended.error, ZeroDivisionError)
        assert (await settled(site, "lead")).failures == 0


async def test_an_empty_budget_leaves_one_attempt(provider: Any):
    simulation, url = provider
    simulation.tell(fails())
    async with models_system(plan(url)) as site:
        budget = site.resources("lead").budget
        assert budget is site.resources("understudy").budget, "one provider, one budget"
        budget.left = 5
        result = await site.call("lead", "understudy")
        assert [attempt.target for attempt in result.attempts] == ["lead", "lead", "understudy"]
        assert budget.left == 1, "an answer without a retry pays a little back"
        assert (await settled(site, "lead")).failures == 1


async def test_the_answer_to_a_retry_pays_it_back(provider: Any):
    simulation, url = provider
    simulation.tell(fails(requests=1))
    async with models_system(plan(url)) as site:
        budget = site.resources("lead").budget
        budget.left = 100
        result = await site.call("lead", "understudy")
        assert [attempt.kind for attempt in result.attempts] == ["server_error", None]
        assert budget.left == 100
        assert (await settled(site, "lead")).failures == 0


def test_limits_are_those_of_the_product():
    assert attrs.astuple(CallLimits()) == (3, 20.0, 20.0, 120.0, 300.0, 60.0)


async def test_who_waits_for_a_turn_is_told_and_after_its_bound_it_is_over(
    provider: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gate, "NOTICE", 0.05)
    simulation, url = provider
    simulation.tell(fails(fault="stall", requests=1))
    async with models_system(plan(url, ("lead",), in_flight=1)) as site, trio.open_nursery() as nursery:
        first, heard = Heard(), Heard()
        nursery.start_soon(partial(site.ended, "lead", observer=first))
        await first.first_text.wait()
        result = await site.call("lead", observer=heard, limits=attrs.evolve(QUICK, queue=0.4))
        assert result.degraded
        assert (result.facts.kind, result.facts.error_type) == ("rate_limit", "rate_limit")
        assert result.retry_after > 0
        assert result.attempts == ()
        [(what, why, seconds), moved] = heard.events
        assert (what, why) == ("retrying", "rate_limit")
        assert seconds > 0
        assert moved == ("fell_over", "lead", None, "rate_limit")
        status = await site.status("lead")
        assert (status.failures, status.waiting, status.traffic.turned_away) == (0, 0, 1)
        site.caller.tell(CancelCall())
