"""The garbage collector, set up for a process that holds ten thousands of long-lived objects for months.

Untouched, the collector looks at all of them again and again: with ten thousand connections a full collection stops
everything for more than half a second. The actors leave no cycles, so there is little for it to find. So what has
survived it is frozen: moved out of its sight. It has then never more to look at than what has come since: some ten
milliseconds' worth, also while thousands connect. What is frozen is freed as ever when nobody refers to it; only cycles
that were frozen stay.

To find those, everything is looked at again when twice as much is frozen as after the last such look, what the tasks
that live by now account for left out: ten thousand more connections are growth, and no reason to stop them all.

It belongs to the process, so the program does it, not the daemon: two daemons in one process share one collector. It
is set up before the daemon is imported, which by itself would be looked at a dozen times.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

THRESHOLDS: Final = (10_000, 2, 1_000)
"""New objects after which the youngest are looked at, and how many such looks before what has survived is frozen:
30,000 to 40,000 objects, 15 ms. The last is never reached: freezing begins to count anew."""
LOOK_EVERY: Final = 30.0
AT_LEAST: Final = 200_000
"""Objects below which nothing has grown that matters: the modules alone have 150,000."""
EACH_TASK: Final = 60
"""Objects that an idle connection and its user's context have for each of their three tasks: 53."""
MOST_AT_ONCE: Final = 40_000
"""Objects frozen at a time, at most. Counting all that are frozen takes a tenth of a second a million, so that is done
only where by this there may be enough of them."""


class Collector:
    """What the block of `tuned_collector` gives."""

    def __init__(self) -> None:
        self._whole = self._counted = self._freezes = 0
        self.look_at_all(0)

    def look_at_all(self, tasks: int) -> None:
        """A full collection, while `tasks` live; what survives is frozen. Some hundred nanoseconds an object."""
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._count()
        self._whole = max(AT_LEAST, self._counted - EACH_TASK * tasks)

    def _count(self) -> None:
        self._counted = gc.get_freeze_count()
        self._freezes = 0

    def has_grown(self, tasks: int) -> bool:
        """Whether twice as much is frozen as after the last look at everything, besides what `tasks` account for."""
        enough = 2 * self._whole + EACH_TASK * tasks
        if self._counted + self._freezes * MOST_AT_ONCE <= enough:
            return False
        self._count()
        return self._counted > enough

    async def watch(self) -> None:
        """Look at everything again in steps of growth, until cancelled."""
        while True:
            await trio.sleep(LOOK_EVERY)
            tasks = trio.lowlevel.current_statistics().tasks_living
            if self.has_grown(tasks):
                self.look_at_all(tasks)

    def freeze_survivors(self, phase: str, info: dict[str, Any]) -> None:
        """For `gc.callbacks`."""
        if phase == "stop" and info["generation"] >= 1:
            gc.freeze()
            self._freezes += 1


@contextmanager
def tuned_collector() -> Iterator[Collector]:
    """The collector of this process as described, for the length of the block."""
    before = gc.get_threshold()
    gc.set_threshold(*THRESHOLDS)
    collector = Collector()
    freeze = collector.freeze_survivors
    gc.callbacks.append(freeze)
    try:
        yield collector
    finally:
        gc.callbacks.remove(freeze)
        gc.set_threshold(*before)
        gc.unfreeze()
