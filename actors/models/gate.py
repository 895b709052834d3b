"""The gate of one endpoint: who may ask it now, and who waits. A gate, not a pipe: the calls run in their agents.

Those who wait are served by `FairLine`: the urgent first, and fairly between users. The first whose share allows it is
served whatever the size of its request: a small one that overtook would keep a large one waiting for ever. What frees a
place (a settlement, the end of a holder, the passing of time) serves the line again; time has one timer.

Nobody waits without end or unheard: the holder of a call that has stood in the line for a second is told so (`Queued`),
and a call whose patience is over is refused with `Busy`. So is, where too many wait, the last of the user who has the
most of them here: whoever floods fills the line with their own calls, and keeps nobody else out.

A gate that restarts finds the limiter with its last minute where it was, but not its leases. The holders say `Hold`
again; until they have had the time to, every lease counts as in use.

The ledger is settled here, whether or not the lease is known (any more): how a call came out does not depend on it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs

from actors.models.fair_line import FairLine
from actors.models.health import Health
from actors.models.lease import (
    Acquire,
    Busy,
    GateStatus,
    Hold,
    Lease,
    Moved,
    NotMeant,
    Queued,
    ReadStatus,
    Settle,
)
from actors.models.limiter import Wait
from actors.models.tokens import reservation
from runtime import Actor, Ended, Refused, Restarted
from supervisors import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from actors.models.limiter import Lease as Slot
    from actors.models.resources import EndpointResources
    from actors.protocol.task_events import Priority
    from runtime import Reason, Ref, ReplyTo
    from supervisors import Ticket

LEASE_MARGIN = 1.0
"""Seconds that a lease outlives the deadline of its call, so that a settlement at the deadline still finds it."""

BUSY = 5.0
"""Seconds after which to try again, where only the end of somebody's call can make room."""

NOTICE = 1.0
"""Seconds in the line after which a call's holder is told that it waits."""

HOLDERS_ASKED = 1.0
"""Seconds in which the holders of a gate that has restarted say `Hold`."""

ATTEND_EVERY = 0.1
"""Seconds: those who wait are looked at for notice and patience no more often than this."""


@attrs.frozen
class Wake:
    """To itself: the limiter may have room."""


@attrs.frozen
class Sweep:
    """To itself: a lease may have passed its deadline."""


@attrs.frozen
class Attend:
    """To itself: somebody may have waited for long enough to be told, or for too long."""


@attrs.frozen
class EndUnheard:
    """To itself: the holders have had the time to say what they hold."""


@attrs.define(eq=False)
class _Waiter:
    acquire: Acquire
    ticket: Ticket
    reply: ReplyTo
    since: float
    tokens: int
    told: bool = False

    @property
    def user(self) -> str:
        return self.acquire.user

    @property
    def priority(self) -> Priority:
        return self.acquire.priority

    @property
    def cost(self) -> int:
        return self.tokens

    @property
    def due(self) -> float:
        """When it is to be looked at next."""
        end = self.since + self.acquire.patience
        return end if self.told else min(end, self.since + NOTICE)


