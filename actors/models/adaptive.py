"""Limits found by trying, where nobody has said them: additive increase, multiplicative decrease.

A provider that refuses (429) has shown that what was asked of it was too much: from then on there are limits, seven
tenths of the requests that were in flight, and of those of the last minute. Refusals of requests that were made before
the decrease belong to it, and do not decrease again. Each answer raises the limits a little: about one more in flight
for each round of answers, and a tenth more a minute for each minute of them. A limit that has grown to four times what
it was cut to has been outlived, and is forgotten.

A refusal does not say whether a minute's allowance is used up or the provider was overloaded for a moment, and the last
minute holds more than the new limit. Rather than wait for it to pass, one request is made beyond it, as TCP does after
a timeout: after a pause that grows with each refusal (RFC 6298, 5.4 to 5.6; fourfold here, since each costs a call one
of its attempts). An answer to it shows that the minute was not what was refused, and this limit is forgotten, as TCP
takes back what it did for a timeout that was none (RFC 4015). If it is refused as well, the limits stand: they had not
been kept.
"""

from __future__ import annotations

import math

from actors.models.retry import FIRST_DELAY

DECREASE = 0.7
FEWEST = 10
"""Requests of the last minute from which on they say something about a limit of requests a minute."""
FORGOTTEN = 4.0
LONGER = 4.0
"""By how much the pause grows before one request is made beyond a limit."""


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

    def disproved(self) -> None:
        """More than that was not too much."""
        self._value = None


class Adaptive:
    """The limits that one endpoint was found to have. Times are trio's, in seconds."""

    def __init__(self) -> None:
        self._in_flight = Ceiling()
        self._requests = Ceiling(step=0.1)
        self._refused_at = -math.inf
        self._pause = 0.0

    @property
    def in_flight(self) -> int | None:
        return self._in_flight.value

    @property
    def requests(self) -> int | None:
        """A minute."""
        return self._requests.value

    @property
    def try_at(self) -> float:
        """From when on one request may be made though the last minute holds too many."""
        return self._refused_at + self._pause

    def since_refused(self, granted_at: float) -> bool:
        """Whether a request that was granted then has anything to say that the last refusal has not."""
        return granted_at > self._refused_at

    def refused(self, now: float, *, granted_at: float, in_flight: int, requests: int) -> None:
        """A request granted at `granted_at` was refused; so many were in flight with it, or made in the last minute."""
        if not self.since_refused(granted_at):
            return
        self._refused_at = now
        self._pause = max(FIRST_DELAY, LONGER * self._pause)
        if self._beyond(requests):
            return
        self._in_flight.refused(in_flight)
        if requests >= FEWEST:
            self._requests.refused(requests)

    def answered(self, *, granted_at: float, requests: int) -> None:
        """A request was answered; both as `refused` has them."""
        self._in_flight.answered()
        self._requests.answered()
        if self.since_refused(granted_at):
            self._pause = 0.0
            if self._beyond(requests):
                self._requests.disproved()

    def _beyond(self, requests: int) -> bool:
        return self.requests is not None and requests > self.requests
