"""A pool that grows and shrinks while it works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import Mailbox, Refused
from supervisors import ByKey, Intensity, Resize, Routing
from tests.support.actors import LONG, settle
from tests.support.pools import LAZY, Job, Later, Shop, Worker, shop

if TYPE_CHECKING:
    from trio.testing import MockClock

BY_KEY = ByKey(lambda message: getattr(message, "key", "key"))


def states(s: Shop) -> dict[str, str]:
    return {name: member["state"] for name, member in s.members.items()}


# --- growing


async def test_growing_is_immediate(autojump_clock: MockClock) -> None:
    async with shop(1) as s:
        s.tell(Job(0, 10))
        await settle()

        def grow(probe: Any) -> None:
            assert s.ref.tell(Resize(3))

        await s.bench.root.do(grow)
        await settle()
        s.tell(Job(1), Job(2))
        assert s.loads == [1, 1, 1]
        assert s.node().details["size"] == 3


async def test_a_resize_that_is_asked_for_is_answered_with_the_size_before(autojump_clock: MockClock) -> None:
    async with shop(1) as s:
        assert [await s.resize(size) for size in (3, 2, 2, 5)] == [1, 3, 2, 2]
        assert s.members.keys() == {f"w-{number}" for number in range(5)}


async def test_a_resize_goes_to_the_pool_and_not_to_a_member(autojump_clock: MockClock) -> None:
    async with shop(2) as s:
        await s.ref.send(Resize(3), within=1)
        assert s.ref.tell(Resize(4))
        assert await s.ref.ask(Resize(5), within=1) == 4
        assert [node.counters.offered for node in s.node().children] == [0] * 5
        assert s.node().counters.handled == 3


async def test_new_members_serve_those_who_wait_for_room(autojump_clock: MockClock) -> None:
    async with shop(1, worker={"mailbox": Mailbox(1)}) as s, trio.open_nursery() as nursery:
        s.tell(Job(0, LAZY))
        await settle()
        s.tell(Job(1))
        for number in (2, 3, 4):
            nursery.start_soon(s.ref.send, Job(number), LONG)
            await settle()
        assert s.tell(Job(5)) == [False]
        await s.resize(2)
        assert [number for _, number in s.floor.began] == [0, 2, 3, 4]
        assert s.tell(Job(6)) == [True]
        nursery.cancel_scope.cancel()


# --- shrinking


@pytest.mark.parametrize("routing", [*Routing, BY_KEY])
async def test_the_last_members_go_and_finish_what_they_have(
    autojump_clock: MockClock, routing: Routing | ByKey
) -> None:
    async with shop(3, routing=routing) as s:
        for number in range(3):
            s.member(number).tell(Job(number, 5))
            s.member(number).tell(Job(10 + number))
        await settle()
        await s.resize(1)
        assert states(s) == {"w-0": "active", "w-1": "retiring", "w-2": "retiring"}
        assert s.tell(Job(20, key="another")) == [True]
        assert s.loads == [3, 2, 2]
        await trio.sleep(5.1)
        assert states(s) == {"w-0": "active"}
        assert sorted(s.floor.ended) == [
            ("w-0", 0),
            ("w-0", 10),
            ("w-0", 20),
            ("w-1", 1),
            ("w-1", 11),
            ("w-2", 2),
            ("w-2", 12),
        ]
        assert s.lost == []
        assert s.member(2).tell(Job(5)) is False


async def test_a_member_with_nothing_to_do_goes_at_once(autojump_clock: MockClock) -> None:
    async with shop(3) as s:
        await s.resize(1)
        assert states(s) == {"w-0": "active"}
        assert s.bench.system.now() == 0


def begin_task(worker: Worker) -> None:
    worker.start(trio.sleep, 4)


def begin_request(worker: Worker) -> None:
    worker.request(worker.system.ref("/probe"), "wait", within=LONG)


def begin_both(worker: Worker) -> None:
    begin_request(worker)
    worker.start(trio.sleep, 2)


@pytest.mark.parametrize("begin", [begin_task, begin_request, begin_both])
async def test_a_member_that_goes_waits_for_its_tasks_and_its_requests(autojump_clock: MockClock, begin: Any) -> None:
    async with shop(2) as s:
        await s.bench.spawn("probe", on={"wait": lambda _: trio.sleep(4)})
        s.member(1).tell(begin)
        await settle()
        await s.resize(1)
        await trio.sleep(3.9)
        assert states(s) == {"w-0": "active", "w-1": "retiring"}
        await trio.sleep(0.2)
        assert states(s) == {"w-0": "active"}


async def test_a_member_that_goes_waits_for_the_answers_that_it_owes(autojump_clock: MockClock) -> None:
    async with shop(2) as s, trio.open_nursery() as nursery:
        nursery.start_soon(s.member(1).ask, Later(1), LONG)
        await settle()
        await s.resize(1)
        await trio.sleep(20)
        assert states(s) == {"w-0": "active", "w-1": "retiring"}
        s.floor.deferred[0].answer("at last")
        await trio.sleep(0.1)
        assert states(s) == {"w-0": "active"}


@pytest.mark.parametrize("routing", [*Routing, BY_KEY])
async def test_who_has_not_finished_in_time_stops_and_leaves_the_rest_in_order(
    autojump_clock: MockClock, routing: Routing | ByKey
) -> None:
    async with shop(2, routing=routing, drain_within=3, worker={"mailbox": Mailbox(5)}) as s:
        s.member(1).tell(Job(0, 6))
        await settle()
        for number in range(1, 5):
            s.member(1).tell(Job(number))
        await s.resize(1)
        await trio.sleep(5.9)
        assert s.floor.began == [("w-1", 0)]
        await trio.sleep(0.2)
        assert s.floor.ended[0] == ("w-1", 0)
        assert s.floor.began[1:] == [("w-0", number) for number in range(1, 5)]
        assert s.lost == []


async def test_who_does_not_stop_either_is_cancelled_and_only_that_message_is_lost(autojump_clock: MockClock) -> None:
    async with shop(2, drain_within=3, worker={"shutdown": 1.0}) as s:
        s.member(1).tell(Job(0, LAZY))
        s.member(1).tell(Job(1))
        await settle()
        await s.resize(1)
        await trio.sleep(4.1)
        assert s.floor.began == [("w-1", 0), ("w-0", 1)]
        assert s.bench.crashes()[0].path == "/pool/w-1"
        assert s.node().details["given_up"] == 0


async def test_without_time_to_finish_it_stops_after_the_message_in_hand(autojump_clock: MockClock) -> None:
    async with shop(2, drain_within=0) as s:
        s.member(1).tell(Job(0, 1))
        s.member(1).tell(Job(1))
        await settle()
        await s.resize(1)
        await trio.sleep(1.1)
        assert s.floor.ended == [("w-1", 0), ("w-0", 1)]


async def test_a_member_that_is_going_comes_back_if_it_is_needed(autojump_clock: MockClock) -> None:
    async with shop(3) as s:
        for number in range(3):
            s.member(number).tell(Job(number, 5))
        await settle()
        await s.resize(1)
        assert await s.resize(2) == 1
        assert states(s) == {"w-0": "active", "w-1": "active", "w-2": "retiring"}
        await trio.sleep(6)
        assert states(s) == {"w-0": "active", "w-1": "active"}
        assert s.floor.starts.count("w-1") == 1


async def test_one_that_stops_already_does_not_come_back_and_its_number_is_free_afterwards(
    autojump_clock: MockClock,
) -> None:
    async with shop(2, drain_within=1) as s:
        s.member(1).tell(Job(0, 5))
        await settle()
        await s.resize(1)
        await trio.sleep(2)
        await s.resize(2)
        assert s.members.keys() == {"w-0", "w-1", "w-2"}
        await trio.sleep(4)
        assert s.members.keys() == {"w-0", "w-2"}
        await s.resize(3)
        assert s.members.keys() == {"w-0", "w-1", "w-2"}


async def test_a_passive_member_goes_without_being_woken(autojump_clock: MockClock) -> None:
    async with shop(2) as s:
        await s.member(1).ask(lambda worker: worker.passivate(), within=1)
        await settle()
        await s.resize(1)
        assert states(s) == {"w-0": "active"}
        assert s.floor.starts.count("w-1") == 1
        assert s.member(1).tell(Job(0)) is False


async def test_a_member_that_waits_to_restart_goes_at_once_and_leaves_what_it_keeps(
    autojump_clock: MockClock,
) -> None:
    async with shop(2, worker={"mailbox": Mailbox(1)}) as s:
        await s.crash(1)
        await s.crash(1)
        s.member(0).tell(Job(0, 1))
        await settle()
        assert s.tell(Job(1), Job(2)) == [True, True]
        assert s.loads == [2, 1]
        await s.resize(1)
        assert s.members == {"w-0": {"state": "active", "outstanding": 3}}
        await trio.sleep(2)
        assert [number for _, number in s.floor.began] == [0, 1, 2]


async def test_senders_at_a_member_that_goes_wait_at_the_others(autojump_clock: MockClock) -> None:
    async with shop(2, worker={"mailbox": Mailbox(1)}) as s, trio.open_nursery() as nursery:
        s.member(0).tell(Job(0, 20))
        s.member(1).tell(Job(1, 10))
        await settle()
        s.tell(Job(2), Job(3))
        nursery.start_soon(s.ref.send, Job(4), LONG)
        await settle()
        await s.resize(1)
        assert s.cell(1).need_links().senders == {}
        await trio.sleep(15)
        assert states(s) == {"w-0": "active"}
        await trio.sleep(10)
        assert s.floor.by(4) == ["w-0"]


async def test_a_member_that_is_going_and_fails_is_no_loss(autojump_clock: MockClock) -> None:
    async with shop(2, worker={"budget": Intensity(0, 5.0)}) as s:
        s.member(1).tell(Job(0, 5))
        s.member(1).tell(Job(1))
        await settle()
        await s.resize(1)
        s.bench.system.fail("/pool/w-1", RuntimeError("asked for"))
        await trio.sleep(6)
        assert s.node().details["given_up"] == 0
        assert s.floor.by(1) == ["w-0"]


async def test_a_resize_replaces_those_that_were_given_up(autojump_clock: MockClock) -> None:
    async with shop(3, worker={"budget": Intensity(0, 5.0)}) as s:
        await s.crash(1)
        assert s.members.keys() == {"w-0", "w-2"}
        assert s.node().details["given_up"] == 1
        await s.resize(3)
        assert s.members.keys() == {"w-0", "w-1", "w-2"}
        assert s.node().details["given_up"] == 0


async def test_a_worker_can_have_its_pool_grow(autojump_clock: MockClock) -> None:
    async with shop(1) as s:

        async def grow(worker: Worker) -> object:
            before = await s.ref.ask(Resize(2), within=1)
            return Refused(before)

        with pytest.raises(Refused) as refused:
            await s.ref.ask(grow, within=1)
        assert refused.value.reason == 1
        assert s.members.keys() == {"w-0", "w-1"}
