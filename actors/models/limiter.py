"""How fast one endpoint may be asked: a decision, with the time passed in.

**Semantics.** A bucket of requests and a bucket of tokens. What is taken from a bucket comes back sixty seconds after
it was taken, all at once: that is a window of the last minute that slides with every grant. So never more than the
limit is granted in *any* sixty seconds, wherever they begin. The usual bucket, which fills evenly and begins full,
grants up to twice its limit in a minute that begins with a burst; to keep it from that, it must be smaller than the
limit, and then it turns away what the provider would have taken. The price is a record for each request of the last
minute.

Tokens are reserved when a request is granted and corrected when it is settled: what was not used is free at once, what
was used beyond the reservation is owed, and holds back those that follow.

**Which limits.** For requests and for tokens, each on its own: as configured, else what the provider's `x-ratelimit-*`
headers say, read as limits a minute. In flight: as configured; where neither a rate is configured nor the provider has
named one, 20. An endpoint on a loopback address has only the limits that are configured for it. A target that asked to
be left alone (`park`) is left alone whatever its address.

Who waits, and in which order, is the gate's affair. The limiter looks only at the one who is asked about: a request
larger than the tokens that are free holds nobody back here, and the gate must not let smaller ones pass it for ever.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from typing import TYPE_CHECKING, Literal

import attrs

from actors.models.endpoint import Endpoint, is_loopback

if TYPE_CHECKING:
    from collections.abc import Hashable

    from actors.models.provider_limits import ProviderLimits

WINDOW = 60.0
"""Seconds."""

IN_FLIGHT_UNTIL_KNOWN = 20
"""Requests at a time while nobody has said what the endpoint takes."""

# A grant that is due at `at + 60` must be due also when that sum was reached by another way of adding.
_ROUNDING = 1e-6

Reason = Literal["parked", "requests", "tokens", "in_flight"]
Source = Literal["configured", "provider", "default", "none"]


@attrs.frozen(eq=False)
class Lease:
    """The right to make one request. Compared by identity; settle it once, when the request is over.

    `tokens` is what was reserved. It ends by itself at `expires_at`, so that a settlement that was lost costs a slot
    for a while and not for ever.
    """

    holder: Hashable
    tokens: int
    granted_at: float
    expires_at: float


@attrs.frozen
class Granted:
    """The request may be made now."""

    lease: Lease


@attrs.frozen
class Wait:
    """Not now. Asking again after `seconds` (at `until`) succeeds, if nothing else is granted in between.

    Infinite where only a settlement can make room. `reason` is what holds longest.
    """

    seconds: float
    until: float
    reason: Reason


@attrs.frozen
class LimiterStatus:
    """What an operator sees. Requests and tokens are those of the last minute; limits None where there are none."""

    requests: int
    requests_limit: int | None
    tokens: int
    tokens_limit: int | None
    in_flight: int
    in_flight_limit: int | None
    parked_for: float
    source: Source


@attrs.define(eq=False)
class _Spent:
    at: float
    tokens: int
    requests: int
    counted: bool = False  # it is in the totals


class Limiter:
    """The limits of one endpoint. All times are of one clock and never go back."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._configured_requests = endpoint.requests_per_minute
        self._configured_tokens = endpoint.tokens_per_minute
        self._configured_in_flight = endpoint.in_flight
        self._loopback = is_loopback(endpoint.base_url)
        self._learned_requests: int | None = None
        self._learned_tokens: int | None = None
        self._spent: deque[_Spent] = deque()  # by time; what is older than a minute is dropped
        self._requests = 0
        self._tokens = 0
        self._leases: dict[Lease, _Spent] = {}
        self._next_end = math.inf  # no lease ends by itself before
        self._parked_until = -math.inf
        self._requests_at = -math.inf  # the provider has no request left until then
        self._tokens_at = -math.inf

    @property
    def requests_limit(self) -> int | None:
        return self._configured_requests or self._learned_requests

    @property
    def tokens_limit(self) -> int | None:
        return self._configured_tokens or self._learned_tokens

    @property
    def in_flight_limit(self) -> int | None:
        if self._configured_in_flight is not None:
            return self._configured_in_flight
        known = self.requests_limit is not None or self.tokens_limit is not None
        return None if known or self._loopback else IN_FLIGHT_UNTIL_KNOWN

    def reserve(self, now: float, tokens: int, holder: Hashable, *, lasts: float = math.inf) -> Granted | Wait:
        """Takes a request and `tokens` for `holder`, or says how long to wait, and then takes nothing.

        More tokens than a minute's allowance are granted when the whole allowance is free: what such a request comes to
        is for the provider to say. `lasts` (seconds) bounds the lease.
        """
        self.prune(now)
        limit = self.tokens_limit
        tokens = max(tokens, 0) if limit is None else min(max(tokens, 0), limit)
        until, reason = self._free_at(now, tokens)
        if until > now:
            return Wait(until - now, until, reason)
        lease = Lease(holder, tokens, now, now + lasts)
        spent = _Spent(now, tokens, 1)
        self._spent.append(spent)
        self._hold(lease, spent)
        return Granted(lease)

    def settle(self, lease: Lease, tokens_used: int, now: float) -> bool:
        """The request is over and has used so many tokens. False where the lease is not held (any more)."""
        spent = self._leases.pop(lease, None)
        if spent is None:
            return False
        self._correct(spent, requests=1, tokens=max(tokens_used, 0))
        self.prune(now)
        return True

    def give_back(self, lease: Lease, now: float) -> bool:
        """The request was never sent: neither it nor its tokens count. False where the lease is not held."""
        spent = self._leases.pop(lease, None)
        if spent is None:
            return False
        self._correct(spent, requests=0, tokens=0)
        self.prune(now)
        return True

    def end_holder(self, holder: Hashable, now: float) -> int:
        """The holder has gone: its leases end, and count as reserved, because nobody knows better. Says how many."""
        ended = [lease for lease in self._leases if lease.holder == holder]
        for lease in ended:
            del self._leases[lease]
        self.prune(now)
        return len(ended)

    def restore(self, lease: Lease, now: float) -> None:
        """Takes up a lease that an earlier limiter of the same endpoint had granted. Twice is once."""
        if lease in self._leases or lease.expires_at <= now:
            return
        spent = _Spent(lease.granted_at, lease.tokens, 1)
        bisect.insort(self._spent, spent, key=lambda other: other.at)
        self._hold(lease, spent)
        self.prune(now)

    def park(self, until: float) -> None:
        """Grants nothing before `until`. A longer parking stands."""
        self._parked_until = max(self._parked_until, until)

    def learn(self, limits: ProviderLimits, now: float) -> None:
        """Takes what an answer's headers said. What is configured stands; a loopback endpoint teaches nothing."""
        if self._loopback:
            return
        self._learned_requests = limits.limit_requests or self._learned_requests
        self._learned_tokens = limits.limit_tokens or self._learned_tokens
        # Others may use the same account: our own count cannot know that nothing is left. A reset is the time until
        # *all* is free again, hours where the limit is one a day; a refusal with Retry-After then says it better.
        if limits.remaining_requests == 0 and limits.reset_requests is not None and self._configured_requests is None:
            self._requests_at = now + min(limits.reset_requests, WINDOW)
        if limits.remaining_tokens == 0 and limits.reset_tokens is not None and self._configured_tokens is None:
            self._tokens_at = now + min(limits.reset_tokens, WINDOW)

    def prune(self, now: float) -> None:
        """Drops what is over: records older than a minute, leases past their end."""
        while self._spent and self._left(self._spent[0]) <= now:
            self._count(self._spent.popleft(), counted=False)
        if self._next_end <= now:
            self._leases = {lease: spent for lease, spent in self._leases.items() if lease.expires_at > now}
            self._next_end = min((lease.expires_at for lease in self._leases), default=math.inf)

    def status(self, now: float) -> LimiterStatus:
        self.prune(now)
        source: Source = "none"
        if (self._configured_requests or self._configured_tokens or self._configured_in_flight) is not None:
            source = "configured"
        elif (self._learned_requests or self._learned_tokens) is not None:
            source = "provider"
        elif not self._loopback:
            source = "default"
        return LimiterStatus(
            requests=self._requests,
            requests_limit=self.requests_limit,
            tokens=self._tokens,
            tokens_limit=self.tokens_limit,
            in_flight=len(self._leases),
            in_flight_limit=self.in_flight_limit,
            parked_for=max(0.0, self._parked_until - now),
            source=source,
        )

    def _free_at(self, now: float, tokens: int) -> tuple[float, Reason]:
        times: list[tuple[float, Reason]] = [(self._parked_until, "parked")]
        times.append((max(self._requests_at, self._request_free_at(now)), "requests"))
        times.append((max(self._tokens_at, self._tokens_free_at(now, tokens)), "tokens"))
        limit = self.in_flight_limit
        if limit is not None and len(self._leases) >= limit:
            ends = sorted(lease.expires_at for lease in self._leases)
            times.append((ends[len(ends) - limit], "in_flight"))
        return max(times, key=lambda time: time[0])

    def _request_free_at(self, now: float) -> float:
        limit = self.requests_limit
        excess = 0 if limit is None else self._requests + 1 - limit
        for spent in self._spent if excess > 0 else ():
            excess -= spent.requests
            if excess <= 0:
                return self._left(spent)
        return now

    def _tokens_free_at(self, now: float, tokens: int) -> float:
        limit = self.tokens_limit
        excess = 0 if limit is None else self._tokens + tokens - limit
        for spent in self._spent if excess > 0 else ():
            excess -= spent.tokens
            if excess <= 0:
                return self._left(spent)
        return now

    @staticmethod
    def _left(spent: _Spent) -> float:
        return spent.at + WINDOW - _ROUNDING

    def _hold(self, lease: Lease, spent: _Spent) -> None:
        self._count(spent, counted=True)
        self._leases[lease] = spent
        self._next_end = min(self._next_end, lease.expires_at)

    def _count(self, spent: _Spent, *, counted: bool) -> None:
        sign = 1 if counted else -1
        spent.counted = counted
        self._requests += sign * spent.requests
        self._tokens += sign * spent.tokens

    def _correct(self, spent: _Spent, *, requests: int, tokens: int) -> None:
        if spent.counted:  # else its minute is over, and there is nothing left to correct
            self._requests += requests - spent.requests
            self._tokens += tokens - spent.tokens
        spent.requests, spent.tokens = requests, tokens
