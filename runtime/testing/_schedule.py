"""Seeded schedules: the same seed gives the same order of tasks, another seed another one.

Trio shuffles the tasks of each pass, so that no program comes to rely on their order. With a seed the shuffle is a
function of that seed: the tasks of a pass are sorted by the order of their making, then shuffled by a generator that
was seeded. That switch is trio's own and private; it is the one that hypothesis uses. Together with a `MockClock`,
and a kernel that never iterates over a set or orders by address, a failing schedule can be had again.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from trio._core import _run as trio_run
from trio.testing import MockClock

from runtime._cells import cell_of, cells_of_run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from runtime._cell import Cell

T = TypeVar("T")


@contextmanager
def seeded_schedule(seed: int) -> Iterator[None]:
    """Have trio order tasks by `seed` within the block: enter it around `trio.run`, or inside, where all is quiet.

    What trio did before is restored at the end.
    """
    scheduler: Any = trio_run
    before, state = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate()  # noqa: SLF001
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # noqa: SLF001
    scheduler._r.seed(seed)  # noqa: SLF001
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before  # noqa: SLF001
        scheduler._r.setstate(state)  # noqa: SLF001


def run_in_virtual_time(
    function: Callable[..., Awaitable[T]],
    *args: Any,
    seed: int | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> T:
    """`trio.run`, with a clock that jumps to the next deadline whenever every task waits.

    An hour of virtual time costs nothing. With `seed`, the schedule is a function of the seed.

        async def main():
            await trio.sleep(3600)

        run_in_virtual_time(main, seed=7)
    """
    with nullcontext() if seed is None else seeded_schedule(seed):
        return trio.run(function, *args, clock=MockClock(autojump_threshold=0), instruments=list(instruments))


class ScheduleTrace(trio.abc.Instrument):
    """Writes down who ran, step by step: the path of the actor, or the name of the task.

        trace = ScheduleTrace()
        run_in_virtual_time(main, seed=7, instruments=[trace])
        assert trace.steps == what_it_was_before

    Attributes:
        steps: one entry for each time that a task was run.
    """

    def __init__(self) -> None:
        self.steps: list[str] = []
        self._own: Cell | None = None  # looked up before the step too: in its last one a task is forgotten

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._own = cells_of_run().get(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        cell = self._own or cell_of(task)
        self.steps.append(task.name if cell is None else cell.ref.path)
