"""What ends a lease besides its settlement, and what outlives a gate's crash. Under a mock clock."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.models.gate import LEASE_MARGIN
from actors.models.lease import Hold, Moved, Settle
from runtime import HandlerFailed, Ref
from supervisors import Outcome
from tests.support.gate_site import Crash, opened, opening, probe


async def test_a_holder_that_crashes_frees_its_leases_and_no_other(autojump_clock: MockClock):
    async with opened() as site:
        kept = await site.lease(site.h2)
        await site.lease()
        await site.lease()
        assert await site.in_flight() == 3
        site.h1.tell(Crash())
        await wait_all_tasks_blocked()
        assert await site.in_flight() == 1
        assert site.ledger.account.failures == 0
        again = await site.lease()
        site.settle(kept)
        site.settle(again)
        assert await site.in_flight() == 0


async def test_a_holder_that_ends_frees_its_leases_its_place_in_the_line_and_its_probe(autojump_clock: MockClock):
    async with opened(in_flight=1) as site, trio.open_nursery() as nursery:
        opening(site)
        await trio.sleep_until(site.ledger.account.until)
        await site.lease(site.h2)
        assert site.ledger.account.state == "probing"
        reasons: list[Any] = []

        async def wait(holder: Ref[Any]) -> None:
            reasons.append(await site.refused(holder, ticket=probe(site)))

        nursery.start_soon(wait, site.h2)
        await wait_all_tasks_blocked()
        site.h2.tell(Crash())
        await wait_all_tasks_blocked()
        assert reasons == [Moved()]
        assert (await site.status()).waiting == 0
        assert await site.in_flight() == 0
        assert site.ledger.account.state == "open"
        assert site.ledger.account.until <= trio.current_time()


async def test_a_lease_of_one_who_is_no_more_ends_at_once(autojump_clock: MockClock):
    async with opened() as site:
        await site.lease(site.system.ref("/nobody"))
        await wait_all_tasks_blocked()
        assert await site.in_flight() == 0


async def test_a_lost_settlement_costs_a_place_until_the_deadline(autojump_clock: MockClock):
    async with opened(in_flight=2) as site:
        began = trio.current_time()
        late = await site.lease(deadline=began + 20)
        await site.lease(deadline=began + 10)
        third = await site.lease(deadline=began + 300)  # waits for the shorter one
        assert trio.current_time() == pytest.approx(began + 10 + LEASE_MARGIN, abs=0.01)
        await wait_all_tasks_blocked()
        assert len(site.gate.target.actor._leases) == 2
        await trio.sleep_until(began + 20 + LEASE_MARGIN + 0.01)
        assert await site.in_flight() == 1
        assert len(site.gate.target.actor._leases) == 1
        site.settle(third)
        site.settle(late, tokens_used=3)  # after its end: harmless
        assert await site.in_flight() == 0
        assert not site.gate.target.actor._holders


async def test_a_probe_that_is_never_settled_gives_its_place_back_at_its_deadline(autojump_clock: MockClock):
    async with opened() as site:
        opening(site)
        await trio.sleep_until(site.ledger.account.until)
        began = trio.current_time()
        await site.lease(deadline=began + 10)
        assert site.ledger.account.state == "probing"
        await trio.sleep_until(began + 10 + LEASE_MARGIN + 0.01)
        assert site.ledger.account.state == "open"
        assert site.ledger.account.until <= trio.current_time()


async def test_a_gate_that_restarts_is_told_again_what_is_held(autojump_clock: MockClock):
    async with opened(in_flight=2) as site:
        lease, other = await site.lease(), await site.lease(site.h2)
        site.h1.tell(lease)
        site.h2.tell(other)
        await wait_all_tasks_blocked()
        assert await site.in_flight() == 2, "said twice is once"
        site.gate.tell(Crash())
        await wait_all_tasks_blocked()
        assert site.gate.target.incarnation == 1
        assert await site.in_flight() == 2
        site.h1.tell(Settle(lease, Outcome.SUCCESS, tokens_used=5))
        await wait_all_tasks_blocked()
        assert await site.in_flight() == 1
        site.h2.tell(Crash())
        await wait_all_tasks_blocked()
        assert await site.in_flight() == 0
        site.gate.tell(Hold(attrs.evolve(other, slot=attrs.evolve(other.slot, expires_at=0.0))))
        assert await site.in_flight() == 0, "what is past its end is not taken up"


async def test_a_gate_that_crashes_between_its_answer_and_the_watch_hears_of_the_lease(autojump_clock: MockClock):
    async with opened() as site:
        lease = await site.lease()
        site.gate.tell(Crash())
        await wait_all_tasks_blocked()
        assert await site.in_flight() == 1, "until the holders have had the time to speak, nothing is free"
        site.h1.tell(lease)
        await wait_all_tasks_blocked()
        assert await site.in_flight() == 1


async def test_those_who_wait_at_a_gate_that_crashes_hear_it_at_once_and_a_probe_is_given_back(
    autojump_clock: MockClock,
):
    async with opened(in_flight=1) as site, trio.open_nursery() as nursery:
        await site.lease()
        opening(site)
        await trio.sleep_until(site.ledger.account.until)
        failed: list[Exception] = []

        async def wait() -> None:
            try:
                await site.lease()
            except HandlerFailed as error:
                failed.append(error)

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert site.ledger.account.state == "probing"
        site.gate.tell(Crash())
        await wait_all_tasks_blocked()
        assert len(failed) == 1
        assert site.ledger.account.state == "open"
        assert site.ledger.account.until <= trio.current_time()


async def test_a_leaseholder_watches_only_where_it_holds(autojump_clock: MockClock):
    async with opened() as site:
        first, second = await site.lease(), await site.lease()
        watching = site.h1.target.need_links().watching
        holder = site.h1.target.actor.holder
        assert holder.ref is site.h1
        for lease in (first, second):
            site.h1.tell(lease)
        await wait_all_tasks_blocked()
        assert site.gate in watching
        assert holder.leases == (first, second)
        site.h1.tell(Settle(first, Outcome.SUCCESS))
        await wait_all_tasks_blocked()
        assert site.gate in watching
        site.h1.tell(Settle(second, Outcome.SUCCESS))
        await wait_all_tasks_blocked()
        assert site.gate not in watching
        assert await site.h1.ask("something else", within=1) is False
