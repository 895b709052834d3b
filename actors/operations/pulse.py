"""The pulse: what the daemon measures of itself, told on `system_metrics` for as long as anybody listens.

Everything is read from what is counted anyway. Only the loop's lag has to be sampled, several times in an interval, and
that is done only while somebody listens; else the pulse looks once an interval whether somebody does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.operations.channels import Channels
from actors.protocol.channel_events import Channel, MetricsView
from actors.protocol.timestamp import format_timestamp
from runtime import Actor

if TYPE_CHECKING:
    from actors.operations.counters import DaemonCounters
    from actors.protocol.stamps import Stamps
    from runtime import System

SAMPLES: Final = 20
"""Of the loop's lag, in an interval."""


@attrs.frozen
class Reading:
    """What the counters said at a time."""

    at: float
    committed: int
    sent: int


@attrs.frozen
class _Sample:
    """The pulse's own timer; `due` is when it was to come."""

    due: float


def take_reading(counters: DaemonCounters, now: float) -> Reading:
    return Reading(now, counters.events_committed, counters.events_sent)


def rate(before: int, after: int, seconds: float) -> float:
    """So many a second; 0 where no time has passed."""
    return round((after - before) / seconds, 1) if seconds > 0 else 0.0


def children_of(system: System, name: str) -> int:
    """How many children a child of the root has, read where it is kept: a snapshot of the tree would cost much more."""
    root = system.root
    cell = None if root is None else root.children.get(name)
    return 0 if cell is None else len(cell.children)


class Pulse(Actor):
    """See the module.

    Args:
        counters: what the daemon counts.
        stamps: for ids and times.
        interval: seconds between two measurements.
    """

    def __init__(self, counters: DaemonCounters, stamps: Stamps, interval: float) -> None:
        self._counters = counters
        self._stamps = stamps
        self._interval = interval
        self._lag = 0.0
        self._last = Reading(0.0, 0, 0)

    async def started(self) -> None:
        self._channels = Channels(self.system, self._stamps)
        self._begin()
        self._again(self._interval)

    async def receive(self, message: object) -> object:
        if isinstance(message, _Sample):
            now = self.now()
            if self._channels.listened(Channel.SYSTEM_METRICS):
                self._lag = max(self._lag, now - message.due)
                if now - self._last.at >= self._interval:
                    self._channels.system_metrics(self._measure(now))
                    self._begin()
                self._again(self._interval / SAMPLES)
            else:
                self._begin()
                self._again(self._interval)
        return None

    def _again(self, seconds: float) -> None:
        self.timer("sample", seconds, _Sample(self.now() + seconds))

    def _begin(self) -> None:
        """What is told next is counted from now."""
        self._last = take_reading(self._counters, self.now())
        self._lag = 0.0

    def _measure(self, now: float) -> MetricsView:
        counters, last = self._counters, self._last
        reading = take_reading(counters, now)
        seconds = now - last.at
        return MetricsView(
            measured_at=format_timestamp(self._stamps.wall()),
            seconds=round(seconds, 3),
            connections=counters.connections_open,
            users=children_of(self.system, "users"),
            runs=children_of(self.system, "runs"),
            events_committed_per_second=rate(last.committed, reading.committed, seconds),
            events_sent_per_second=rate(last.sent, reading.sent, seconds),
            loop_lag_ms=round(self._lag * 1000, 1),
            restarts=counters.restarts.total(),
            isolation_violations=counters.isolation_violations,
        )
