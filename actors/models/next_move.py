"""What a call does after an attempt that failed: a decision, with the time, the delay and the purse passed in.

| the attempt | what follows |
|---|---|
| failed after its first text | finish: what there is, is the answer, marked as partial |
| was refused for what it asked (policy, 400, 422), or failed by our own fault | fail: no other model is tried |
| found a wrong key, model or address | fall over, and the endpoint opens at once |
| anything else, with attempts, time and budget left | retry, after the delay |
| anything else | fall over: one failure of the endpoint, however many attempts it was |

An endpoint that asked to be left alone longer than the call has time is neither failed nor waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

from supervisors import Outcome

if TYPE_CHECKING:
    from actors.models.failure import FailureFacts


@attrs.frozen
class Standing:
    """Where a call stands on one endpoint.

    Attributes:
        attempt: the number of the one that failed, from 1; `attempts`: how many there may be.
        counted: an earlier one of them was a failure that counts.
        left: seconds until the deadline of the whole call.
    """

    attempt: int
    attempts: int
    counted: bool
    left: float


@attrs.frozen
class Retry:
    """Ask the same endpoint again after `delay` seconds; its ledger hears nothing."""

    delay: float


@attrs.frozen
class FallOver:
    """Ask the next of the chain; the ledger hears `outcome`."""

    outcome: Outcome


@attrs.frozen
class Fail:
    """The call ends with an error. Says nothing about the endpoint's health."""

    outcome: Outcome = Outcome.CANCELLED


@attrs.frozen
class Finish:
    """The call ends with the text so far; the ledger hears `outcome`."""

    outcome: Outcome


Move: TypeAlias = Retry | FallOver | Fail | Finish


def next_move(standing: Standing, facts: FailureFacts, *, delay: float, affordable: bool) -> Move:
    """`delay` (seconds) and `affordable` (by the retry budget) are those of a retry, if there is to be one."""
    if facts.opens_at_once:
        outcome = Outcome.MISCONFIGURED
    else:
        outcome = Outcome.FAILURE if facts.counts or standing.counted else Outcome.CANCELLED
    if facts.after_first_delta:
        return Finish(outcome)
    if facts.opens_at_once:
        return FallOver(outcome)
    if not facts.retryable:
        return Fail()
    if standing.attempt < standing.attempts and delay < standing.left and affordable:
        return Retry(delay)
    return FallOver(outcome)
