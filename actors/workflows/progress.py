"""What follows from how a run stands: pure functions of its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.protocol.codes import FAILURE_SENTENCES, ErrorType
from actors.protocol.event_types import AgentStatus, RunStatus

if TYPE_CHECKING:
    from actors.workflows.messages import Answered
    from actors.workflows.record import RunRecord, StepRecord

ATTEMPTS: Final = 3
"""How often a step is begun before it is given up, when its agent crashes or the daemon does."""


def ready(record: RunRecord) -> list[StepRecord]:
    """The steps to begin now: not begun, or to be begun again, and everything they wait for has ended."""
    if record.cancelled or stopped_by(record) is not None:
        return []
    ended = {step.name for step in record.steps if step.ended}
    return [step for step in record.steps if _to_begin(step) and ended.issuperset(step.depends_on)]


def _to_begin(step: StepRecord) -> bool:
    return not step.open and not step.status


def stopped_by(record: RunRecord) -> StepRecord | None:
    """The step whose failure stops the run, if one has."""
    return next(
        (
            step
            for step in record.steps
            if step.on_failure == "stop" and step.ended and step.text is None and step.status != AgentStatus.CANCELLED
        ),
        None,
    )


def verdict(record: RunRecord) -> RunStatus | None:
    """How the run has ended; None while it has not.

    It has failed only if a step with `on_failure` stop failed or no step gave an answer.
    """
    if any(step.open for step in record.steps):
        return None
    if record.cancelled:
        return RunStatus.CANCELLED
    if stopped_by(record) is not None:
        return RunStatus.FAILED
    if not all(step.ended for step in record.steps):
        return None
    return RunStatus.COMPLETED if any(step.text is not None for step in record.steps) else RunStatus.FAILED


def begun(step: StepRecord, role: str) -> StepRecord:
    """The next attempt has begun."""
    return attrs.evolve(
        step,
        role=role,
        attempt=step.attempt + 1,
        status=AgentStatus.STARTED.value,
        sentence=f"{role} has started.",
        open=True,
    )


def answered(step: StepRecord, answer: Answered) -> StepRecord:
    """The attempt has given its answer."""
    return attrs.evolve(
        step,
        status=AgentStatus.COMPLETED.value,
        sentence=f"{step.role} has finished." if not answer.degraded else f"{step.role} could not reach a model.",
        open=False,
        text=answer.text,
        model=answer.model,
        degraded=answer.degraded,
        partial=answer.partial,
    )


def failed(step: StepRecord, error_type: ErrorType) -> StepRecord:
    """The attempt has ended without an answer, and there will be no other."""
    return attrs.evolve(
        step,
        status=AgentStatus.ERROR.value,
        sentence=FAILURE_SENTENCES[error_type],
        open=False,
        missing=MISSING[error_type],
    )


def interrupted(step: StepRecord, *, again: bool) -> StepRecord:
    """The attempt was cut off. With `again`, and attempts left, the step will be begun anew."""
    if again and step.attempt < ATTEMPTS:
        return attrs.evolve(step, status="", open=False)
    return failed(step, ErrorType.INTERRUPTED)


def cancelled(step: StepRecord) -> StepRecord:
    """The attempt was cancelled."""
    return attrs.evolve(
        step,
        status=AgentStatus.CANCELLED.value,
        sentence=f"{step.role} was cancelled.",
        open=False,
        missing="it was cancelled",
    )


MISSING: Final = {
    ErrorType.RATE_LIMIT: "the AI service was too busy",
    ErrorType.TIMEOUT: "the AI service took too long",
    ErrorType.UNREACHABLE: "the AI service could not be reached",
    ErrorType.CONFIGURATION: "the AI service is not configured",
    ErrorType.CONTENT_POLICY: "the AI service declined to answer",
    ErrorType.TRUNCATED: "the answer broke off",
    ErrorType.TOOL: "a tool that it needs did not work",
    ErrorType.INTERRUPTED: "it was interrupted",
    ErrorType.INTERNAL: "something went wrong",
}
"""Completes "is missing because …" for the next agents."""
