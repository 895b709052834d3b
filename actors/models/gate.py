"""The gate of one endpoint: who may ask it now, and who waits. A gate, not a pipe: the calls run in their agents.

Those who wait are served first come, first served, whatever the size of their requests: a small one that overtook
would keep a large one waiting for ever. What frees a place (a settlement, the end of a holder, the passing of time)
serves the line again; time has one timer.

A gate that restarts has forgotten its leases and the last minute. The holders say `Hold` again; the minute is lost, so
that an endpoint may then be asked up to twice its limit in a minute: a provider that minds says so with a 429.

The ledger is settled here, whether or not the lease is known (any more): how a call came out does not depend on it.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

import attrs

from actors.models.lease import Acquire, Busy, GateStatus, Hold, Lease, Moved, ReadStatus, Settle
from actors.models.limiter import Limiter, Wait
from actors.models.tokens import reservation
from runtime import Actor, Ended, Refused, Restarted
from supervisors import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from actors.models.limiter import Lease as Slot
    from actors.models.resources import EndpointResources
    from runtime import Reason, Ref, ReplyTo
    from supervisors import Ticket

LEASE_MARGIN = 1.0
"""Seconds that a lease outlives the deadline of its call, so that a settlement at the deadline still finds it."""

BUSY = 5.0
"""Seconds after which to try again, where only the end of somebody's call can make room."""


@attrs.frozen
class Wake:
    """To itself: the limiter may have room."""


@attrs.frozen
class Sweep:
    """To itself: a lease may have passed its deadline."""


@attrs.frozen(eq=False)
class _Waiter:
    acquire: Acquire
    ticket: Ticket
    reply: ReplyTo


