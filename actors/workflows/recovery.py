"""What a new incarnation of a run's actor does with what the last one left. Pure.

The record is committed with the events that change it, so it says what is open in the log, whatever cut the run off:
kill -9, a stop of the daemon, a crash of the run's actor or of its supervisor. There is nothing else to look at.

    the run, as recorded            | what is done
    --------------------------------|-----------------------------------------------------------------------------
    accepted, nothing done yet      | it begins
    cancelled, by an order          | what is open is closed as cancelled; the run ends cancelled
    given up, it failed too often   | what is open is closed as interrupted; the run ends failed
    `on_restart` fail, and cut      | the same
    otherwise                       | what is open is closed as interrupted, and begins again as the next attempt

An attempt that rests before its first call has lost nothing: it stays open, and an agent is started for it again. So a
paused run comes back as it was, and is not cut as long as all that is open rests so. The same goes for an attempt whose
answer is held until somebody decides: it is in the record, and needs no agent. Of what has ended, nothing is done again
in any of these cases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from actors.protocol.codes import ErrorType
from actors.protocol.event_types import RunStatus
from actors.workflows import attempts
from actors.workflows.orders import held

if TYPE_CHECKING:
    from actors.workflows.attempts import AttemptLimits
    from actors.workflows.record import RunRecord, StepRecord


@attrs.frozen
class Closing:
    """An attempt to close: the step before and after, and the error that it ends with (None: it was cancelled)."""

    before: StepRecord
    after: StepRecord
    error_type: ErrorType | None


@attrs.frozen
class TakenUp:
    """What is to be done.

    Attributes:
        closings: in order.
        goes_on: steps whose open attempt stays open; each needs an agent, but for those whose answer is held.
        fails: whether the run then ends as failed.
    """

    closings: tuple[Closing, ...]
    goes_on: tuple[StepRecord, ...]
    fails: bool


def take_up(record: RunRecord, *, daemon: str, given_up: bool, limits: AttemptLimits) -> TakenUp:
    """What to do with a run that has not ended. `daemon`: an id of this one; `given_up`: see `TakeUp`."""
    goes_on = tuple(step for step in record.steps if _stays(record, step))
    cut = [step for step in record.everything if step.open and step not in goes_on]
    begun = record.daemon != ""
    undisturbed = record.status in {RunStatus.PAUSED, RunStatus.WAITING_FOR_APPROVAL} and not cut
    fails = not record.cancelled and (given_up or (record.on_restart == "fail" and begun and not undisturbed))
    if fails:
        cut, goes_on = [step for step in record.everything if step.open], ()
    restarted = record.daemon != daemon
    return TakenUp(tuple(_close(record, step, fails, restarted, limits) for step in cut), goes_on, fails)


def _stays(record: RunRecord, step: StepRecord) -> bool:
    stopped = record.cancelled or step.cancel
    rests = step.rests and not step.asked and held(record, step)
    return step.open and not stopped and (rests or step.proposal is not None)


def _close(record: RunRecord, step: StepRecord, fails: bool, restarted: bool, limits: AttemptLimits) -> Closing:
    if step.cancel or record.cancelled:
        return Closing(step, attempts.cancelled(step), None)
    ends = fails or step.parent != ""  # a child is not begun again: whoever wanted it is, and asks for another
    after = attempts.failed(step, ErrorType.INTERRUPTED) if ends else attempts.cut(step, limits, restarted=restarted)
    return Closing(step, after, ErrorType.INTERRUPTED)
