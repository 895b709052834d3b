"""What becomes of a step with each thing that happens to its attempts: pure functions from record to record.

Each attempt is opened once (`begun`) and closed once (`answered`, `failed`, `cancelled`, `crashed` or `cut`). The
step's clock runs from its first beginning, all attempts together, but not while it rests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from actors.protocol.catalogue import CATALOGUE, USUAL, Failure
from actors.protocol.codes import ErrorType
from actors.protocol.event_types import AgentStatus
from actors.workflows.record import OpenTool, Revision
from actors.workflows.verdict import read_verdict

if TYPE_CHECKING:
    from actors.workflows.messages import Answered
    from actors.workflows.record import StepRecord


@attrs.frozen
class AttemptLimits:
    """How often a step is begun again before it is given up.

    Attributes:
        crashes: attempts in which its agent crashed.
        cuts: attempts that the end of the daemon, or a crash of the run's own actor, has cut off. It is no fault of the
            step's, but a step that takes the daemon down with it must not do so for ever.
    """

    crashes: int = 3
    cuts: int = 20


def begun(step: StepRecord, now: float, *, held: bool = False) -> StepRecord:
    """The next attempt has begun; `now` in seconds since 1970. A `held` one rests at once."""
    step = attrs.evolve(
        step,
        attempt=step.attempt + 1,
        status=AgentStatus.STARTED.value,
        sentence=f"{step.role} has started.",
        error_type="",
        open=True,
        asked=False,
        rests=False,
        tools=(),
    )
    return step if held else attrs.evolve(step, began=step.began or now)


def standing(step: StepRecord, status: str, sentence: str) -> StepRecord:
    """The attempt goes on, and this is where it stands."""
    asked = step.asked or status == AgentStatus.THINKING
    return attrs.evolve(step, status=status, sentence=sentence, asked=asked)


def resting(step: StepRecord, now: float) -> StepRecord:
    """The attempt waits before its next call, and its clock stands."""
    return attrs.evolve(
        step,
        status=AgentStatus.PAUSED.value,
        sentence=f"{step.role} is paused.",
        rests=True,
        spent=_spent(step, now),
        began=0.0,
    )


def released(step: StepRecord, now: float) -> StepRecord:
    """The attempt may go on."""
    return attrs.evolve(step, rests=False, began=now)


def time_left(step: StepRecord, now: float) -> float | None:
    """Seconds that a step still has, all attempts together; None if it has no limit of its own.

    `now` is in seconds since 1970, and may have jumped: there is never more left than the limit.
    """
    return None if step.timeout is None else min(step.timeout, max(0.0, step.timeout - _spent(step, now)))


def _spent(step: StepRecord, now: float) -> float:
    return step.spent + (max(0.0, now - step.began) if step.began else 0.0)


def using(step: StepRecord, tool: OpenTool) -> StepRecord:
    """A tool has begun."""
    return attrs.evolve(step, tools=(*step.tools, tool))


def used(step: StepRecord, tool_call_id: str) -> StepRecord:
    """A tool has ended."""
    return attrs.evolve(step, tools=tuple(tool for tool in step.tools if tool.tool_call_id != tool_call_id))


def answered(step: StepRecord, answer: Answered) -> StepRecord:
    """The attempt has given its answer, and it counts."""
    verdict = None
    if step.validates:
        verdict = read_verdict(answer.text, degraded=answer.degraded, partial=answer.partial)
    return attrs.evolve(
        _closed(step),
        verdict="" if verdict is None else verdict.kind,
        reason="" if verdict is None else verdict.reason,
        revision=None,
        status=AgentStatus.COMPLETED.value,
        sentence=f"{step.role} has finished." if not answer.degraded else f"{step.role} could not reach a model.",
        text=answer.text,
        model=answer.model,
        degraded=answer.degraded,
        partial=answer.partial,
    )


def waiting(step: StepRecord, now: float) -> StepRecord:
    """The attempt's answer is held until somebody decides about it, and the step's clock stands."""
    return attrs.evolve(
        step,
        status=AgentStatus.WAITING_FOR_APPROVAL.value,
        sentence=f"{step.role} waits for a person to release the answer.",
        spent=_spent(step, now),
        began=0.0,
        tools=(),
    )


def not_released(step: StepRecord, *, in_time: bool) -> StepRecord:
    """The held answer was rejected, or nobody decided `in_time`: the attempt ends without one."""
    sentence = (
        f"The answer of {step.role} was not released."
        if in_time
        else f"Nobody released the answer of {step.role} in time."
    )
    return attrs.evolve(
        _closed(step),
        status=AgentStatus.ERROR.value,
        sentence=sentence,
        missing="the person who decides did not release it" if in_time else "nobody released it in time",
    )


def to_revise(step: StepRecord, feedback: str) -> StepRecord:
    """The held answer is to be written again: the attempt ends, and the step will be begun anew."""
    text = "" if step.proposal is None else step.proposal.text
    return attrs.evolve(
        _closed(step),
        status="",
        sentence=f"{step.role} will write the answer again.",
        revision=Revision(text, feedback),
    )


def not_begun(step: StepRecord, gate: StepRecord) -> StepRecord:
    """The step is held by the validation `gate`, which has ended without approving."""
    return attrs.evolve(
        _closed(step),
        status=AgentStatus.CANCELLED.value,
        sentence=f'{step.role} was not asked, because batch "{gate.validates}" was not approved.',
        missing=f'it was not begun, because batch "{gate.validates}" was not approved',
    )


def failed(step: StepRecord, error_type: ErrorType, failure: Failure | None = None) -> StepRecord:
    """The attempt has ended without an answer, and there will be no other. `failure` says more than the type."""
    failure = failure or USUAL[error_type]
    return attrs.evolve(
        _with_error(step, error_type, failure),
        status=AgentStatus.ERROR.value,
        missing=CATALOGUE[failure].missing,
    )


def crashed(step: StepRecord, limits: AttemptLimits) -> StepRecord:
    """The agent is gone. With attempts left, the step will be begun anew."""
    return _again(attrs.evolve(step, crashes=step.crashes + 1), limits)


def cut(step: StepRecord, limits: AttemptLimits, *, restarted: bool) -> StepRecord:
    """The attempt was cut off from outside. With attempts left, the step will be begun anew.

    `restarted`: by the end of the daemon. Nobody knows how long it was down, so the attempt's time does not count.
    """
    began = 0.0 if restarted else step.began
    return _again(attrs.evolve(step, cuts=step.cuts + 1, began=began), limits)


def cancelled(step: StepRecord) -> StepRecord:
    """The attempt was cancelled."""
    return attrs.evolve(
        _closed(step),
        status=AgentStatus.CANCELLED.value,
        sentence=f"{step.role} was cancelled.",
        missing="it was cancelled",
    )


def _again(step: StepRecord, limits: AttemptLimits) -> StepRecord:
    if step.crashes < limits.crashes and step.cuts < limits.cuts:
        return attrs.evolve(_with_error(step, ErrorType.INTERRUPTED, Failure.INTERRUPTED), status="")
    return failed(step, ErrorType.INTERRUPTED)


def _with_error(step: StepRecord, error_type: ErrorType, failure: Failure) -> StepRecord:
    return attrs.evolve(_closed(step), error_type=error_type.value, sentence=CATALOGUE[failure].sentence)


def _closed(step: StepRecord) -> StepRecord:
    return attrs.evolve(step, open=False, asked=False, rests=False, tools=(), proposal=None)
