"""How a call comes by its leases: through its chain the first time, at the gate for a further attempt.

Waiting here draws on the deadline of the whole call, and in the line of a gate it has a bound of its own: then the
chain goes on behind that endpoint. Who waits hears of it once it takes a while. A chain whose endpoints are all open is
not waited for; one in which some only keep to a provider's Retry-After is, where there is time. Cancelled while it
waits, a call has left the line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors.models.failure import FailureFacts
from actors.models.lease import Acquire, Busy, Exhausted, Lease, Moved, NotMeant
from actors.models.retry import retry_delay
from runtime import HandlerFailed, NotAccepted, Refused, Restarting, TimedOut

if TYPE_CHECKING:
    import random

    from actors.models.leaseholder import Leaseholder
    from actors.models.model_call import Observer
    from runtime import Ref
    from supervisors import Ticket

UNREACHED = 8
"""How often a chain that does not take the question (its gate or itself is being restarted) is asked in a row."""


class Acquisition:
    """The leases of one call.

    Args:
        chain: the address of its fallback.
        holder: hears that the call waits.
        question: what to acquire; the tickets are filled in here.
        observer: hears of waiting for what is parked.
        rng: for jitter.

    Attributes:
        facts: why an endpoint gave no lease at once, the last time that one was acquired; None where one did.
        retry_after: of an exhausted chain, in seconds.
    """

    def __init__(
        self, chain: Ref[Any], holder: Leaseholder, question: Acquire, observer: Observer, rng: random.Random
    ) -> None:
        self._chain = chain
        self._holder = holder
        self._question = question
        self._observer = observer
        self._rng = rng
        self.facts: FailureFacts | None = None
        self.retry_after: float | None = None

    @property
    def deadline(self) -> float:
        """Of the whole call, in trio's time."""
        return self._question.deadline

    def postpone(self, seconds: float) -> None:
        """So long the call was paused: its time stood still."""
        self._question = attrs.evolve(self._question, deadline=self.deadline + seconds)

    async def through_chain(self, after: Ticket | None) -> Lease | None:
        """A lease of the first endpoint behind `after` that may be asked. None: nobody, or no time."""
        self.facts = None
        unreached = 0
        while (left := self._left()) > 0:
            try:
                answer = await self._ask(self._chain, attrs.evolve(self._question, after=after), left)
            except Refused as refused:
                if isinstance(refused.reason, Busy):
                    after = self._busy(refused.reason)
                elif isinstance(refused.reason, NotMeant):
                    after = refused.reason.ticket
                elif not isinstance(refused.reason, Moved):
                    raise
            except TimedOut:
                break
            except (NotAccepted, HandlerFailed) as exc:
                unreached += 1
                if not await self._wait_for_restart(unreached, exc):
                    break
            else:
                if isinstance(answer, Lease):
                    return answer
                self._exhausted(answer)
                if answer.restarting:
                    unreached += 1
                    waited = await self._wait_for_restart(unreached)
                else:
                    waited = answer.parked_for is not None and await self._wait_for_parked(answer.parked_for)
                if not waited:
                    break
        return None

    async def again(self, lease: Lease) -> Lease | Ticket | None:
        """A lease for the next attempt at the endpoint of `lease`, which is settled by now.

        Else the ticket behind which the chain is to go on, or None where it is to choose anew.
        """
        self.facts = None
        left = self._left()
        if left > 0:
            try:
                answer: Lease = await self._ask(lease.gate, attrs.evolve(self._question, ticket=lease.ticket), left)
            except Refused as refused:
                if isinstance(refused.reason, Busy):
                    return self._busy(refused.reason)
                if not isinstance(refused.reason, Moved):
                    raise
            except (TimedOut, NotAccepted, HandlerFailed):
                pass  # no time, or no gate: the chain will say
            else:
                return answer
        return None

    async def _ask(self, ref: Ref[Any], question: Acquire, within: float) -> Any:
        with self._holder.waiting(question.key, self._queued):
            return await ref.ask(question, within=within)

    def _queued(self, seconds: float) -> None:
        self._observer.retrying(_rate_limited("it stands in the line", seconds), seconds)

    def _exhausted(self, answer: Exhausted) -> None:
        busy = 0.0 if self.facts is None else self.facts.retry_after or 0.0
        self.retry_after = max(answer.retry_after, busy)

    def _left(self) -> float:
        return self.deadline - trio.current_time()

    def _busy(self, reason: Busy) -> Ticket:
        self.facts = _rate_limited(f"it is not its turn at {reason.ticket.target} in time", reason.retry_after)
        return reason.ticket

    async def _wait_for_restart(self, times: int, exc: NotAccepted | HandlerFailed | None = None) -> bool:
        """Waits until a gate or chain may be back. False, at once, after too many times, or where time is short."""
        delay = retry_delay(times, None, self._rng) / 4
        if isinstance(exc, Restarting):
            delay = max(delay, exc.retry_after)
        if times == UNREACHED or delay >= self._left():
            return False
        await trio.sleep(delay)
        return True

    async def _wait_for_parked(self, parked_for: float) -> bool:
        """Waits until something that is left may be asked again. False, at once, where there is no time for it, or the
        call keeps to one endpoint: what is parked may not be that one."""
        delay = retry_delay(1, parked_for, self._rng)
        self.facts = _rate_limited("all that is left of the chain is parked", parked_for)
        if delay >= self._left() or self._question.only is not None:
            return False
        self._observer.retrying(self.facts, delay)
        await trio.sleep(delay)
        return True


def _rate_limited(detail: str, retry_after: float) -> FailureFacts:
    return FailureFacts(
        "rate_limit", "rate_limit", counts=False, retryable=True, detail=detail, retry_after=retry_after
    )
