"""One gate: who is granted a lease, who waits, and what a settlement does. Under a mock clock."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.models.gate import BUSY
from actors.models.lease import Busy, Lease, Moved
from actors.models.provider_limits import ProviderLimits
from runtime import TimedOut
from supervisors import Outcome
from tests.support.gate_site import DOWN, opened, opening, probe


@pytest.fixture
def order() -> list[str]:
    return []


async def test_a_lease_names_its_endpoint_and_is_settled(autojump_clock: MockClock):
    async with opened() as site:
        lease = await site.lease()
        assert (lease.number, lease.endpoint, lease.gate, lease.lead) == (1, "m", site.gate, site.resources)
        status = await site.status()
        assert (status.limiter.in_flight, status.state, status.model, status.waiting_limit) == (
            1,
            "closed",
            "model-m",
            100,
        )
        site.settle(lease, tokens_used=7)
        status = await site.status()
        assert (status.limiter.in_flight, status.limiter.tokens, status.limiter.requests) == (0, 7, 1)
        assert (await site.lease()).number == 2


async def test_those_who_wait_are_served_in_their_order_and_a_small_one_does_not_overtake(
    autojump_clock: MockClock, order: list[str]
):
    async with opened(in_flight=1, tokens_per_minute=1000) as site, trio.open_nursery() as nursery:
        first = await site.lease(tokens=600)

        async def wait(name: str, tokens: int) -> None:
            lease = await site.lease(tokens=tokens)
            order.append(f"{name} at {trio.current_time() - began:.0f}")
            site.settle(lease)

        began = trio.current_time()
        for name, tokens in (("large", 600), ("small", 1), ("smaller", 0)):
            nursery.start_soon(wait, name, tokens)
            await wait_all_tasks_blocked()
        assert (await site.status()).waiting == 3
        site.settle(first)
        # The tokens of the first come back after a minute, and only then.
    assert order == ["large at 60", "small at 60", "smaller at 60"]


async def test_a_lease_that_comes_back_lets_the_next_in_at_once(autojump_clock: MockClock, order: list[str]):
    async with opened(in_flight=1) as site, trio.open_nursery() as nursery:
        began = trio.current_time()
        first = await site.lease()

        async def wait() -> None:
            await site.lease()
            order.append("granted")

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        site.settle(first)
        await wait_all_tasks_blocked()
        assert order == ["granted"]
        assert trio.current_time() == began


async def test_beyond_the_bound_of_the_line_nobody_waits(autojump_clock: MockClock):
    async with opened(waiting=2, in_flight=1) as site, trio.open_nursery() as nursery:
        lease = await site.lease()
        for _ in range(2):
            nursery.start_soon(site.lease)
        await wait_all_tasks_blocked()
        ticket = site.ledger.admit(trio.current_time())
        assert await site.refused(ticket=ticket) == Busy(BUSY, ticket)
        assert (await site.status()).waiting == 2
        assert await site.in_flight() == 1
        site.settle(lease)
        nursery.cancel_scope.cancel()


async def test_busy_names_the_time_when_the_limits_tell_it(autojump_clock: MockClock):
    async with opened(waiting=1, requests_per_minute=1) as site, trio.open_nursery() as nursery:
        site.settle(await site.lease())
        nursery.start_soon(site.lease)
        await wait_all_tasks_blocked()
        busy = await site.refused()
        assert busy.retry_after == pytest.approx(60, abs=0.1)
        nursery.cancel_scope.cancel()


async def test_those_who_have_gone_are_passed_over_and_do_not_count(autojump_clock: MockClock):
    async with opened(waiting=2, in_flight=1) as site, trio.open_nursery() as nursery:
        first = await site.lease()
        with pytest.raises(TimedOut):
            await site.lease(within=1)
        with trio.move_on_after(1):
            await site.lease()
        granted: list[Lease] = []

        async def wait() -> None:
            granted.append(await site.lease())

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert (await site.status()).waiting == 1, "the two who have gone made room"
        with trio.move_on_after(1):
            await site.lease()
        site.settle(first)
        await wait_all_tasks_blocked()
        assert len(granted) == 1
        site.settle(granted[0])
        assert (await site.status()).waiting == 0
        assert await site.in_flight() == 0


async def test_a_probe_that_does_not_wait_any_longer_gives_its_place_back(autojump_clock: MockClock):
    async with opened(in_flight=1) as site:
        first = await site.lease()
        opening(site)
        await trio.sleep_until(site.ledger.account.until)
        with trio.move_on_after(1):
            await site.lease()
        assert site.ledger.account.state == "probing"
        site.settle(first, None)
        await wait_all_tasks_blocked()
        assert site.ledger.admit(trio.current_time()) == attrs.evolve(probe(site), kind="probe")


async def test_three_settled_failures_open_the_ledger_and_a_success_clears_the_count(autojump_clock: MockClock):
    async with opened() as site:
        for outcome in (Outcome.FAILURE, Outcome.FAILURE, Outcome.SUCCESS, Outcome.FAILURE, Outcome.FAILURE):
            site.settle(await site.lease(), outcome, facts=None if outcome is Outcome.SUCCESS else DOWN)
        status = await site.status()
        assert (status.state, status.failures, status.last_failure) == ("closed", 2, DOWN)
        site.settle(await site.lease(), None, facts=DOWN)
        site.settle(await site.lease(), Outcome.CANCELLED, facts=DOWN)
        assert (await site.status()).failures == 2
        site.settle(await site.lease(), Outcome.FAILURE, facts=DOWN)
        status = await site.status()
        assert (status.state, status.failures) == ("open", 3)
        assert 3.75 <= status.open_for <= 5
        await trio.sleep(5)
        site.settle(await site.lease())
        status = await site.status()
        assert (status.state, status.failures, status.open_for, status.last_failure) == ("closed", 0, 0, None)


async def test_when_the_endpoint_opens_those_who_wait_are_sent_back_to_their_chain(autojump_clock: MockClock):
    async with opened(in_flight=1) as site, trio.open_nursery() as nursery:
        lease = await site.lease()
        ticket = site.ledger.admit(trio.current_time())
        reasons: list[Any] = []

        async def wait() -> None:
            reasons.append(await site.refused())

        for _ in range(3):
            nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        site.settle(lease, Outcome.MISCONFIGURED)
        await wait_all_tasks_blocked()
        assert reasons == [Moved()] * 3
        # So is a further attempt of a call that had begun before.
        assert await site.refused(ticket=ticket) == Moved()
        assert await site.in_flight() == 0


async def test_parking_keeps_everybody_away_until_its_end_and_counts_nothing(autojump_clock: MockClock):
    async with opened() as site:
        lease = await site.lease()
        ticket = lease.ticket
        until = trio.current_time() + 30
        site.settle(lease, None, park_until=until, facts=DOWN)
        assert await site.refused(ticket=ticket) == Moved()
        status = await site.status()
        assert (status.state, status.failures, status.limiter.parked_for) == ("closed", 0, 30)
        assert site.ledger.admit(until - 0.001) is None
        await trio.sleep_until(until)
        await site.lease(ticket=ticket)


async def test_a_request_that_was_never_sent_does_not_count(autojump_clock: MockClock):
    async with opened(requests_per_minute=1) as site:
        site.settle(await site.lease(), Outcome.CANCELLED, sent=False)
        status = await site.status()
        assert (status.limiter.requests, status.limiter.in_flight) == (0, 0)


async def test_what_is_not_said_counts_as_reserved(autojump_clock: MockClock):
    async with opened(tokens_per_minute=1000) as site:
        lease = await site.lease(tokens=100)
        site.settle(lease, Outcome.CANCELLED)
        assert (await site.status()).limiter.tokens == lease.slot.tokens == 100


async def test_the_providers_own_limits_are_learnt(autojump_clock: MockClock):
    async with opened() as site:
        site.settle(await site.lease(), provider_limits=ProviderLimits(limit_requests=2))
        limiter = (await site.status()).limiter
        assert (limiter.requests_limit, limiter.in_flight_limit, limiter.source) == (2, None, "provider")


async def test_what_the_tree_shows_and_what_does_not_concern_it(autojump_clock: MockClock):
    async with opened() as site:
        await site.lease()
        site.gate.tell("what?")
        await site.gate.ask("what?", within=1)
        assert site.gate.target.actor.inspect() == {"endpoint": "m", "state": "closed", "leases": 1, "waiting": 0}


async def test_without_a_chain_a_gate_can_be_asked_directly(autojump_clock: MockClock):
    async with opened() as site:
        lease = await site.lease(ticket=None, deadline=math.inf)
        assert lease.ticket.kind == "forced"
