from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from runtime import InvalidSpec
from runtime._timers import Deadline
from runtime._wheel import Wheel
from tests.support.actors import Bench, settle
from tests.support.examples import examples


class Note:
    """An entry that writes down when it was fired."""

    def __init__(self, wheel: Wheel, log: list[tuple[Any, float]], name: Any) -> None:
        self.wheel = wheel
        self.log = log
        self.name = name

    def fire(self) -> None:
        self.log.append((self.name, self.wheel.now()))


class Rig:
    """A wheel that runs, and what it fired."""

    def __init__(self) -> None:
        self.wheel = Wheel(trio.current_time)
        self.log: list[tuple[Any, float]] = []

    def add(self, deadline: float, name: Any) -> Any:
        return self.wheel.add(deadline, Note(self.wheel, self.log, name))

    @property
    def names(self) -> list[Any]:
        return [name for name, _ in self.log]


async def test_entries_fire_by_tick_and_then_in_the_order_of_adding(nursery: trio.Nursery):
    rig = Rig()
    nursery.start_soon(rig.wheel.run)
    now = trio.current_time()
    for delay, name in ((0.5, "late"), (0.1002, "b"), (0.1001, "c"), (0.1, "a"), (0.1003, "d")):
        rig.add(now + delay, name)
    await trio.sleep(1)
    assert rig.names == ["a", "b", "c", "d", "late"]


async def test_an_earlier_entry_wakes_the_wheel_earlier(nursery: trio.Nursery):
    rig = Rig()
    nursery.start_soon(rig.wheel.run)
    await settle()
    now = trio.current_time()
    rig.add(now + 10, "late")
    await trio.sleep(1)
    rig.add(now + 2, "early")
    await trio.sleep(1.5)
    assert rig.names == ["early"]
    await trio.sleep(10)
    assert rig.names == ["early", "late"]


async def test_what_is_removed_does_not_fire(nursery: trio.Nursery):
    rig = Rig()
    nursery.start_soon(rig.wheel.run)
    bucket = rig.add(trio.current_time() + 1, "removed")
    rig.add(trio.current_time() + 1, "kept")
    bucket.pop(next(iter(bucket)))
    await trio.sleep(2)
    assert rig.names == ["kept"]
    assert len(rig.wheel) == rig.wheel.buckets == 0


async def test_an_entry_may_add_and_remove_others_as_it_fires(nursery: trio.Nursery):
    rig = Rig()
    nursery.start_soon(rig.wheel.run)
    now = trio.current_time()

    class Adds(Note):
        def fire(self) -> None:
            super().fire()
            rig.add(now, "overdue already")
            rig.add(now + 2, "later")
            victim.clear()

    rig.wheel.add(now + 1, Adds(rig.wheel, rig.log, "adds"))
    victim = rig.add(now + 1, "removed by its neighbour")
    await trio.sleep(3)
    assert rig.names == ["adds", "overdue already", "later"]


@pytest.mark.parametrize("deadline", [float("inf"), float("-inf"), float("nan")])
async def test_a_deadline_is_a_finite_number(deadline: float):
    with pytest.raises(InvalidSpec, match="a finite number of seconds"):
        Rig().add(deadline, "x")


async def test_buckets_are_dropped_though_nothing_fires(nursery: trio.Nursery):
    """A million asks that are answered in time: memory follows those alive, not those ever made."""
    rig = Rig()
    nursery.start_soon(rig.wheel.run)
    await settle()
    rig.add(1000.0, "the one that stays")
    for n in range(10_000):
        rig.add(1001.0 + n / 100, n).clear()
    assert rig.wheel.buckets <= 1025
    assert len(rig.wheel) == 1
    await trio.sleep(2000)
    assert rig.names == ["the one that stays"]
    assert rig.wheel.buckets == 0


async def test_sweeping_keeps_what_is_alive(nursery: trio.Nursery):
    rig = Rig()
    nursery.start_soon(rig.wheel.run)
    for n in range(3000):
        rig.add(1.0 + n / 100, n)
    await trio.sleep(40)
    assert rig.names == list(range(3000))


async def test_a_system_drops_the_deadlines_of_answered_asks(bench: Bench):
    a = await bench.spawn("a")
    for _ in range(3000):
        await a.ref.ask(1, within=100)
        await trio.sleep(0.002)
    assert len(bench.system.wheel) == 0
    assert bench.system.wheel.buckets <= 1025


async def test_a_deadline_can_be_cancelled_twice():
    rig = Rig()
    calls: list[int] = []
    deadline = Deadline(rig.wheel, 1.0, lambda: calls.append(1))
    deadline.cancel()
    deadline.cancel()
    deadline.fire()
    assert calls == []
    assert len(rig.wheel) == 0


@settings(max_examples=examples(0.6), deadline=None, database=None)
@given(
    st.lists(
        st.tuples(st.floats(-1, 5), st.floats(0, 3), st.booleans()),
        min_size=1,
        max_size=30,
    )
)
def test_never_early_at_most_a_tick_late_and_each_once(entries: list[tuple[float, float, bool]]):
    """Entries (delay, when it is added, whether it is removed again)."""

    async def main() -> None:
        rig = Rig()
        due: dict[int, float] = {}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.wheel.run)
            for number, (delay, at, removed) in sorted(enumerate(entries), key=lambda entry: entry[1][1]):
                await trio.sleep_until(at)
                bucket = rig.add(trio.current_time() + delay, number)
                if removed:
                    bucket.popitem()
                else:
                    due[number] = max(trio.current_time() + delay, trio.current_time())
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
        assert sorted(rig.names) == sorted(due)
        for number, at in rig.log:
            assert due[number] - 1e-9 <= at <= due[number] + 0.001 + 1e-9
        assert rig.wheel.buckets == 0

    trio.run(main, clock=MockClock(autojump_threshold=0))
