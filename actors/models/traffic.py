"""What was measured at one gate: how many were let through, and how long they waited. Outlives the gate."""

from __future__ import annotations

from collections import deque

import attrs

RECENT = 500
"""Grants over whose waiting times the figures are taken."""


@attrs.frozen
class TrafficStatus:
    """Counts since the daemon started; waiting times in seconds, of the last 500 grants, 0 while there were none.

    Attributes:
        granted: leases.
        turned_away: refused with `Busy`: too many waited, or for too long.
        throttled: refused by the provider with 429.
    """

    granted: int
    turned_away: int
    throttled: int
    wait_mean: float
    wait_p95: float
    wait_longest: float


class Traffic:
    """The figures as they grow."""

    def __init__(self) -> None:
        self.granted = 0
        self.turned_away = 0
        self.throttled = 0
        self._waits: deque[float] = deque(maxlen=RECENT)

    def grant(self, waited: float) -> None:
        self.granted += 1
        self._waits.append(waited)

    def status(self) -> TrafficStatus:
        waits = sorted(self._waits) or [0.0]
        return TrafficStatus(
            granted=self.granted,
            turned_away=self.turned_away,
            throttled=self.throttled,
            wait_mean=sum(waits) / len(waits),
            wait_p95=waits[(len(waits) * 95 - 1) // 100],
            wait_longest=waits[-1],
        )
