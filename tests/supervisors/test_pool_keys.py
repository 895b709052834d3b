"""Pools by key: where a key is, and that its messages never overtake each other."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import Full, Mailbox, Overflow
from supervisors import ByKey, ChildSpec, pool
from supervisors._marks import SWEEP_AT_LEAST
from supervisors._ring import Ring
from tests.support.actors import LONG, settle
from tests.support.pools import LAZY, Chaos, Floor, Job, Worker, shop

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.pools import Shop


def key_of(message: Any) -> Any:
    return getattr(message, "key", "key")


BY_KEY = ByKey(key_of)
NO_BOUND = ByKey(key_of, slack=float("inf"))


def ring(size: int) -> Ring:
    return Ring([f"w-{number}" for number in range(size)])


def keys_of(size: int, owner: str, count: int) -> list[str]:
    """So many keys that belong to `owner`."""
    owned: list[str] = []
    number = 0
    while len(owned) < count:
        if ring(size).owner(f"k{number}") == owner:
            owned.append(f"k{number}")
        number += 1
    return owned


async def test_a_key_goes_to_its_owner_while_nobody_is_busy(autojump_clock: MockClock) -> None:
    async with shop(4, routing=BY_KEY) as s:
        for number in range(40):
            assert await s.ref.ask(Job(number, key=f"k{number}"), within=1) == ring(4).owner(f"k{number}")


async def test_nobody_is_given_more_than_the_bound_by_keys_that_are_free(autojump_clock: MockClock) -> None:
    async with shop(4, routing=BY_KEY) as s:
        for count, key in enumerate(keys_of(4, "w-2", 40), 1):
            s.tell(Job(count, LAZY, key))
            assert max(s.loads) <= -(-5 * count // 16)  # 1.25 times the mean, rounded up
        assert min(s.loads) >= 1


async def test_without_a_bound_the_owner_gets_it_as_long_as_it_has_room(autojump_clock: MockClock) -> None:
    async with shop(4, routing=NO_BOUND, worker={"mailbox": Mailbox(10)}) as s:
        for count, key in enumerate(keys_of(4, "w-2", 11), 1):
            s.tell(Job(count, LAZY, key))
        assert sorted(s.loads) == [0, 0, 1, 10]
        assert s.loads[2] == 10


async def test_messages_of_one_key_queue_up_at_one_member_however_many(autojump_clock: MockClock) -> None:
    async with shop(4, routing=BY_KEY) as s:
        s.tell(*(Job(number, 1) for number in range(10)))
        assert sorted(s.loads) == [0, 0, 0, 10]
        await trio.sleep(11)
        assert s.floor.order() == {"key": list(range(10))}


async def test_a_key_sticks_to_a_full_member_and_is_refused_there(autojump_clock: MockClock) -> None:
    async with shop(3, routing=BY_KEY, worker={"mailbox": Mailbox(1)}) as s:
        s.tell(Job(0, LAZY))
        await settle()
        s.tell(Job(1))
        assert s.tell(Job(2)) == [False]
        with pytest.raises(Full):
            await s.ref.ask(Job(3), within=1)
        assert s.tell(Job(4, key="another")) == [True]


async def test_a_key_that_strayed_goes_home_when_nothing_of_it_is_under_way(autojump_clock: MockClock) -> None:
    async with shop(2, routing=NO_BOUND, worker={"mailbox": Mailbox(1)}) as s:
        home, stray = keys_of(2, "w-0", 2)
        s.tell(Job(0, 10, home))
        await settle()
        s.tell(Job(1, 1, home))
        s.tell(Job(2, 15, stray))
        await settle()
        s.tell(Job(3, 0, stray))
        await trio.sleep(12)
        assert s.tell(Job(4, 0, stray)) == [False]  # w-0 has nothing to do, but w-1 has messages of this key
        await trio.sleep(4)
        s.tell(Job(5, 0, stray))
        await settle()
        assert [s.floor.by(number) for number in (2, 3, 5)] == [["w-1"], ["w-1"], ["w-0"]]


async def test_a_key_sticks_while_its_message_is_in_hand(autojump_clock: MockClock) -> None:
    async with shop(2, routing=BY_KEY) as s:
        s.tell(Job(0, 10, "a"))
        await settle()
        home = int(s.floor.by(0)[0][2:])
        for number in range(4):
            s.member(home).tell(Job(10 + number, 0, "b"))
        s.tell(Job(1, 0, "a"))  # by its load another would get it
        assert sorted(s.loads) == [0, 6]


async def test_a_sender_keeps_its_key_where_it_waits(autojump_clock: MockClock) -> None:
    async with shop(3, routing=BY_KEY, worker={"mailbox": Mailbox(1)}) as s, trio.open_nursery() as nursery:
        s.tell(Job(0, 10))
        await settle()
        s.tell(Job(1))
        nursery.start_soon(s.ref.send, Job(2, 3), LONG)
        await settle()
        nursery.start_soon(s.ref.send, Job(3), LONG)
        await settle()
        await trio.sleep(10.5)
        assert s.tell(Job(4)) == [False]
        await trio.sleep(3)
        assert s.tell(Job(4)) == [True]
        await trio.sleep(10)
        assert s.floor.order() == {"key": [0, 1, 2, 3, 4]}
        assert len({worker for worker, _ in s.floor.began}) == 1


async def test_a_key_stays_where_its_sender_waits_though_nothing_else_of_it_is_there(
    autojump_clock: MockClock,
) -> None:
    async with shop(2, routing=NO_BOUND, worker={"mailbox": Mailbox(1)}) as s, trio.open_nursery() as nursery:
        other, key = keys_of(2, "w-0", 2)
        s.tell(Job(0, 10, other))
        await settle()
        s.tell(Job(1, 0, key))
        for number, each in ((2, other), (3, other), (4, key)):
            nursery.start_soon(s.ref.send, Job(number, 10, each), LONG)
            await settle()
        await trio.sleep(15)
        assert [number for _, number in s.floor.began] == [0, 1, 2]  # 3 waits in the mailbox, 4 before it
        assert s.tell(Job(5, 0, key)) == [False]
        await trio.sleep(30)
        assert s.tell(Job(6, 0, key)) == [True]
        await settle()
        assert s.floor.order()[key] == [1, 4, 6]
        assert {worker for worker, _ in s.floor.began} == {"w-0"}


async def test_to_place_one_sender_does_not_admit_another_whose_key_has_moved(autojump_clock: MockClock) -> None:
    async with shop(2, routing=NO_BOUND, worker={"mailbox": Mailbox(3)}) as s, trio.open_nursery() as nursery:
        moves, stays = keys_of(2, "w-0", 2)
        s.member(1).tell(Job(0, 5, "other"))
        await s.crash(0)
        s.member(1).tell(Job(1, 0, "other"))

        async def fail(worker: Worker) -> None:
            await trio.sleep(1)
            raise RuntimeError("asked for")

        s.member(0).tell(fail)
        await settle()
        s.tell(Job(2, 0, moves), Job(3, 0, moves), Job(4, 0, stays))  # w-1 has room for two of them
        for number, key in ((5, stays), (6, moves)):
            nursery.start_soon(s.ref.send, Job(number, 0, key), LONG)
            await settle()
        await trio.sleep(10)
        assert s.floor.order() == {"other": [0, 1], stays: [4, 5], moves: [2, 3, 6]}
        assert s.floor.by(5) == ["w-0"]


async def test_a_sender_that_has_gone_leaves_its_key_free(autojump_clock: MockClock) -> None:
    async with shop(2, routing=NO_BOUND, worker={"mailbox": Mailbox(1)}) as s:
        first, second = keys_of(2, "w-0", 2)
        s.member(0).tell(Job(0, 10))
        s.member(1).tell(Job(1, 20))
        await settle()
        s.member(0).tell(Job(2, 10))
        s.member(1).tell(Job(3))
        with trio.move_on_after(1):
            await s.ref.send(Job(4, key=first), LONG)
        await trio.sleep(15)
        s.member(0).tell(Job(5))
        await trio.sleep(6)
        s.tell(Job(6, key=second))
        await settle()
        s.tell(Job(7, key=first))
        await settle()
        assert s.floor.by(7) == ["w-0"]
        assert s.floor.by(6) == ["w-0"]


async def test_keys_that_say_nothing_any_more_are_forgotten(autojump_clock: MockClock) -> None:
    async with shop(2, routing=BY_KEY) as s:
        s.tell(Job(0, LAZY, "kept"))
        await settle()
        for number in range(3 * SWEEP_AT_LEAST):
            s.tell(Job(1 + number, 0, f"k{number}"))
            if number % 100 == 0:
                await settle()
        assert s.node().details["keys"] <= SWEEP_AT_LEAST + 1
        s.tell(Job(9999, 0, "kept"))
        home = int(s.floor.by(0)[0][2:])
        assert s.node().details["members"][f"w-{home}"]["outstanding"] >= 2


async def test_a_member_that_has_passivated_has_no_keys(autojump_clock: MockClock) -> None:
    async with shop(2, routing=BY_KEY) as s:
        home = await s.ref.ask(Job(0), within=1)
        await s.bench.system.ref(f"/pool/{home}").ask(lambda worker: worker.passivate(), within=1)
        await settle()
        s.tell(Job(1, 1), Job(2))
        await trio.sleep(2)
        assert s.floor.began == [(home, 0), (home, 1), (home, 2)]


# --- resizing


async def resize_among_keys(s: Shop, before: int, after: int) -> None:
    """Resize while messages of many keys are under way: a key stays where it is, and moves to its owner when free."""
    keys = [f"k{number}" for number in range(60)]
    for number, key in enumerate(keys):
        s.tell(Job(number, 0.1, key))
    await settle()
    await s.resize(after)
    for number, key in enumerate(keys):
        s.tell(Job(100 + number, 0.1, key))
    await trio.sleep(20)
    for number, key in enumerate(keys):
        s.tell(Job(200 + number, 0, key))
    await settle()
    for number, key in enumerate(keys):
        assert s.floor.by(number) == s.floor.by(100 + number) == [ring(before).owner(key)]
        assert s.floor.by(200 + number) == [ring(after).owner(key)]
    assert s.floor.overlaps == []


async def test_growing_moves_only_the_keys_of_the_new_member_and_only_when_they_are_free(
    autojump_clock: MockClock,
) -> None:
    async with shop(3, routing=NO_BOUND) as s:
        await resize_among_keys(s, 3, 4)
        assert Counter(worker for worker, number in s.floor.began if number >= 200)["w-3"] > 0


async def test_shrinking_moves_only_the_keys_of_who_goes(autojump_clock: MockClock) -> None:
    async with shop(4, routing=NO_BOUND) as s:
        await resize_among_keys(s, 4, 3)


async def test_a_key_that_never_rests_moves_when_its_members_time_is_over(autojump_clock: MockClock) -> None:
    async with shop(2, routing=NO_BOUND, drain_within=5) as s:
        (key,) = keys_of(2, "w-1", 1)
        s.tell(Job(0, 1, key), Job(1, 1, key))
        await settle()
        await s.resize(1)
        for number in range(2, 20):
            s.tell(Job(number, 1, key))
            await trio.sleep(0.7)
        await trio.sleep(30)
        assert s.floor.order() == {key: list(range(20))}
        assert s.floor.overlaps == []
        assert {worker for worker, _ in s.floor.began} == {"w-0", "w-1"}
        assert len(s.floor.ended) == 20


# --- where the mailbox has its own ways


@pytest.mark.parametrize("overflow", [Overflow.REJECT, Overflow.DROP_NEWEST])
async def test_order_holds_where_messages_are_refused(autojump_clock: MockClock, overflow: Overflow) -> None:
    async with shop(3, routing=BY_KEY, worker={"mailbox": Mailbox(2, overflow)}) as s:
        chaos = Chaos(s, 1)
        for _ in range(300):
            chaos.tell()
            await trio.sleep(chaos.random.choice((0.0, 0.01)))
        await trio.sleep(LONG)
        assert s.floor.order() == chaos.accepted
        assert s.lost
        assert s.floor.overlaps == []


async def test_a_batch_keeps_its_keys_in_order(autojump_clock: MockClock) -> None:
    floor_batches: list[list[int]] = []

    class Batching(Worker):
        batch = 4

        async def receive_batch(self, messages: Any) -> None:
            floor_batches.append([message.number for message in messages])
            await trio.sleep(1)

    spec = pool("pool", ChildSpec("w", lambda: Batching(Floor())), 3, routing=BY_KEY)
    async with shop(spec=spec) as s:
        s.tell(*map(Job, range(6)))
        await settle()
        s.tell(Job(6))
        assert sorted(s.loads) == [0, 0, 7]
        await trio.sleep(1.5)
        s.tell(Job(7))
        assert sorted(s.loads) == [0, 0, 4]
        await trio.sleep(5)
        assert floor_batches == [[0, 1, 2, 3], [4, 5, 6], [7]]
