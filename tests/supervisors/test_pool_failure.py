"""Members that fail: who takes over, what is lost, and when a pool gives up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import Dead, Full, GaveUp, HandlerFailed, Mailbox, NotAccepted, Overflow, Restarting, WaitCycle
from supervisors import ByKey, Intensity, Policy, RestartLimitReached, Routing, fallback, pool, supervise
from tests.support.actors import LONG, settle
from tests.support.pools import LAZY, Floor, Job, Later, Shop, Worker, shop, workers
from tests.support.supervision import boom

if TYPE_CHECKING:
    from trio.testing import MockClock

ONCE = Intensity(0, 5.0)
BY_KEY = ByKey(lambda message: getattr(message, "key", "key"))


async def outcome(s: Shop, message: Any, into: list[Any], within: float = LONG) -> None:
    try:
        into.append(await s.ref.ask(message, within=within))
    except Exception as error:
        into.append(error)


async def hang(s: Shop, number: int, *jobs: Any) -> None:
    """Have a member wait in a handler for a second, and then fail; `jobs` wait for it meanwhile."""

    async def fail(worker: Worker) -> None:
        await trio.sleep(1)
        raise RuntimeError("asked for")

    s.member(number).tell(fail)
    await settle()
    for job in jobs:
        assert s.member(number).tell(job)


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


async def outcome_of(ref: Any, message: Any) -> Any:
    try:
        return await ref.ask(message, within=LONG)
    except Exception as error:
        return type(error)


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


# --- senders


async def sending(s: Shop, number: int, into: list[Any], key: Any = "key", within: float = LONG) -> None:
    try:
        await s.ref.send(Job(number, key=key), within)
        into.append("sent")
    except Exception as error:
        into.append(type(error))


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
