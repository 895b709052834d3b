"""A pool in the wait-for graph: members that ask, or send to, their own pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import WaitCycle
from supervisors import ByKey, Routing
from tests.support.actors import LONG, settle
from tests.support.pools import ROUND_ROBIN, Job, Worker, pass_on, shop, small

if TYPE_CHECKING:
    from trio.testing import MockClock


async def ask_pool(worker: Worker) -> Any:
    """From a handler: ask the pool that the actor is a member of."""
    return await worker.system.ref("/pool").ask(Job(1), within=LONG)


@pytest.mark.parametrize("routing", [Routing.LEAST_OUTSTANDING, ROUND_ROBIN, ByKey(lambda message: 1)])
async def test_a_member_that_asks_its_pool_is_passed_over_for_the_others(
    autojump_clock: MockClock, routing: Routing | ByKey
) -> None:
    async with shop(3, routing=routing) as s:
        for number in range(3):
            asker = f"w-{number}"
            for other in {0, 1, 2} - {number}:
                s.member(other).tell(Job(5, 1))
                s.member(other).tell(Job(5, 1))
            assert await s.member(number).ask(ask_pool, within=LONG) != asker
            await trio.sleep(3)


async def test_if_every_member_waits_for_the_asker_it_is_a_cycle(autojump_clock: MockClock) -> None:
    async with shop(2) as s, trio.open_nursery() as nursery:

        async def ask_other(worker: Worker) -> Any:
            return await s.member(1).ask("hello", within=LONG)

        s.member(1).tell(Job(0, 1))
        s.member(1).tell(ask_pool)  # by then w-0 waits for w-1
        nursery.start_soon(ask_outcome, s.member(0), ask_other)
        await trio.sleep(3)
        (crash,) = s.bench.crashes()
        assert crash.path == "/pool/w-1"
        assert isinstance(crash.error, WaitCycle)
        assert crash.error.path[0] == crash.error.path[-1] == "/pool/w-1"


async def ask_outcome(ref: Any, message: Any) -> None:
    await ref.ask(message, within=LONG)


async def test_the_only_member_cannot_ask_its_pool(autojump_clock: MockClock) -> None:
    async with shop(1) as s:
        outcome: list[Any] = []

        async def ask_and_tell(worker: Worker) -> None:
            try:
                await ask_pool(worker)
            except WaitCycle as cycle:
                outcome.append(cycle.path)

        await s.member(0).ask(ask_and_tell, within=LONG)
        assert outcome == [("/pool/w-0", "/pool/w-0")]
        await settle()
        assert s.node("/pool/w-0").counters.expired == 1


async def test_an_ask_forwarded_to_a_pool_is_not_given_to_who_made_it(autojump_clock: MockClock) -> None:
    async with shop(2) as s:
        relay = await s.bench.spawn("relay")

        async def ask_relay(worker: Worker) -> Any:
            return await relay.ref.ask(pass_on(lambda other: other.name), within=LONG)

        s.member(1).tell(Job(0, 1))  # the asker would be the least loaded
        s.member(1).tell(Job(0, 1))
        assert await s.member(0).ask(ask_relay, within=LONG) == "w-1"


async def test_an_ask_forwarded_to_a_pool_whose_only_member_made_it_is_a_cycle(autojump_clock: MockClock) -> None:
    async with shop(1) as s:
        relay = await s.bench.spawn("relay")
        outcome: list[Any] = []

        async def ask_relay(worker: Worker) -> None:
            try:
                await relay.ref.ask(pass_on(lambda worker: None), within=LONG)
            except WaitCycle as cycle:
                outcome.append(cycle.path)

        await s.member(0).ask(ask_relay, within=LONG)
        assert outcome == [("/pool/w-0", "/pool/w-0")]
        assert s.node("/pool/w-0").counters.offered == 1


async def send_pool(worker: Worker) -> None:
    await worker.system.ref("/pool").send(Job(9), within=50)


async def test_a_send_to_a_full_pool_waits_for_a_member_that_is_not_the_sender(autojump_clock: MockClock) -> None:
    async with shop(2, worker=small()) as s:

        async def send_when_full(worker: Worker) -> None:
            await trio.sleep(1)
            await send_pool(worker)

        s.member(0).tell(send_when_full)
        s.member(1).tell(Job(0, 10))
        await settle()
        s.tell(Job(1), Job(2))
        await trio.sleep(2)
        assert s.node("/pool/w-0").waits_on == "room at /pool/w-1"
        await trio.sleep(10)
        assert {*s.floor.by(9)} <= {"w-0", "w-1"}
        assert len(s.floor.began) == 4
        assert s.bench.crashes() == []


async def test_the_only_member_cannot_send_to_its_full_pool(autojump_clock: MockClock) -> None:
    async with shop(1, worker=small()) as s:

        async def send_when_full(worker: Worker) -> None:
            await trio.sleep(1)
            await send_pool(worker)

        s.member(0).tell(send_when_full)
        await settle()
        s.tell(Job(1))
        await trio.sleep(2)
        assert isinstance(s.bench.crashes()[0].error, WaitCycle)
