"""How long the garbage collector held everything up.

`gc.callbacks` belongs to the process, and so do the pauses: each daemon in it hears of all of them, through a callback
of its own that is gone when the daemon is.
"""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

BOUNDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)
"""Upper bounds, in seconds, of the classes that pauses are sorted into; the last class has none."""
GENERATIONS: Final = 3


class Pauses:
    """The pauses so far, by generation: `counts` for each class of `BOUNDS` (not cumulated) and `seconds` in all.

    The clock is the system's, not trio's: a collection may come in a worker thread, where trio has no clock.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.counts = [[0] * (len(BOUNDS) + 1) for _ in range(GENERATIONS)]
        self.seconds = [0.0] * GENERATIONS
        self._now = now
        self._began = 0.0

    def heard(self, phase: str, info: Mapping[str, int]) -> None:
        """What `gc.callbacks` wants: called at the start and at the end of each collection."""
        if phase == "start":
            self._began = self._now()
            return
        pause = self._now() - self._began
        generation = min(info["generation"], GENERATIONS - 1)
        self.seconds[generation] += pause
        self.counts[generation][sum(pause > bound for bound in BOUNDS)] += 1


@contextmanager
def hearing(callback: Callable[[str, dict[str, int]], object]) -> Iterator[None]:
    """Have `callback` called at the start and at the end of each collection, while the block lasts."""
    gc.callbacks.append(callback)
    try:
        yield
    finally:
        gc.callbacks.remove(callback)


@contextmanager
def watch_pauses() -> Iterator[Pauses]:
    """Record pauses while the block lasts."""
    pauses = Pauses()
    with hearing(pauses.heard):
        yield pauses
