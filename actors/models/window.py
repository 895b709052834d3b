"""What was asked of one endpoint in the last minute, and by whom: a record for each request, and totals.

What is taken comes back sixty seconds after it was taken, all at once; see `limiter` for why.
"""

from __future__ import annotations

import bisect
import math
from collections import deque

import attrs

WINDOW = 60.0
"""Seconds."""

# A grant that is due at `at + 60` must be due also when that sum was reached by another way of adding.
_ROUNDING = 1e-6


@attrs.define(eq=False)
class Spent:
    """One request: when, of how many tokens, for whom. `requests` is 0 for one that was never sent."""

    at: float
    tokens: int
    requests: int
    user: str
    counted: bool = False  # it is in the totals


@attrs.define
class Used:
    """Requests and tokens of the last minute."""

    requests: int = 0
    tokens: int = 0


class Window:
    """The last minute. All times are of one clock and never go back."""

    def __init__(self) -> None:
        self._spent: deque[Spent] = deque()  # by time; what is older than a minute is dropped
        self.total = Used()
        self._users: dict[str, Used] = {}

    @property
    def users(self) -> int:
        """How many have asked."""
        return len(self._users)

    def of(self, user: str) -> Used:
        return self._users.get(user) or Used()

    def add(self, spent: Spent) -> None:
        """A request; also one that was made a while ago."""
        if not self._spent or spent.at >= self._spent[-1].at:
            self._spent.append(spent)
        else:
            bisect.insort(self._spent, spent, key=lambda other: other.at)
        spent.counted = True
        self._count(spent, 1)

    def correct(self, spent: Spent, *, requests: int, tokens: int) -> None:
        """What a request has really come to. After its minute there is nothing left to correct."""
        if spent.counted:
            self._count(spent, -1)
        spent.requests, spent.tokens = requests, tokens
        if spent.counted:
            self._count(spent, 1)

    def prune(self, now: float) -> None:
        """Drops what is older than a minute."""
        while self._spent and leaves_at(self._spent[0]) <= now:
            spent = self._spent.popleft()
            spent.counted = False
            self._count(spent, -1)

    def next_change(self) -> float:
        """When the oldest request leaves; infinite where there is none."""
        return leaves_at(self._spent[0]) if self._spent else math.inf

    def request_free_at(self, now: float, limit: int | None) -> float:
        """When another request fits in."""
        excess = 0 if limit is None else self.total.requests + 1 - limit
        for spent in self._spent if excess > 0 else ():
            excess -= spent.requests
            if excess <= 0:
                return leaves_at(spent)
        return now

    def tokens_free_at(self, now: float, limit: int | None, tokens: int) -> float:
        """When so many tokens more fit in."""
        excess = 0 if limit is None else self.total.tokens + tokens - limit
        for spent in self._spent if excess > 0 else ():
            excess -= spent.tokens
            if excess <= 0:
                return leaves_at(spent)
        return now

    def _count(self, spent: Spent, sign: int) -> None:
        used = self._users.setdefault(spent.user, Used())
        for one in (self.total, used):
            one.requests += sign * spent.requests
            one.tokens += sign * spent.tokens
        if not used.requests and not used.tokens:
            del self._users[spent.user]


def leaves_at(spent: Spent) -> float:
    return spent.at + WINDOW - _ROUNDING
