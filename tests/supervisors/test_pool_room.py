"""A pool in which nobody has room, or some wait to restart; and sends that wait for room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import Full, Mailbox, Overflow, Restarting
from tests.support.actors import LONG, settle
from tests.support.pools import LAZY, ROUND_ROBIN, Job, Sends, Shop, fill, shop, small

if TYPE_CHECKING:
    from trio.testing import MockClock


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
