"""One sleep for all who wait for the same moment.

A task that sleeps in trio pays for a cancel scope, its deadline, and a Cancelled that is raised and caught: as much as
for all that it then does with a piece of text. Hundreds of streams that wake up at the same moments need one such sleep
between them. The first who waits for a moment sleeps, and wakes the others; there is no task for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio
from trio.lowlevel import Abort, current_task, reschedule, wait_task_rescheduled

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.lowlevel import Task

EVERY: Final = 0.01
"""Seconds between two ticks."""

CROWD: Final = 16
"""So many more at one tick than at another keep each other waiting for longer than a waking up costs."""


class Ticks:
    """Made once for all who are to wake up together."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[Task]] = {}  # without the one that sleeps

    def quieter(self, one: int, other: int) -> int:
        """Of two ticks `other`, unless a crowd more waits for that one: a few are better off together."""
        return one if self.waiting(one) + CROWD <= self.waiting(other) else other

    def waiting(self, tick: int) -> int:
        """How many wait for it."""
        others = self._waiting.get(tick)
        return 0 if others is None else 1 + len(others)

    async def wait(self, tick: int) -> None:
        """Return at `tick * EVERY` of trio's clock, or at once behind it; a checkpoint in any case.

        Cancelled, it raises like any wait, and those who wait for the same tick go on waiting.
        """
        while True:
            others = self._waiting.get(tick)
            if others is None:
                await self._sleep(tick)
            else:
                await _wait_among(others)
            # Whoever slept for this one may have been cancelled before the time: then another has to.
            if trio.current_time() >= tick * EVERY:
                return

    async def _sleep(self, tick: int) -> None:
        others: list[Task] = []
        self._waiting[tick] = others
        try:
            await trio.sleep_until(tick * EVERY)
        finally:
            del self._waiting[tick]
            for task in others:
                reschedule(task)


async def _wait_among(others: list[Task]) -> None:
    task = current_task()
    others.append(task)

    def abort(_raise_cancel: Callable[[], Any]) -> Abort:
        others.remove(task)
        return Abort.SUCCEEDED

    await wait_task_rescheduled(abort)
