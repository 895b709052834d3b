"""What a settled request says about its endpoint: to the limiter, to the ledger, and to the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisors import Outcome

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from actors.models.failure import FailureFacts
    from actors.models.lease import Lease, Settle
    from actors.models.resources import EndpointResources


class Health:
    """The endpoint's, as its gate keeps it. In the log stands the cause of each failure, which no user is told."""

    def __init__(self, resources: EndpointResources, log: FilteringBoundLogger) -> None:
        self._resources = resources
        self._log = log

    def settle(self, message: Settle, now: float) -> None:
        """A request is over. The ledger hears of a call once; what it says here does not depend on the lease's life."""
        lease, facts = message.lease, message.facts
        limiter, ledger = self._resources.limiter, self._resources.ledger
        if message.provider_limits is not None:
            limiter.learn(message.provider_limits, now)
        if facts is not None and facts.kind == "rate_limit":
            self._resources.traffic.throttled += 1
            limiter.refused(lease.slot, now)
        elif message.outcome is Outcome.SUCCESS:
            limiter.answered(lease.slot)
        if not message.sent:
            limiter.give_back(lease.slot, now)
        else:
            limiter.settle(lease.slot, lease.slot.tokens if message.tokens_used is None else message.tokens_used, now)
        if message.park_until is not None:
            limiter.park(message.park_until)
            ledger.park(message.park_until)
        if message.outcome is not None:
            self._judge(message, message.outcome, now)
        elif facts is not None:
            self._tell_of(lease, facts).info("an attempt of a model call failed, and is made again")

    def _judge(self, message: Settle, outcome: Outcome, now: float) -> None:
        ledger = self._resources.ledger
        before = ledger.account.state
        ledger.settle(message.lease.ticket, outcome, now)
        account = ledger.account
        if outcome is Outcome.SUCCESS:
            self._resources.last_failure = None
            if before != account.state:
                self._log.info("model is back", endpoint=self._resources.name, before=before)
        elif message.facts is not None:
            log = self._tell_of(message.lease, message.facts).bind(failures=account.failures)
            if outcome is not Outcome.CANCELLED:
                self._resources.last_failure = message.facts
            if account.state == "open" and before != "open":
                log.warning("model is left alone", seconds=round(account.until - now, 3))
            else:
                log.warning("model call failed")

    def _tell_of(self, lease: Lease, facts: FailureFacts) -> FilteringBoundLogger:
        return self._log.bind(
            endpoint=self._resources.name, run_id=lease.acquire.run_id, kind=facts.kind, detail=facts.detail
        )
