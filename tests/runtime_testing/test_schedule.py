"""The same seed gives the same schedule; virtual time; what is restored."""

from __future__ import annotations

from typing import Any

import trio
from trio._core import _run as trio_run

from runtime import Actor, Ref, Spec
from runtime.testing import ScheduleTrace, open_test_system, run_in_virtual_time, seeded_schedule


class Chatter(Actor):
    """Passes a number on to the next, until it is 0, and has a task and a timer beside it."""

    def __init__(self, log: list[tuple[str, int]]) -> None:
        self.log = log
        self.next: Ref[Any] | None = None

    async def started(self) -> None:
        self.timer("tick", 0.1, -1, every=0.1)
        self.start(self.work)

    async def work(self) -> None:
        for _ in range(5):
            await trio.lowlevel.checkpoint()

    async def receive(self, message: Any) -> None:
        if isinstance(message, Ref):
            self.next = message
        elif isinstance(message, int):
            self.log.append((self.ref.path, message))
            if message > 0 and self.next is not None:
                await trio.lowlevel.checkpoint()
                self.next.tell(message - 1)


def traced(seed: int | None) -> tuple[list[str], list[tuple[str, int]]]:
    """The steps and the messages of a program with much to choose from."""
    log: list[tuple[str, int]] = []

    async def main() -> None:
        async with open_test_system() as kit:
            refs = [await kit.spawn(Spec(f"chatter{number}", lambda: Chatter(log))) for number in range(6)]
            for ref, other in zip(refs, refs[1:] + refs[:1], strict=True):
                ref.tell(other)
            for number, ref in enumerate(refs):
                ref.tell(number)
            await trio.sleep(0.35)

    trace = ScheduleTrace()
    run_in_virtual_time(main, seed=seed, instruments=[trace])
    return trace.steps, log


def test_the_same_seed_gives_the_same_schedule():
    for seed in range(5):
        assert traced(seed) == traced(seed)


def test_different_seeds_give_different_schedules():
    traces = [traced(seed) for seed in range(5)]
    assert len({tuple(steps) for steps, _ in traces}) > 1
    assert len({tuple(log) for _, log in traces}) > 1, "the messages come in another order, too"


def test_steps_are_named_by_actor():
    steps, _ = traced(0)
    assert {"/", *(f"/chatter{number}" for number in range(6))} <= set(steps)
    assert "runtime._wheel.Wheel.run" in steps


def test_what_trio_did_before_is_restored():
    scheduler: Any = trio_run
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = False
    try:
        with seeded_schedule(3):
            assert scheduler._ALLOW_DETERMINISTIC_SCHEDULING is True
            first = scheduler._r.random()
            scheduler._r.random()
        assert scheduler._ALLOW_DETERMINISTIC_SCHEDULING is False
        assert scheduler._r.getstate() == before[1]
        with seeded_schedule(3):
            assert scheduler._r.random() == first
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before[0]


def test_virtual_time_costs_nothing_and_arguments_are_passed_on():
    async def main(seconds: float) -> float:
        began = trio.current_time()
        await trio.sleep(seconds)
        return trio.current_time() - began

    assert run_in_virtual_time(main, 86_400.0) == 86_400.0
