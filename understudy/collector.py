"""The garbage collector, set up for a process that holds ten thousands of long-lived objects for months.

Untouched, the collector looks at all of them again and again: with ten thousand connections a full collection stops
everything for more than half a second. The actors leave no cycles, so there is little for it to find. So what has
survived it is frozen: moved out of its sight. It has then never more to look at than what has come since: some ten
milliseconds' worth, also while thousands connect. What is frozen is freed as ever when nobody refers to it; only cycles
that were frozen stay.

To find those, everything is looked at again when there is twice as much as after the last such look, what the tasks
that live by now account for left out: ten thousand more connections are growth, and no reason to stop them all. How
much there is the allocator knows, to within what lies outside of its small blocks. To count what is frozen would be
more to the point, and stop everything for a tenth of a second a million.

It belongs to the process, so the program does it, not the daemon: two daemons in one process share one collector. It
is set up before the daemon is imported, which by itself would be looked at a dozen times.
"""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from actors.operations.pauses import hearing

if TYPE_CHECKING:
    from collections.abc import Iterator

THRESHOLDS: Final = (10_000, 2, 1_000)
"""New objects after which the youngest are looked at, and how many such looks before what has survived is frozen:
30,000 to 40,000 objects, 15 ms. The last is never reached: freezing begins to count anew."""
LOOK_EVERY: Final = 30.0
AT_LEAST: Final = 600_000
"""Blocks of memory below which nothing has grown that matters: the modules alone have 510,000."""
EACH_TASK: Final = 110
"""Blocks that an idle connection and its user's context have for each of their three tasks: 100."""


class Collector:
    """What the block of `tuned_collector` gives."""

    def __init__(self) -> None:
        self._whole = 0
        self.look_at_all(0)

    def look_at_all(self, tasks: int) -> None:
        """A full collection, while `tasks` live; what survives is frozen. Some hundred nanoseconds an object."""
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._whole = max(AT_LEAST, sys.getallocatedblocks() - EACH_TASK * tasks)

    def has_grown(self, tasks: int) -> bool:
        """Whether there is twice as much as after the last look at everything, besides what `tasks` account for."""
        return sys.getallocatedblocks() > 2 * self._whole + EACH_TASK * tasks

    async def watch(self) -> None:
        """Look at everything again in steps of growth, until cancelled."""
        while True:
            await trio.sleep(LOOK_EVERY)
            tasks = trio.lowlevel.current_statistics().tasks_living
            if self.has_grown(tasks):
                self.look_at_all(tasks)

    @staticmethod
    def freeze_survivors(phase: str, info: dict[str, Any]) -> None:
        """For `gc.callbacks`."""
        if phase == "stop" and info["generation"] >= 1:
            gc.freeze()


@contextmanager
def tuned_collector() -> Iterator[Collector]:
    """The collector of this process as described, for the length of the block."""
    before = gc.get_threshold()
    gc.set_threshold(*THRESHOLDS)
    collector = Collector()
    try:
        with hearing(collector.freeze_survivors):
            yield collector
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