class Gate(Actor):
    """Grants leases of one endpoint, and takes them back.

    Args:
        resources: of the endpoint.
        lead_of: the resources of a chain's lead, by the chain as configured; None for a chain that is unknown.
        waiting: how many may wait; beyond them an `Acquire` is refused with `Busy`.
        log: for operators.
    """

    def __init__(
        self,
        resources: EndpointResources,
        lead_of: Callable[[tuple[str, ...]], EndpointResources | None],
        waiting: int,
        log: FilteringBoundLogger,
    ) -> None:
        self._resources = resources
        self._ledger = resources.ledger
        self._lead_of = lead_of
        self._limit = waiting
        self._log = log
        self._limiter = Limiter(resources.endpoint)
        self._line: deque[_Waiter] = deque()
        self._leases: dict[Slot, Lease] = {}
        self._holders: dict[Ref[Any], int] = {}  # how many leases and places in the line each has
        self._sweep_at = math.inf  # when the timer for leases past their deadline fires
        self._wait: Wait | None = None  # why the head of the line last had to wait

    async def receive(self, message: Any) -> object:
        match message:
            case Acquire():
                self._queue(message, self.defer())
            case Settle():
                self._settle(message)
            case Hold(lease):
                self._hold(lease)
            case ReadStatus():
                return self._status()
            case Wake():
                self._serve()
            case Sweep():
                self._sweep_at = math.inf
                self._end_leases([lease for lease in self._leases.values() if lease.slot.expires_at <= self.now()])
                for slot in self._leases:
                    self._sweep_by(slot.expires_at)
            case Restarted(ref=ref) | Ended(ref=ref):
                self._holder_has_gone(ref)
        return None

    async def stopped(self, reason: Reason) -> None:
        """Those who wait have been told already; what their tickets occupied is free again."""
        del reason
        for waiter in self._line:
            self._ledger.settle(waiter.ticket, Outcome.CANCELLED, self.now())

    def inspect(self) -> dict[str, Any]:
        return {
            "endpoint": self._resources.name,
            "state": self._ledger.account.state,
            "leases": len(self._leases),
            "waiting": len(self._line),
        }

    # --- the line

    def _queue(self, acquire: Acquire, reply: ReplyTo) -> None:
        # First of all it stands in the line: whatever happens from here on, `stopped` gives its ticket back.
        waiter = _Waiter(acquire, acquire.ticket or self._ledger.force(), reply)
        self._line.append(waiter)
        self._tie(acquire.holder)
        if len(self._line) == 1:
            self._serve()
        if len(self._line) > self._limit:
            self._leave([other for other in self._line if not other.reply.wanted])
        if len(self._line) > self._limit:
            self._leave([waiter], Refused(Busy(self._busy_for(), waiter.ticket)))

    def _serve(self) -> None:
        """Grants from the head of the line for as long as the limiter does."""
        now = self.now()
        while self._line:
            waiter = self._line[0]
            if not waiter.reply.wanted:
                self._leave([waiter])
            elif self._has_moved(waiter.ticket, now):
                self._leave([waiter], Refused(Moved()))
            else:
                acquire = waiter.acquire
                tokens = reservation(acquire.prompt_tokens, acquire.max_tokens, self._limiter.tokens_limit)
                lasts = acquire.deadline + LEASE_MARGIN - now
                decision = self._limiter.reserve(now, tokens, acquire.holder, lasts=lasts)
                if isinstance(decision, Wait):
                    self._wait = decision
                    self.timer("wake", decision.seconds, Wake())
                    return
                self._line.popleft()
                self._grant(waiter, decision.lease)
        self.cancel_timer("wake")

    def _grant(self, waiter: _Waiter, slot: Slot) -> None:
        resources = self._resources
        lead = self._lead_of(waiter.acquire.models) or resources
        lease = Lease(resources.next_lease_number(), self.ref, waiter.ticket, resources, lead, slot, waiter.acquire)
        self._keep(lease)
        waiter.reply.answer(lease)  # it was wanted a moment ago, and nothing has run since

    def _leave(self, waiters: list[_Waiter], answer: Refused | None = None) -> None:
        """Out of the line without a lease: the ticket is given back, which matters if it was a probe's."""
        for waiter in waiters:
            self._line.remove(waiter)
            self._untie(waiter.acquire.holder)
            self._ledger.settle(waiter.ticket, Outcome.CANCELLED, self.now())
            if answer is not None:
                waiter.reply.answer(answer)

    def _has_moved(self, ticket: Ticket, now: float) -> bool:
        """Whether the chain would not choose this endpoint any more: those who wait must not try it one by one."""
        account = self._ledger.account
        return now < account.parked_until or (account.state != "closed" and ticket.epoch != account.epoch)

    def _busy_for(self) -> float:
        wait = self._wait
        known = wait is not None and wait.reason != "in_flight"
        return max(1.0, wait.until - self.now()) if wait is not None and known else BUSY

    # --- leases

    def _settle(self, message: Settle) -> None:
        lease, now = message.lease, self.now()
        if self._leases.pop(lease.slot, None) is not None:
            self._untie(lease.acquire.holder)
        if message.provider_limits is not None:
            self._limiter.learn(message.provider_limits, now)
        if not message.sent:
            self._limiter.give_back(lease.slot, now)
        else:
            used = lease.slot.tokens if message.tokens_used is None else message.tokens_used
            self._limiter.settle(lease.slot, used, now)
        if message.park_until is not None:
            self._limiter.park(message.park_until)
            self._ledger.park(message.park_until)
        if message.outcome is not None:
            self._judge(lease.ticket, message.outcome, message)
        self._serve()

    def _judge(self, ticket: Ticket, outcome: Outcome, message: Settle) -> None:
        before = self._ledger.account.state
        self._ledger.settle(ticket, outcome, self.now())
        account = self._ledger.account
        log = self._log.bind(endpoint=self._resources.name, failures=account.failures)
        if outcome is Outcome.SUCCESS:
            self._resources.last_failure = None
            if before != account.state:
                log.info("model is back", before=before)
        elif message.facts is not None and outcome is not Outcome.CANCELLED:
            self._resources.last_failure = facts = message.facts
            log = log.bind(kind=facts.kind, detail=facts.detail)
            if account.state == "open" and before != "open":
                log.warning("model is left alone", seconds=round(account.until - self.now(), 3))
            else:
                log.warning("model call failed")

    def _hold(self, lease: Lease) -> None:
        if lease.slot not in self._leases and lease.slot.expires_at > self.now():
            self._limiter.restore(lease.slot, self.now())
            self._tie(lease.acquire.holder)
            self._keep(lease)

    def _keep(self, lease: Lease) -> None:
        self._leases[lease.slot] = lease
        self._sweep_by(lease.slot.expires_at)

    def _sweep_by(self, time: float) -> None:
        if time < self._sweep_at:
            self._sweep_at = time
            self.timer("sweep", time - self.now(), Sweep())

    def _end_leases(self, leases: list[Lease]) -> None:
        """Nobody will settle these. They count as used up, because nobody knows better."""
        now = self.now()
        for lease in leases:
            del self._leases[lease.slot]
            self._untie(lease.acquire.holder)
            self._limiter.settle(lease.slot, lease.slot.tokens, now)
            self._ledger.settle(lease.ticket, Outcome.CANCELLED, now)
        self._serve()

    # --- holders

    def _tie(self, holder: Ref[Any]) -> None:
        ties = self._holders.get(holder, 0)
        self._holders[holder] = ties + 1
        if ties == 0:
            self.watch(holder)

    def _untie(self, holder: Ref[Any]) -> None:
        ties = self._holders.pop(holder) - 1
        if ties:
            self._holders[holder] = ties
        else:
            self.unwatch(holder)

    def _holder_has_gone(self, holder: Ref[Any]) -> None:
        self._leave([waiter for waiter in self._line if waiter.acquire.holder is holder], Refused(Moved()))
        self._end_leases([lease for lease in self._leases.values() if lease.acquire.holder is holder])

    # --- for operators

    def _status(self) -> GateStatus:
        resources, account, now = self._resources, self._ledger.account, self.now()
        return GateStatus(
            endpoint=resources.name,
            model=resources.endpoint.model,
            state=account.state,
            failures=account.failures,
            open_for=0.0 if account.state == "closed" else max(0.0, account.until - now),
            limiter=self._limiter.status(now),
            simulated=resources.known_simulated,
            waiting=len(self._line),
            waiting_limit=self._limit,
            retry_budget=resources.budget.left,
            last_failure=resources.last_failure,
        )
