"""One sleep for all who wait for the same tick, and nobody left behind where the one who sleeps is cancelled."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.models.ticks import CROWD, EVERY, Ticks


class Waiters:
    """Tasks that wait for ticks, and when each came back: in ticks."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.ticks = Ticks()
        self.back: dict[str, float] = {}
        self._nursery = nursery

    def start(self, name: str, tick: int) -> trio.CancelScope:
        scope = trio.CancelScope()

        async def wait() -> None:
            with scope:
                await self.ticks.wait(tick)
                self.back[name] = round(trio.current_time() / EVERY, 3)

        self._nursery.start_soon(wait)
        return scope


async def test_all_come_back_at_their_tick(autojump_clock: MockClock, nursery: trio.Nursery):
    waiters = Waiters(nursery)
    for number in range(5):
        waiters.start(f"early {number}", 10)
        waiters.start(f"late {number}", 20)
    await trio.sleep(1)
    assert waiters.back == {f"{when} {n}": tick for when, tick in (("early", 10.0), ("late", 20.0)) for n in range(5)}


async def test_only_one_of_them_sleeps(autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: Any):
    slept: list[float] = []
    sleep_until = trio.sleep_until

    async def counted(moment: float) -> None:
        slept.append(moment)
        await sleep_until(moment)

    monkeypatch.setattr(trio, "sleep_until", counted)
    waiters = Waiters(nursery)
    for number in range(50):
        waiters.start(str(number), 10)
    await wait_all_tasks_blocked()
    assert slept == [10 * EVERY]


async def test_one_that_is_over_is_a_checkpoint_and_no_more(autojump_clock: MockClock):
    await trio.sleep(1)
    with trio.move_on_after(5):
        await Ticks().wait(3)
        assert trio.current_time() == 1
    with trio.move_on_after(0) as scope:
        await Ticks().wait(3)
    assert scope.cancelled_caught


async def test_where_the_sleeper_is_cancelled_another_sleeps(autojump_clock: MockClock, nursery: trio.Nursery):
    waiters = Waiters(nursery)
    scopes = [waiters.start(str(number), 10) for number in range(4)]
    await wait_all_tasks_blocked()
    for scope in scopes[:3]:
        scope.cancel()
        await wait_all_tasks_blocked()
    await trio.sleep(1)
    assert waiters.back == {"3": 10.0}


async def test_one_who_waits_and_is_cancelled_is_not_woken(autojump_clock: MockClock, nursery: trio.Nursery):
    waiters = Waiters(nursery)
    scopes = [waiters.start(str(number), 10) for number in range(4)]
    await wait_all_tasks_blocked()
    for scope in scopes[1:3]:
        scope.cancel()
    await trio.sleep(1)
    assert len(waiters.back) == 2
    assert set(waiters.back.values()) == {10.0}


async def test_all_cancelled_in_one_step_leave_nothing_behind(autojump_clock: MockClock, nursery: trio.Nursery):
    waiters = Waiters(nursery)
    scopes = [waiters.start(str(number), 10) for number in range(10)]
    await wait_all_tasks_blocked()
    for scope in scopes:
        scope.cancel()
    await wait_all_tasks_blocked()
    assert not waiters.ticks.waiting(10)
    waiters.start("new", 10)
    await trio.sleep(1)
    assert waiters.back == {"new": 10.0}


async def test_the_quieter_of_two_ticks(autojump_clock: MockClock, nursery: trio.Nursery):
    waiters = Waiters(nursery)
    assert waiters.ticks.quieter(4, 5) == 5
    for number in range(CROWD):
        assert waiters.ticks.quieter(4, 5) == 5
        waiters.start(str(number), 5)
        await wait_all_tasks_blocked()
    assert waiters.ticks.quieter(4, 5) == 4
    waiters.start("other", 4)
    await wait_all_tasks_blocked()
    assert waiters.ticks.quieter(4, 5) == 5
