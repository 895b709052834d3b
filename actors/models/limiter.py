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
named one, 20. An endpoint on a loopback address has only the limits that are configured for it. Where nobody has named
a limit, a refusal (429) shows that there is one: see `adaptive`. A target that asked to be left alone (`park`) is left
alone whatever its address.

Who waits, and in which order, is the gate's affair. The limiter looks only at the one who is asked about: a request
larger than the tokens that are free holds nobody back here, and the gate must not let smaller ones pass it for ever.

**Whose.** A limiter is kept beside the gate, like the ledger, and outlives it: a gate that comes back knows the last
minute, what is parked, and what was granted. Only who of the holders is still alive it has to hear (`forget_holders`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import attrs

from actors.models.adaptive import Adaptive
from actors.models.endpoint import Endpoint, is_loopback
from actors.models.fair_line import may_take
from actors.models.window import WINDOW, Spent, Used, Window

if TYPE_CHECKING:
    from collections.abc import Hashable

    from actors.models.provider_limits import ProviderLimits

IN_FLIGHT_UNTIL_KNOWN = 20
"""Requests at a time while nobody has said what the endpoint takes."""

Reason = Literal["parked", "requests", "tokens", "in_flight", "share"]
Source = Literal["configured", "provider", "adaptive", "default", "none"]


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
    user: str = ""


@attrs.frozen
class Granted:
    """The request may be made now."""

    lease: Lease


@attrs.frozen
class Wait:
    """Not now. Asking again after `seconds` (at `until`) succeeds, if nothing else is granted in between.

    Infinite where only a settlement can make room. `reason` is what holds longest; `share` is said by the gate.
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


class Limiter:
    """The limits of one endpoint. All times are of one clock and never go back."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._configured_requests = endpoint.requests_per_minute
        self._configured_tokens = endpoint.tokens_per_minute
        self._configured_in_flight = endpoint.in_flight
        self._loopback = is_loopback(endpoint.base_url)
        self._learned_requests: int | None = None
        self._learned_tokens: int | None = None
        self._adaptive = Adaptive()
        self._window = Window()
        self._leases: dict[Lease, Spent] = {}
        self._in_flight: dict[str, int] = {}  # leases of each user
        self._unheard: set[Lease] = set()  # granted by an earlier gate, and not heard of since
        self._next_end = math.inf  # no lease ends by itself before
        self._parked_until = -math.inf
        self._requests_at = -math.inf  # the provider has no request left until then
        self._tokens_at = -math.inf

    @property
    def requests_limit(self) -> int | None:
        return self._configured_requests or self._learned_requests or self._adaptive.requests

    @property
    def tokens_limit(self) -> int | None:
        return self._configured_tokens or self._learned_tokens

    @property
    def in_flight_limit(self) -> int | None:
        if self._configured_in_flight is not None:
            return self._configured_in_flight
        known = self._learned_or_configured() is not None or self._loopback
        found = self._adaptive.in_flight
        return found if known else found or IN_FLIGHT_UNTIL_KNOWN

    def _learned_or_configured(self) -> int | None:
        return self._configured_requests or self._configured_tokens or self._learned_requests or self._learned_tokens

    def shares(self, now: float, tokens: int, user: str) -> bool:
        """Whether a request of so many tokens leaves the other users their part. See `fair_line`."""
        self.prune(now)
        own, total, users = self._window.of(user), self._window.total, self._window.users
        users += not (own.requests or own.tokens)
        others = Used(total.requests - own.requests, total.tokens - own.tokens)
        times, flying = others.requests, self._in_flight.get(user, 0)
        limit = None if self._try_at() <= now else self.requests_limit
        return (
            may_take(limit, own=own.requests, others=others.requests, wanted=1, users=users, times=times)
            and may_take(
                self.tokens_limit, own=own.tokens, others=others.tokens, wanted=tokens, users=users, times=times
            )
            and may_take(
                self.in_flight_limit,
                own=flying,
                others=len(self._leases) - flying,
                wanted=1,
                users=len(self._in_flight),
            )
        )

    def next_change(self, now: float) -> float:
        """When time alone will next have freed something; infinite where only a settlement can."""
        tried = self._try_at()
        return min(self._window.next_change(), tried if tried > now else math.inf)

    def reserve(
        self, now: float, tokens: int, holder: Hashable, *, lasts: float = math.inf, user: str = ""
    ) -> Granted | Wait:
        """Takes a request and `tokens` for `holder`, or says how long to wait, and then takes nothing.

        More tokens than a minute's allowance are granted when the whole allowance is free: what such a request comes to
        is for the provider to say. `lasts` (seconds) bounds the lease.
        """
        wait = self.wait_for(now, tokens)
        if wait is not None:
            return wait
        tokens = self._within(tokens)
        lease = Lease(holder, tokens, now, now + lasts, user)
        spent = Spent(now, tokens, 1, user)
        self._window.add(spent)
        self._hold(lease, spent)
        return Granted(lease)

    def wait_for(self, now: float, tokens: int) -> Wait | None:
        """How long such a request has to wait; None where there is room for it."""
        self.prune(now)
        until, reason = self._free_at(now, self._within(tokens))
        return Wait(until - now, until, reason) if until > now else None

    def _within(self, tokens: int) -> int:
        limit = self.tokens_limit
        return max(tokens, 0) if limit is None else min(max(tokens, 0), limit)

    def settle(self, lease: Lease, tokens_used: int, now: float) -> bool:
        """The request is over and has used so many tokens. False where the lease is not held (any more)."""
        spent = self._let_go(lease)
        if spent is None:
            return False
        self._window.correct(spent, requests=1, tokens=max(tokens_used, 0))
        self.prune(now)
        return True

    def give_back(self, lease: Lease, now: float) -> bool:
        """The request was never sent: neither it nor its tokens count. False where the lease is not held."""
        spent = self._let_go(lease)
        if spent is None:
            return False
        self._window.correct(spent, requests=0, tokens=0)
        self.prune(now)
        return True

    def restore(self, lease: Lease, now: float) -> None:
        """Its holder lives and uses it: takes up a lease that an earlier gate or limiter had granted. Twice is once."""
        self._unheard.discard(lease)
        if lease in self._leases or lease.expires_at <= now:
            return
        spent = Spent(lease.granted_at, lease.tokens, 1, lease.user)
        self._window.add(spent)
        self._hold(lease, spent)
        self.prune(now)

    def forget_holders(self) -> None:
        """The gate has come back, and knows no holder. Until they were asked, nothing that was granted is free."""
        self._unheard = set(self._leases)

    def end_unheard(self, now: float) -> int:
        """The holders have been asked: leases of which none was heard end, and count as reserved. Says how many."""
        gone = [lease for lease in self._unheard if self._let_go(lease) is not None]
        self._unheard.clear()
        self.prune(now)
        return len(gone)

    def answered(self, lease: Lease) -> None:
        """A request was answered: it was not too much. To be told before it is settled."""
        self._adaptive.answered(granted_at=lease.granted_at, requests=self._window.total.requests)

    def refused(self, lease: Lease, now: float) -> None:
        """The provider has refused a request as too much (429); to be told before it is settled."""
        requests = self._window.total.requests
        self._adaptive.refused(now, granted_at=lease.granted_at, in_flight=len(self._leases), requests=requests)

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
        self._window.prune(now)
        if self._next_end <= now:
            for lease in [lease for lease in self._leases if lease.expires_at <= now]:
                self._let_go(lease)
            self._next_end = min((lease.expires_at for lease in self._leases), default=math.inf)

    def status(self, now: float) -> LimiterStatus:
        self.prune(now)
        source: Source = "none"
        if (self._configured_requests or self._configured_tokens or self._configured_in_flight) is not None:
            source = "configured"
        elif (self._learned_requests or self._learned_tokens) is not None:
            source = "provider"
        elif (self._adaptive.requests or self._adaptive.in_flight) is not None:
            source = "adaptive"
        elif not self._loopback:
            source = "default"
        return LimiterStatus(
            requests=self._window.total.requests,
            requests_limit=self.requests_limit,
            tokens=self._window.total.tokens,
            tokens_limit=self.tokens_limit,
            in_flight=len(self._leases),
            in_flight_limit=self.in_flight_limit,
            parked_for=max(0.0, self._parked_until - now),
            source=source,
        )

    def _free_at(self, now: float, tokens: int) -> tuple[float, Reason]:
        times: list[tuple[float, Reason]] = [(self._parked_until, "parked")]
        free_at = min(self._window.request_free_at(now, self.requests_limit), max(now, self._try_at()))
        times.append((max(self._requests_at, free_at), "requests"))
        times.append((max(self._tokens_at, self._window.tokens_free_at(now, self.tokens_limit, tokens)), "tokens"))
        limit = self.in_flight_limit
        if limit is not None and len(self._leases) >= limit:
            ends = sorted(lease.expires_at for lease in self._leases)
            times.append((ends[len(ends) - limit], "in_flight"))
        return max(times, key=lambda time: time[0])

    def _try_at(self) -> float:
        """When one request may be made though the last minute holds more than a limit that was only found by trying.
        Infinite where that is being done, the limit is not found so, or is kept."""
        named, found = self._configured_requests or self._learned_requests, self._adaptive.requests
        over = not named and found is not None and self._window.total.requests > found
        if not over or any(self._adaptive.since_refused(lease.granted_at) for lease in self._leases):
            return math.inf
        return self._adaptive.try_at

    def _hold(self, lease: Lease, spent: Spent) -> None:
        self._leases[lease] = spent
        self._in_flight[lease.user] = self._in_flight.get(lease.user, 0) + 1
        self._next_end = min(self._next_end, lease.expires_at)

    def _let_go(self, lease: Lease) -> Spent | None:
        spent = self._leases.pop(lease, None)
        if spent is not None:
            flying = self._in_flight.pop(lease.user) - 1
            if flying:
                self._in_flight[lease.user] = flying
        return spent
