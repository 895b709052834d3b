"""One wheel for every deadline and timer of a system.

A trio cancel scope per ask costs a third of the rate of asks. Here a deadline is an entry in a bucket of one
millisecond: adding and removing it are two dict operations, and one task sleeps until the next bucket.

Entries fire in the order (tick, order of adding). Trio breaks ties between deadlines by object address, so a seeded
schedule could not be repeated with scopes.

An entry never fires before its deadline, and at most one tick after it (plus whatever the loop is late). Buckets whose
entries were all removed are dropped whenever the number of ticks has doubled, so the memory follows the entries that
are alive, not the asks that were ever made.
"""

from __future__ import annotations

import heapq
from math import ceil
from typing import TYPE_CHECKING, Protocol, TypeAlias

import trio
from trio.lowlevel import enable_ki_protection

from runtime._errors import InvalidSpec

if TYPE_CHECKING:
    from collections.abc import Callable

TICKS_PER_SECOND = 1000
_SWEEP_AT_LEAST = 1024


class Entry(Protocol):
    """Something with a deadline."""

    def fire(self) -> None:
        """The deadline has come. Must not raise, and must not await."""


Bucket: TypeAlias = dict[Entry, None]


class Wheel:
    """Deadlines ordered by (tick, sequence), fired by one task."""

    __slots__ = ("_buckets", "_next", "_scope", "_sweep_at", "_ticks", "now")

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._buckets: dict[int, Bucket] = {}
        self._ticks: list[int] = []
        self._sweep_at = _SWEEP_AT_LEAST
        self._scope: trio.CancelScope | None = None
        self._next = -1

    def __len__(self) -> int:
        """How many entries wait."""
        return sum(map(len, self._buckets.values()))

    @property
    def buckets(self) -> int:
        """How many buckets are held, the empty ones included."""
        return len(self._buckets)

    def add(self, deadline: float, entry: Entry) -> Bucket:
        """Have `entry.fire()` called at `deadline` (trio clock, seconds). Remove it with `bucket.pop(entry, None)`."""
        try:
            tick = ceil(deadline * TICKS_PER_SECOND)
        except (OverflowError, ValueError):
            raise InvalidSpec("within", deadline, "a finite number of seconds") from None
        bucket = self._buckets.get(tick)
        if bucket is None:
            if len(self._ticks) >= self._sweep_at:
                self._sweep()
            bucket = self._buckets[tick] = {}
            heapq.heappush(self._ticks, tick)
            if self._scope is not None and (tick < self._next or self._next < 0):
                self._next = tick
                self._scope.deadline = tick / TICKS_PER_SECOND
        bucket[entry] = None
        return bucket

    def _sweep(self) -> None:
        self._buckets = {tick: bucket for tick, bucket in self._buckets.items() if bucket}
        self._ticks = sorted(self._buckets)
        self._sweep_at = max(_SWEEP_AT_LEAST, 2 * len(self._ticks))

    @enable_ki_protection
    async def run(self) -> None:
        """Fire what is due, for ever. The one task of the wheel."""
        while True:
            ticks = self._ticks
            while ticks and not self._buckets[ticks[0]]:
                del self._buckets[heapq.heappop(ticks)]
            with trio.CancelScope() as self._scope:
                self._next = ticks[0] if ticks else -1
                if ticks:
                    self._scope.deadline = ticks[0] / TICKS_PER_SECOND
                await trio.sleep_forever()
            self.fire_due()

    def fire_due(self) -> None:
        """Fire every entry whose tick has come."""
        now = self.now()
        while self._ticks and self._ticks[0] / TICKS_PER_SECOND <= now:
            bucket = self._buckets.pop(heapq.heappop(self._ticks))
            while bucket:
                entry = next(iter(bucket))
                del bucket[entry]
                entry.fire()
