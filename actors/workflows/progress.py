"""What follows from how a run stands: pure functions of its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.protocol.codes import FAILURE_SENTENCES, ErrorType
from actors.protocol.event_types import AgentStatus, RunStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.workflows.messages import Answered
    from actors.workflows.record import RunRecord, StepRecord

ATTEMPTS: Final = 3
"""How often a step is begun before it is given up, when its agent crashes or the daemon does."""


def ready(record: RunRecord) -> list[StepRecord]:
    """The steps to begin now: not begun, or to be begun again, and everything they wait for has ended."""
    if record.cancelled or stopped_by(record) is not None:
        return []
    ended = {step.name for step in record.steps if step.ended}
    return [step for step in record.steps if not step.status and ended.issuperset(step.depends_on)]


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


def time_left(step: StepRecord, now: float) -> float | None:
    """Seconds that a step which has begun still has, all attempts together; None if it has no limit of its own.

    `now` is in seconds since 1970, and may have jumped: there is never more left than the limit.
    """
    return None if step.timeout is None else min(step.timeout, max(0.0, step.began + step.timeout - now))


def named(record: RunRecord, agent_name: str | None) -> list[StepRecord]:
    """The steps that a cancel_run means: all, or those of one agent, by its role, its name or the step's."""
    return [step for step in record.steps if agent_name in {None, step.role, step.agent, step.name}]


def to_cancel(record: RunRecord, agent_name: str | None) -> RunRecord:
    """Somebody has asked to cancel the run, or one agent of it."""
    if agent_name is None:
        return attrs.evolve(record, cancelled=True)
    for step in named(record, agent_name):
        if not step.ended:
            record = record.put(attrs.evolve(step, cancel=True))
    return record


def with_roles(record: RunRecord, roles: Mapping[str, str]) -> RunRecord:
    """The record with the role of each step's agent, as it is defined now; `roles` by the agent's name.

    An agent that was taken out of the configuration keeps the role that it had.
    """
    steps = (attrs.evolve(step, role=roles.get(step.agent, step.role or step.agent)) for step in record.steps)
    return attrs.evolve(record, steps=tuple(steps))


def begun(step: StepRecord, now: float) -> StepRecord:
    """The next attempt has begun; `now` in seconds since 1970."""
    return attrs.evolve(
        step,
        attempt=step.attempt + 1,
        began=step.began or now,
        status=AgentStatus.STARTED.value,
        sentence=f"{step.role} has started.",
        open=True,
    )


def standing(step: StepRecord, status: str, sentence: str) -> StepRecord:
    """The attempt goes on, and this is where it stands."""
    return attrs.evolve(step, status=status, sentence=sentence)


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
