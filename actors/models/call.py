"""One call to a chain of models, from the first lease to the answer: the one owner of retries.

Runs as one coroutine in a task of the agent's actor; no task of its own. One deadline: waiting for a lease, attempts,
the pauses between them and the fallback all draw on it.

The chain picks the endpoint. Up to three attempts are made there, each with a lease of its own; if all fail before the
first text, that is one failure for the endpoint's ledger, and the chain is asked for what lies behind it (`after`). A
probe, the one call that sees whether an endpoint is back, is a single attempt. Once a piece of text has been passed on,
nothing is tried again: what there is, is the answer. A pause takes effect before each attempt, also on one who waits
for it; one under way goes on.

What is settled when: an attempt gives its lease back as soon as it is over, in `finally` whatever ended it; the ledger
hears of the endpoint once, with the last of them.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors.models.acquisition import Acquisition
from actors.models.chat import ChatRequest, StreamLimits, Usage
from actors.models.failure import AttemptFailed, FailureFacts, expired
from actors.models.lease import Acquire, Lease, Settle
from actors.models.model_call import AttemptRecord, CallFailed, CallLimits, CallResult
from actors.models.next_move import Fail, FallOver, Finish, Retry, Standing, next_move
from actors.models.pausing import Pausing
from actors.models.resources import may_stand_in
from actors.models.retry import retry_delay
from actors.models.stream import stream_chat
from actors.models.tools import with_ids
from supervisors import Outcome

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from actors.models.chat import Completion, ToolCall
    from actors.models.leaseholder import Leaseholder
    from actors.models.model_call import ModelCall, Observer, Pause
    from runtime import Ref
    from supervisors import Ticket


async def complete(
    chain: Ref[Any],
    holder: Leaseholder,
    ask: ModelCall,
    *,
    limits: CallLimits,
    observer: Observer,
    rng: random.Random,
    wall_clock: Callable[[], float] = time.time,
    pause: Pause | None = None,
) -> CallResult:
    """Asks a chain of models, and gives what came of it. To be run in a task of the actor that made `holder`.

    Args:
        chain: the address of the chain's fallback (`ModelsPlan.chain_path`).
        holder: where leases are held.
        ask: the question.
        limits: attempts and deadlines.
        observer: hears what happens on the way.
        rng: for the jitter of delays.
        wall_clock: seconds since the epoch, for a Retry-After that is a date.
        pause: holds up every attempt that has not begun; None: nothing does.

    Raises:
        CallFailed: the request itself cannot be answered by any model; no endpoint is counted as failed.

    Cancellation: the connection is closed, so that the provider stops; the lease is settled as cancelled, which says
    nothing about the endpoint. What the observer raises has the same effect and is raised as it is.
    """
    call = _Call(chain, holder, ask, limits, observer, rng, wall_clock, pause)
    try:
        return await call.run()
    finally:
        call.abandon()


class _NotAnUnderstudy(Exception):
    """The answer under way is a simulated one in the place of a real one."""


class _Call:
    def __init__(
        self,
        chain: Ref[Any],
        holder: Leaseholder,
        ask: ModelCall,
        limits: CallLimits,
        observer: Observer,
        rng: random.Random,
        wall_clock: Callable[[], float],
        pause: Pause | None,
    ) -> None:
        self._holder = holder
        self._ask = ask
        self._limits = limits
        self._observer = observer
        self._rng = rng
        self._wall_clock = wall_clock
        self._began = trio.current_time()
        self._lease: Lease | None = None  # held now, and not settled
        self._attempts: list[AttemptRecord] = []
        self._target: str | None = None  # the endpoint asked last
        self._facts: FailureFacts | None = None  # of the last failure
        self._pieces: list[str] = []  # of the attempt under way
        self._model: str | None = None  # what its answer calls it
        request = ChatRequest("", ask.messages, ask.parameters, ask.tools)
        self._prompt_tokens = request.prompt_tokens
        question = Acquire(
            holder.ref,
            ask.models,
            self._prompt_tokens,
            request.max_tokens,
            ask.user,
            ask.run_id,
            self._began + limits.total,
            ask.priority,
            limits.queue,
            holder.next_key(),
            ask.keep_to,
        )
        self._acquisition = Acquisition(chain, holder, question, observer, rng)
        self._pausing = Pausing(pause, self._acquisition.postpone)

    # --- the chain

    async def run(self) -> CallResult:
        after: Ticket | None = None
        while True:
            await self._pausing.rest()
            with self._pausing.unless_held() as waiting:
                lease = await self._acquisition.through_chain(after)
            if waiting.cancelled_caught:
                continue
            self._facts = self._acquisition.facts or self._facts
            if lease is None:
                return self._degraded()
            self._take(lease)
            if self._pausing.held:  # since it was asked for
                self._settle(Outcome.CANCELLED, sent=False)
                continue
            if not _may_answer(lease):
                self._settle(Outcome.CANCELLED, sent=False)
                after = lease.ticket
                continue
            self._announce(lease)
            ended = await self._use(lease, after)
            if isinstance(ended, CallResult):
                return ended
            after = ended

    def abandon(self) -> None:
        """Gives back what is still held: the call was cancelled, or left by an exception."""
        if self._lease is not None:
            estimate = Usage.estimate(self._ask.request_for(self._lease.resources.endpoint), "".join(self._pieces))
            self._settle(Outcome.CANCELLED, tokens_used=estimate.total)

    def _take(self, lease: Lease) -> None:
        self._holder.take(lease)
        self._lease = lease

    # --- one endpoint

    async def _use(self, lease: Lease, after: Ticket | None) -> CallResult | Ticket | None:
        """The attempts at one endpoint. Gives the result, or behind what the chain is to go on."""
        budget = lease.resources.budget
        attempts = 1 if lease.ticket.kind == "probe" else self._limits.attempts
        attempt, counted, paid = 0, False, 0
        while True:
            if lease.resources.retired:  # since it was granted: the chain has another client by now
                self._settle(Outcome.CANCELLED, sent=False)
                return after
            attempt += 1
            left = self._left()
            began = trio.current_time()
            try:
                ended = await self._attempt(lease, left)
            except _NotAnUnderstudy:
                self._record(lease, began, "simulated")
                self._settle(Outcome.CANCELLED)
                return lease.ticket
            if not isinstance(ended, AttemptFailed):
                self._record(lease, began, None)
                self._settle(Outcome.SUCCESS, tokens_used=ended.usage.total, provider_limits=ended.provider_limits)
                budget.refund(paid)
                return self._answered(lease, ended)
            facts = self._facts = self._judged(ended.facts, left)
            self._record(lease, began, facts.kind, facts.detail)
            now = trio.current_time()
            settle = partial(
                self._settle,
                tokens_used=self._cost(ended),
                provider_limits=ended.provider_limits,
                park_until=None if facts.park_for is None else now + facts.park_for,
                facts=facts,
            )
            delay = retry_delay(attempt, facts.retry_after, self._rng)
            timeout = facts.kind == "timeout"
            standing = Standing(attempt, attempts, counted, self._left())
            match next_move(standing, facts, delay=delay, affordable=budget.affords(timeout=timeout)):
                case Finish(outcome):
                    settle(outcome)
                    return self._cut_off(lease, ended, facts)
                case Fail(outcome):
                    settle(outcome)
                    raise CallFailed(facts, tuple(self._attempts))
                case FallOver(outcome):
                    settle(outcome)
                    return lease.ticket
                case Retry(delay):
                    settle(None)
                    counted = counted or facts.counts
                    paid = budget.spend(timeout=timeout)
                    self._observer.retrying(facts, delay)
                    await self._pausing.sleep_until(now + delay)
            again = await self._again(lease)
            if not isinstance(again, Lease):
                return after if again is None else again
            lease = again

    async def _again(self, lease: Lease) -> Lease | Ticket | None:
        """A lease for the next attempt, which is taken; else see `Acquisition.again`."""
        while True:
            await self._pausing.rest()
            with self._pausing.unless_held() as waiting:
                again = await self._acquisition.again(lease)
            if waiting.cancelled_caught:
                continue
            self._facts = self._acquisition.facts or self._facts
            if not isinstance(again, Lease):
                return again
            self._take(again)
            if not self._pausing.held:
                return again
            self._settle(None, sent=False)

    async def _attempt(self, lease: Lease, left: float) -> Completion | AttemptFailed:
        self._pieces.clear()
        self._model = None
        limits = StreamLimits(
            first_token=self._limits.first_token, idle=self._limits.idle, total=min(self._limits.attempt, left)
        )
        try:
            async with lease.resources.in_use() as client:
                return await stream_chat(
                    client,
                    self._ask.request_for(lease.resources.endpoint),
                    limits,
                    self._heard,
                    on_model=partial(self._named, lease),
                    on_caught_up=self._observer.caught_up,
                    ticks=lease.resources.ticks,
                    wall_clock=self._wall_clock,
                )
        except AttemptFailed as exc:
            return exc.with_traceback(None)

    def _heard(self, piece: str) -> None:
        self._pieces.append(piece)
        self._observer.text(piece)

    def _named(self, lease: Lease, model: str) -> None:
        lease.resources.answered_as(model)
        if not _may_answer(lease):
            raise _NotAnUnderstudy
        self._model = model
        self._observer.model(model)

    def _judged(self, facts: FailureFacts, left: float) -> FailureFacts:
        """What was cut by the deadline of the whole call has not failed: it may have begun a second before."""
        cut = facts.expired == "total" and left < self._limits.attempt
        return attrs.evolve(facts, counts=False) if cut else facts

    def _cost(self, failed: AttemptFailed) -> int:
        """Tokens of an attempt that failed: a refusal costs nothing, silence has at least read the prompt."""
        if failed.usage is not None:
            return failed.usage.total
        return self._prompt_tokens if failed.facts.kind == "timeout" else 0

    def _settle(self, outcome: Outcome | None, **more: Any) -> None:
        lease, self._lease = self._lease, None
        assert lease is not None
        self._holder.settle(Settle(lease, outcome, **more))

    # --- what is told

    def _left(self) -> float:
        return self._acquisition.deadline - trio.current_time()

    def _announce(self, lease: Lease) -> None:
        before = self._target
        if before is None and lease.ticket.position > 0:
            before = lease.lead.name
        self._target = lease.endpoint
        if before not in (None, lease.endpoint):
            self._observer.fell_over(before, lease.endpoint, self._facts)

    def _record(self, lease: Lease, began: float, kind: str | None, detail: str = "") -> None:
        endpoint = lease.resources.endpoint
        duration = (trio.current_time() - began) * 1000
        self._attempts.append(AttemptRecord(endpoint.name, endpoint.model, kind, duration, detail))

    def _answered(self, lease: Lease, completion: Completion) -> CallResult:
        return self._result(
            lease,
            text=completion.text,
            partial=completion.cut_at_length,
            truncated=completion.cut_at_length,
            usage=completion.usage,
            tool_calls=with_ids(completion.tool_calls, self._rng),
        )

    def _cut_off(self, lease: Lease, failed: AttemptFailed, facts: FailureFacts) -> CallResult:
        return self._result(lease, text=failed.text, partial=True, usage=failed.usage, facts=facts)

    def _degraded(self) -> CallResult:
        facts = self._facts
        if facts is None and self._left() <= 0:
            facts = expired("total", self._limits.total)
        self._observer.fell_over(self._target or self._ask.models[0], None, facts)
        return self._result(None, text=None, degraded=True, facts=facts, retry_after=self._acquisition.retry_after)

    def _result(
        self,
        lease: Lease | None,
        *,
        text: str | None,
        degraded: bool = False,
        partial: bool = False,
        truncated: bool = False,
        usage: Usage | None = None,
        tool_calls: tuple[ToolCall, ...] = (),
        facts: FailureFacts | None = None,
        retry_after: float | None = None,
    ) -> CallResult:
        return CallResult(
            text=text,
            degraded=degraded,
            partial=partial,
            truncated=truncated,
            target=None if lease is None else lease.endpoint,
            model=None if lease is None else self._model or lease.resources.endpoint.model,
            usage=usage,
            tool_calls=tool_calls,
            duration=trio.current_time() - self._began,
            attempts=tuple(self._attempts),
            facts=facts,
            retry_after=retry_after,
        )


def _may_answer(lease: Lease) -> bool:
    return may_stand_in(lease.lead, lease.resources)
