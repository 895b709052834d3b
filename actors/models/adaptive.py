"""Limits found by trying, where nobody has said them: additive increase, multiplicative decrease.

A provider that refuses (429) has shown that what was asked of it was too much: from then on there are limits, seven
tenths of the requests that were in flight, and of those of the last minute. Refusals of requests that were made before
the decrease belong to it, and do not decrease again. Each answer raises the limits a little: about one more in flight
for each round of answers, and a tenth more a minute for each minute of them. A limit that has grown to four times what
it was cut to has been outlived, and is forgotten.
"""

from __future__ import annotations

import math

DECREASE = 0.7
FEWEST = 10
"""Requests of the last minute from which on they say something about a limit of requests a minute."""
FORGOTTEN = 4.0


class Ceiling:
    """One such limit; none (`value` None) until the first refusal. `step` is what answers raise it by, in all, for each
    round of as many answers as it allows, as a portion of itself, and never less than `least`."""

    def __init__(self, *, step: float = 0.0, least: float = 1.0) -> None:
        self._step = step
        self._least = least
        self._value: float | None = None
        self._forget_above = math.inf

    @property
    def value(self) -> int | None:
        return None if self._value is None else max(1, int(self._value))

    def refused(self, measured: float) -> None:
        """So much was too much."""
        below = measured if self._value is None else min(self._value, measured)
        self._value = max(1.0, below * DECREASE)
        self._forget_above = max(self._value * FORGOTTEN, self._value + FORGOTTEN)

    def answered(self) -> None:
        if self._value is None:
            return
        self._value += max(self._least, self._step * self._value) / self._value
        if self._value > self._forget_above:
            self._value = None


class Adaptive:
    """The limits that one endpoint was found to have. Times are trio's, in seconds."""

    def __init__(self) -> None:
        self._in_flight = Ceiling()
        self._requests = Ceiling(step=0.1)
        self._decreased_at = -math.inf

    @property
    def in_flight(self) -> int | None:
        return self._in_flight.value

    @property
    def requests(self) -> int | None:
        """A minute."""
        return self._requests.value

    def refused(self, now: float, *, granted_at: float, in_flight: int, requests: int) -> None:
        """A request granted at `granted_at` was refused; so many were in flight with it, or made in the last minute."""
        if granted_at > self._decreased_at:
            self._decreased_at = now
            self._in_flight.refused(in_flight)
            if requests >= FEWEST:
                self._requests.refused(requests)

    def answered(self) -> None:
        """A request was answered."""
        self._in_flight.answered()
        self._requests.answered()
