"""A pool whose members fail while senders wait at them, and what has no key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import Dead, Full, HandlerFailed, HookFailed, Mailbox
from supervisors import ByKey, Policy, Routing, fallback, pool, supervise
from tests.support.actors import settle
from tests.support.pools import (
    BY_KEY,
    LAZY,
    ONCE,
    Floor,
    Job,
    Later,
    Shop,
    Worker,
    hang,
    outcome,
    sending,
    shop,
    workers,
)

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.mark.parametrize("routing", [Routing.LEAST_OUTSTANDING, BY_KEY])
async def test_senders_do_not_end_with_a_member_that_is_given_up(
    autojump_clock: MockClock, routing: Routing | ByKey
) -> None:
    async with (
        shop(2, routing=routing, worker={"mailbox": Mailbox(1), "budget": ONCE}) as s,
        trio.open_nursery() as nursery,
    ):
        s.member(1).tell(Job(0, 10))
        await hang(s, 0, Job(1, key="a"))
        s.member(1).tell(Job(2, 10))
        out: list[Any] = []
        for number, key in enumerate("abc", 3):
            nursery.start_soon(sending, s, number, out, key)
            await settle()
        await trio.sleep(2)
        assert out == []
        assert s.member(0).target is s.bench.system.dead
        await trio.sleep(30)
        assert out == ["sent"] * 3
        assert [number for _, number in s.floor.began] == [0, 2, 1, 3, 4, 5]
        assert s.cell(1).capacity == 1


async def test_senders_are_told_when_the_last_member_is_given_up(autojump_clock: MockClock) -> None:
    async with shop(1, worker={"mailbox": Mailbox(1), "budget": ONCE}) as s, trio.open_nursery() as nursery:
        await hang(s, 0, Job(1))
        out: list[Any] = []
        nursery.start_soon(sending, s, 2, out)
        await trio.sleep(2)
        assert out == [Dead]


@pytest.mark.parametrize("routing", [Routing.LEAST_OUTSTANDING, BY_KEY])
async def test_a_sender_finds_room_at_one_that_waits_to_restart(
    autojump_clock: MockClock, routing: Routing | ByKey
) -> None:
    async with (
        shop(2, routing=routing, worker={"mailbox": Mailbox(1)}) as s,
        trio.open_nursery() as nursery,
    ):
        await s.crash(0)
        s.member(1).tell(Job(0, LAZY))
        await settle()
        s.member(1).tell(Job(1))
        await hang(s, 0)
        s.member(0).tell(Job(2, key="a"))
        out: list[Any] = []
        nursery.start_soon(sending, s, 3, out, "a")
        await trio.sleep(1.01)
        assert s.cell(0).state == "waiting"
        assert s.loads[0] == 1
        await trio.sleep(1)
        assert out == ["sent"]
        assert s.floor.began[1:] == [("w-0", 2), ("w-0", 3)]
        assert s.cell(0).capacity == 1


@pytest.mark.parametrize("number", range(3))
async def test_senders_go_on_waiting_whichever_of_the_members_is_given_up(
    autojump_clock: MockClock, number: int
) -> None:
    async with shop(3, worker={"mailbox": Mailbox(1), "budget": ONCE}) as s, trio.open_nursery() as nursery:
        for other in range(3):
            s.member(other).tell(Job(other, 10))
        await settle()
        for other in range(3):
            s.member(other).tell(Job(10 + other))
        out: list[Any] = []
        nursery.start_soon(sending, s, 20, out)
        await settle()
        s.bench.system.ref(f"/pool/w-{number}").target.kill("for the test")
        await settle()
        assert s.member(number).target is s.bench.system.dead
        assert out == []
        await trio.sleep(11)
        assert out == ["sent"]
        assert sorted(job for _, job in s.floor.began) == [0, 1, 2, 10, 11, 12, 20]


async def test_senders_of_the_only_member_wait_for_its_return(autojump_clock: MockClock) -> None:
    async with shop(1, routing=BY_KEY, worker={"mailbox": Mailbox(1)}) as s, trio.open_nursery() as nursery:
        await s.crash(0)
        await hang(s, 0, Job(1))
        out: list[Any] = []
        nursery.start_soon(sending, s, 2, out)
        await trio.sleep(1.01)
        assert s.cell(0).state == "waiting"
        assert out == []
        await trio.sleep(1)
        assert out == ["sent"]
        assert s.floor.began == [("w-0", 1), ("w-0", 2)]


async def test_what_has_lost_its_key_cannot_be_taken_over_and_is_counted(autojump_clock: MockClock) -> None:
    keys = ["key"]
    async with (
        shop(2, routing=ByKey(lambda message: keys[0]), worker={"mailbox": Mailbox(1), "budget": ONCE}) as s,
        trio.open_nursery() as nursery,
    ):

        async def fail(worker: Worker) -> None:
            await trio.sleep(1)
            raise RuntimeError("asked for")

        s.ref.tell(fail)
        await settle()
        s.tell(Job(1))
        out: list[Any] = []
        nursery.start_soon(sending, s, 2, out)
        await settle()
        keys.clear()
        await trio.sleep(2)
        assert out == [Full]
        assert [reason for _, reason in s.lost] == ["unmeasured", "unmeasured", "stopping"]


async def test_a_key_and_its_senders_move_together(autojump_clock: MockClock) -> None:
    async with (
        shop(3, routing=ByKey(lambda job: getattr(job, "key", 0), slack=9), worker={"mailbox": Mailbox(2)}) as s,
        trio.open_nursery() as nursery,
    ):
        home = int((await s.ref.ask(Job(0), within=1))[2:])
        await s.crash(home)
        await hang(s, home)
        s.tell(Job(1, 5), Job(2, 5))
        out: list[Any] = []
        nursery.start_soon(sending, s, 3, out)
        await settle()
        nursery.start_soon(sending, s, 4, out)
        await settle()
        assert s.loads[home] == 3
        await trio.sleep(1.01)
        assert s.cell(home).state == "waiting"
        s.tell(Job(9, key="other"))
        await trio.sleep(20)
        assert s.tell(Job(5)) == [True]
        await settle()
        numbers = [number for _, number in s.floor.began if number in {1, 2, 3, 4, 5}]
        assert numbers == [1, 2, 3, 4, 5]
        assert len({worker for worker, number in s.floor.began if number in {1, 2, 3, 4}}) == 1
        assert out == ["sent", "sent"]


async def test_a_fallback_has_its_senders_wait_at_the_pool_that_is_in_charge_now(autojump_clock: MockClock) -> None:
    floor = Floor()
    lead = workers(floor, mailbox=Mailbox(1))
    spare = pool("spare", workers(floor, mailbox=Mailbox(1)), 2, routing=BY_KEY)
    chain = fallback("pool", [lead, spare], policy=Policy(failures=1))
    async with shop(spec=chain) as s, trio.open_nursery() as nursery:
        s.tell(Job(0, 1))
        await settle()
        s.tell(Job(1))
        out: list[Any] = []
        nursery.start_soon(sending, s, 2, out)
        nursery.start_soon(sending, s, 3, out)
        await settle()
        assert out == []
        s.bench.system.fail("/pool/w", RuntimeError("asked for"))
        await trio.sleep(2)
        assert out == ["sent", "sent"]
        assert sorted(number for _, number in floor.began) == [0, 1, 2, 3]


async def test_deferred_answers_end_with_their_member(autojump_clock: MockClock) -> None:
    async with shop(2) as s, trio.open_nursery() as nursery:
        answers: list[Any] = []
        nursery.start_soon(outcome, s, Later(1), answers)
        await settle()
        assert s.loads == [1, 0]
        await s.crash(0)
        assert isinstance(answers[0], HandlerFailed)
        assert s.loads == [0, 0]


async def test_a_message_without_a_key_is_refused_and_reported(autojump_clock: MockClock) -> None:
    async with shop(2, routing=ByKey(lambda message: message.nothing)) as s:
        assert s.tell(Job(1)) == [False]
        with pytest.raises(Full):
            await s.ref.ask(Job(2), within=1)
        with pytest.raises(Full):
            await s.ref.send(Job(3), within=1)
        assert s.lost == [("/pool", "unmeasured")] * 3
        assert s.loads == [0, 0]
        assert [type(report) for report in s.bench.reports] == [HookFailed] * 3
        assert [report.error.__traceback__ for report in s.bench.reports] == [None] * 3


async def test_a_sender_without_a_key_that_waited_for_the_pool_itself_is_refused(autojump_clock: MockClock) -> None:
    floor = Floor()
    routing = ByKey(lambda message: message.key if message.number < 2 else message.nothing)
    inner = pool("pool", workers(floor), 1, mailbox=Mailbox(1), routing=routing)
    async with shop(spec=supervise("top", [inner])) as top, trio.open_nursery() as nursery:
        s = Shop(top.bench, floor, top.bench.system.ref("/top/pool"))
        for _ in range(2):
            top.bench.system.fail("/top/pool", RuntimeError("asked for"))
            await settle()
        assert s.ref.tell(Job(0))
        out: list[Any] = []
        for number in (1, 2):
            nursery.start_soon(sending, s, number, out)
        await trio.sleep(1)
        assert sorted(out, key=str) == [Full, "sent"]
        assert [number for _, number in floor.began] == [0, 1]
