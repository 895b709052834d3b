"""A pool: who gets what, the pool as an address, and its spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import Dead, Ended, Full, InvalidSpec, Mailbox, Overflow, Spec, Stopped, TimedOut
from supervisors import ByKey, ChildSpec, Policy, Resize, Restart, Routing, fallback, pool
from supervisors import _routing as routing_module
from supervisors._routing import EXACT
from tests.support.actors import LONG, Probe, settle
from tests.support.pools import LAZY, ROUND_ROBIN, Floor, Job, Later, Sends, Worker, fill, shop, small, workers

if TYPE_CHECKING:
    from trio.testing import MockClock


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
        ({"drain_within": "long"}, "pool.drain_within"),
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
