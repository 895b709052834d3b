"""The garbage collector, set up for a process that holds ten thousands of long-lived objects for months.

Untouched, the collector looks at all of them again and again: with ten thousand connections a full collection stops
everything for more than half a second. The actors leave no cycles, so there is little for it to find. So it runs less
often, and what has survived it is frozen: moved out of its sight. What is frozen is freed as ever when nobody refers to
it; only cycles that were frozen stay. To find those, everything is looked at again whenever twice as much is frozen as
after the last such look: in steps of growth, and never while the number stays the same.

It belongs to the process, so the program does it, not the daemon: two daemons in one process share one collector.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

THRESHOLDS: Final = (10_000, 20, 50)
LOOK_EVERY: Final = 30.0
AT_LEAST: Final = 200_000
"""Objects below which nothing has grown that matters."""


class Collector:
    """What the block of `tuned_collector` gives."""

    def __init__(self) -> None:
        self._whole = 0
        self.look_at_all()

    def look_at_all(self) -> None:
        """A full collection; what survives is frozen. Some hundred nanoseconds an object."""
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._whole = max(AT_LEAST, gc.get_freeze_count())

    @property
    def has_grown(self) -> bool:
        """Whether twice as much is frozen as after the last look at everything."""
        return gc.get_freeze_count() > 2 * self._whole

    async def watch(self) -> None:
        """Look at everything again in steps of growth, until cancelled."""
        while True:
            await trio.sleep(LOOK_EVERY)
            if self.has_grown:
                self.look_at_all()

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
    gc.callbacks.append(Collector.freeze_survivors)
    try:
        yield collector
    finally:
        gc.callbacks.remove(Collector.freeze_survivors)
        gc.set_threshold(*before)
        gc.unfreeze()
