"""A pool: who gets what, and what happens when nobody has room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import (
    Dead,
    Ended,
    Full,
    InvalidSpec,
    Mailbox,
    Overflow,
    Restarting,
    Spec,
    Stopped,
    TimedOut,
    WaitCycle,
)
from supervisors import ByKey, ChildSpec, Policy, Resize, Restart, Routing, fallback, pool
from supervisors import _routing as routing_module
from supervisors._routing import EXACT
from tests.support.actors import LONG, Probe, settle
from tests.support.pools import LAZY, Floor, Job, Later, Shop, Worker, shop, workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

ROUND_ROBIN = Routing.ROUND_ROBIN


def small(capacity: int = 1, overflow: Overflow = Overflow.WAIT) -> dict[str, Any]:
    return {"mailbox": Mailbox(capacity, overflow)}


async def fill(s: Shop, members: int, capacity: int = 1, seconds: float = LAZY) -> None:
    """Give every member something to do and a full mailbox."""
    for number in range(members):
        assert s.ref.tell(Job(1000 + number, seconds))
    await settle()
    for number in range(members * capacity):
        assert s.ref.tell(Job(2000 + number))


# --- least outstanding


async def test_a_message_goes_to_the_member_with_the_fewest_accepted_and_not_finished(
    autojump_clock: MockClock,
) -> None:
    async with shop(3) as s:
        s.tell(Job(0, 10), Job(1, 2), Job(2, 10))
        await settle()
        assert s.loads == [1, 1, 1]
        s.tell(Job(3, 10), Job(4, 10), Job(5, 10), Job(6, 10))
        assert s.loads == [3, 2, 2]
        await trio.sleep(3)
        assert s.loads == [3, 1, 2]
        s.tell(Job(7), Job(8))
        assert s.loads == [3, 2, 3]


async def test_what_waits_is_counted_before_it_is_begun(autojump_clock: MockClock) -> None:
    async with shop(3) as s:
        s.tell(*map(Job, range(7)))
        assert s.loads == [3, 2, 2]
        await settle()
        assert s.loads == [0, 0, 0]


async def test_members_with_nothing_to_do_take_turns(autojump_clock: MockClock) -> None:
    async with shop(3) as s:
        for number in range(6):
            s.tell(Job(number))
            await settle()
        assert [worker for worker, _ in s.floor.began] == ["w-0", "w-1", "w-2"] * 2


async def test_an_answer_that_is_owed_is_outstanding(autojump_clock: MockClock) -> None:
    async with shop(2) as s, trio.open_nursery() as nursery:
        for number in range(2):
            nursery.start_soon(s.member(0).ask, Later(number), LONG)
        await settle()
        assert s.loads == [2, 0]
        s.tell(Job(5, 10), Job(6, 10), Job(7, 10))
        assert s.loads == [3, 2]
        for owed in s.floor.deferred:
            owed.answer("done")
        await settle()
        assert s.loads == [1, 2]


async def test_an_answer_that_nobody_waits_for_any_more_is_not(autojump_clock: MockClock) -> None:
    async with shop(2) as s:
        with pytest.raises(TimedOut):
            await s.member(0).ask(Later(0), within=1)
        assert s.loads == [0, 0]


async def test_a_message_that_was_forwarded_keeps_its_handler_busy_and_no_more(autojump_clock: MockClock) -> None:
    async with shop(2) as s:
        probe = await s.bench.spawn("probe")

        async def pass_on(worker: Worker) -> None:
            worker.forward(probe.ref)
            await trio.sleep(5)

        s.ref.tell(pass_on)
        await settle()
        assert s.loads == [1, 0]
        await trio.sleep(6)
        assert s.loads == [0, 0]


async def test_what_is_told_to_a_member_directly_counts_as_well(autojump_clock: MockClock) -> None:
    async with shop(2) as s:
        s.member(0).tell(Job(0, 10))
        await settle()
        s.tell(Job(1, 10))
        await settle()
        assert s.floor.by(1) == ["w-1"]


async def test_an_ask_is_answered_by_the_member(autojump_clock: MockClock) -> None:
    async with shop(2) as s:
        answers = [await s.ref.ask(Job(number), within=1) for number in range(4)]
        assert answers == ["w-0", "w-1", "w-0", "w-1"]
        assert [s.node(f"/pool/w-{number}").counters.handled for number in range(2)] == [2, 2]
        assert s.node().counters.offered == 0


# --- many


async def test_a_large_pool_draws_two_and_takes_the_better(autojump_clock: MockClock) -> None:
    size = EXACT + 1
    async with shop(size, portion=0.0) as s:  # always draws the first and the second
        s.tell(*(Job(number, 10) for number in range(4)))
        assert s.loads == [2, 2] + [0] * (size - 2)


async def test_where_both_that_were_drawn_are_full_all_are_looked_at(autojump_clock: MockClock) -> None:
    size = EXACT + 1
    async with shop(size, portion=0.0, worker=small()) as s:
        for number in (0, 1):
            s.member(number).tell(Job(number, LAZY))
        await settle()
        for number in (0, 1):
            s.member(number).tell(Job(number))
        assert s.tell(Job(5), Job(6)) == [True, True]
        assert s.loads == [2, 2, 1, 1] + [0] * (size - 4)


# --- round robin


async def test_round_robin_takes_turns_whatever_there_is_to_do(autojump_clock: MockClock) -> None:
    async with shop(3, routing=ROUND_ROBIN) as s:
        s.tell(Job(0, 10), *map(Job, range(1, 7)))
        await settle()
        assert sorted(s.floor.began) == [("w-0", 0), ("w-1", 1), ("w-1", 4), ("w-2", 2), ("w-2", 5)]
        assert s.loads == [3, 0, 0]


async def test_round_robin_passes_over_who_is_full(autojump_clock: MockClock) -> None:
    async with shop(3, routing=ROUND_ROBIN, worker=small(2)) as s:
        s.member(1).tell(Job(0, LAZY))
        await settle()
        s.member(1).tell(Job(0))
        s.member(1).tell(Job(0))
        for number in range(4):
            s.tell(Job(number))
            await settle()
        assert [worker for worker, number in s.floor.began[1:]] == ["w-0", "w-2", "w-0", "w-2"]
        assert s.lost == []


# --- who has no room


async def test_where_all_are_full_a_tell_is_refused_and_counted_once(autojump_clock: MockClock) -> None:
    async with shop(3, worker=small()) as s:
        await fill(s, 3)
        assert s.ref.tell(Job(0)) is False
        assert s.lost == [("/pool/w-0", "full")]
        assert [s.node(f"/pool/w-{number}").counters.dropped for number in range(3)] == [1, 0, 0]


async def test_where_all_are_full_an_ask_is_refused_at_once_and_handed_back(autojump_clock: MockClock) -> None:
    async with shop(3, worker=small()) as s:
        await fill(s, 3)
        job = Job(0)
        with pytest.raises(Full) as full:
            await s.ref.ask(job, within=1)
        assert full.value.ref is s.ref
        assert full.value.message is job


async def test_as_long_as_one_has_room_nothing_is_refused_or_counted_so(autojump_clock: MockClock) -> None:
    async with shop(3, worker=small()) as s:
        assert s.tell(Job(0, 10), Job(1, 10), Job(2, 10)) == [True] * 3
        await settle()
        assert s.tell(Job(3), Job(4)) == [True] * 2
        assert await s.ref.ask(Job(5), within=LONG) == "w-2"
        assert s.lost == []


async def test_where_the_oldest_is_dropped_it_is_so_only_when_all_are_full(autojump_clock: MockClock) -> None:
    async with shop(2, worker=small(1, Overflow.DROP_OLDEST)) as s:
        await fill(s, 2)
        assert s.lost == []
        assert s.ref.tell(Job(0))
        await s.ref.send(Job(1), within=1)
        assert [reason for _, reason in s.lost] == ["oldest", "oldest"]


async def test_a_weighed_mailbox_with_room_for_a_light_message_is_passed_over_by_a_heavy_one(
    autojump_clock: MockClock,
) -> None:
    mailbox = Mailbox(10, weigher=lambda message: message.number if isinstance(message, Job) else 1)
    async with shop(2, worker={"mailbox": mailbox}) as s:
        for number in range(2):
            s.member(number).tell(Job(0, LAZY))
        await settle()
        assert s.tell(Job(7), Job(5)) == [True, True]  # 7 | 5
        assert s.tell(Job(5), Job(3)) == [True, True]  # 7, 3 | 5, 5
        assert s.loads == [3, 3]
        assert s.tell(Job(1)) == [False]
        assert s.lost == [("/pool/w-0", "full")]


async def test_a_weigher_that_fails_is_reported_and_the_message_refused_once(autojump_clock: MockClock) -> None:
    def weigher(message: Any) -> int:
        return 1 // message.number

    async with shop(2, worker={"mailbox": Mailbox(10, weigher=weigher)}) as s:
        assert s.tell(Job(0)) == [False]
        assert [reason for _, reason in s.lost] == ["unmeasured"]
        with pytest.raises(Full):
            await s.ref.send(Job(0), within=1)
        assert len(s.lost) == 2


# --- who waits to restart


async def crash_twice(s: Shop, number: int) -> None:
    """After the second failure in a row a worker waits for 0.05 s (half of its base delay)."""
    await s.crash(number)
    await s.crash(number)
    assert s.cell(number).state == "waiting"


async def test_a_member_that_waits_to_restart_is_passed_over(autojump_clock: MockClock) -> None:
    async with shop(3, routing=ROUND_ROBIN) as s:
        await crash_twice(s, 1)
        assert [await s.ref.ask(Job(number), within=1) for number in range(4)] == ["w-0", "w-2", "w-0", "w-2"]
        await trio.sleep(1)
        assert {await s.ref.ask(Job(number), within=1) for number in range(3)} == {"w-0", "w-1", "w-2"}


async def test_while_all_wait_a_tell_is_kept_by_the_first_to_return_and_an_ask_told_when(
    autojump_clock: MockClock,
) -> None:
    async with shop(2) as s:
        await crash_twice(s, 0)
        await trio.sleep(0.01)
        await crash_twice(s, 1)
        assert s.tell(Job(0), Job(1)) == [True, True]
        await s.ref.send(Job(2), within=1)
        assert s.loads == [3, 0]
        with pytest.raises(Restarting) as waits:
            await s.ref.ask(Job(3), within=1)
        assert waits.value.retry_after == pytest.approx(0.04)
        await trio.sleep(0.045)
        assert s.floor.began == [("w-0", 0), ("w-0", 1), ("w-0", 2)]


async def test_where_the_rest_is_full_the_one_that_waits_keeps_tells(autojump_clock: MockClock) -> None:
    async with shop(2, worker=small()) as s:
        await crash_twice(s, 1)
        s.member(0).tell(Job(0, LAZY))
        await settle()
        s.member(0).tell(Job(0))
        with pytest.raises(Full):
            await s.ref.ask(Job(1), within=1)
        assert s.tell(Job(2), Job(3)) == [True, False]
        await trio.sleep(1)
        assert s.floor.by(2) == ["w-1"]


# --- send


class Sends:
    """Sends under way, and how they came out."""

    def __init__(self, s: Shop, nursery: trio.Nursery) -> None:
        self.s = s
        self.nursery = nursery
        self.out: list[tuple[int, str]] = []

    async def begin(self, number: int, within: float = LONG, key: Any = "key") -> None:
        async def send() -> None:
            result = "cancelled"
            try:
                await self.s.ref.send(Job(number, key=key), within)
                result = "sent"
            except Exception as error:
                result = type(error).__name__
            finally:
                self.out.append((number, result))

        self.nursery.start_soon(send)
        await settle()


async def test_a_send_waits_for_the_first_member_that_has_room(autojump_clock: MockClock) -> None:
    async with shop(3, worker=small()) as s, trio.open_nursery() as nursery:
        s.tell(Job(0, 30), Job(1, 10), Job(2, 20))
        await settle()
        s.tell(Job(3, LAZY), Job(4, LAZY), Job(5, LAZY))
        sends = Sends(s, nursery)
        await sends.begin(6)
        await sends.begin(7)
        await trio.sleep(5)
        assert sends.out == []
        await trio.sleep(6)  # w-1 has taken the next
        assert sends.out == [(6, "sent")]
        assert s.loads == [2, 2, 2]
        await trio.sleep(10)  # now w-2
        assert sends.out == [(6, "sent"), (7, "sent")]
        assert s.lost == []


async def test_room_goes_to_who_waits_and_no_later_tell_overtakes_it(autojump_clock: MockClock) -> None:
    async with shop(2, worker=small()) as s, trio.open_nursery() as nursery:
        await fill(s, 2, seconds=10)
        sends = Sends(s, nursery)
        for number in range(3):
            await sends.begin(number)
        assert s.tell(Job(10)) == [False]
        await trio.sleep(11)
        assert sorted(sends.out) == [(0, "sent"), (1, "sent"), (2, "sent")]
        assert s.tell(Job(11)) == [True]
        await settle()
        began = [number for _, number in s.floor.began if number < 1000]
        assert sorted(began) == [0, 1, 2, 11]
        assert began[2:] == [2, 11]


async def test_a_send_that_waits_in_vain_is_counted_once_and_leaves_nothing(autojump_clock: MockClock) -> None:
    async with shop(3, worker=small()) as s, trio.open_nursery() as nursery:
        await fill(s, 3)
        sends = Sends(s, nursery)
        await sends.begin(0, within=1)
        with trio.move_on_after(0.5):
            await s.ref.send(Job(1), within=LONG)
        assert sum(cell.need_links().senders != {} for cell in map(s.cell, range(3))) == 3
        await trio.sleep(1)
        assert sends.out == [(0, "TimedOut")]
        assert len(s.lost) == 1
        assert all(cell.need_links().senders == {} and cell.capacity == 1 for cell in map(s.cell, range(3)))


async def test_a_send_with_room_does_not_wait(autojump_clock: MockClock) -> None:
    async with shop(2) as s:
        await s.ref.send(Job(0), within=0)
        assert s.loads == [1, 0]


async def test_where_the_policy_is_not_to_wait_a_send_is_a_tell_that_raises(autojump_clock: MockClock) -> None:
    async with shop(2, worker=small(1, Overflow.REJECT)) as s:
        await fill(s, 2)
        with pytest.raises(Full) as full:
            await s.ref.send(Job(0), within=LONG)
        assert full.value.ref is s.ref


# --- the wait-for graph


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


def pass_on(message: Any) -> Callable[[Probe], None]:
    """For a probe: what it is asked with this, it forwards to the pool, and there `message` is run."""

    def forward(actor: Any) -> Any:
        if isinstance(actor, Worker):
            return message(actor)
        return actor.forward(actor.system.ref("/pool"))

    return forward


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


# --- the pool as an address


async def test_a_watcher_of_the_pool_hears_of_its_end_and_not_of_a_members(autojump_clock: MockClock) -> None:
    async with shop(2) as s:
        probe = await s.bench.spawn("probe")
        await probe.do(lambda actor: actor.watch(s.ref))
        await s.crash(0)
        assert probe.log.heard == []
        await s.bench.root.do(lambda root: root.stop_child("pool"))
        await settle()
        assert probe.log.heard == [Ended(s.ref, Stopped("stopped by its host"))]
        assert s.ref.tell(Job(0)) is False
        with pytest.raises(Dead):
            await s.ref.ask(Job(0), within=1)


async def test_what_waits_when_the_pool_stops_is_undelivered(autojump_clock: MockClock) -> None:
    async with shop(2) as s, trio.open_nursery() as nursery:
        await fill(s, 2, 2, seconds=3)

        async def ask() -> None:
            with pytest.raises(Dead):
                await s.ref.ask(Job(0), within=LONG)

        nursery.start_soon(ask)
        await settle()
        await s.bench.root.do(lambda root: root.stop_child("pool"))
        await settle()
        assert s.ref.tell(Job(1)) is True  # the members still end
        await trio.sleep(4)
        assert [reason for _, reason in s.lost] == ["stopped"] * 5
        assert sorted(s.floor.stops) == ["w-0", "w-1"]


async def test_a_passive_member_is_woken(autojump_clock: MockClock) -> None:
    async with shop(2) as s:
        await s.member(0).ask(lambda worker: worker.passivate(), within=1)
        await settle()
        assert s.members["w-0"] == {"state": "active", "outstanding": 0}
        assert [node.path for node in s.node().children] == ["/pool/w-1"]
        s.member(1).tell(Job(0, 1))
        await settle()
        assert await s.ref.ask(Job(1), within=1) == "w-0"
        assert sorted(s.floor.starts) == ["w-0", "w-0", "w-1"]


async def test_what_a_pool_says_of_itself(autojump_clock: MockClock) -> None:
    async with shop(2) as s:
        s.tell(Job(0, 1))
        assert s.node().details == {
            "routing": "least_outstanding",
            "size": 2,
            "given_up": 0,
            "members": {
                "w-0": {"state": "active", "outstanding": 1},
                "w-1": {"state": "active", "outstanding": 0},
            },
        }
        restarts = s.node("/pool/w-0").restarts
        assert restarts is not None
        assert (restarts.used, restarts.limit) == (0, 1000)


async def test_a_pool_is_up_as_soon_as_its_address_is(autojump_clock: MockClock) -> None:
    floor = Floor()
    async with shop(spec=pool("pool", workers(floor), 2)) as s:

        def start(root: Any) -> None:
            ref = root.start_child(pool("early", workers(floor), 2))
            for number in range(5):
                assert ref.tell(Job(number))

        await s.bench.root.do(start)
        await settle()
        assert sorted(number for _, number in floor.began) == [0, 1, 2, 3, 4]
        assert s.node("/early").counters.moved == 5


# --- pools of what is no plain actor, and pools as targets


async def test_a_pool_of_fallbacks_and_a_pool_of_pools(autojump_clock: MockClock) -> None:
    floor = Floor()
    lead = fallback("w", [workers(floor, mailbox=Mailbox(1))])
    inner = pool("w", workers(floor, mailbox=Mailbox(1)), 2)
    for worker, room in ((lead, 1), (inner, 2)):
        floor.began.clear()
        for routing in (Routing.LEAST_OUTSTANDING, ByKey(lambda job: job.number)):
            async with shop(spec=pool("pool", worker, 2, routing=routing)) as s:
                for number in range(2 * room):
                    assert s.ref.tell(Job(number, 10))
                    await settle()
                if routing is Routing.LEAST_OUTSTANDING:
                    assert s.loads == [room, room]
                for number in range(10, 10 + 2 * room):
                    assert s.ref.tell(Job(number, 10))
                    await settle()
                assert s.tell(Job(20)) == [False]
                with pytest.raises(Full):
                    await s.ref.send(Job(21), within=1)
                with pytest.raises(Full):
                    await s.ref.ask(Job(22), within=1)
                await trio.sleep(25)
                assert (await s.ref.ask(Job(23), within=1))[0] == "w"


async def test_a_pool_is_one_target_of_a_fallback(autojump_clock: MockClock) -> None:
    floor = Floor()
    lead = pool("lead", workers(floor, mailbox=Mailbox(1)), 2)
    chain = fallback("pool", [lead, ChildSpec("spare", lambda: Worker(floor))], policy=Policy(failures=1))
    async with shop(spec=chain) as s, trio.open_nursery() as nursery:
        assert await s.ref.ask(Job(0), within=1) == "w-0"
        s.tell(Job(1, LAZY), Job(2, LAZY))
        await settle()
        assert s.tell(Job(3), Job(4), Job(5)) == [True, True, False]
        with pytest.raises(Full):
            await s.ref.ask(Job(6), within=1)
        sends = Sends(s, nursery)
        await sends.begin(7)
        assert sends.out == []
        s.bench.system.fail("/pool/lead", RuntimeError("asked for"))
        await trio.sleep(6)  # its members are busy, and have 5 s to end
        assert await s.ref.ask(Job(8), within=1) == "spare"
        await trio.sleep(10)
        assert sends.out == [(7, "Dead")]


# --- the spec


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"worker": Spec("w", Probe)}, "pool.worker"),
        ({"worker": ChildSpec("w", Probe, restart=Restart.TRANSIENT)}, "pool.worker.restart"),
        ({"worker": ChildSpec("w", Probe, restart=Restart.TEMPORARY)}, "pool.worker.restart"),
        ({"size": 0}, "pool.size"),
        ({"size": 1.0}, "pool.size"),
        ({"routing": "least"}, "pool.routing"),
        ({"drain_within": -1}, "pool.drain_within"),
        ({"drain_within": float("nan")}, "pool.drain_within"),
        ({"name": "a/b"}, "name"),
        (
            {
                "worker": ChildSpec("w", Probe, mailbox=Mailbox(1, Overflow.CONFLATE, key=id)),
                "routing": ByKey(lambda message: message),
            },
            "pool.worker.mailbox.overflow",
        ),
    ],
)
def test_a_bad_pool_is_refused_before_anything_starts(arguments: dict[str, Any], key: str) -> None:
    good: dict[str, Any] = {"name": "pool", "worker": ChildSpec("w", Probe), "size": 2}
    with pytest.raises(InvalidSpec) as error:
        pool(**(good | arguments))
    assert error.value.key == key


@pytest.mark.parametrize("size", [0, -1, 1.5, "two"])
def test_a_bad_resize_is_refused_where_it_is_made(size: Any) -> None:
    with pytest.raises(InvalidSpec, match=r"resize\.size"):
        Resize(size)


def test_the_pools_own_spec() -> None:
    spec = pool("pool", ChildSpec("w", Probe), 2)
    assert (spec.name, spec.shutdown, spec.restart) == ("pool", float("inf"), Restart.PERMANENT)
    assert pool("pool", ChildSpec("w", Probe), 2, shutdown=3.0).shutdown == 3.0


def test_the_threshold_of_the_exact_search_is_where_the_module_says() -> None:
    assert routing_module.__doc__ is not None
    assert f"up to {EXACT} members" in routing_module.__doc__
