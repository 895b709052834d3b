"""A pool whose members fail: who takes over what waits, and where it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import Dead, Full, GaveUp, HandlerFailed, Mailbox, NotAccepted, Overflow, Restarting, WaitCycle
from supervisors import ByKey, Intensity, RestartLimitReached, Routing, pool, supervise
from tests.support.actors import LONG, settle
from tests.support.pools import BY_KEY, LAZY, ONCE, Floor, Job, Shop, Worker, hang, outcome, sending, shop, workers
from tests.support.supervision import boom

if TYPE_CHECKING:
    from trio.testing import MockClock


# --- at once


async def test_a_member_that_fails_once_starts_at_once_and_keeps_its_mailbox(autojump_clock: MockClock) -> None:
    async with shop(2) as s:
        await hang(s, 0, Job(1), Job(2))
        await trio.sleep(2)
        assert s.floor.began == [("w-0", 1), ("w-0", 2)]
        assert s.node("/pool/w-0").counters.moved == 0
        assert s.node("/pool/w-0").incarnation == 1


async def test_the_message_in_hand_is_failed_and_not_repeated(autojump_clock: MockClock) -> None:
    async with shop(2) as s:
        with pytest.raises(HandlerFailed):
            await s.ref.ask(boom, within=1)
        await settle()
        assert len(s.bench.crashes()) == 1


# --- who has to wait


@pytest.mark.parametrize("routing", [*Routing, BY_KEY])
async def test_the_others_take_over_from_one_that_has_to_wait(
    autojump_clock: MockClock, routing: Routing | ByKey
) -> None:
    async with shop(2, routing=routing) as s, trio.open_nursery() as nursery:
        await s.crash(0)
        answers: list[Any] = []
        await hang(s, 0, Job(1), Job(2))
        nursery.start_soon(outcome_at, s, 0, Job(3), answers)
        await trio.sleep(1.01)
        assert s.cell(0).state == "waiting"
        assert s.floor.began == [("w-1", 1), ("w-1", 2), ("w-1", 3)]
        assert answers == ["w-1"]
        assert s.node("/pool/w-0").counters.moved == 3
        assert s.lost == []


async def outcome_at(s: Shop, number: int, message: Any, into: list[Any]) -> None:
    try:
        into.append(await s.member(number).ask(message, within=LONG))
    except Exception as error:
        into.append(error)


@pytest.mark.parametrize("routing", [*Routing, BY_KEY])
async def test_what_the_others_have_no_room_for_stays_and_an_ask_is_told_when_it_starts(
    autojump_clock: MockClock, routing: Routing | ByKey
) -> None:
    async with shop(2, routing=routing, worker={"mailbox": Mailbox(3)}) as s, trio.open_nursery() as nursery:
        s.member(1).tell(Job(0, LAZY))
        await settle()
        s.member(1).tell(Job(0))
        s.member(1).tell(Job(0))
        await s.crash(0)
        answers: list[Any] = []
        keys = ["a", "b", "c"]
        await hang(s, 0, *(Job(number, key=key) for number, key in enumerate(keys[:2], 1)))
        nursery.start_soon(outcome_at, s, 0, Job(3, key="c"), answers)
        await trio.sleep(1.01)
        assert s.cell(0).state == "waiting"
        assert s.loads == [1, 4]  # one message found room
        (error,) = answers
        assert isinstance(error, Restarting)
        assert error.message == Job(3, key="c")
        assert error.retry_after == pytest.approx(0.05)
        await trio.sleep(1)
        assert s.floor.by(2) == ["w-0"]
        assert s.lost == []


async def test_asks_that_move_are_checked_for_cycles_anew(autojump_clock: MockClock) -> None:
    async with shop(2) as s:
        await s.crash(0)
        outcomes: list[Any] = []

        async def ask_other(worker: Worker) -> None:
            try:
                outcomes.append(await s.member(0).ask(Job(1), within=LONG))
            except WaitCycle as cycle:
                outcomes.append(cycle.path)
            except NotAccepted as error:
                outcomes.append(error)

        await hang(s, 0)
        s.member(1).tell(ask_other)
        await trio.sleep(1.01)
        # Nobody but the asker could take it, so it stays, and cannot be answered in time.
        assert [type(each) for each in outcomes] == [Restarting]


# --- given up


@pytest.mark.parametrize("routing", [*Routing, BY_KEY])
async def test_a_member_that_is_given_up_leaves_all_to_the_others_even_beyond_their_bounds(
    autojump_clock: MockClock, routing: Routing | ByKey
) -> None:
    async with (
        shop(2, routing=routing, worker={"mailbox": Mailbox(2), "budget": ONCE}) as s,
        trio.open_nursery() as nursery,
    ):
        s.member(1).tell(Job(0, 10))
        await settle()
        s.member(1).tell(Job(1))
        s.member(1).tell(Job(2))
        answers: list[Any] = []
        await hang(s, 0, Job(3))
        nursery.start_soon(outcome_at, s, 0, Job(4), answers)
        await trio.sleep(1.5)
        assert s.members == {"w-1": {"state": "active", "outstanding": 5}}
        assert s.node().details["given_up"] == 1
        assert s.ref.tell(Job(5)) is False  # it has more than it may have
        await trio.sleep(10)
        assert [number for _, number in s.floor.began] == [0, 1, 2, 3, 4]
        assert answers == ["w-1"]
        assert s.member(0).tell(Job(6)) is False


async def test_an_overfull_mailbox_takes_in_whatever_its_policy_is(autojump_clock: MockClock) -> None:
    for overflow in (Overflow.REJECT, Overflow.DROP_OLDEST, Overflow.DROP_NEWEST):
        async with shop(2, worker={"mailbox": Mailbox(1, overflow), "budget": ONCE}) as s:
            s.member(1).tell(Job(0, 10))
            await settle()
            s.member(1).tell(Job(1))
            await hang(s, 0, Job(2))
            await trio.sleep(12)
            assert [number for _, number in s.floor.began] == [0, 1, 2]
            assert s.lost == []


async def test_a_weighed_mailbox_takes_over_by_weight(autojump_clock: MockClock) -> None:
    weights = [5]

    def weigher(message: Any) -> int:
        return weights[0] if isinstance(message, Job) else 0

    async with shop(2, worker={"mailbox": Mailbox(10, weigher=weigher), "budget": ONCE}) as s:
        s.member(1).tell(Job(0, 10))
        await settle()
        s.member(1).tell(Job(1))
        s.member(1).tell(Job(2))
        await hang(s, 0, Job(3), Job(4))
        await trio.sleep(1.5)
        assert s.cell(1).need_links().load == 20
        await trio.sleep(10)
        assert [number for _, number in s.floor.began] == [0, 1, 2, 3, 4]
        assert s.cell(1).need_links().load == 0


async def test_what_can_no_longer_be_weighed_is_lost_and_counted(autojump_clock: MockClock) -> None:
    weight = [1]

    def weigher(message: Any) -> int:
        return 1 // weight[0]

    async with shop(2, worker={"mailbox": Mailbox(10, weigher=weigher), "budget": ONCE}) as s:
        await hang(s, 0, Job(1))
        weight[0] = 0
        await trio.sleep(2)
        assert s.lost == [("/pool/w-1", "unmeasured")]


async def test_with_nobody_having_room_an_ask_moves_to_one_that_runs_and_a_tell_to_one_that_waits(
    autojump_clock: MockClock,
) -> None:
    async with (
        shop(3, worker={"mailbox": Mailbox(2), "budget": Intensity(2, 50.0)}) as s,
        trio.open_nursery() as nursery,
    ):
        await s.crash(0)
        await s.crash(0)
        await trio.sleep(1)
        answers: list[Any] = []
        await hang(s, 0, Job(1))  # for the last time
        nursery.start_soon(outcome_at, s, 0, Job(2), answers)
        s.member(1).tell(Job(3, 1.5))
        await settle()
        s.member(1).tell(Job(4))
        s.member(1).tell(Job(5))
        await trio.sleep(0.98)
        await s.crash(2)
        await s.crash(2)
        assert s.cell(2).state == "waiting"
        await trio.sleep(1)
        assert (s.floor.by(1), s.floor.by(2)) == (["w-2"], ["w-1"])
        assert answers == ["w-1"]


async def test_an_ask_that_only_a_waiting_member_could_take_over_is_refused(autojump_clock: MockClock) -> None:
    async with shop(2, worker={"budget": Intensity(2, 50.0)}) as s, trio.open_nursery() as nursery:
        await s.crash(0)
        await s.crash(0)
        await trio.sleep(1)
        answers: list[Any] = []
        await hang(s, 0, Job(1))  # for the last time
        nursery.start_soon(outcome_at, s, 0, Job(2), answers)
        await trio.sleep(0.98)
        await s.crash(1)
        await s.crash(1)
        assert s.cell(1).state == "waiting"
        await trio.sleep(0.03)
        assert s.members.keys() == {"w-1"}
        (error,) = answers
        assert isinstance(error, Restarting)
        await trio.sleep(1)
        assert s.floor.began == [("w-1", 1)]


async def test_when_the_last_is_given_up_the_pool_gives_up(autojump_clock: MockClock) -> None:
    async with shop(2, worker={"budget": ONCE}) as s, trio.open_nursery() as nursery:
        s.member(0).tell(boom)
        await settle()
        answers: list[Any] = []
        await hang(s, 1, Job(1))
        nursery.start_soon(outcome, s, Job(2), answers)
        await trio.sleep(2)
        given_up = [report for report in s.bench.reports if isinstance(report, GaveUp)]
        assert [(report.path, report.escalated) for report in given_up] == [
            ("/pool/w-0", False),
            ("/pool/w-1", False),
            ("/pool", True),
        ]
        assert isinstance(s.bench.crashes()[-1].error, RestartLimitReached)
        assert isinstance(answers[0], Dead)
        assert s.lost == [("/pool/w-1", "dead")]
        assert s.ref.tell(Job(3)) is False


async def test_a_pool_that_is_restarted_begins_anew_and_serves_what_came_meanwhile(
    autojump_clock: MockClock,
) -> None:
    floor = Floor()
    inner = pool("pool", workers(floor, budget=ONCE), 2)
    async with shop(spec=supervise("top", [inner])) as top:
        s = Shop(top.bench, floor, top.bench.system.ref("/top/pool"))
        for number in range(2):
            s.member(number).tell(boom)
        await settle()
        assert s.members.keys() == {"w-0", "w-1"}
        assert await s.ref.ask(Job(1), within=1) in {"w-0", "w-1"}
        for number in range(2):
            s.member(number).tell(boom)
        await settle()
        assert s.node().state == "waiting"
        assert s.ref.tell(Job(2))
        with pytest.raises(Restarting):
            await s.ref.ask(Job(3), within=1)
        await trio.sleep(1)
        assert [number for _, number in floor.began] == [1, 2]


async def test_what_comes_while_the_pool_ends_is_kept_for_its_next_incarnation(autojump_clock: MockClock) -> None:
    floor = Floor()

    class Slow(Worker):
        async def stopped(self, reason: Any) -> None:
            await trio.sleep(1)

    spec = workers(floor, budget=ONCE)
    inner = pool("pool", type(spec)("w", lambda: Slow(floor), budget=ONCE), 1)
    async with shop(spec=supervise("top", [inner])) as top:
        s = Shop(top.bench, floor, top.bench.system.ref("/top/pool"))
        top.bench.system.fail("/top/pool", RuntimeError("asked for"))
        await trio.sleep(0.5)
        assert s.ref.tell(Job(1))  # to a member that ends
        await trio.sleep(2)
        assert s.lost == [("/top/pool/w-0", "stopped")]
        assert await s.ref.ask(Job(2), within=1) == "w-0"


async def test_with_no_member_left_messages_wait_at_the_pools_own_mailbox(autojump_clock: MockClock) -> None:
    floor = Floor()
    inner = pool("pool", workers(floor, budget=ONCE), 1, mailbox=Mailbox(2))
    full: list[Any] = []
    async with shop(spec=supervise("top", [inner])) as top:
        s = Shop(top.bench, floor, top.bench.system.ref("/top/pool"))
        dispatch = s.ref.target

        def tell_in_between(report: Any) -> None:
            """The one moment at which the member has gone and the pool has not; it lasts no pass of the loop."""
            if isinstance(report, GaveUp) and report.escalated and s.ref.target is dispatch:
                full.extend(s.ref.tell(Job(number)) for number in (1, 2, 3))

        top.bench.system._report = tell_in_between
        s.member(0).tell(boom)
        await trio.sleep(1)
        assert sorted(number for _, number in floor.began) == [1, 2]
        assert full == [True, True, False]


@pytest.mark.parametrize("overflow", [Overflow.WAIT, Overflow.REJECT])
async def test_senders_who_waited_for_the_pool_itself_wait_for_its_members(
    autojump_clock: MockClock, overflow: Overflow
) -> None:
    floor = Floor()
    inner = pool("pool", workers(floor, mailbox=Mailbox(2, overflow)), 1, mailbox=Mailbox(1))
    async with shop(spec=supervise("top", [inner])) as top, trio.open_nursery() as nursery:
        s = Shop(top.bench, floor, top.bench.system.ref("/top/pool"))
        for _ in range(2):
            top.bench.system.fail("/top/pool", RuntimeError("asked for"))
            await settle()
        assert s.node().state == "waiting"
        assert s.ref.tell(Job(0, 10))
        out: list[Any] = []
        for number in range(1, 5):
            nursery.start_soon(sending, s, number, out)
            await settle()
        assert out == []
        await trio.sleep(20)
        if overflow is Overflow.WAIT:
            assert out == ["sent"] * 4
            assert [number for _, number in floor.began] == [0, 1, 2, 3, 4]
        else:
            assert sorted(out, key=str) == [Full, Full, Full, "sent"]
            assert [number for _, number in floor.began] == [0, 1]
