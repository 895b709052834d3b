from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import HookFailed, Killed, StopOverdue
from tests.support.actors import Bench, Free, OpenHost, hang, running, settle


async def test_a_child_has_its_time_to_stop_and_is_then_cancelled(bench: Bench):
    a = await bench.spawn("a", on={"hang": hang}, shutdown=3)
    a.ref.tell("hang")
    await settle()
    start = trio.current_time()
    await bench.stop(a)
    while not a.log.ended:
        await trio.sleep(0.01)
    assert trio.current_time() - start == pytest.approx(3, abs=0.02)
    assert a.log.ended == [Killed("did not stop in time")]
    assert bench.crashes()[0].message == "str"


async def test_a_later_stop_can_only_shorten_the_time(bench: Bench):
    a = await bench.spawn("a", on={"hang": hang})
    a.ref.tell("hang")
    await settle()
    for within in (5.0, 3.0, 20.0, float("inf")):
        await bench.stop(a, within=within)
    await trio.sleep(2.9)
    assert a.log.ended == []
    await trio.sleep(0.2)
    assert a.log.ended == [Killed("did not stop in time")]


@pytest.mark.parametrize("depth", [1, 4])
async def test_one_deadline_for_the_tree_whatever_its_depth(depth: int):
    """Every level would take all the time it can get."""
    async with running(stop_within=10.0) as bench:
        start = trio.current_time()
        host = bench.root
        subjects = []
        for level in range(depth):
            host = await bench.spawn(f"host{level}", OpenHost, under=host, shutdown=float("inf"))
            a = await bench.spawn("a", under=host, on={"hang": hang})
            a.ref.tell("hang")
            subjects.append(a)
        await settle()
        assert trio.current_time() == start
    assert trio.current_time() - start <= 10.0
    for a in subjects:
        assert a.log.ended == [Killed("did not stop in time")]


async def test_those_still_to_come_have_a_reserve():
    """Three children that do not stop by themselves; four seconds, one of them grace."""
    async with running(stop_within=4.0) as bench:
        ended: dict[str, float] = {}
        start = trio.current_time()
        for name in "abc":
            a = await bench.spawn(
                name,
                on={"hang": hang},
                stop=lambda actor: ended.update({actor.ref.path: round(trio.current_time() - start, 2)}),
            )
            a.ref.tell("hang")
        await settle()
    assert ended == {"/c": 2.8, "/b": 2.95, "/a": 3.0}


async def test_a_tree_that_stops_by_itself_takes_no_longer_than_it_needs():
    async with running(stop_within=100.0) as bench:
        start = trio.current_time()
        for name in "abc":
            await bench.spawn(name, stop=lambda _: trio.sleep(0.5))
    assert trio.current_time() - start == pytest.approx(1.5)


async def test_stopped_hooks_draw_on_one_grace():
    """Each may take two seconds, all of them no longer than the tree."""
    async with running(stop_within=8.0) as bench:
        start = trio.current_time()
        for name in "abcdef":
            await bench.spawn(name, stop=hang)
        reports = bench.reports
    assert trio.current_time() - start == pytest.approx(8.0, abs=0.01)
    assert sum(isinstance(report, HookFailed) for report in reports) == 6


async def test_a_second_stop_can_only_shorten_the_time_and_does_not_kill():
    order: list[str] = []

    async def finish(_: Any) -> None:
        await trio.sleep(0.6)
        order.append("finished")

    async with running(stop_within=60.0) as bench:
        a = await bench.spawn("a", on={"work": finish})
        a.ref.tell("work")
        await settle()
        start = trio.current_time()
        bench.system.stop(1.0)
        await trio.sleep(0.1)
        bench.system.stop(50.0)  # and a third by the end of the block
    assert order == ["finished"]
    assert trio.current_time() - start < 1


async def test_a_shorter_second_stop_counts():
    async with running(stop_within=60.0) as bench:
        a = await bench.spawn("a", on={"hang": hang})
        a.ref.tell("hang")
        await settle()
        start = trio.current_time()
        bench.system.stop(50.0)
        bench.system.stop(1.0)
    assert trio.current_time() - start <= 1.0
    assert a.log.ended == [Killed("did not stop in time")]


async def test_stopping_a_system_that_has_ended_does_nothing():
    async with running() as bench:
        bench.system.stop(1.0)
        await trio.sleep(1)
    bench.system.stop(1.0)
    assert len(bench.system.wheel) == 0


async def test_who_has_not_ended_is_named():
    overdue: list[tuple[str, ...]] = []
    free = trio.Event()

    async def stubborn(_: Any) -> None:
        while not free.is_set():
            with trio.CancelScope(shield=True):
                await free.wait()

    async with running(stop_within=2.0, on_overdue=overdue.append) as bench:
        host = await bench.spawn("host", OpenHost)
        a = await bench.spawn("a", under=host, on={"work": stubborn})
        await bench.spawn("b", under=host)
        a.ref.tell("work")
        await settle()
        reports = bench.reports
        bench.system.stop(2.0)
        await trio.sleep(1.9)
        assert overdue == []
        free_at = trio.current_time() + 1
        bench.system.wheel.add(free_at, Free(free))
        with trio.CancelScope(shield=True):
            await free.wait()
    assert overdue == [("/host/a", "/host", "/")]
    assert StopOverdue(("/host/a", "/host", "/")) in reports


async def test_who_has_not_ended_is_reported_without_a_listener_too():
    free = trio.Event()

    async def stubborn(_: Any) -> None:
        with trio.CancelScope(shield=True):
            await free.wait()

    async with running(stop_within=1.0) as bench:
        a = await bench.spawn("a", on={"work": stubborn})
        a.ref.tell("work")
        await settle()
        reports = bench.reports
        bench.system.stop(1.0)
        bench.system.wheel.add(trio.current_time() + 2, Free(free))
    assert StopOverdue(("/a", "/")) in reports


async def test_a_task_that_swallows_its_cancellation_is_named_by_its_actor():
    overdue: list[tuple[str, ...]] = []
    ends = trio.Event()

    async def swallow() -> None:
        while not ends.is_set():
            try:
                await trio.sleep(0.5)
            except trio.Cancelled:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.5)

    async with running(stop_within=2.0, on_overdue=overdue.append) as bench:
        a = await bench.spawn("a")
        await a.do(lambda actor: actor.start(swallow))
        bench.system.wheel.add(trio.current_time() + 4, Free(ends))
    assert overdue == [("/a", "/")]
