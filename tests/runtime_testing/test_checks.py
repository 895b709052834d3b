"""The checks by themselves: sums, tasks, cycles."""

from __future__ import annotations

import gc
from collections import Counter
from typing import Any

import pytest
import trio

from runtime import Actor, Spec, open_system
from runtime.testing import assert_conserved, assert_no_leaks, kernel_tasks, no_cycles, open_test_system, settle
from runtime.testing._checks import assert_balanced
from tests.support.actors import boom


@pytest.mark.parametrize(
    ("counts", "what"),
    [
        ({"offered": 3, "handled": 2}, "lost 1 messages"),
        ({"offered": 1, "handled": 2}, "lost -1 messages"),
        ({"waiting": 2}, "still hold 2 messages"),
        ({"in_hand": 1}, "still hold 1 messages"),
        ({"offered": 0, "handled": 1, "failed": -1}, "counted below zero"),
    ],
)
def test_sums_that_do_not_balance(counts: dict[str, int], what: str):
    with pytest.raises(AssertionError, match=f"kind Player .*{what}"):
        assert_balanced("Player", Counter(counts))


def test_sums_that_balance():
    ends = ("handled", "failed", "expired", "dropped", "undelivered", "moved")
    assert_balanced("Player", Counter({"offered": 6, **dict.fromkeys(ends, 1)}))


async def test_it_holds_also_in_the_middle_of_a_turn():
    class Slow(Actor):
        async def receive(self, message: Any) -> None:
            if message == "wait":
                await trio.sleep(1.0)

    async with open_test_system() as kit:
        slow = await kit.spawn(Spec("slow", Slow))
        for message in ("quick", "quick", "wait"):
            slow.tell(message)
        await settle()
        assert (kit.node(slow).counters.handled, kit.node(slow).counters.in_hand) == (2, 1)
        assert_conserved(kit.system)


async def test_what_has_ended_is_checked_as_well():
    async with open_test_system() as kit:
        await kit.stop(await kit.spawn(Spec("gone", Actor)))
        kit.system.totals.by_kind["Actor"]["offered"] += 1
        with pytest.raises(AssertionError, match="ended actors of the kind Actor have lost 1"):
            assert_conserved(kit.system)
        kit.system.totals.by_kind["Actor"]["offered"] -= 1


async def test_counting_below_zero_is_found():
    async with open_test_system() as kit:
        cell: Any = kit.system.root
        cell.failed, cell.expired = 1, -1
        with pytest.raises(AssertionError, match="/ has counted below zero"):
            assert_conserved(kit.system)
        cell.failed = cell.expired = 0


async def test_a_system_that_still_runs_is_no_leak_free_one():
    async with open_test_system() as kit:
        with pytest.raises(AssertionError, match="still runs"):
            assert_no_leaks(kit.system)


async def test_kernel_tasks_are_named_by_their_actors():
    async with open_test_system() as kit:
        await kit.probe("listener")
        async with open_system(Spec("other", _Rooted)):
            await settle()
            tasks = kernel_tasks()
            assert sum("Wheel.run" in task for task in tasks) == 2
            assert kernel_tasks(kit.system) == ["/ (runtime._cell.Cell.run)", "/listener (runtime._cell.Cell.run)"]
    assert kernel_tasks() == []


class _Rooted(Actor):
    hosts = False


def test_the_end_can_be_checked_outside_of_trio():
    systems = []

    async def main() -> None:
        async with open_test_system() as kit:
            systems.append(kit.system)

    trio.run(main)
    assert_no_leaks(systems[0])
    assert_conserved(systems[0])


# --- cycles


class Node:
    """Something that refers to itself."""

    def __init__(self) -> None:
        self.own = self


def test_a_cycle_is_found_by_its_class():
    package = Node.__module__.partition(".")[0]
    with pytest.raises(AssertionError, match=r"reference cycles: .*Node"), no_cycles(package):
        Node()
    assert gc.isenabled()
    assert gc.garbage == []


def test_a_cycle_of_another_package_is_not_ours():
    with no_cycles():
        Node()


def test_a_cycle_through_a_frame_is_found_by_its_function():
    def fail() -> None:
        try:
            raise ValueError
        except ValueError as error:
            kept = error  # the frame keeps the error, the error its traceback, the traceback the frame
            assert kept

    package = __name__.partition(".")[0]
    with pytest.raises(AssertionError, match="fail"), no_cycles(package):
        fail()


def test_the_collector_is_left_as_it_was():
    gc.disable()
    try:
        with no_cycles():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert gc.get_debug() == 0


async def test_an_actor_that_crashes_leaves_no_cycle():
    class Faller(Actor):
        async def receive(self, message: Any) -> None:
            await boom()

    async with open_test_system() as kit:
        with no_cycles():
            faller = await kit.spawn(Spec("faller", Faller))
            faller.tell("fall")
            await settle()
        assert [crash.detail for crash in kit.crashes] == ["Boom: asked for"]