class Gate(Actor):
    """Grants leases of one endpoint, and takes them back.

    Args:
        resources: of the endpoint.
        lead_of: the resources of a chain's lead, by the chain as configured; None for a chain that is unknown.
        waiting: how many may wait; beyond them somebody is refused with `Busy`.
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
        self._health = Health(resources, log)
        self._limiter = resources.limiter
        self._traffic = resources.traffic
        self._line: FairLine[_Waiter] = FairLine()
        self._attend_at = math.inf  # when the timer for those who wait fires
        self._leases: dict[Slot, Lease] = {}
        self._holders: dict[Ref[Any], int] = {}  # how many leases and places in the line each has
        self._sweep_at = math.inf  # when the timer for leases past their deadline fires
        self._wait: Wait | None = None  # why the head of the line last had to wait

    async def started(self) -> None:
        self._limiter.forget_holders()
        self.timer("unheard", HOLDERS_ASKED, EndUnheard())

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
            case Attend():
                self._attend()
            case EndUnheard():
                if self._limiter.end_unheard(self.now()):
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
        if acquire.only not in (None, self._resources.name) and acquire.ticket is not None:
            self._ledger.settle(acquire.ticket, Outcome.CANCELLED, self.now())  # it may be a probe's
            reply.answer(Refused(NotMeant(acquire.ticket)))
            return
        # First of all it stands in the line: whatever happens from here on, `stopped` gives its ticket back.
        tokens = reservation(acquire.prompt_tokens, acquire.max_tokens, self._limiter.tokens_limit)
        waiter = _Waiter(acquire, acquire.ticket or self._ledger.force(), reply, self.now(), tokens)
        self._line.add(waiter)
        self._tie(acquire.holder)
        self._serve()
        if len(self._line) > self._limit:
            self._drop_those_who_left()
        if len(self._line) > self._limit:
            self._turn_away(self._line.surplus())
        if len(self._line):
            self._attend_by(waiter.due)

    def _serve(self) -> None:
        """Grants to those who come first for as long as the limiter does."""
        while len(self._line) and self._serve_one():
            pass

    def _serve_one(self) -> bool:
        """Grants to the first whose share allows it, or sends somebody away. Whether there may be more to do."""
        now = self.now()
        for waiter in self._line.first():
            if not waiter.reply.wanted:
                self._leave([waiter])
                return True
            if self._has_moved(waiter.ticket, now):
                self._leave([waiter], Refused(Moved()))
                return True
            acquire = waiter.acquire
            if not self._limiter.shares(now, waiter.tokens, acquire.user):
                continue
            lasts = acquire.deadline + LEASE_MARGIN - now
            decision = self._limiter.reserve(now, waiter.tokens, acquire.holder, lasts=lasts, user=acquire.user)
            if isinstance(decision, Wait):
                self._wait = decision
                self.timer("wake", decision.seconds, Wake())
                return False
            self._grant(waiter, decision.lease, now)
            return True
        # The others' part is left to them: time gives back what these have used of their own.
        at = self._limiter.next_change(now)
        self._wait = self._limiter.wait_for(now, self._line.first()[0].tokens) or Wait(at - now, at, "share")
        if at < math.inf:
            self.timer("wake", max(0.0, at - now), Wake())
        return False

    def _grant(self, waiter: _Waiter, slot: Slot, now: float) -> None:
        resources = self._resources
        self._line.served(waiter)
        self._traffic.grant(now - waiter.since)
        lead = self._lead_of(waiter.acquire.models) or resources
        lease = Lease(resources.next_lease_number(), self.ref, waiter.ticket, resources, lead, slot, waiter.acquire)
        self._keep(lease)
        waiter.reply.answer(lease)  # it was wanted a moment ago, and nothing has run since

    def _leave(self, waiters: list[_Waiter], answer: Refused | None = None) -> None:
        """Out of the line without a lease: the ticket is given back, which matters if it was a probe's."""
        for waiter in waiters:
            self._line.leave(waiter)
            self._untie(waiter.acquire.holder)
            self._ledger.settle(waiter.ticket, Outcome.CANCELLED, self.now())
            if answer is not None:
                waiter.reply.answer(answer)

    def _drop_those_who_left(self) -> None:
        self._leave([waiter for waiter in self._line if not waiter.reply.wanted])

    def _turn_away(self, waiter: _Waiter) -> None:
        self._traffic.turned_away += 1
        self._leave([waiter], Refused(Busy(self._busy_for(), waiter.ticket)))

    def _attend(self) -> None:
        """Tells those who have waited for a while, and sends away those who have waited for too long."""
        now, self._attend_at = self.now(), math.inf
        self._drop_those_who_left()
        for waiter in list(self._line):
            if now >= waiter.since + waiter.acquire.patience:
                self._turn_away(waiter)
            elif now >= waiter.due:
                waiter.told = True
                waiter.acquire.holder.tell(Queued(waiter.acquire.key, self._busy_for()))
        if len(self._line):
            self._attend_by(max(now + ATTEND_EVERY, min(waiter.due for waiter in self._line)))

    def _attend_by(self, time: float) -> None:
        if time < self._attend_at:
            self._attend_at = time
            self.timer("attend", time - self.now(), Attend())

    def _has_moved(self, ticket: Ticket, now: float) -> bool:
        """Whether the chain would not choose this endpoint any more: those who wait must not try it one by one."""
        account = self._ledger.account
        return now < account.parked_until or (account.state != "closed" and ticket.epoch != account.epoch)

    def _busy_for(self) -> float:
        wait = self._wait
        known = wait is not None and wait.reason != "in_flight" and wait.until < math.inf
        return max(1.0, wait.until - self.now()) if wait is not None and known else BUSY

    # --- leases

    def _settle(self, message: Settle) -> None:
        lease, now = message.lease, self.now()
        if self._leases.pop(lease.slot, None) is not None:
            self._untie(lease.acquire.holder)
        self._health.settle(message, now)
        self._serve()

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
        self._drop_those_who_left()
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
            waiting_users=self._line.users,
            traffic=self._traffic.status(),
            retry_budget=resources.budget.left,
            last_failure=resources.last_failure,
        )
