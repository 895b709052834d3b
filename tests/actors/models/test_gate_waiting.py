"""Waiting at a gate: who is told, for how long, how it ends, and what a gate that comes back still knows."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.models.failure import AnswerBroken, classify
from actors.models.gate import HOLDERS_ASKED, NOTICE
from actors.models.lease import Busy, Lease
from actors.protocol.task_events import Priority
from runtime import Refused
from supervisors import Outcome
from tests.support.gate_site import Crash, Site, opened


async def ask(site: Site, order: list[str], name: str, **more: Any) -> None:
    acquire = site.acquire(tokens=more.pop("tokens", 0))
    try:
        await site.gate.ask(attrs.evolve(acquire, user=name, **more), within=300)
    except Refused as refused:
        order.append(f"{name} {type(refused.reason).__name__}")
    else:
        order.append(name)


async def test_the_urgent_first_and_then_each_user_in_turn(autojump_clock: MockClock):
    async with opened(in_flight=1) as site, trio.open_nursery() as nursery:
        lease = await site.lease()
        order: list[str] = []
        for name, more in (
            ("a", {}), ("a", {}), ("b", {"priority": Priority.LOW}), ("c", {}), ("d", {"priority": Priority.CRITICAL}),
        ):  # fmt: skip
            nursery.start_soon(partial(ask, site, order, name, **more))
            await wait_all_tasks_blocked()
        assert (await site.status()).waiting_users == 4
        held: list[Lease] = [lease]
        while held:
            site.settle(held.pop())
            await wait_all_tasks_blocked()
            held = list(site.gate.target.actor._leases.values())
        assert order == ["d", "a", "c", "a", "b"]


async def test_who_waits_is_told_after_a_second_and_once(autojump_clock: MockClock, monkeypatch: Any):
    async with opened(in_flight=1) as site, trio.open_nursery() as nursery:
        await site.lease()
        holder = site.h1.target.actor.holder
        told: list[tuple[float, float]] = []
        began = trio.current_time()
        with holder.waiting(7, lambda seconds: told.append((trio.current_time() - began, seconds))):
            nursery.start_soon(ask, site, [], "a")  # of no interest to key 7
            acquire = attrs.evolve(site.acquire(), key=7)
            with trio.move_on_after(10):
                await site.gate.ask(acquire, within=300)
        nursery.cancel_scope.cancel()
    [(after, seconds)] = told
    assert NOTICE <= after <= NOTICE + 0.2
    assert seconds == 5.0


async def test_patience_has_an_end_and_names_the_ticket(autojump_clock: MockClock):
    async with opened(in_flight=1) as site:
        await site.lease()
        began = trio.current_time()
        reason = await site.refused(patience=30.0)
        assert isinstance(reason, Busy)
        assert 30.0 <= trio.current_time() - began <= 30.2
        status = await site.status()
        assert (status.waiting, status.traffic.turned_away) == (0, 1)


async def test_who_fills_the_line_keeps_nobody_else_out(autojump_clock: MockClock):
    async with opened(waiting=3, in_flight=1) as site, trio.open_nursery() as nursery:
        lease = await site.lease()
        order: list[str] = []
        for name in ("flooder", "flooder", "flooder", "other"):
            nursery.start_soon(ask, site, order, name)
            await wait_all_tasks_blocked()
        assert order == ["flooder Busy"]
        status = await site.status()
        assert (status.waiting, status.waiting_users, status.traffic.turned_away) == (3, 2, 1)
        site.settle(lease)
        nursery.cancel_scope.cancel()


async def test_cancelling_one_who_waits_frees_the_place(autojump_clock: MockClock):
    async with opened(waiting=1, in_flight=1) as site, trio.open_nursery() as nursery:
        lease = await site.lease()
        order: list[str] = []
        async with trio.open_nursery() as first:
            first.start_soon(ask, site, order, "first")
            await wait_all_tasks_blocked()
            nursery.start_soon(ask, site, order, "refused")
            await wait_all_tasks_blocked()
            assert order == ["refused Busy"]
            first.cancel_scope.cancel()
        assert (await site.status()).waiting == 0
        nursery.start_soon(ask, site, order, "second")
        await wait_all_tasks_blocked()
        assert (await site.status()).waiting == 1
        site.settle(lease)
        await wait_all_tasks_blocked()
        assert order == ["refused Busy", "second"]


async def test_waiting_times_are_measured(autojump_clock: MockClock):
    async with opened(in_flight=1) as site, trio.open_nursery() as nursery:
        lease = await site.lease()
        nursery.start_soon(ask, site, [], "a")
        await trio.sleep(4)
        site.settle(lease)
        await wait_all_tasks_blocked()
        traffic = (await site.status()).traffic
    assert (traffic.granted, traffic.wait_longest, traffic.wait_mean) == (2, 4.0, 2.0)


async def test_a_gate_that_comes_back_knows_the_last_minute_and_what_is_parked(autojump_clock: MockClock):
    async with opened(requests_per_minute=2, tokens_per_minute=1000) as site:
        lease = await site.lease(tokens=400)
        site.settle(lease, Outcome.SUCCESS, tokens_used=300)
        await site.lease(site.h2, tokens=100)
        await wait_all_tasks_blocked()
        site.gate.tell(Crash())
        await wait_all_tasks_blocked()
        assert site.gate.target.incarnation == 1
        limiter = (await site.status()).limiter
        assert (limiter.requests, limiter.tokens) == (2, 400)
        began = trio.current_time()
        await site.lease()
        assert trio.current_time() - began > 59, "the minute before the crash counts"
        other = await site.lease(site.h2)
        site.settle(other, None, park_until=trio.current_time() + 500)
        await wait_all_tasks_blocked()
        site.gate.tell(Crash())
        await wait_all_tasks_blocked()
        assert (await site.status()).limiter.parked_for > 499


async def test_until_the_holders_were_asked_nothing_that_was_granted_is_free(autojump_clock: MockClock):
    async with opened(in_flight=2) as site:
        site.h1.tell(await site.lease())  # this one says that it holds it …
        await site.lease(site.h2)  # … and of this one nobody will ever hear
        await wait_all_tasks_blocked()
        site.gate.tell(Crash())
        await wait_all_tasks_blocked()
        assert await site.in_flight() == 2
        began = trio.current_time()
        await site.lease()
        assert HOLDERS_ASKED <= trio.current_time() - began <= HOLDERS_ASKED + 0.1
        assert await site.in_flight() == 2


async def test_one_user_leaves_the_others_their_part(autojump_clock: MockClock):
    async with opened(in_flight=20) as site, trio.open_nursery() as nursery:
        order: list[str] = []
        for _ in range(25):
            nursery.start_soon(ask, site, order, "flooder")
        await wait_all_tasks_blocked()
        assert order == ["flooder"] * 18
        nursery.start_soon(ask, site, order, "other")
        await wait_all_tasks_blocked()
        assert order[-1] == "other"
        nursery.cancel_scope.cancel()


async def test_a_refusal_shows_a_limit_that_nobody_has_named(autojump_clock: MockClock):
    refused = classify(AnswerBroken("rate_limit", "429"), wall_time=0)
    async with opened() as site:
        leases = [await site.lease(site.h2, user=f"u{number}") for number in range(10)]
        site.settle(leases[0], Outcome.FAILURE, facts=refused)
        await wait_all_tasks_blocked()
        status = await site.status()
        assert (status.limiter.source, status.limiter.in_flight_limit) == ("adaptive", 7)
        assert (status.limiter.requests_limit, status.traffic.throttled) == (7, 1)
        for lease in leases[1:]:
            site.settle(lease, Outcome.SUCCESS)
        await wait_all_tasks_blocked()
        assert (await site.status()).limiter.in_flight_limit == 8


async def test_after_a_refusal_that_passes_nobody_waits_for_the_minute_to_be_over(autojump_clock: MockClock):
    refused = classify(AnswerBroken("rate_limit", "429"), wall_time=0)
    async with opened() as site:
        leases = [await site.lease(site.h2, user=f"u{number}") for number in range(20)]
        site.settle(leases[0], Outcome.FAILURE, facts=refused)
        for lease in leases[1:]:
            site.settle(lease, Outcome.SUCCESS)
        began = trio.current_time()
        one = await site.lease()
        assert 0.5 <= trio.current_time() - began <= 0.6
        async with trio.open_nursery() as nursery:
            order: list[str] = []
            nursery.start_soon(ask, site, order, "next")
            await wait_all_tasks_blocked()
            assert order == [], "not beside the one that finds out"
            site.settle(one, Outcome.SUCCESS)
        assert order == ["next"]
        assert trio.current_time() - began <= 0.6
        assert (await site.status()).limiter.requests_limit is None
